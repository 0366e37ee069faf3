"""What people keep with their account: profile, address book, preferences. All of it in the vault.

Everything of a person is one record. A change makes a new one of the one that was read, and the
account takes it only while it still has that one: of two changes at once none is lost.
"""

from collections.abc import Callable, Mapping

import msgspec

from tradewind.contexts.identity import problems
from tradewind.contexts.identity.commands import SetRecord
from tradewind.contexts.identity.routes.signing_in import own_account
from tradewind.contexts.identity.tables.accounts import AccountRow
from tradewind.contexts.identity.tables.people import (
    ADDRESSES_MAX,
    AddressBook,
    OwnAddress,
    OwnAddressBody,
    Preferences,
    Profile,
    ProfilePatch,
)
from tradewind.kernel.answers import Answer
from tradewind.kernel.ids import new_id
from tradewind.kernel.problems import FieldError, Problem
from tradewind.platform.gateway.request import Request
from tradewind.platform.gateway.routing import Keyed, Route, SignedIn, Whose

# Whoever changes one account at the same moment is tried again so often.
TRIES = 5
PREFERENCES_BYTES_MAX = 16_384
HOLDER = "identity"
ADDRESSES, PREFERENCES = "addresses", "preferences"

Fields = Mapping[str, str]
encode = msgspec.json.Encoder().encode
decode_addresses = msgspec.json.Decoder(list[OwnAddress]).decode


async def read(request: Request) -> tuple[AccountRow, Fields | None]:
    """The account of whoever asks, and what the vault has of them; None: it was erased."""
    account = await own_account(request)
    return account, (await request.node.vault.open([account.record]))[account.record]


async def change(request: Request, work: Callable[[Fields], Mapping[str, str | None]]) -> Fields:
    """Change the record of whoever asks; what it is now. `work` may raise a `Problem`."""
    for _ in range(TRIES):
        account, fields = await read(request)
        if fields is None:
            raise problems.AccountNotFound("The personal data of this account was erased.")
        told = {name: value for name, value in work(fields).items() if value}
        if told == dict(fields):
            return fields
        kept = await request.node.vault.keep(told, holder=HOLDER, owner=account.person)
        try:
            await request.submit(
                SetRecord(
                    account_id=account.account_id,
                    record=kept.person,
                    record_before=account.record,
                )
            )
        except problems.AccountHasChanged:
            continue
        return told
    raise problems.AccountHasChanged("Read it and send the change again.")


# -- profile


def profile_of(account: AccountRow, fields: Fields | None) -> Profile:
    """An account as its holder sees it."""
    known = fields or {}
    return Profile(
        id=account.account_id,
        email=known.get("email"),
        name=known.get("name"),
        phone=known.get("phone"),
        locale=known.get("locale"),
        status=account.status,
        roles=list(account.roles),
        second_factor=account.totp_sealed is not None,
        opened_at=account.opened_at,
        verified_at=account.verified_at,
        erased=fields is None,
    )


async def get_me(request: Request) -> Answer:
    """Who you are here."""
    return Answer(body=profile_of(*await read(request)))


async def patch_me(request: Request) -> Answer:
    """Change your profile. What is left out stays; an empty text takes a field away."""
    body: ProfilePatch = request.body
    told = {
        name: value
        for name in ("name", "phone", "locale")
        if (value := getattr(body, name)) is not None
    }
    fields = await change(request, lambda known: {**known, **told})
    return Answer(body=profile_of(await own_account(request), fields))


# -- address book


def addresses_of(fields: Fields | None) -> list[OwnAddress]:
    """The entries of an address book."""
    return decode_addresses((fields or {}).get(ADDRESSES, "[]"))


def book_of(entries: list[OwnAddress]) -> AddressBook:
    """An address book as it is shown: the default first, then the newest."""
    return AddressBook(sorted(entries, key=lambda entry: (not entry.default, entry.id)))


def with_entry(entries: list[OwnAddress], entry: OwnAddress) -> list[OwnAddress]:
    """A book with an entry in it, in the place of the one with its id; one default at most."""
    others = [each for each in entries if each.id != entry.id]
    if entry.default:
        others = [msgspec.structs.replace(each, default=False) for each in others]
    elif not others:
        entry = msgspec.structs.replace(entry, default=True)
    return [*others, entry]


async def get_addresses(request: Request) -> Answer:
    """Your address book, the default first."""
    _, fields = await read(request)
    return Answer(body=book_of(addresses_of(fields)))


async def post_address(request: Request) -> Answer:
    """Add an address. The first one is the default."""
    entry = entry_of(new_id("adr"), request.body)

    def work(fields: Fields) -> Mapping[str, str | None]:
        entries = addresses_of(fields)
        if len(entries) >= ADDRESSES_MAX:
            raise problems.InvalidProfile(f"An address book holds {ADDRESSES_MAX}: remove one.")
        return {**fields, ADDRESSES: encode(with_entry(entries, entry)).decode()}

    fields = await change(request, work)
    return Answer(status=201, body=found(fields, entry.id))


async def put_address(request: Request) -> Answer:
    """Replace an address."""
    entry = entry_of(request.params["address_id"], request.body)

    def work(fields: Fields) -> Mapping[str, str | None]:
        found(fields, entry.id)
        return {**fields, ADDRESSES: encode(with_entry(addresses_of(fields), entry)).decode()}

    return Answer(body=found(await change(request, work), entry.id))


async def delete_address(request: Request) -> Answer:
    """Remove an address."""
    address_id = request.params["address_id"]

    def work(fields: Fields) -> Mapping[str, str | None]:
        found(fields, address_id)
        left = [entry for entry in addresses_of(fields) if entry.id != address_id]
        return {**fields, ADDRESSES: encode(left).decode()}

    await change(request, work)
    return Answer(status=204)


def found(fields: Fields, address_id: str) -> OwnAddress:
    """An entry by its id. Raises `AddressNotFound`."""
    for entry in addresses_of(fields):
        if entry.id == address_id:
            return entry
    raise problems.AddressNotFound("GET /v1/me/addresses lists yours.")


def entry_of(address_id: str, body: OwnAddressBody) -> OwnAddress:
    """A body as an entry of the book."""
    return OwnAddress(id=address_id, **msgspec.structs.asdict(body))


# -- preferences


async def get_preferences(request: Request) -> Answer:
    """Your preferences: a document that the shop front writes and reads."""
    _, fields = await read(request)
    text = (fields or {}).get(PREFERENCES, "{}")
    return Answer(body=Preferences(document=msgspec.json.decode(text)))


async def put_preferences(request: Request) -> Answer:
    """Replace your preferences. They lie in the vault like all that is yours."""
    body: Preferences = request.body
    text = encode(body.document)
    if len(text) > PREFERENCES_BYTES_MAX:
        raise problems.InvalidProfile(
            "Keep what is larger elsewhere.",
            errors=(FieldError("/document", f"has more than {PREFERENCES_BYTES_MAX} bytes"),),
        )
    await change(request, lambda known: {**known, PREFERENCES: text.decode()})
    return Answer(body=body)


CHANGES: tuple[type[Problem], ...] = (
    problems.AccountHasChanged,
    problems.AccountNotFound,
    problems.InvalidCredentials,
)
ROUTES = (
    Route(
        method="GET",
        path="/v1/me",
        handler=get_me,
        summary="Read your profile.",
        permission=SignedIn(),
        whose=Whose.CALLER,
        answers={200: Profile},
        problems=(problems.InvalidCredentials,),
        tag="me",
    ),
    Route(
        method="PATCH",
        path="/v1/me",
        handler=patch_me,
        summary="Change your profile.",
        permission=SignedIn(),
        whose=Whose.CALLER,
        body=ProfilePatch,
        answers={200: Profile},
        problems=CHANGES,
        tag="me",
    ),
    Route(
        method="GET",
        path="/v1/me/addresses",
        handler=get_addresses,
        summary="Read your address book.",
        permission=SignedIn(),
        whose=Whose.CALLER,
        answers={200: AddressBook},
        problems=(problems.InvalidCredentials,),
        tag="me",
    ),
    Route(
        method="POST",
        path="/v1/me/addresses",
        handler=post_address,
        summary="Add an address.",
        permission=SignedIn(),
        whose=Whose.CALLER,
        body=OwnAddressBody,
        answers={201: OwnAddress},
        problems=(problems.InvalidProfile, *CHANGES),
        keyed=Keyed.NO,
        tag="me",
    ),
    Route(
        method="PUT",
        path="/v1/me/addresses/{address_id}",
        handler=put_address,
        summary="Replace an address.",
        permission=SignedIn(),
        whose=Whose.CALLER,
        body=OwnAddressBody,
        answers={200: OwnAddress},
        problems=(problems.AddressNotFound, *CHANGES),
        tag="me",
    ),
    Route(
        method="DELETE",
        path="/v1/me/addresses/{address_id}",
        handler=delete_address,
        summary="Remove an address.",
        permission=SignedIn(),
        whose=Whose.CALLER,
        answers={204: None},
        problems=(problems.AddressNotFound, *CHANGES),
        tag="me",
    ),
    Route(
        method="GET",
        path="/v1/me/preferences",
        handler=get_preferences,
        summary="Read your preferences.",
        permission=SignedIn(),
        whose=Whose.CALLER,
        answers={200: Preferences},
        problems=(problems.InvalidCredentials,),
        tag="me",
    ),
    Route(
        method="PUT",
        path="/v1/me/preferences",
        handler=put_preferences,
        summary="Replace your preferences.",
        permission=SignedIn(),
        whose=Whose.CALLER,
        body=Preferences,
        answers={200: Preferences},
        problems=(problems.InvalidProfile, *CHANGES),
        tag="me",
    ),
)
