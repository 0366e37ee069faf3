"""HTTP: stock levels, counts and movements, the ledger, locations."""

import re
from datetime import UTC, datetime
from urllib.parse import quote

import msgspec

from tradewind.contexts.inventory import queries
from tradewind.contexts.inventory.commands import (
    AdjustStock,
    KeepLocation,
    LocationBody,
    MovementBody,
    SetStock,
    StockBody,
    is_sku,
)
from tradewind.contexts.inventory.events import sku_key
from tradewind.contexts.inventory.problems import (
    ExternalIdTaken,
    FieldNotAllowed,
    InvalidLocation,
    InvalidMovement,
    InvalidSku,
    QuantityChanged,
    StockWouldBeNegative,
    TooManyLocations,
    TooManyUnits,
    UnknownLocation,
    UnknownSku,
)
from tradewind.contexts.inventory.routes import transfers
from tradewind.contexts.inventory.tables import (
    Location,
    LocationList,
    MovementMade,
    MovementPage,
    PageQuery,
    StockLevel,
    StockPage,
)
from tradewind.kernel.answers import Answer, Settled
from tradewind.kernel.ids import new_id
from tradewind.kernel.problems import FieldError
from tradewind.platform.gateway.pages import decode_cursor, encode_cursor
from tradewind.platform.gateway.request import Request
from tradewind.platform.gateway.routing import Keyed, Route, Scope, Whose

LOCATION_CODE = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
# Whose copies of a sku's availability an answer to a count waits for (semantics: read your writes).
COPIES = ("catalog.availability",)
COPIES_TIMEOUT_S = 2.0
NEWEST = 2**63 - 1


async def put_stock(request: Request) -> Answer:
    """Set how many units of a sku lie at a location (`main`, unless another is named).

    A count is believed even where more is promised: then `available` is 0, `short` says how many
    units are missing, and no order is taken until there are enough. With `expected_quantity` the
    count is refused (412) if `on_hand` there is another number: read, think, write. A sku the
    catalog does not know yet may be counted. The answer is 200 once the catalog shows it too, 202
    with a `Location` if that takes more than 2 s.
    """
    sku = request.params["sku"]
    if not is_sku(sku):
        raise InvalidSku(f"{sku[:64]!r} is not 1 to 64 printable ASCII characters.")
    body: StockBody = request.body
    assert request.credential is not None, "the route needs a scope"
    level: StockLevel = await request.submit(
        SetStock(
            sku=sku,
            location=body.location,
            on_hand=body.on_hand,
            expected_quantity=body.expected_quantity,
            counted_by=request.credential.id,
        )
    )
    if await request.node.caught_up(COPIES, timeout_s=COPIES_TIMEOUT_S):
        return Answer(body=level)
    place = f"/v1/stock/{quote(sku, safe='')}"
    return Answer(status=202, body=level, headers={"Location": place})


WAY = {"write_off": -1, "given_away": -1, "found": 1}  # a correction goes either way


async def post_movement(request: Request) -> Answer | Settled:
    """Record units that came or went without an order: broken, given away, found, put right.

    `quantity` is signed, and added to `on_hand`. Where that would be below zero it is refused
    (409), and the problem says what is there. Below what is promised it is accepted, since it has
    happened: then `short` says how many promised units are missing, as after a count. Under one
    `external_id` a movement is recorded once. The answer is 201 once the catalog shows it too, 202
    if that takes more than 2 s.
    """
    sku = request.params["sku"]
    if not is_sku(sku):
        raise InvalidSku(f"{sku[:64]!r} is not 1 to 64 printable ASCII characters.")
    body: MovementBody = request.body
    check_movement(request, body)
    assert request.credential is not None, "the route needs a scope"
    outcome: Answer | Settled = await request.submit(
        AdjustStock(
            idempotency=request.idempotency,
            movement_id=new_id("mov"),
            sku=sku,
            location=body.location,
            kind=body.kind,
            quantity=body.quantity,
            reason=await request.sealed(body.reason),
            external_id=body.external_id,
            at=None if body.at is None else body.at.astimezone(UTC),
            told_by=request.credential.id,
        )
    )
    if outcome.status != 201 or await request.node.caught_up(COPIES, timeout_s=COPIES_TIMEOUT_S):
        return outcome
    return msgspec.structs.replace(outcome, status=202)


def check_movement(request: Request, body: MovementBody) -> None:
    """What the shape of the body cannot say. Raises `InvalidMovement` and `FieldNotAllowed`."""
    way = WAY.get(body.kind)
    if body.quantity == 0 or (way is not None and body.quantity * way < 0):
        message = {1: "must be above zero", -1: "must be below zero"}.get(way or 0, "must not be 0")
        raise invalid("/quantity", f"{message} for {body.kind}")
    if body.at is None:
        return
    if request.credential is None or not request.credential.may("orders:import"):
        raise FieldNotAllowed(
            "Leave `at` out, or use a credential with the scope orders:import.",
            errors=(FieldError("/at", "is for imports only"),),
        )
    if body.at.tzinfo is None:
        raise invalid("/at", "needs a time zone")
    if body.at.year < 1970 or body.at > datetime.now(UTC):
        raise invalid("/at", "must be in the past")


def invalid(pointer: str, message: str) -> InvalidMovement:
    """A refusal that points at one place."""
    return InvalidMovement(f"{pointer[1:]} {message}.", errors=(FieldError(pointer, message),))


async def get_stock(request: Request) -> Answer:
    """The units of a sku, in all and at each location. Letter case does not matter."""
    key = key_in(request)
    async with request.reading() as snapshot:
        level = await queries.level(snapshot, key)
    if level is None:
        raise UnknownSku()
    return Answer(body=level)


def key_in(request: Request) -> str:
    """The key of the sku in the address; what can not be a sku has no stock."""
    sku = request.params["sku"]
    if not is_sku(sku):
        raise UnknownSku()
    return sku_key(sku)


async def get_stock_list(request: Request) -> Answer:
    """The units of every sku, in the order of the skus."""
    query: PageQuery = request.query
    after = ""
    if query.cursor is not None:
        (after,) = decode_cursor(query.cursor, str)
    async with request.reading() as snapshot:
        levels = await queries.levels_after(snapshot, after=after, count_max=query.limit + 1)
    page = levels[: query.limit]
    more = len(levels) > query.limit
    return Answer(
        body=StockPage(
            items=[level for _, level in page],
            next=encode_cursor(page[-1][0]) if more else None,
        )
    )


async def get_movements(request: Request) -> Answer:
    """The ledger of a sku: which units came and went and why, newest first.

    It sums to `on_hand`. What is promised stands in the reservations of orders and sums to
    `reserved`; the timeline of an order tells when its units were held and given back.
    """
    query: PageQuery = request.query
    key = key_in(request)
    before = NEWEST
    if query.cursor is not None:
        (before,) = decode_cursor(query.cursor, int)
    async with request.reading() as snapshot:
        moved = await queries.movements(snapshot, key, before=before, count_max=query.limit + 1)
        if not moved and await queries.level(snapshot, key) is None:
            raise UnknownSku()
    page = moved[: query.limit]
    more = len(moved) > query.limit
    return Answer(
        body=MovementPage(items=page, next=encode_cursor(page[-1].number) if more else None)
    )


async def get_locations(request: Request) -> Answer:
    """Every location, in the order they serve."""
    async with request.reading() as snapshot:
        return Answer(body=LocationList(items=await queries.locations(snapshot)))


async def put_location(request: Request) -> Answer:
    """Open a location, or change its name and priority. Orders are served lowest priority first,
    and a line may be served from several.
    """
    code = request.params["code"]
    if LOCATION_CODE.fullmatch(code) is None:
        raise InvalidLocation("Use lower-case letters, digits and hyphens, at most 40.")
    body: LocationBody = request.body
    answer: Answer = await request.submit(
        KeepLocation(location_id=new_id("loc"), code=code, name=body.name, priority=body.priority)
    )
    return answer


READ = Scope("inventory:read")
WRITE = Scope("inventory:write")

ROUTES = (
    *transfers.ROUTES,
    Route(
        method="GET",
        path="/v1/stock",
        handler=get_stock_list,
        summary="List stock.",
        permission=READ,
        whose=Whose.SHOP,
        query=PageQuery,
        answers={200: StockPage},
        tag="stock",
    ),
    # Before the level: a sku may contain slashes, and then this address looks like one.
    Route(
        method="GET",
        path="/v1/stock/{sku:path}/movements",
        handler=get_movements,
        summary="Read the ledger of a sku.",
        permission=READ,
        whose=Whose.SHOP,
        query=PageQuery,
        answers={200: MovementPage},
        problems=(UnknownSku,),
        tag="stock",
    ),
    Route(
        method="POST",
        path="/v1/stock/{sku:path}/movements",
        handler=post_movement,
        summary="Record units that came or went.",
        permission=WRITE,
        whose=Whose.SHOP,
        body=MovementBody,
        answers={201: MovementMade, 202: MovementMade},
        problems=(
            InvalidSku,
            InvalidMovement,
            UnknownLocation,
            StockWouldBeNegative,
            TooManyUnits,
            ExternalIdTaken,
            FieldNotAllowed,
        ),
        keyed=Keyed.REQUIRED,
        tag="stock",
    ),
    Route(
        method="GET",
        path="/v1/stock/{sku:path}",
        handler=get_stock,
        summary="Read the stock of a sku.",
        permission=READ,
        whose=Whose.SHOP,
        answers={200: StockLevel},
        problems=(UnknownSku,),
        tag="stock",
    ),
    Route(
        method="PUT",
        path="/v1/stock/{sku:path}",
        handler=put_stock,
        summary="Set the units on hand of a sku.",
        permission=WRITE,
        whose=Whose.SHOP,
        body=StockBody,
        answers={200: StockLevel, 202: StockLevel},
        problems=(InvalidSku, UnknownLocation, QuantityChanged),
        tag="stock",
    ),
    Route(
        method="GET",
        path="/v1/locations",
        handler=get_locations,
        summary="List locations.",
        permission=READ,
        whose=Whose.SHOP,
        answers={200: LocationList},
        tag="stock",
    ),
    Route(
        method="PUT",
        path="/v1/locations/{code}",
        handler=put_location,
        summary="Open or change a location.",
        permission=WRITE,
        whose=Whose.SHOP,
        body=LocationBody,
        answers={200: Location, 201: Location},
        problems=(InvalidLocation, TooManyLocations),
        tag="stock",
    ),
)
