"""What a process committed is handed out where nothing can stand in between, and only there."""

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from tests.platform.bus.workshop import Touched
from tradewind.kernel.messages import Position
from tradewind.platform.bus.log import END_OF_XID
from tradewind.platform.bus.recent import Announced, Recent

NOW = datetime(2026, 11, 22, tzinfo=UTC)


def unit(xid: int, events: int) -> Announced:
    facts = [Touched(sequence=n + 1, thing_id=f"t{xid}") for n in range(events)]
    return Announced("toy", NOW, facts, {})


def test_a_missing_transaction_holds_back_all_behind_it() -> None:
    """Until it comes, or the log is asked."""
    recent = Recent()
    recent.put(11, unit(11, 2))
    recent.put(13, unit(13, 1))
    found, cursor = recent.after(Position(10, END_OF_XID))
    assert [m.position for m in found] == [Position(11, 1), Position(11, 2)]
    assert cursor == Position(11, END_OF_XID)
    assert recent.after(cursor) == ([], cursor)
    recent.put(12, None)
    found, cursor = recent.after(cursor)
    assert [m.position for m in found] == [Position(13, 1)]
    assert cursor == Position(13, END_OF_XID)


def test_in_the_middle_of_a_transaction_the_log_is_asked() -> None:
    """Its other events were not handed out yet."""
    recent = Recent()
    recent.put(11, unit(11, 2))
    middle = Position(10, 3)
    assert recent.after(middle) == ([], middle)


def test_what_was_read_is_dropped() -> None:
    """Also what announced nothing."""
    recent = Recent()
    for xid in (11, 12, 13):
        recent.put(xid, None)
    recent.drop(12)
    assert recent.after(Position(12, END_OF_XID)) == ([], Position(13, END_OF_XID))
    assert not recent


@given(
    order=st.permutations(range(1, 9)), sizes=st.lists(st.integers(0, 3), min_size=8, max_size=8)
)
def test_whatever_order_commits_are_heard_in_the_log_has_its_own(
    order: list[int], sizes: list[int]
) -> None:
    """Every event once, by transaction and number."""
    recent, cursor, handed = Recent(), Position(0, END_OF_XID), []
    for xid in order:
        size = sizes[xid - 1]
        recent.put(xid, unit(xid, size) if size else None)
        found, cursor = recent.after(cursor)
        handed += [message.position for message in found]
    assert handed == [Position(x, n + 1) for x in range(1, 9) for n in range(sizes[x - 1])]
    assert cursor == Position(8, END_OF_XID)
