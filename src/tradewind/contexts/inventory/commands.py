"""What inventory is asked over HTTP: to take a count or a movement, to keep a location."""

import re
from datetime import datetime
from typing import Annotated, ClassVar, Literal

from msgspec import Meta, Struct

from tradewind.contexts.inventory.events import MovementKind
from tradewind.kernel.imports import Form, Heading
from tradewind.kernel.messages import Command

# Where units lie unless somebody says otherwise; it is there from the first migration.
MAIN = "main"
# Far above any shop's shelf, far below what a float or a bigint sum of a million rows can hold.
ON_HAND_MAX = 1_000_000_000
# Every location of a sku is looked at when an order takes it.
LOCATIONS_MAX = 200
# Printable ASCII, no blank at either end, as in the catalog; a count may come before its product.
SKU = re.compile(r"[!-~]([ -~]{0,62}[!-~])?")

Units = Annotated[int, Meta(ge=0, le=ON_HAND_MAX, description="Whole units.")]
LocationCode = Annotated[
    str,
    Meta(
        pattern=r"^[a-z0-9][a-z0-9-]{0,39}$",
        description="Lower-case letters, digits and hyphens, at most 40.",
    ),
]


class StockBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A count: how many units are physically there."""

    on_hand: Units
    location: LocationCode = MAIN
    expected_quantity: Units | None = None  # refuse with 412 if `on_hand` is not this any more


# What a person may say. Shipments and returns move units themselves.
ToldKind = Literal["write_off", "found", "given_away", "correction"]


class MovementBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Units that came (`quantity` above zero) or went (below), and why."""

    kind: ToldKind
    quantity: Annotated[
        int,
        Meta(
            ge=-ON_HAND_MAX,
            le=ON_HAND_MAX,
            description="Units. Below zero for `write_off` and `given_away`, above for `found`.",
            examples=[-5],
        ),
    ]
    reason: Annotated[str, Meta(min_length=1, max_length=500, examples=["damages"])]
    location: LocationCode = MAIN
    external_id: Annotated[str, Meta(min_length=1, max_length=100, pattern="^[^@]*$")] | None = None
    at: datetime | None = None  # with orders:import only: when it happened, long ago


class LocationBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A place where units lie. Orders are served from the lowest `priority` first."""

    name: Annotated[str, Meta(min_length=1, max_length=200)] = ""
    priority: Annotated[int, Meta(ge=0, le=1_000)] = 100


class SetStock(Command, frozen=True, kw_only=True):
    """Set how many units of a sku lie at a location. Repeating it changes nothing."""

    sku: str
    location: str
    on_hand: int
    expected_quantity: int | None
    counted_by: str  # id of the credential


class AdjustStock(Command, frozen=True, kw_only=True):
    """Take units in, or out, for a reason. It happens once per key and `external_id`."""

    movement_id: str
    sku: str
    location: str
    kind: MovementKind
    quantity: int
    reason: str
    external_id: str | None
    at: datetime | None  # None: now
    told_by: str  # id of the credential


class KeepLocation(Command, frozen=True, kw_only=True):
    """Open a location, or change its name and priority."""

    location_id: str  # its id, if it is new
    code: str
    name: str
    priority: int


class BeginStockImport(Command, frozen=True, kw_only=True):
    """Open an import of counts, or find the one with this id. Outcome: `ImportProgress`."""

    import_id: str
    must_exist: bool = False
    dry_run: bool = False
    heading: Heading | None = None  # of a sheet


class TakeStockLines(Command, frozen=True, kw_only=True):
    """Take some lines of an import of counts; the first has number `first_line`.

    Lines up to the import's `lines_taken` are skipped. Outcome: `ImportProgress`.
    """

    recorded: ClassVar[bool] = False  # the import is, where it begins and where it ends

    import_id: str
    first_line: int
    lines: tuple[bytes | None, ...]  # None: the line was longer than allowed and is not kept
    ends: tuple[int, ...] = ()  # where a record may be several lines: the last one of each
    form: Form = Form()


class FinishStockImport(Command, frozen=True, kw_only=True):
    """Every line was sent. Outcome: `ImportProgress`."""

    import_id: str


def is_sku(text: str) -> bool:
    """Whether `text` can be a sku: 1 to 64 printable ASCII characters, no blank at either end."""
    return SKU.fullmatch(text) is not None
