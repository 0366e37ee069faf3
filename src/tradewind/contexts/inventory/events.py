"""What inventory announces.

Facts about an order's units have the order as subject; facts about a sku have ``sku:<SKU>``, in
capitals. Each subject has one sequence over all its facts from here.
"""

from datetime import datetime
from typing import ClassVar, Literal

from msgspec import Struct

from tradewind.kernel.messages import Event
from tradewind.kernel.terms import PaymentTerms

Availability = Literal["in_stock", "low", "out_of_stock"]
# Why units came or went, other than that somebody counted them.
MovementKind = Literal["fulfilment", "return", "write_off", "found", "given_away", "correction"]


def sku_key(sku: str) -> str:
    """How a sku is compared: without letter case."""
    return sku.upper()


class ShortLine(Struct, frozen=True, kw_only=True):
    """What an order wanted of one sku, all its lines together, and what was free at that moment."""

    sku: str
    wanted: int
    available: int


class TakenUnits(Struct, frozen=True, kw_only=True):
    """Units of one sku at one location that are held for an order."""

    sku: str
    location: str
    quantity: int


class ReservationEvent(Event, frozen=True, kw_only=True):
    """Anything that happened to the units of one order."""

    order_id: str

    @property
    def subject(self) -> str:
        """The order."""
        return self.order_id


class InventoryHold(Event, frozen=True, kw_only=True):
    """Anything that happened to the units that are kept for one cart."""

    cart_id: str

    @property
    def subject(self) -> str:
        """The cart."""
        return self.cart_id


class SkuEvent(Event, frozen=True, kw_only=True):
    """Anything that happened to one sku, over all orders."""

    sku: str

    @property
    def subject(self) -> str:
        """The sku, in capitals."""
        return f"sku:{sku_key(self.sku)}"


class StockReserved(ReservationEvent, frozen=True, kw_only=True, omit_defaults=True):
    """Every line of the order is held for it. Passes the payment's terms on, unchanged.

    `taken` says where the units lie; it is left out where all lie in the main location.
    """

    type: ClassVar[str] = "inventory.stock_reserved.v1"

    payment: PaymentTerms
    taken: tuple[TakenUnits, ...] = ()


class StockRefused(ReservationEvent, frozen=True, kw_only=True):
    """Nothing is held for the order, because these skus do not suffice."""

    type: ClassVar[str] = "inventory.stock_refused.v1"

    short: tuple[ShortLine, ...]


class StockAllocated(ReservationEvent, frozen=True, kw_only=True):
    """The order is confirmed: its units are no longer held but owed. No count changes."""

    type: ClassVar[str] = "inventory.stock_allocated.v1"


class StockFulfilled(ReservationEvent, frozen=True, kw_only=True):
    """The order's units left the house: they are no longer there, nor owed. Of each sku a
    `StockAdjusted` says how many.
    """

    type: ClassVar[str] = "inventory.stock_fulfilled.v1"


class StockReleased(ReservationEvent, frozen=True, kw_only=True):
    """The order ended without its units: they are free again. `reason` is the code of its end."""

    type: ClassVar[str] = "inventory.stock_released.v1"

    reason: str


class StockCounted(SkuEvent, frozen=True, kw_only=True):
    """Someone said how many units lie at a location. All numbers are of that location.

    `short` is how many promised units are not there: above zero, somebody must act.
    """

    type: ClassVar[str] = "inventory.stock_counted.v1"

    location: str
    on_hand: int
    reserved: int
    short: int = 0


class StockAdjusted(SkuEvent, frozen=True, kw_only=True):
    """Units came to a location, or left it where `quantity` is below zero.

    All numbers are of that location, `on_hand`, `reserved` and `short` those after it. `cause` is
    the credential that said so, or the id of what led to it. A movement below what is promised
    leaves units `short`, as a count does.
    """

    type: ClassVar[str] = "inventory.stock_adjusted.v1"

    location: str
    kind: MovementKind
    quantity: int
    on_hand: int
    reserved: int
    short: int = 0
    cause: str


class AvailabilityChanged(SkuEvent, frozen=True, kw_only=True):
    """A sku crossed a mark of availability, over all locations. The numbers stay in inventory."""

    type: ClassVar[str] = "inventory.availability_changed.v1"

    availability: Availability


class UnitsHeld(InventoryHold, frozen=True, kw_only=True):
    """Units are kept for a cart until a time, in place of what was kept before.

    `asked` is the sequence of the `HoldAsked` that this answers; `short` says of which skus there
    were not enough.
    """

    type: ClassVar[str] = "inventory.units_held.v1"

    asked: int
    until: datetime
    taken: tuple[TakenUnits, ...]
    short: tuple[ShortLine, ...] = ()


class HoldEnded(InventoryHold, frozen=True, kw_only=True):
    """Nothing is kept for the cart any more.

    `reason` is `expired`, `ordered` (its order has the units now) or `dropped`.
    """

    type: ClassVar[str] = "inventory.hold_ended.v1"

    asked: int
    reason: str
