"""Units kept for carts: by example, and among orders and counts in any order."""

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tradewind.contexts.inventory import rules
from tradewind.contexts.inventory.events import HoldEnded, StockRefused, StockReserved, UnitsHeld
from tradewind.contexts.inventory.rules import Book, HoldDue
from tradewind.contexts.inventory.tables import ShelfRow
from tradewind.kernel.terms import PaymentTerms

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
LATER = NOW + timedelta(minutes=10)
TERMS: PaymentTerms = None  # type: ignore[assignment]  # passed on unread


def book(**on_hand: int) -> Book:
    """A book with these skus in the main location."""
    return rules.open_book(
        [
            ShelfRow(key.upper(), key, "in_stock", 1, None, 0, "main", units, 0, 0)
            for key, units in on_hand.items()
        ],
        [],
        main="main",
        low_stock_quantity=0,
    )


def keep(asked: int, *lines: tuple[str, int], cart: str = "crt_a") -> rules.KeepUnits:
    """A cart wants this."""
    return rules.KeepUnits(cart, asked, lines, LATER)


def end(asked: int, reason: str = "ordered", *, cart: str = "crt_a") -> rules.EndHold:
    """It wants nothing more."""
    return rules.EndHold(cart, asked, reason, NOW)


def order(name: str, *lines: tuple[str, int]) -> rules.Hold:
    """An order wants this."""
    return rules.Hold(name, lines, TERMS)


def reserved(of: Book, key: str) -> int:
    """The promised units of a sku."""
    return sum(shelf.reserved for shelf in of.skus[key].shelves)


def test_a_cart_keeps_what_there_is() -> None:
    """Of each sku as much as is free, and says what is missing."""
    done = rules.decide(book(mug=3, pin=5), [keep(1, ("mug", 5), ("PIN", 2), ("none", 1))])
    assert (reserved(done, "MUG"), reserved(done, "PIN")) == (3, 2)
    (told,) = [e for e in done.events if isinstance(e, UnitsHeld)]
    assert [(u.sku, u.quantity) for u in told.taken] == [("MUG", 3), ("PIN", 2)]
    assert [(s.sku, s.available) for s in told.short] == [("MUG", 3), ("NONE", 0)]
    timer = done.timers["crt_a"]
    assert timer.due_at == LATER and isinstance(timer.event, HoldDue)


def test_a_later_request_takes_the_place_of_the_first() -> None:
    """And an older one that comes late changes nothing."""
    at = rules.decide(book(mug=5), [keep(1, ("mug", 2)), keep(3, ("mug", 4)), keep(2, ("mug", 1))])
    assert reserved(at, "MUG") == 4
    done = rules.decide(at, [keep(4)])
    assert reserved(done, "MUG") == 0
    assert isinstance([e for e in done.events if e.subject == "crt_a"][-1], HoldEnded)


def test_the_order_of_a_cart_takes_its_units_and_nobody_comes_between() -> None:
    """The last unit is the cart's: whoever else orders before is refused, its own order is not."""
    script: list[rules.Request] = [keep(1, ("mug", 1)), order("ord_x", ("mug", 1))]
    script += [end(1), order("ord_own", ("mug", 1)), order("ord_y", ("mug", 1))]
    done = rules.decide(book(mug=1), script)
    of_orders = {e.subject: type(e) for e in done.events if e.subject.startswith("ord_")}
    assert of_orders == {"ord_x": StockRefused, "ord_own": StockReserved, "ord_y": StockRefused}
    assert reserved(done, "MUG") == 1 and done.holds["crt_a"].status == "ended"


def test_a_hold_that_comes_after_its_order_takes_nothing() -> None:
    """The log keeps no order between a cart's events and its order's; the number does."""
    done = rules.decide(book(mug=5), [end(2), order("ord_own", ("mug", 2)), keep(2, ("mug", 2))])
    assert reserved(done, "MUG") == 2
    assert reserved(rules.decide(done, [keep(3, ("mug", 1))]), "MUG") == 3, "the cart is open again"


def test_time_ends_a_hold_and_then_its_memory() -> None:
    """One that was extended meanwhile is not ended by the first's clock."""
    at = rules.decide(book(mug=5), [keep(1, ("mug", 2)), keep(2, ("mug", 2)), end(1, "expired")])
    assert reserved(at, "MUG") == 2
    at = rules.decide(at, [end(2, "expired")])
    assert reserved(at, "MUG") == 0 and at.timers["crt_a"].due_at == NOW + timedelta(days=1)
    assert rules.decide(at, [end(2, "expired")]).holds["crt_a"].gone


carts = st.sampled_from(["crt_a", "crt_b"])
lines = st.lists(
    st.tuples(st.sampled_from(["mug", "PIN", "none"]), st.integers(1, 6)), max_size=3
).map(tuple)
requests: st.SearchStrategy[Any] = st.one_of(
    st.builds(rules.KeepUnits, carts, st.integers(1, 8), lines, st.just(LATER)),
    st.builds(
        rules.EndHold,
        carts,
        st.integers(1, 8),
        st.sampled_from(["expired", "ordered"]),
        st.just(NOW),
    ),
    st.builds(rules.Hold, st.sampled_from(["ord_1", "ord_2", "ord_3"]), lines, st.just(TERMS)),
    st.builds(rules.Release, st.sampled_from(["ord_1", "ord_2"]), st.just("cancelled")),
    st.builds(
        rules.Count,
        st.sampled_from(["mug", "pin"]),
        st.just("main"),
        st.integers(0, 9),
        st.just("key_a"),
    ),
)


@given(st.lists(requests, max_size=30))
def test_whatever_is_asked_nothing_is_promised_twice(script: list[Any]) -> None:
    """Reserved is what living reservations and holds add up to; only a count leaves units short;
    the number of a cart's request never goes back; each request heard again changes nothing.
    """
    at = book(mug=5, pin=3)
    for request in script:
        before = {cart: hold.asked for cart, hold in at.holds.items()}
        short = {key: sku.shelves[0].short for key, sku in at.skus.items()}
        rules.decide(at, [request])
        promised = dict.fromkeys(at.skus, 0)
        living: list[Any] = [
            *(r for r in at.reservations.values() if r.status in ("reserved", "allocated")),
            *(h for h in at.holds.values() if h.status == "held"),
        ]
        for kept in living:
            for key, quantity in zip(kept.sku_keys, kept.quantities, strict=True):
                promised[key] += quantity
        for key, sku in at.skus.items():
            (shelf,) = sku.shelves
            assert shelf.reserved == promised[key]
            assert shelf.short == max(shelf.reserved - shelf.on_hand, 0)
            if not isinstance(request, rules.Count):
                assert shelf.short <= short[key]
        assert all(at.holds[cart].asked >= asked for cart, asked in before.items())
        counted = {key: reserved(at, key) for key in at.skus}
        events = len(at.events)
        if isinstance(request, rules.KeepUnits | rules.EndHold | rules.Hold):
            rules.decide(at, [request])
            assert {key: reserved(at, key) for key in at.skus} == counted
            assert len(at.events) == events
