"""What carts decide, without a database: by example, and over any order of any requests."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from tradewind.contexts.orders import problems
from tradewind.contexts.orders.commands import (
    CartChange,
    ChangeCart,
    CheckOutCart,
    Discard,
    MergeCarts,
    OpenCart,
    PutIn,
    SetDetails,
    SetQuantity,
    Shopper,
    Show,
    WantedLine,
)
from tradewind.contexts.orders.events import CartAbandoned, OrderPlaced
from tradewind.contexts.orders.rules import Offers
from tradewind.contexts.orders.rules.cart_rows import LINES_MAX, QUANTITY_MAX, copy_of, standing_of
from tradewind.contexts.orders.rules.carts import CartDesk, Patience
from tradewind.contexts.orders.tables import OfferRow
from tradewind.contexts.orders.tables.carts import CartRow, CartView
from tradewind.kernel.answers import Answer, Pending
from tradewind.kernel.ids import new_id
from tradewind.kernel.problems import Problem

NOW = datetime(2026, 11, 22, 12, 30, tzinfo=UTC)
PATIENCE = Patience(abandoned=timedelta(hours=24), expires=timedelta(days=30))
ADA = Shopper(person="prs_ada", contact="ctc_ada", shipping_country="GB")
SKUS = ("Mug", "Pin", "Bag")


def offers(**prices_e4: int) -> Offers:
    """What is sold in pounds, at which price."""
    found = {"Mug": 25_000, "Pin": 10_000, "Bag": 100_000, **prices_e4}
    return Offers(OfferRow(s.upper(), "GBP", s, f"A {s}", p) for s, p in found.items() if p)


def desk(*rows: CartRow, sold: Offers | None = None, now: datetime = NOW) -> CartDesk:
    """A desk with these carts on it."""
    return CartDesk(map(copy_of, rows), sold or offers(), now=now, patience=PATIENCE)


def opened(*lines: tuple[str, int], shopper: Shopper = ADA, currency: str = "GBP") -> CartRow:
    """A new cart."""
    command = OpenCart(
        cart_id=new_id("crt"),
        credential=None,
        customer=None,
        currency=currency,
        lines=tuple(WantedLine(sku=sku, quantity=quantity) for sku, quantity in lines),
        shopper=shopper,
    )
    at = desk()
    answer = at.open(command)
    assert isinstance(answer, Answer), answer
    return at.ruling.rows[command.cart_id]


def changed(row: CartRow, what: CartChange, *, versions: tuple[str, ...] | None = None) -> Any:
    """A request for a change."""
    return ChangeCart(cart_id=row.cart_id, change_id=new_id("chg"), versions=versions, change=what)


def checkout(row: CartRow, **more: Any) -> CheckOutCart:
    """A request to order."""
    fields: dict[str, Any] = {
        "cart_id": row.cart_id,
        "versions": None,
        "order_id": new_id("ord"),
        "payment_id": new_id("pay"),
        "credential": None,
        "payment_token": "tok_ok",
        "expected_total_minor": None,
        "expected_currency": None,
        "details": SetDetails(person_before=row.person),
        **more,
    }
    return CheckOutCart(**fields)


def after(answer: Answer | Problem) -> CartView:
    """The cart that an answer shows."""
    assert isinstance(answer, Answer), answer
    shown: CartView = answer.body
    return shown


def refused(answer: object, kind: type[Problem]) -> Any:
    """The problem, which is one of these."""
    assert type(answer) is kind, answer
    return answer


def decided(row: CartRow, status: str, *, held: bool = False) -> CartRow:
    """The cart once its order was decided."""
    row = copy_of(row)
    row.order_status, row.order_was_held = status, held
    row.order_rejection = "payment_declined" if status == "rejected" else None
    return row


def test_lines_of_one_sku_add_up() -> None:
    """Whatever the case of its letters; the total is the sum of the lines."""
    row = opened(("mug", 1), ("PIN", 2), ("MUG", 3))
    assert (row.skus, row.quantities, row.numbers) == (["Mug", "Pin"], [4, 2], [1, 2])
    at = desk(row)
    shown = after(at.change(changed(row, PutIn("pin", 1))))
    assert [(line.id, line.quantity) for line in shown.lines] == [("1", 4), ("2", 3)]
    assert shown.totals.total.amount == "13.00" and shown.version == 2


def test_a_line_that_was_taken_out_never_lends_its_number() -> None:
    """Who still holds the old number of a line must not change another one."""
    row = opened(("Mug", 1), ("Pin", 1))
    at = desk(row)
    at.change(changed(row, SetQuantity(2, None)))
    shown = after(at.change(changed(row, PutIn("Bag", 1))))
    assert [(line.id, line.sku) for line in shown.lines] == [("1", "Mug"), ("3", "Bag")]
    refused(at.change(changed(row, SetQuantity(2, 9))), problems.CartLineNotFound)


def test_the_limits_of_a_cart() -> None:
    """1,000 lines, a million units; what goes beyond changes nothing."""
    row = opened(("Mug", QUANTITY_MAX))
    at = desk(row)
    refused(at.change(changed(row, PutIn("mug", 1))), problems.InvalidCart)
    sold = Offers(OfferRow(f"S{n}", "GBP", f"S{n}", "S", 100) for n in range(LINES_MAX + 1))
    full = opened()
    at = desk(full, sold=sold)
    for number in range(LINES_MAX):
        at.change(changed(full, PutIn(f"S{number}", 1)))
    refused(at.change(changed(full, PutIn(f"S{LINES_MAX}", 1))), problems.InvalidCart)
    assert len(at.rows[full.cart_id].numbers) == LINES_MAX
    after(at.change(changed(full, PutIn("S7", 1))))


def test_a_request_that_was_refused_leaves_no_trace_in_its_batch() -> None:
    """Also not in a cart that another request of the same batch changed before."""
    row = opened(("Mug", 1))
    at = desk(row)
    after(at.change(changed(row, PutIn("Pin", 1))))
    before = copy_of(at.rows[row.cart_id])
    details = SetDetails(
        person_before=row.person, shopper=Shopper(person="prs_eve"), shipping_option="by pigeon"
    )
    refused(at.change(changed(row, details)), problems.InvalidCart)
    refused(at.check_out(checkout(row, details=details)), problems.InvalidCart)
    assert at.rows[row.cart_id] == at.ruling.rows[row.cart_id] == before
    assert not at.ruling.discarded and not at.ruling.placed


def test_a_change_that_comes_twice_is_known() -> None:
    """A command runs again after a lost connection; what was committed is not done anew."""
    row = opened(("Mug", 1))
    command = changed(row, PutIn("Mug", 1))
    at = desk(row)
    first = after(at.change(command))
    assert after(desk(at.rows[row.cart_id]).change(command)) == first
    order = checkout(row)
    at = desk(row)
    assert at.check_out(order) == Pending(order.order_id)
    again = desk(at.rows[row.cart_id])
    assert again.check_out(order) == Pending(order.order_id) and not again.ruling.placed


def test_a_stale_version_changes_nothing() -> None:
    """Whatever is asked."""
    row = opened(("Mug", 1))
    at = desk(row)
    for what in (PutIn("Mug", 1), SetQuantity(1, None), SetDetails(), Discard()):
        refused(at.change(changed(row, what, versions=("7",))), problems.CartVersionMismatch)
    refused(at.check_out(checkout(row, versions=())), problems.CartVersionMismatch)
    assert not at.ruling.rows
    after(at.change(changed(row, PutIn("Mug", 1), versions=("1",))))


def test_only_one_order_lives() -> None:
    """While one is decided, and once one was accepted, nothing more can be done with the cart."""
    row = opened(("Mug", 1))
    at = desk(row)
    first = checkout(row)
    assert at.check_out(first) == Pending(first.order_id)
    refused(at.check_out(checkout(row)), problems.CartInCheckout)
    placed = at.rows[row.cart_id]
    for status in ("confirmed", "held", "cancelled", "fulfilled", "returned"):
        late = desk(decided(placed, status))
        problem = refused(late.check_out(checkout(row)), problems.CartOrdered)
        assert problem.members["order_id"] == first.order_id
        refused(late.change(changed(row, PutIn("Mug", 1))), problems.CartOrdered)
    reviewed = desk(decided(placed, "rejected", held=True))
    refused(reviewed.check_out(checkout(row)), problems.CartOrdered)
    again = desk(decided(placed, "rejected"))
    second = checkout(row)
    assert again.check_out(second) == Pending(second.order_id)


def test_a_refused_cart_says_why_until_it_is_ordered() -> None:
    """And is as open as before."""
    row = opened(("Mug", 1))
    at = desk(row)
    at.check_out(checkout(row))
    open_again = decided(at.rows[row.cart_id], "rejected")
    assert standing_of(open_again) == "open"
    shown = after(desk(open_again).change(changed(row, PutIn("Mug", 1))))
    assert shown.refusal is not UNSET and shown.refusal.code == "payment_declined"
    assert shown.order is UNSET


def test_a_price_that_was_not_shown_is_refused_once() -> None:
    """Then the cart shows it, in the same version, and the next checkout goes through."""
    row = opened(("Mug", 2), ("Pin", 1))
    dear = offers(Mug=30_000)
    at = desk(row, sold=dear)
    problem = refused(at.check_out(checkout(row)), problems.CartPriceChanged)
    assert problem.kept and problem.code == "price_changed"
    assert problem.members["lines"] == [
        {
            "id": "1",
            "sku": "Mug",
            "unit_price_before": {"amount": "2.50", "currency": "GBP"},
            "unit_price": {"amount": "3.00", "currency": "GBP"},
        }
    ]
    assert problem.members["expected_total"]["amount"] == "6.00"
    assert problem.members["total"]["amount"] == "7.00"
    now = at.rows[row.cart_id]
    assert (now.version, now.prices_shown) == (1, [30_000, 10_000])
    assert now.prices_then == [25_000, 10_000] and not at.ruling.placed
    assert isinstance(desk(now, sold=dear).check_out(checkout(now)), Pending)
    wrong = checkout(now, expected_total_minor=600)
    refused(desk(now, sold=dear).check_out(wrong), problems.CartPriceChanged)


def test_showing_is_no_change() -> None:
    """The version stays; a line that went meanwhile is nobody's."""
    row = opened(("Mug", 1), ("Pin", 1))
    at = desk(row)
    at.change(changed(row, Show(((1, 99), (2, None), (3, 5)))))
    assert at.rows[row.cart_id].prices_shown == [99, None] and at.rows[row.cart_id].version == 1


def test_what_is_not_sold_says_so_and_stops_the_checkout() -> None:
    """The line stays; its price is none, and none was paid."""
    row = opened(("Mug", 1), ("Pin", 1))
    at = desk(row, sold=offers(Mug=0))
    shown = after(at.change(changed(row, SetQuantity(2, 3))))
    gone, pin = shown.lines
    assert not gone.for_sale and gone.unit_price is None and gone.title == "A Mug"
    assert gone.price_when_added is not UNSET and pin.price_when_added is UNSET
    assert shown.totals.total.amount == "3.00"
    problem = refused(at.check_out(checkout(row)), problems.UnknownSku)
    assert [error.pointer for error in problem.errors] == ["/lines/0/sku"]


def test_merging_adds_up_to_the_most_and_ends_the_guests() -> None:
    """The addresses move to a cart without, else they are discarded."""
    mine, theirs = opened(("Mug", 1), shopper=Shopper()), opened(("MUG", QUANTITY_MAX), ("Pin", 2))
    command = MergeCarts(cart_id=mine.cart_id, guest_id=theirs.cart_id, versions=None)
    at = desk(mine, theirs)
    shown = after(at.merge(command))
    assert [(line.sku, line.quantity) for line in shown.lines] == [
        ("Mug", QUANTITY_MAX),
        ("Pin", 2),
    ]
    assert shown.email == ADA.person and not at.ruling.discarded
    guest = at.rows[theirs.cart_id]
    assert (standing_of(guest), guest.merged_into, guest.person) == ("merged", mine.cart_id, None)
    again = desk(*at.rows.values())
    assert after(again.merge(command)) == shown and not again.ruling.rows
    third = opened(("Bag", 1))
    late = MergeCarts(cart_id=third.cart_id, guest_id=theirs.cart_id, versions=None)
    refused(desk(third, guest).merge(late), problems.CartEnded)
    at = desk(third, opened_as := opened(("Pin", 1), shopper=Shopper(person="prs_eve")))
    at.merge(MergeCarts(cart_id=third.cart_id, guest_id=opened_as.cart_id, versions=None))
    assert list(at.ruling.discarded) == ["prs_eve"]


def test_a_cart_of_another_currency_is_priced_anew() -> None:
    """A price of other money is no price that was there before."""
    euros = Offers([OfferRow("MUG", "EUR", "Mug", "A Mug", 30_000)])
    theirs = CartDesk([], euros, now=NOW, patience=PATIENCE)
    command = OpenCart(
        cart_id=new_id("crt"),
        credential=None,
        customer=None,
        currency="EUR",
        lines=(WantedLine(sku="Mug", quantity=2),),
        shopper=Shopper(),
    )
    after(theirs.open(command))
    mine = opened()
    at = desk(mine, theirs.rows[command.cart_id])
    shown = after(
        at.merge(MergeCarts(cart_id=mine.cart_id, guest_id=command.cart_id, versions=None))
    )
    (line,) = shown.lines
    assert line.total is not None and line.total.currency == "GBP"
    assert line.price_when_added is UNSET and shown.totals.total.amount == "5.00"


def test_a_cart_is_left_then_over_then_gone() -> None:
    """Announced once per pause, ended after the whole time, deleted after as long again."""
    row = opened(("Mug", 1))
    assert NOW + PATIENCE.abandoned <= row.look_at <= NOW + PATIENCE.abandoned + timedelta(hours=1)
    at = desk(row, now=row.look_at)
    at.look(at.rows[row.cart_id])
    (event,) = at.ruling.events
    assert isinstance(event, CartAbandoned) and (event.sequence, event.contact) == (1, "ctc_ada")
    left = at.rows[row.cart_id]
    assert left.look_at == NOW + PATIENCE.expires and left.version == 1
    at = desk(left, now=left.look_at)
    at.look(at.rows[row.cart_id])
    over = at.rows[row.cart_id]
    assert (over.ended, over.version, over.person) == ("expired", 2, None)
    assert list(at.ruling.discarded) == ["prs_ada"] and not at.ruling.events
    at = desk(over, now=over.look_at)
    at.look(at.rows[row.cart_id])
    assert [gone.cart_id for gone in at.ruling.gone] == [row.cart_id]


def test_a_cart_that_became_an_order_never_expires() -> None:
    """Its row goes in time, what it knew of the person is the order's; one in checkout waits."""
    row = opened(("Mug", 1))
    at = desk(row)
    at.check_out(checkout(row))
    placed = at.rows[row.cart_id]
    late = NOW + timedelta(days=31)
    at = desk(placed, now=late)
    at.look(at.rows[row.cart_id])
    assert at.rows[row.cart_id].ended is None and at.rows[row.cart_id].look_at > late
    at = desk(decided(placed, "confirmed"), now=late)
    at.look(at.rows[row.cart_id])
    ordered = at.rows[row.cart_id]
    assert (ordered.ended, ordered.person) == ("ordered", "prs_ada") and not at.ruling.discarded


# -- any requests, in any order, in any batches

changes = st.one_of(
    st.builds(PutIn, st.sampled_from(["mug", "PIN", "bag", "nothing"]), st.integers(1, 600_000)),
    st.builds(SetQuantity, st.integers(1, 5), st.none() | st.integers(1, QUANTITY_MAX)),
    st.builds(
        SetDetails,
        person_before=st.sampled_from([None, "prs_ada", "prs_eve"]),
        shopper=st.none() | st.just(Shopper(person="prs_eve", contact="ctc_eve")),
        shipping_option=st.sampled_from([None, "standard", "by pigeon"]),
    ),
    st.just(Discard()),
)
steps = st.one_of(
    st.tuples(st.just("change"), changes),
    st.tuples(st.just("check out"), st.sampled_from([None, 100, 2_500])),
    st.tuples(st.just("decide"), st.sampled_from(["confirmed", "rejected", "held", "cancelled"])),
    st.tuples(st.just("price"), st.sampled_from([0, 25_000, 30_000])),
    st.tuples(st.just("read"), st.none()),
    st.tuples(st.just("sweep"), st.integers(1, 40)),
)


@given(st.lists(st.tuples(st.integers(0, 1), steps, st.booleans()), max_size=40))
def test_whatever_is_asked(script: list[tuple[int, tuple[str, Any], bool]]) -> None:
    """At most one living order a cart; nobody pays what was not shown; refusals change nothing;
    lines stay whole; folding a batch is the same as one request after the other.
    """
    carts = [opened(("Mug", 1)), opened(("Pin", 2), shopper=Shopper())]
    sold, now = offers(), NOW
    at = desk(*carts, sold=sold, now=now)
    alive: Counter[str] = Counter()
    for number, (kind, what), commit in script:
        cart_id = carts[number].cart_id
        if cart_id not in at.rows:
            continue
        before = copy_of(at.rows[cart_id])
        outcome: object = None
        if kind == "change":
            outcome = at.change(changed(before, what))
        elif kind == "check out":
            placed = len(at.ruling.placed)
            outcome = at.check_out(checkout(before, expected_total_minor=what))
            if isinstance(outcome, Pending):
                ((_, order),) = at.ruling.placed[placed:]
                assert isinstance(order, OrderPlaced) and order.cart_id == cart_id
                assert [line.unit_price_e4 for line in order.lines] == before.prices_shown
                assert what in (None, order.total_minor)
                alive[cart_id] += 1
        elif kind == "decide" and standing_of(before) == "checking_out":
            at = desk(*at.rows.values(), sold=sold, now=now)
            at.rows[cart_id] = decided(before, what)
            alive[cart_id] -= what == "rejected"
        elif kind == "price":
            sold = offers(Mug=what)
            at = desk(*at.rows.values(), sold=sold, now=now)
        elif kind == "sweep":
            now += timedelta(days=what)
            at = desk(*at.rows.values(), sold=sold, now=now)
            at.look(at.rows[cart_id])
            for gone in at.ruling.gone:
                at.rows.pop(gone.cart_id, None)
                alive.pop(gone.cart_id, None)
        row = at.rows.get(cart_id)
        if row is None:
            continue
        if isinstance(outcome, Problem):
            if isinstance(outcome, problems.CartPriceChanged):
                row = copy_of(row)
                row.prices_shown = before.prices_shown
            assert row == before
        elif row != before and kind in ("change", "check out"):
            assert row.version == before.version + 1
        assert alive[cart_id] <= 1
        assert (alive[cart_id] == 1) == (standing_of(row) in ("checking_out", "ordered"))
        assert len({sku.upper() for sku in row.skus}) == len(row.skus) == len(row.numbers)
        assert sorted(row.numbers) == row.numbers and all(q > 0 for q in row.quantities)
        if commit:
            at = desk(*at.rows.values(), sold=sold, now=now)
