"""Returns by themselves: whatever is asked in whatever order, nothing comes back twice."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from tradewind.contexts.orders.commands import (
    ApproveReturn,
    Arrival,
    ArrivedLine,
    ReceiveReturn,
    RejectReturn,
    RequestReturn,
    ReturnCommand,
    WantedReturn,
)
from tradewind.contexts.orders.events import ReturnReceived
from tradewind.contexts.orders.rules import Desk
from tradewind.contexts.orders.rules import returns as steps
from tradewind.contexts.orders.rules.documents import tax_in, tax_rates, tax_share
from tradewind.contexts.orders.rules.taking_back import open_returns
from tradewind.contexts.orders.tables import LineRow, OrderRow
from tradewind.kernel.answers import Answer, Pending
from tradewind.kernel.problems import Problem

NOW = datetime(2026, 3, 1, tzinfo=UTC)
ORDER = "ord_1"
RETURNS = ("ret_1", "ret_2", "ret_3")


def order(lines: Sequence[LineRow], *, fees_minor: int = 0, status: str = "fulfilled") -> OrderRow:
    total_minor = sum(line.total_minor for line in lines)
    return OrderRow(
        order_id=ORDER,
        version=3,
        status=status,
        currency="GBP",
        subtotal_minor=total_minor,
        shipping_minor=0,
        tax_minor=0,
        discount_minor=0,
        fees_minor=fees_minor,
        total_minor=total_minor + fees_minor,
        customer="prs_1",
        contact=None,
        payment_id="pay_1",
        payment_status="captured",
        stock_released=False,
        channel="web",
        imported=False,
        external_id=None,
        fees="[]",
        placed_at=NOW,
        decide_before=NOW,
        review_before=None,
        decided_at=NOW,
        rejection_code=None,
    )


lines = st.lists(st.tuples(st.integers(1, 9), st.integers(0, 10_000)), min_size=1, max_size=3).map(
    lambda drawn: [
        LineRow(ORDER, n, f"sku-{n}", "A thing", quantity, 0, total)
        for n, (quantity, total) in enumerate(drawn, start=1)
    ]
)
arrivals = st.builds(
    lambda came, fees: Arrival(
        lines=tuple(came), fees_refund_minor=fees, refund_id="", location="main"
    ),
    st.lists(
        st.builds(
            ArrivedLine,
            line=st.integers(1, 3),
            restock=st.integers(0, 5),
            write_off=st.integers(0, 5),
            refund_minor=st.none() | st.integers(0, 12_000),
        ),
        min_size=1,
        max_size=3,
    ),
    st.integers(0, 300),
)
asked = st.lists(
    st.builds(WantedReturn, line=st.integers(1, 3), quantity=st.integers(1, 9)),
    min_size=1,
    max_size=3,
).map(tuple)
names = st.sampled_from(RETURNS)
commands = st.lists(
    st.one_of(
        st.builds(
            RequestReturn,
            return_id=names,
            order_id=st.just(ORDER),
            by=st.just("key_1"),
            lines=asked,
            reason=st.just("too big"),
            credential=st.none(),
            external_id=st.none(),
            at=st.none(),
            arrival=st.none() | arrivals,
        ),
        st.builds(ApproveReturn, return_id=names, order_id=st.just(ORDER), by=st.just("key_1")),
        st.builds(
            RejectReturn,
            return_id=names,
            order_id=st.just(ORDER),
            by=st.just("key_1"),
            reason=st.just("worn"),
        ),
        st.builds(
            ReceiveReturn,
            return_id=names,
            order_id=st.just(ORDER),
            by=st.just("key_1"),
            arrival=arrivals,
        ),
    ),
    max_size=14,
)


def desk_of(row: OrderRow, of_it: Sequence[LineRow]) -> Desk:
    return Desk([row], {ORDER: of_it}, now=NOW, review_within=timedelta(days=2))


@given(lines, st.integers(0, 250), commands)
def test_nothing_comes_back_twice(
    of_it: list[LineRow], fees_minor: int, asked_for: list[ReturnCommand]
) -> None:
    """And nobody gets more than was paid; a refusal changes nothing and says why."""
    row = order(of_it, fees_minor=fees_minor)
    desk, returns = desk_of(row, of_it), open_returns()
    used: set[str] = set()
    for command in asked_for:
        if isinstance(command, RequestReturn):
            if command.return_id in used:
                continue  # ids are new: the route makes them
            used.add(command.return_id)
        before = row.version, len(desk.ruling.events)
        told = steps.decide(desk, returns, command)
        if isinstance(told, Problem):
            assert (row.version, len(desk.ruling.events)) == before
        else:
            assert isinstance(told, Answer | Pending)
            assert row.version > before[0]
    for (_, line), left in returns.returnable.items():
        assert 0 <= left.arrived <= left.promised <= left.units
        assert 0 <= left.refunded_minor <= left.total_minor
        assert left.total_minor == (of_it[line - 1].total_minor if line else fees_minor)
    arrived = sum(left.arrived for (_, line), left in returns.returnable.items() if line)
    sent = sum(line.quantity for line in of_it)
    expected = "fulfilled" if not arrived else "returned" if arrived == sent else "partly_returned"
    assert row.status == expected
    paid_back = sum(r.refund_minor for r in returns.rows.values())
    assert paid_back == sum(left.refunded_minor for left in returns.returnable.values())
    assert paid_back <= row.total_minor


@given(lines, st.data())
def test_the_parts_of_a_line_add_up_to_it(of_it: list[LineRow], data: st.DataObject) -> None:
    """Units that come back in any portions are worth together what was paid for them."""
    row = order(of_it)
    desk, returns = desk_of(row, of_it), open_returns()
    number = 0
    for line in of_it:
        left = line.quantity
        while left:
            units = data.draw(st.integers(1, left))
            number, left = number + 1, left - units
            came = ArrivedLine(line=line.number, restock=units, write_off=0)
            told = steps.decide(
                desk,
                returns,
                RequestReturn(
                    return_id=f"ret_{number}",
                    order_id=ORDER,
                    by="key_1",
                    lines=(WantedReturn(line=line.number, quantity=units),),
                    reason="too big",
                    credential=None,
                    external_id=None,
                    at=None,
                    arrival=Arrival(
                        lines=(came,), fees_refund_minor=0, refund_id="", location="main"
                    ),
                ),
            )
            assert not isinstance(told, Problem)
    assert row.status == "returned"
    assert sum(r.refund_minor for r in returns.rows.values()) == row.subtotal_minor


@given(st.lists(st.integers(0, 100_000), min_size=1, max_size=20), st.integers(0, 2_500))
def test_the_tax_of_all_refunds_is_the_tax_of_their_sum(refunds: list[int], rate_bp: int) -> None:
    before = tax = 0
    for amount in refunds:
        share = tax_share(before, amount, rate_bp)
        assert 0 <= share <= amount
        before, tax = before + amount, tax + share
    assert tax == tax_in(before, rate_bp)


def test_rates_are_read_as_they_are_written() -> None:
    rates = tax_rates("GB=20 DE=19, FR=5.5 *=0.25")
    assert [rates.of(c) for c in ("GB", "DE", "FR", "US", None)] == [2000, 1900, 550, 25, 25]
    assert tax_rates("").of("GB") == 0
    assert tax_in(12_000, 2_000) == 2_000


def test_events_of_a_return_carry_what_others_need() -> None:
    """Inventory needs units and place, payments the amount under the id it goes back by."""
    of_it = [LineRow(ORDER, 1, "mug", "A mug", 3, 0, 1_000)]
    desk, returns = desk_of(order(of_it), of_it), open_returns()
    arrival = Arrival(
        lines=(ArrivedLine(line=1, restock=1, write_off=1),),
        fees_refund_minor=0,
        refund_id="ref_1",
        location="barn",
    )
    steps.decide(
        desk,
        returns,
        RequestReturn(
            return_id="ret_1",
            order_id=ORDER,
            by="key_1",
            lines=(WantedReturn(line=1, quantity=3),),
            reason="too big",
            credential=None,
            external_id=None,
            at=None,
            arrival=arrival,
        ),
    )
    names_of = [type(event).__name__ for event in desk.ruling.events]
    assert names_of == ["ReturnRequested", "ReturnApproved", "ReturnReceived"]
    received = desk.ruling.events[-1]
    assert isinstance(received, ReturnReceived)
    assert (received.refund_minor, received.refund_id, received.location) == (667, "ref_1", "barn")
    assert [(line.restock, line.write_off) for line in received.lines] == [(1, 1)]
