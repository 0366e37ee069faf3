"""When the garbage collector looks."""

import gc
import weakref
from collections.abc import Iterator

import pytest

from tradewind.supervisor import garbage


class Cycle:
    """Goes only when the collector looks."""

    def __init__(self) -> None:
        self.itself = self


@pytest.fixture
def collector() -> Iterator[None]:
    """The collector as it was, afterwards."""
    before = gc.get_threshold()
    garbage.begin()
    gc.collect()
    yield
    gc.set_threshold(*before)


def test_it_looks_only_where_much_has_grown(collector: None) -> None:
    first = weakref.ref(Cycle())
    assert garbage.look() is None
    assert first() is not None, "a few objects are not worth a look"
    grown = [Cycle() for _ in range(garbage.WORTH_A_LOOK)]
    last = weakref.ref(grown[-1])
    assert last() is not None
    del grown
    assert garbage.look() == 0
    assert first() is None
    assert last() is None


def test_what_outlived_looks_is_looked_at_too(collector: None) -> None:
    """A cycle that was in use during a look, and is garbage later, goes too."""
    held: Cycle | None = Cycle()
    kept = weakref.ref(held)
    looks: list[int] = []
    while not looks or looks[-1] < 2:
        grown = [Cycle() for _ in range(garbage.WORTH_A_LOOK)]
        looked = garbage.look()
        assert looked is not None
        looks.append(looked)
        held = None
        del grown
        assert len(looks) < 500
    assert set(looks) == {0, 1, 2}
    assert kept() is None
