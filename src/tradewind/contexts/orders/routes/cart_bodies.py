"""What people send about carts, and who a cart is for as the vault knows it."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated

from msgspec import UNSET, Meta, Struct, UnsetType

from tradewind.contexts.orders.commands import SetDetails, Shopper
from tradewind.contexts.orders.routes.bodies import (
    ADDRESS_FIELDS,
    AddressBody,
    CardBody,
    Currency,
    Email,
    Quantity,
    Text100,
    invalid,
)
from tradewind.contexts.orders.tables.carts import CartRow, CartView
from tradewind.kernel.money import Amount
from tradewind.platform.gateway.problems import Forbidden
from tradewind.platform.gateway.request import Request

# A word of the shop for one of its customers. Not an address: it stands outside of the vault.
Customer = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.:-]{1,100}$")]
Personal = Mapping[str, str | None]


class CartLineBody(Struct, frozen=True, forbid_unknown_fields=True):
    """Units of a sku; they join the line that the sku has already."""

    sku: Text100
    quantity: Quantity = 1


class CartBody(Struct, frozen=True, forbid_unknown_fields=True):
    """A new cart. `customer` needs a credential with the scope carts:write."""

    currency: Currency
    lines: Annotated[list[CartLineBody], Meta(max_length=1_000)] = []
    email: Email | None = None
    shipping_address: AddressBody | None = None
    billing_address: AddressBody | None = None
    customer: Customer | None = None


class CartPatch(Struct, frozen=True, forbid_unknown_fields=True):
    """What is to be different; a field that is left out stays, null takes it away."""

    email: Email | UnsetType | None = UNSET
    shipping_address: AddressBody | UnsetType | None = UNSET
    billing_address: AddressBody | UnsetType | None = UNSET
    shipping_option: Text100 | UnsetType = UNSET
    customer: Customer | UnsetType = UNSET


class QuantityBody(Struct, frozen=True, forbid_unknown_fields=True):
    """The units of a line."""

    quantity: Quantity


class MergeBody(Struct, frozen=True, forbid_unknown_fields=True):
    """The cart whose lines are to join, by the token that its guest holds."""

    from_token: Text100


class CheckoutBody(Struct, frozen=True, forbid_unknown_fields=True):
    """How the cart is paid, and what it still lacks."""

    payment: CardBody
    email: Email | UnsetType = UNSET
    shipping_address: AddressBody | UnsetType = UNSET
    billing_address: AddressBody | UnsetType = UNSET
    expected_total: Amount | None = None


def check_customer(request: Request, customer: object) -> None:
    """Whose a cart is says the shop, not its holder. Raises `Forbidden`."""
    if customer is None or customer is UNSET:
        return
    if request.credential is None or not request.credential.may("carts:write"):
        raise Forbidden(
            "Leave customer out, or use a credential with the scope carts:write.",
            required_scope="carts:write",
        )


def laid_over(
    known: Personal | None, body: CartBody | CartPatch | CheckoutBody
) -> dict[str, str | None] | None:
    """The personal data of a cart after a request; None where it says nothing about it."""
    told: dict[str, str | None] = {}
    if body.email is not UNSET:
        told["email"] = body.email
    for prefix, where, address in (
        ("", "/shipping_address", body.shipping_address),
        ("billing_", "/billing_address", body.billing_address),
    ):
        if address is UNSET:
            continue
        for name in ADDRESS_FIELDS:
            value = None if address is None else getattr(address, name)
            if value is None and address is not None and name in ("name", "line1", "city"):
                raise invalid(f"{where}/{name}", "is required")
            told[f"{prefix}{name}"] = value
    return {**known, **told} if known and told else told or None


async def details_of(
    request: Request,
    body: CartBody | CartPatch | CheckoutBody,
    row_of: Callable[[], Awaitable[CartRow | None]],
) -> tuple[SetDetails, Personal | None]:
    """What a request says about whom the cart is for, put into the vault; and what that is now.

    `row_of` reads the cart: it is asked only where a request says something.
    """
    if laid_over(None, body) is None:
        return SetDetails(), None
    known: Personal | None = None
    row = await row_of()
    person = None if row is None else row.person
    if person is not None:
        known = (await request.node.vault.open([person]))[person]
    fields = laid_over(known, body) or {}
    if not any(fields.values()):
        return SetDetails(person_before=person, shopper=Shopper()), None
    kept = await request.node.vault.keep(fields)
    shopper = Shopper(
        person=kept.person,
        contact=kept.contact,
        shipping_country=fields.get("country"),
        billing_country=fields.get("billing_country"),
    )
    return SetDetails(person_before=person, shopper=shopper), fields


async def still_known(request: Request, row: CartRow | None) -> tuple[SetDetails, Personal | None]:
    """Whom the cart is for, and what the vault has of them; nobody, if they were erased."""
    if row is None or row.person is None:
        return SetDetails(), None
    known = (await request.node.vault.open([row.person]))[row.person]
    shopper = Shopper() if known is None else None
    return SetDetails(person_before=row.person, shopper=shopper), known


def exchange_cart(shown: CartView, personal: Personal) -> None:
    """Put personal data in the place of its token."""
    shown.email = personal.get("email")
    shown.shipping_address = address_in(personal, "")
    shown.billing_address = address_in(personal, "billing_")


def address_in(personal: Personal, prefix: str) -> dict[str, str] | None:
    """An address as it was given, or None."""
    named = {name: personal.get(f"{prefix}{name}") for name in ADDRESS_FIELDS}
    return {name: value for name, value in named.items() if value is not None} or None
