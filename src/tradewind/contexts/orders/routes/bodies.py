"""What people send about orders, and what the shape of a body cannot say."""

from datetime import UTC, datetime
from typing import Annotated

from msgspec import Meta, Struct

from tradewind.contexts.orders import problems
from tradewind.kernel.money import Amount, parse_e4, parse_minor
from tradewind.kernel.problems import FieldError
from tradewind.kernel.terms import OF_ORDER
from tradewind.platform.gateway.request import Request

Text100 = Annotated[str, Meta(min_length=1, max_length=100)]
Text200 = Annotated[str, Meta(min_length=1, max_length=200)]
# A partner's name of a thing. It stands outside of the vault, so it must not be an address.
Identifier = Annotated[str, Meta(min_length=1, max_length=100, pattern="^[^@]*$")]
Country = Annotated[str, Meta(pattern="^[A-Z]{2}$")]
Currency = Annotated[str, Meta(pattern="^[A-Z]{3}$")]
# Someone writes to it, so it must have one @ and a dot behind; more is not for us to judge.
Email = Annotated[str, Meta(min_length=3, max_length=254, pattern=r"^[^@\s]+@[^@\s]+\.[^@\s]+$")]
Quantity = Annotated[int, Meta(ge=1, le=1_000_000)]

ADDRESS_FIELDS = ("name", "line1", "line2", "city", "region", "postal_code", "country", "phone")


class LineBody(Struct, frozen=True, forbid_unknown_fields=True):
    """A line of a new order."""

    sku: Text100
    quantity: Quantity
    unit_price: Amount | None = None  # orders:import only


class FeeBody(Struct, frozen=True, forbid_unknown_fields=True):
    """A fee of an imported order, in the order's currency."""

    code: Annotated[str, Meta(min_length=1, max_length=50, pattern="^[^@]*$")]
    amount: Amount


class AddressBody(Struct, frozen=True, forbid_unknown_fields=True):
    """Where to; of imported history only the country may be known."""

    country: Country
    name: Text200 | None = None
    line1: Text200 | None = None
    line2: Annotated[str, Meta(max_length=200)] | None = None
    city: Text100 | None = None
    region: Annotated[str, Meta(max_length=100)] | None = None
    postal_code: Annotated[str, Meta(max_length=20)] | None = None
    phone: Annotated[str, Meta(max_length=40)] | None = None


class CardBody(Struct, frozen=True, forbid_unknown_fields=True):
    """The provider's token of a card. Card data itself never comes here."""

    token: Annotated[str, Meta(min_length=1, max_length=100, pattern=r"^[A-Za-z0-9_.:-]+$")]


class OrderBody(Struct, frozen=True, forbid_unknown_fields=True):
    """A new order. Prices come from the catalog at this moment."""

    currency: Currency
    # At least one; imported history also knows orders of fees alone.
    lines: Annotated[list[LineBody], Meta(max_length=1_000)]
    shipping_address: AddressBody
    payment: CardBody
    email: Email | None = None
    billing_address: AddressBody | None = None
    external_id: Identifier | None = None
    expected_total: Amount | None = None
    # With the scope orders:import only, for what happened elsewhere before:
    placed_at: datetime | None = None
    channel: Annotated[str, Meta(min_length=1, max_length=50, pattern="^[^@]*$")] | None = None
    fees: Annotated[list[FeeBody], Meta(max_length=50)] | None = None
    customer_ref: Text100 | None = None


def personal_fields(body: OrderBody) -> dict[str, str | None]:
    """Everything in an order that names a person, for the vault."""
    fields: dict[str, str | None] = {"email": body.email, "customer_ref": body.customer_ref}
    for name in ADDRESS_FIELDS:
        fields[name] = getattr(body.shipping_address, name)
    if body.billing_address is not None:
        for name in ADDRESS_FIELDS:
            fields[f"billing_{name}"] = getattr(body.billing_address, name)
    return fields


def is_import(request: Request, body: OrderBody) -> bool:
    """Whether the order is history. Raises `FieldNotAllowed` for who may not say so."""
    told = [
        name
        for name in ("placed_at", "channel", "fees", "customer_ref")
        if getattr(body, name) is not None
    ]
    told += [f"lines/{i}/unit_price" for i, line in enumerate(body.lines) if line.unit_price]
    if not told:
        return False
    if request.credential is None or not request.credential.may("orders:import"):
        raise problems.FieldNotAllowed(
            "Leave these fields out, or use a credential with the scope orders:import.",
            errors=tuple(FieldError(f"/{name}", "is for imports only") for name in told),
        )
    return True


def check_body(body: OrderBody, *, imported: bool) -> None:
    """What the shape of the body cannot say. Raises `InvalidOrder`."""
    if body.email is None and body.customer_ref is None:
        raise invalid("/email", "is required")
    if body.payment.token.startswith(OF_ORDER):
        raise invalid("/payment/token", "is no token of a card")
    if not body.lines and not (imported and body.fees):
        raise invalid("/lines", "needs at least one line")
    address = body.shipping_address
    if not imported:
        for name in ("name", "line1", "city"):
            if getattr(address, name) is None:
                raise invalid(f"/shipping_address/{name}", "is required")
    if body.placed_at is not None:
        if body.placed_at.tzinfo is None:
            raise invalid("/placed_at", "needs a time zone")
        if not body.placed_at.year >= 1970 or body.placed_at > datetime.now(UTC):
            raise invalid("/placed_at", "must be in the past")


def minor(amount: Amount, pointer: str, currency: str) -> int:
    """An amount of the order's currency in minor units. Raises `InvalidOrder`."""
    value = parse_minor(amount.amount, amount.currency)
    if amount.currency != currency:
        raise invalid(f"{pointer}/currency", f"must be {currency}, the currency of the order")
    if value is None or value < 0:
        raise invalid(f"{pointer}/amount", "is not an amount of this currency")
    return value


def price_e4(amount: Amount, pointer: str, currency: str) -> int:
    """A unit price in ten-thousandths. Raises `InvalidOrder`."""
    value = parse_e4(amount.amount)
    if amount.currency != currency:
        raise invalid(f"{pointer}/currency", f"must be {currency}, the currency of the order")
    if value is None or value < 0:
        raise invalid(f"{pointer}/amount", "is not a price")
    return value


def invalid(pointer: str, message: str) -> problems.InvalidOrder:
    """A refusal that points at one place."""
    return problems.InvalidOrder(
        f"{pointer[1:].replace('/', '.')} {message}.", errors=(FieldError(pointer, message),)
    )
