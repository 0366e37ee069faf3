"""What the races ask of a platform. An adapter says it in that platform's own words.

A call returns when the platform has decided: an adapter waits for what is decided later, and
repeats what was answered "busy, come back", as a careful client does. It never repairs anything:
an error of the platform is the outcome `failed`, and the race judges it.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Literal, Protocol

from msgspec import Struct

# done: it took effect. refused: the business said no, nothing took effect. undecided: still under
# way when the adapter's patience ended. failed: an internal error, or no answer at all.
Outcome = Literal["done", "refused", "undecided", "failed"]

# cancel        an order can be called off, its money and stock go back
# refund        parts of a captured payment can be given back
# set_stock     a count can be set while orders come in
# keys          a request carries a key, and takes effect once per key
# strangers     shoppers without an account can send the same key
# completions   a prepared basket can be completed by requests with nothing in common but the basket
# carts         a cart can be kept, changed, thrown away, and checked out
# money         the payment provider's own record can be read
Capability = Literal[
    "cancel", "refund", "set_stock", "keys", "strangers", "completions", "carts", "money"
]


class NewOrder(Struct, frozen=True, kw_only=True):
    """A basket ready to be bought, paid by a card that is accepted."""

    buyer: str  # an e-mail address
    lines: tuple[tuple[str, int], ...]  # (sku, units), in this order
    key: str = ""  # the request's idempotency key; empty: one that nobody else has
    # What two completions of one basket have in common; empty: a basket of its own.
    basket: str = ""
    stranger: bool = False  # without an account


class Answer(Struct, frozen=True, kw_only=True):
    """What a request came to."""

    outcome: Outcome
    reference: str = ""  # of the order, also where it was refused, if the platform keeps those
    code: str = ""  # status and code, in the platform's words
    body: bytes = b""
    took_s: float = 0.0


class StockState(Struct, frozen=True):
    """Units there, promised to orders, and free to be promised."""

    on_hand: int
    reserved: int
    available: int


class OrderState(Struct, frozen=True):
    """An order that has come to rest. `open`: it has not, while one was ready to wait."""

    status: Literal["confirmed", "cancelled", "rejected", "open"]
    total: Decimal
    units: Mapping[str, int]  # by sku


class MoneyState(Struct, frozen=True, kw_only=True):
    """What the payment provider did for an order, each operation's amount."""

    authorised: tuple[Decimal, ...] = ()
    captured: tuple[Decimal, ...] = ()
    voided: tuple[Decimal, ...] = ()
    refunded: tuple[Decimal, ...] = ()

    @property
    def taken(self) -> Decimal:
        """What the customer is poorer by."""
        return sum(self.captured, Decimal()) - sum(self.refunded, Decimal())

    @property
    def promised(self) -> bool:
        """Whether an authorisation stands that was neither captured nor let go."""
        return len(self.authorised) > len(self.captured) + len(self.voided)


class Adapter(Protocol):
    """A platform, as the races know it."""

    name: str
    capabilities: frozenset[Capability]

    async def make_ready(self, connections: int) -> None:
        """Have so many connections open, so that a race is not one of greetings."""
        ...

    async def create_product(self, sku: str, *, units: int, price: Decimal) -> None:
        """Put a product on the shelf, at a price without tax or shipping."""
        ...

    async def place_order(self, order: NewOrder) -> Answer:
        """Buy a basket."""
        ...

    async def create_cart(self, order: NewOrder) -> str:
        """Keep a basket as a cart that lacks nothing; its name."""
        ...

    async def check_out_cart(self, cart: str) -> Answer:
        """Buy what is in a cart, by a request of its own."""
        ...

    async def change_cart(self, cart: str, units: int) -> Answer:
        """Set the units of a cart's first line."""
        ...

    async def discard_cart(self, cart: str) -> Answer:
        """Throw a cart away."""
        ...

    async def cancel_order(self, reference: str) -> Answer:
        """Call an order off, by a request of its own."""
        ...

    async def refund_order(self, reference: str, amount: Decimal) -> Answer:
        """Give a part of an order's captured payment back, by a request of its own."""
        ...

    async def set_stock(self, sku: str, units: int) -> Answer:
        """Say how many units are there."""
        ...

    async def read_stock(self, sku: str) -> StockState:
        """The units of a sku now."""
        ...

    async def read_order(self, reference: str) -> OrderState:
        """An order, once nothing about it is under way any more."""
        ...

    async def read_money(self, reference: str) -> MoneyState:
        """The provider's own record of an order."""
        ...

    async def close(self) -> None:
        """Hang up."""
        ...


class AdapterBroken(Exception):
    """The platform cannot be raced at all: not there, no right, not the platform one thought."""
