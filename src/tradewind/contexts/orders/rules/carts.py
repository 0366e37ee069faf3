"""Carts: changed, merged, priced, checked out, left. Requests are folded one by one over the rows.

Invariants: a cart becomes at most one living order, for while one is being decided or was accepted
the cart takes neither a change nor a checkout; the shopper never pays a price that the cart did not
show before; a line's sku is in one line only; what a cart no longer points to is discarded.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from msgspec import Struct, field

from tradewind.contexts.orders import problems
from tradewind.contexts.orders.commands import (
    ChangeCart,
    CheckOutCart,
    Discard,
    MergeCarts,
    OpenCart,
    PlaceOrder,
    PutIn,
    SetDetails,
    SetQuantity,
    Shopper,
    Show,
)
from tradewind.contexts.orders.events import (
    HoldAsked,
    HoldLine,
    OrderPlaced,
)
from tradewind.contexts.orders.rules.cart_rows import (
    LINES_MAX,
    QUANTITY_MAX,
    abandoned,
    add_line,
    copy_of,
    give,
    join,
    order_of,
    places_of,
    set_quantity,
    shopper_of,
    standing_of,
)
from tradewind.contexts.orders.rules.cart_views import (
    STANDARD,
    etag_of,
    offer_now,
    price_now,
    view,
)
from tradewind.contexts.orders.rules.placing import Offers, amount, place
from tradewind.contexts.orders.tables.carts import CartRow, Ended
from tradewind.kernel.answers import Answer, Pending
from tradewind.kernel.messages import Event
from tradewind.kernel.money import format_e4, line_total_minor
from tradewind.kernel.problems import FieldError, Problem

TOO_MANY = f"would make more than {QUANTITY_MAX} units of it"


class Patience(Struct, frozen=True):
    """How long a cart may be left alone."""

    abandoned: timedelta
    expires: timedelta
    held: timedelta = timedelta()  # how long units are kept for it; 0: none are


class CartRuling(Struct):
    """What a batch does to carts."""

    rows: dict[str, CartRow] = field(default_factory=dict)  # that changed, or are new
    read: dict[str, CartRow] = field(default_factory=dict)  # as they were; new ones are not here
    gone: list[CartRow] = field(default_factory=list)
    placed: list[tuple[PlaceOrder, OrderPlaced]] = field(default_factory=list)
    discarded: dict[str, None] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)


class CartDesk:
    """Decides requests about carts one by one, on copies of their rows."""

    def __init__(
        self, rows: Iterable[CartRow], offers: Offers, *, now: datetime, patience: Patience
    ) -> None:
        self.rows = {row.cart_id: row for row in rows}
        self.offers = offers
        self.now = now
        self.patience = patience
        self.ruling = CartRuling()

    # -- one request each

    def open(self, command: OpenCart) -> Answer | Problem:
        """A new cart, or the one that the same command made before."""
        known = self.rows.get(command.cart_id)
        if known is not None:
            return self.shown(known, status=201)
        row = CartRow(
            cart_id=command.cart_id,
            version=1,
            currency=command.currency,
            credential=command.credential,
            customer=command.customer,
            customer_group=command.customer_group,
            person=None,
            contact=None,
            shipping_country=None,
            billing_country=None,
            shipping_option=None,
            order_id=None,
            ended=None,
            merged_into=None,
            lines_made=0,
            announced=0,
            last_change=None,
            hold_asked=0,
            hold_until=None,
            created_at=self.now,
            touched_at=self.now,
            look_at=self.now,
            numbers=[],
            skus=[],
            titles=[],
            quantities=[],
            prices_then=[],
            prices_shown=[],
        )
        give(row, command.shopper)
        places: dict[str, int] = {}
        errors: list[FieldError] = []
        for index, line in enumerate(command.lines):
            offer = offer_now(self.offers, row, line.sku, self.now)
            if offer is None:
                errors.append(self.not_sold(line.sku, row.currency, f"/lines/{index}/sku"))
                continue
            place = places.setdefault(offer.sku_key, len(places))
            if place == len(row.numbers):
                add_line(row, offer, line.quantity)
            elif row.quantities[place] + line.quantity > QUANTITY_MAX:
                return invalid(f"/lines/{index}/quantity", TOO_MANY)
            else:
                row.quantities[place] += line.quantity
        if errors:
            return problems.UnknownSku("Remove or replace these lines.", errors=tuple(errors))
        self.rows[row.cart_id] = self.ruling.rows[row.cart_id] = row
        self.touched(row)
        self.ask_hold(row)
        return self.shown(row, status=201)

    def change(self, command: ChangeCart) -> Answer | Problem:
        """A change of a cart that is still one."""
        row = self.rows.get(command.cart_id)
        if isinstance(command.change, Show):
            return self.show(row, command.change)
        if row is not None and row.last_change == command.change_id:
            return Answer(status=204) if row.ended else self.shown(row)
        wrong = refusal(row, command.versions)
        if row is None or wrong is not None:
            return wrong or problems.CartNotFound()
        before = copy_of(row)
        match command.change:
            case PutIn(sku=sku, quantity=quantity):
                wrong = self.put_in(row, sku, quantity)
            case SetQuantity(line=line, quantity=quantity):
                wrong = set_quantity(row, line, quantity)
            case SetDetails():
                wrong = self.set_details(row, command.change)
            case Discard():
                self.end(row, "deleted")
        if wrong is not None:
            self.undo(before)
            return wrong
        if row != before:
            row.last_change = command.change_id
            self.keep(row, before)
            self.ask_hold(row)
        return Answer(status=204) if row.ended else self.shown(row)

    def merge(self, command: MergeCarts) -> Answer | Problem:
        """The lines of one cart into another. Done once, the same is answered without a change."""
        row, guest = self.rows.get(command.cart_id), self.rows.get(command.guest_id)
        if row is not None and guest is not None and guest.merged_into == row.cart_id:
            return self.shown(row) if row.ended != "deleted" else problems.CartNotFound()
        wrong = refusal(row, command.versions) or refusal(guest, None)
        if row is None or guest is None or wrong is not None:
            return wrong or problems.CartNotFound()
        if row is guest:
            return invalid("/from_token", "is that of this cart")
        before, guest_before = copy_of(row), copy_of(guest)
        joined = len(set(map(str.upper, [*row.skus, *guest.skus])))
        if joined > LINES_MAX:
            return invalid("/from_token", f"would make {joined} lines; {LINES_MAX} are the most")
        join(row, guest)
        if row.person is None:
            give(row, shopper_of(guest))
        guest.merged_into = row.cart_id
        self.end(guest, "merged")
        self.keep(guest, guest_before)
        self.keep(row, before)
        self.ask_hold(guest)
        self.ask_hold(row)
        if row.person is not None:
            self.ruling.discarded.pop(row.person, None)  # it moved
        return self.shown(row)

    def take_over(self, guest_id: str, cart_id: str | None, account: str) -> str | None:
        """A guest's cart for whoever signs in: into their cart, or as their cart.

        The id of the cart that is theirs by this; None where nothing changed hands.
        """
        guest = self.rows.get(guest_id)
        if guest is None or guest.customer is not None or refusal(guest, None) is not None:
            return None
        row = None if cart_id is None else self.rows.get(cart_id)
        if row is not None and row.currency == guest.currency and guest.numbers:
            merged = self.merge(MergeCarts(cart_id=row.cart_id, guest_id=guest_id, versions=None))
            if not isinstance(merged, Problem):
                return None
        before = copy_of(guest)
        guest.customer = account
        self.keep(guest, before)
        return guest_id

    def check_out(self, command: CheckOutCart) -> Pending | Problem:
        """The cart as an order, at prices that the shopper was shown."""
        row = self.rows.get(command.cart_id)
        if row is not None and row.order_id == command.order_id:
            return Pending(command.order_id)
        wrong = refusal(row, command.versions)
        if row is None or wrong is not None:
            return wrong or problems.CartNotFound()
        if command.expected_currency not in (None, row.currency):
            return invalid("/expected_total/currency", f"must be {row.currency}")
        before = copy_of(row)
        wrong = self.set_details(row, command.details) or missing(row)
        placed = None
        if wrong is None:
            order = order_of(row, command)
            result = place(order, self.offers, external_taken=False, now=self.now)
            if isinstance(result, Problem):
                wrong = result
            else:
                placed = (order, result)
                wrong = self.refuse_prices(row, command, result)
        if placed is None or wrong is not None:
            self.undo(before)
            if isinstance(wrong, problems.CartPriceChanged):
                self.touch(before)
                before.prices_shown = [
                    price_now(self.offers, before, sku, self.now) for sku in before.skus
                ]
            assert wrong is not None
            return wrong
        row.order_id, row.order_status = command.order_id, "placed"
        row.order_rejection, row.order_was_held = None, False
        row.hold_until = None  # the order takes over what is kept
        self.keep(row, before)
        self.ruling.placed.append(placed)
        self.ruling.events.append(placed[1])
        return Pending(command.order_id)

    def look(self, row: CartRow) -> None:
        """The time has come to look at a cart: was it left, is it over, can it go?"""
        before = copy_of(row)
        standing = standing_of(row)
        expires_at = row.touched_at + self.patience.expires
        if row.ended is not None:
            self.ruling.gone.append(row)
            return
        if standing == "checking_out":
            row.look_at = self.now + timedelta(hours=1)
        elif standing == "ordered":
            row.ended = "ordered"
            row.look_at = max(expires_at, self.now + timedelta(hours=1))
        elif self.now >= expires_at:
            self.end(row, "expired")
            row.version += 1
        elif self.now >= row.touched_at + self.patience.abandoned:
            if row.numbers:
                row.announced += 1
                self.ruling.events.append(abandoned(row))
            row.look_at = expires_at
        else:
            row.look_at = min(row.touched_at + self.patience.abandoned, expires_at)
        self.remember(row, before)

    # -- what they are made of

    def show(self, row: CartRow | None, change: Show) -> Answer | Problem:
        """Note what the shopper was shown. No change of the cart: its version stays."""
        if row is None or standing_of(row) != "open":
            return Answer(status=204)
        seen = dict(change.prices)
        shown = [
            seen.get(number, price)
            for number, price in zip(row.numbers, row.prices_shown, strict=True)
        ]
        if shown != row.prices_shown:
            self.touch(row)
            row.prices_shown = shown
        return Answer(status=204)

    def put_in(self, row: CartRow, sku: str, quantity: int) -> Problem | None:
        """Units of a sku that is sold; more of what is there already add up."""
        offer = offer_now(self.offers, row, sku, self.now)
        if offer is None:
            error = self.not_sold(sku, row.currency, "/sku")
            return problems.UnknownSku("Put something else in.", errors=(error,))
        place = places_of(row).get(offer.sku_key)
        if place is not None:
            if row.quantities[place] + quantity > QUANTITY_MAX:
                return invalid("/quantity", TOO_MANY)
            row.quantities[place] += quantity
        elif len(row.numbers) >= LINES_MAX:
            return invalid("/sku", f"is one more than the {LINES_MAX} lines of a cart")
        else:
            add_line(row, offer, quantity)
        return None

    def not_sold(self, sku: str, currency: str, pointer: str) -> FieldError:
        """Why a sku cannot be put in."""
        elsewhere = self.offers.sells(sku)
        message = f"is not sold in {currency}" if elsewhere else "is not sold here"
        return FieldError(pointer, f"{sku!r} {message}")

    def set_details(self, row: CartRow, details: SetDetails) -> Problem | None:
        """Who and how. Refused where the addresses are no longer those the change was made of."""
        said = details.shopper is not None or details.person_before is not None
        if said and row.person != details.person_before:
            return problems.CartChanged("Read the cart and send the change again.")
        if details.shopper is not None:
            give(row, details.shopper)
        if details.shipping_option is not None:
            if details.shipping_option != STANDARD:
                return invalid("/shipping_option", "is none of the cart's shipping options")
            row.shipping_option = details.shipping_option
        if details.customer is not None:
            row.customer = details.customer
        return None

    def refuse_prices(
        self, row: CartRow, command: CheckOutCart, order: OrderPlaced
    ) -> problems.CartPriceChanged | None:
        """Why the shopper has to look again, if so: a line, or the total, is not what was shown."""
        changed = [
            (number, sku, quantity, before, line.unit_price_e4)
            for number, sku, quantity, before, line in zip(
                row.numbers, row.skus, row.quantities, row.prices_shown, order.lines, strict=True
            )
            if before != line.unit_price_e4
        ]
        expected = command.expected_total_minor
        if not changed and expected in (None, order.total_minor):
            return None
        currency = row.currency
        total_before = order.total_minor
        for _, _, quantity, then, now in changed:
            total_before -= line_total_minor(now, quantity, currency)
            total_before += line_total_minor(then or 0, quantity, currency)
        told = total_before if expected is None else expected
        return problems.CartPriceChanged(
            "Show the new prices; checking out again under a new Idempotency-Key accepts them.",
            lines=[
                {
                    "id": str(number),
                    "sku": sku,
                    "unit_price_before": None if then is None else price(then, currency),
                    "unit_price": price(now, currency),
                }
                for number, sku, _, then, now in changed
            ],
            expected_total=amount(told, currency),
            total=amount(order.total_minor, currency),
        )

    def end(self, row: CartRow, how: Ended) -> None:
        """The cart is over. The row stays as long again, so that who asks hears why."""
        row.ended = how
        give(row, Shopper())
        row.look_at = self.now + self.patience.expires

    def keep(self, row: CartRow, before: CartRow) -> None:
        """A cart that was changed: the next version, and everything in it was shown as it is."""
        row.version = before.version + 1
        self.remember(row, before)
        self.touched(row)

    def ask_hold(self, row: CartRow) -> None:
        """Have inventory keep what is in the cart, from now on for the whole time again."""
        wants = bool(self.patience.held and row.ended is None and row.numbers)
        if not wants and row.hold_until is None:
            return
        row.announced += 1
        row.hold_asked = row.announced
        row.hold_until = self.now + self.patience.held if wants else None
        lines = zip(row.skus, row.quantities, strict=True) if wants else ()
        self.ruling.events.append(
            HoldAsked(
                sequence=row.announced,
                cart_id=row.cart_id,
                lines=tuple(HoldLine(sku=sku, quantity=quantity) for sku, quantity in lines),
                until=row.hold_until or self.now,
            )
        )

    def touched(self, row: CartRow) -> None:
        """Somebody was at the cart: its time begins anew, counted by the hour."""
        row.touched_at = self.now
        if row.ended is None:
            hour = self.now.replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)
            row.look_at = hour + min(self.patience.abandoned, self.patience.expires)
        row.prices_shown = [price_now(self.offers, row, sku, self.now) for sku in row.skus]

    def touch(self, row: CartRow) -> None:
        """Remember that a row changes, and what it was before."""
        self.remember(row, copy_of(row))

    def remember(self, row: CartRow, before: CartRow) -> None:
        """The same, where what it was before is at hand."""
        if row.cart_id not in self.ruling.rows:
            self.ruling.read[row.cart_id] = before
        self.rows[row.cart_id] = self.ruling.rows[row.cart_id] = row
        if before.person is not None and before.person != row.person:
            self.ruling.discarded[before.person] = None

    def undo(self, before: CartRow) -> None:
        """A request that was refused changed nothing."""
        self.rows[before.cart_id] = before
        if before.cart_id in self.ruling.rows:
            self.ruling.rows[before.cart_id] = before

    def shown(self, row: CartRow, *, status: int = 200) -> Answer:
        """The answer that shows the cart."""
        shown = view(row, self.offers, standing_of(row), expires=self.patience.expires, at=self.now)
        headers = {"etag": etag_of(shown)}
        if status == 201:
            headers["location"] = f"/v1/carts/{row.cart_id}"
        return Answer(status=status, body=shown, headers=headers)


def refusal(row: CartRow | None, versions: Sequence[str] | None) -> Problem | None:
    """Why nothing can be done with a cart, if so."""
    if row is None or row.ended == "deleted":
        return problems.CartNotFound()
    match standing_of(row):
        case "ordered":
            return problems.CartOrdered("Begin a new cart.", order_id=row.order_id)
        case "checking_out":
            return problems.CartInCheckout(
                "Its order is being decided: read the cart again in a moment.",
                order_id=row.order_id,
            )
        case "merged" | "expired" as how:
            return problems.CartEnded("Begin a new cart.", ended=how)
    if versions is not None and str(row.version) not in versions:
        return problems.CartVersionMismatch(
            f"The cart is in version {row.version}. Read it again.", version=row.version
        )
    return None


def missing(row: CartRow) -> problems.CartIncomplete | None:
    """What a cart lacks to be an order."""
    lacking = {
        "/lines": not row.numbers,
        "/email": row.contact is None,
        "/shipping_address": row.shipping_country is None,
    }
    errors = tuple(FieldError(pointer, "is missing") for pointer, lacks in lacking.items() if lacks)
    return (
        problems.CartIncomplete("Give the cart what it lacks.", errors=errors) if errors else None
    )


def price(unit_price_e4: int, currency: str) -> dict[str, str]:
    """A unit price as a member of a problem."""
    return {"amount": format_e4(unit_price_e4, currency), "currency": currency}


def invalid(pointer: str, message: str) -> problems.InvalidCart:
    """A refusal that points at one place."""
    where = pointer[1:].replace("/", ".")
    return problems.InvalidCart(f"{where} {message}.", errors=(FieldError(pointer, message),))
