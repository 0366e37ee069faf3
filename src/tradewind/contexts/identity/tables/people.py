"""Rows and shapes of what people keep with their account: profile, addresses, consents."""

from datetime import datetime
from typing import Annotated, Any

from msgspec import Meta, Struct

from tradewind.contexts.identity.tables.accounts import PersonName, Status

Purpose = Annotated[str, Meta(pattern="^[a-z][a-z0-9_]{1,39}$")]
Wording = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.:-]{1,60}$")]
ADDRESSES_MAX = 20
Line = Annotated[str, Meta(min_length=1, max_length=200)]


class Numbered(Struct, frozen=True):
    """The number of the last consent of an account."""

    account_id: str
    number: int


class ConsentShown(Struct, frozen=True, kw_only=True):
    """What somebody agreed to, or took back; `wording` is the version of the text."""

    purpose: str
    granted: bool
    wording: str
    at: datetime


class ConsentRow(Struct, frozen=True):
    """A row of identity.consents."""

    account_id: str
    number: int
    purpose: str
    granted: bool
    wording: str
    via: str
    at: datetime

    @property
    def shown(self) -> ConsentShown:
        """As its holder sees it."""
        return ConsentShown(
            purpose=self.purpose, granted=self.granted, wording=self.wording, at=self.at
        )


class Consents(Struct, frozen=True):
    """What counts today by purpose, and everything that was ever said, newest first."""

    current: list[ConsentShown]
    history: list[ConsentShown]


class ConsentBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Yes or no, to which text."""

    granted: bool
    wording: Wording


class Profile(Struct, frozen=True, kw_only=True):
    """An account as its holder sees it."""

    id: str
    email: str | None
    name: str | None
    phone: str | None
    locale: str | None
    status: Status
    roles: list[str]
    second_factor: bool
    opened_at: datetime
    verified_at: datetime
    erased: bool = False


class ProfilePatch(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is to be different; what is left out stays, an empty text takes it away."""

    name: Annotated[str, Meta(max_length=200)] | None = None
    phone: Annotated[str, Meta(max_length=40)] | None = None
    locale: Annotated[str, Meta(pattern="^([a-z]{2,3}(-[A-Za-z0-9]{2,8})*)?$")] | None = None


class OwnAddressBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An entry of the address book."""

    name: PersonName
    line1: Line
    line2: Annotated[str, Meta(max_length=200)] | None = None
    city: Annotated[str, Meta(min_length=1, max_length=100)]
    region: Annotated[str, Meta(max_length=100)] | None = None
    postal_code: Annotated[str, Meta(max_length=20)] | None = None
    country: Annotated[str, Meta(pattern="^[A-Z]{2}$")]
    phone: Annotated[str, Meta(max_length=40)] | None = None
    label: Annotated[str, Meta(max_length=60)] | None = None
    default: bool = False


class OwnAddress(Struct, frozen=True, kw_only=True):
    """An entry of the address book as it is shown."""

    id: str
    name: str
    line1: str
    line2: str | None = None
    city: str
    region: str | None = None
    postal_code: str | None = None
    country: str
    phone: str | None = None
    label: str | None = None
    default: bool = False


class AddressBook(Struct, frozen=True):
    """An address book; the default comes first."""

    items: list[OwnAddress]
    next: None = None


class Preferences(Struct, frozen=True, forbid_unknown_fields=True):
    """Whatever a shop wants to remember of a customer, as one document."""

    document: dict[str, Any] = {}


class TotpSecret(Struct, frozen=True, kw_only=True):
    """What an authenticator app has to be told. It counts once a code of it was confirmed."""

    secret: str
    uri: str


class TotpCode(Struct, frozen=True, forbid_unknown_fields=True):
    """A code that the app shows."""

    code: Annotated[str, Meta(min_length=6, max_length=6, pattern="^[0-9]{6}$")]


class RecoveryCodes(Struct, frozen=True):
    """Each of them stands in for the app once. They are shown here and nowhere else."""

    recovery_codes: list[str]


class OwnPassword(Struct, frozen=True, forbid_unknown_fields=True):
    """The password, so that a session that was left open changes nothing."""

    password: Annotated[str, Meta(min_length=1, max_length=256)]
