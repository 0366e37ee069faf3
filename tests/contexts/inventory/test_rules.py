"""The rules of stock, one story each."""

import pytest

from tests.contexts.inventory.warehouse import LOW, adjust, count, hold, run
from tradewind.contexts.inventory import rules
from tradewind.contexts.inventory.events import (
    AvailabilityChanged,
    ShortLine,
    StockAdjusted,
    StockAllocated,
    StockCounted,
    StockRefused,
    StockReleased,
    StockReserved,
)
from tradewind.contexts.inventory.problems import (
    ExternalIdTaken,
    QuantityChanged,
    StockWouldBeNegative,
    TooManyUnits,
    UnknownLocation,
)
from tradewind.contexts.inventory.rules import (
    Allocate,
    Book,
    Count,
    Release,
)
from tradewind.contexts.inventory.tables import StockLevel
from tradewind.kernel.messages import Event


def announced(book: Book) -> list[type[Event]]:
    return [type(event) for event in book.events]


def test_all_lines_of_an_order_or_none() -> None:
    book = run(count("mug", 10), count("lamp", 1), hold("ord_1", ("mug", 2), ("lamp", 2)))
    assert book.events[2] == StockRefused(
        sequence=1, order_id="ord_1", short=(ShortLine(sku="LAMP", wanted=2, available=1),)
    )
    assert book.skus["MUG"].shelves[0].reserved == 0


def test_the_same_sku_in_several_lines_is_summed_without_letter_case() -> None:
    book = run(count("mug", 3), hold("ord_1", ("MUG", 2), ("mug", 2)), hold("ord_2", ("Mug", 3)))
    assert announced(book)[1:3] == [StockRefused, StockReserved]
    assert book.reservations["ord_2"].sku_keys == ["MUG"]


def test_a_small_order_after_a_refused_big_one_gets_what_is_free() -> None:
    book = run(count("mug", 5), hold("ord_1", ("mug", 6)), hold("ord_2", ("mug", 5)))
    assert [r.status for r in book.reservations.values()] == ["refused", "reserved"]


def test_an_unknown_sku_has_nothing() -> None:
    book = run(hold("ord_1", ("ghost", 1)))
    assert book.events == [
        StockRefused(
            sequence=1, order_id="ord_1", short=(ShortLine(sku="GHOST", wanted=1, available=0),)
        )
    ]


def test_an_order_is_served_by_priority_and_may_be_split() -> None:
    book = run(count("mug", 2), count("mug", 4, "south"), count("mug", 4, "north"))
    book = run(hold("ord_1", ("mug", 7)), book=book)
    reservation = book.reservations["ord_1"]
    assert reservation.locations == ["main", "north", "south"]
    assert reservation.quantities == [2, 4, 1]
    back = run(Release("ord_1", "cancelled"), book=book)
    assert [shelf.reserved for shelf in back.skus["MUG"].shelves] == [0, 0, 0]


def test_a_count_below_what_is_promised_is_believed() -> None:
    """Nobody orders meanwhile; what is given back covers the gap before it is free again."""
    book = run(count("mug", 10), hold("ord_1", ("mug", 4)), hold("ord_2", ("mug", 4)))
    book = run(count("mug", 5), hold("ord_3", ("mug", 1)), book=book)
    assert book.outcomes[0] == StockLevel("mug", 5, 8, 0, 3, book.outcomes[0].locations)  # type: ignore[union-attr]
    assert book.events[0] == StockCounted(
        sequence=3, sku="mug", location="main", on_hand=5, reserved=8, short=3
    )
    assert announced(book)[1:] == [StockRefused, AvailabilityChanged]
    book = run(Release("ord_1", "cancelled"), hold("ord_4", ("mug", 1)), book=book)
    assert announced(book) == [StockReleased, StockReserved]
    assert book.skus["MUG"].shelves[0].short == 0


def test_units_elsewhere_keep_what_a_short_location_promised() -> None:
    book = run(
        count("mug", 5), hold("ord_1", ("mug", 5)), count("mug", 0), count("mug", 6, "north")
    )
    assert rules.free_units(book.skus["MUG"]) == 1
    book = run(hold("ord_2", ("mug", 2)), hold("ord_3", ("mug", 1)), book=book)
    assert announced(book)[:2] == [StockRefused, StockReserved]
    assert book.reservations["ord_3"].locations == ["north"]


@pytest.mark.parametrize(
    ("free", "mark"),
    [(-3, "out_of_stock"), (0, "out_of_stock"), (1, "low"), (5, "low"), (6, "in_stock")],
)
def test_marks_of_availability(free: int, mark: str) -> None:
    assert rules.availability_of(free, LOW) == mark


def test_availability_is_said_only_on_crossing() -> None:
    book = run(count("mug", 20))
    assert announced(book) == [StockCounted, AvailabilityChanged]
    book = run(hold("ord_1", ("mug", 14)), book=book)
    assert announced(book) == [StockReserved]
    book = run(hold("ord_2", ("mug", 1)), book=book)
    assert book.events[1] == AvailabilityChanged(sequence=3, sku="mug", availability="low")


def test_a_count_that_expects_another_number_is_refused() -> None:
    book = run(count("mug", 3), count("mug", 9, expected=4), count("mug", 9, expected=3))
    assert book.outcomes[1] == QuantityChanged("There are 3 units on hand, not 4.", on_hand=3)
    assert isinstance(book.outcomes[2], StockLevel) and book.outcomes[2].on_hand == 9


def test_a_count_at_an_unknown_location_is_refused() -> None:
    book = run(count("mug", 3, "nowhere"))
    assert book.outcomes == [UnknownLocation("There is no location 'nowhere'.")]
    assert book.skus == {}


def test_units_that_went_are_told_with_their_kind_and_cause() -> None:
    book = run(count("mug", 10), hold("ord_1", ("mug", 4)), adjust("MUG", -5, kind="write_off"))
    assert book.events[2] == StockAdjusted(
        sequence=2,
        sku="mug",
        location="main",
        kind="write_off",
        quantity=-5,
        on_hand=5,
        reserved=4,
        short=0,
        cause="key_1",
    )
    assert [(m.kind, m.on_hand_delta) for m in book.moves] == [("opening", 10), ("write_off", -5)]
    assert book.outcomes[2] == StockLevel("mug", 5, 4, 1, 0, book.outcomes[2].locations)  # type: ignore[union-attr]


def test_no_more_units_leave_than_lie_there() -> None:
    book = run(count("mug", 3), adjust("mug", -4), adjust("ghost", -1), adjust("mug", -3))
    assert book.outcomes[1] == StockWouldBeNegative(
        "There are 3 units on hand, and 4 would leave.", on_hand=3
    )
    assert isinstance(book.outcomes[2], StockWouldBeNegative)
    assert book.outcomes[2].members == {"on_hand": 0} and "GHOST" not in book.skus
    assert book.skus["MUG"].shelves[0].on_hand == 0


def test_units_may_go_that_are_promised_and_are_missing_then() -> None:
    """It has happened, so it is believed; nobody orders until there is enough again."""
    book = run(count("mug", 10), hold("ord_1", ("mug", 8)), adjust("mug", -5, kind="write_off"))
    assert book.skus["MUG"].shelves[0].short == 3
    book = run(hold("ord_2", ("mug", 1)), adjust("mug", 4, kind="found"), book=book)
    assert announced(book) == [StockRefused, StockAdjusted, AvailabilityChanged]
    assert book.skus["MUG"].shelves[0].short == 0


def test_what_is_found_where_nothing_was_opens_a_shelf() -> None:
    book = run(adjust("mug", 7, "north", kind="found"), adjust("mug", 1, "nowhere"))
    assert announced(book) == [StockAdjusted, AvailabilityChanged]
    assert [(s.location, s.on_hand, s.new) for s in book.skus["MUG"].shelves] == [
        ("north", 7, True)
    ]
    assert isinstance(book.outcomes[1], UnknownLocation)


def test_a_movement_is_recorded_once_under_its_name() -> None:
    book = run(count("mug", 9), adjust("mug", -1, external_id="a"), adjust("mug", -2))
    book = run(adjust("mug", -1, external_id="a"), adjust("mug", -1, external_id="b"), book=book)
    assert isinstance(book.outcomes[0], ExternalIdTaken)
    assert book.skus["MUG"].shelves[0].on_hand == 5


def test_a_shelf_has_an_end() -> None:
    book = run(count("mug", 1), adjust("mug", 1_000_000_000))
    assert isinstance(book.outcomes[1], TooManyUnits)


def test_a_count_that_changes_nothing_is_no_fact() -> None:
    book = run(count("mug", 3), count("MUG", 3))
    assert len(book.moves) == 1 and announced(book).count(StockCounted) == 1


def test_an_old_import_seen_again_does_not_undo_a_count() -> None:
    imported = Count("mug", "main", 100, "prd_1", product="prd_1", product_sequence=1)
    book = run(imported, count("mug", 50))
    book = run(imported, book=book)
    assert book.skus["MUG"].shelves[0].on_hand == 50 and book.events == []


def test_an_order_that_ended_before_it_was_seen_never_takes_units() -> None:
    book = run(count("mug", 3), Release("ord_1", "cancelled"))
    book = run(hold("ord_1", ("mug", 1)), Allocate("ord_1"), book=book)
    assert book.events == [] and book.skus["MUG"].shelves[0].reserved == 0


def test_the_life_of_a_reservation_in_one_batch() -> None:
    book = run(
        count("mug", 3), hold("ord_1", ("mug", 2)), Allocate("ord_1"), Release("ord_1", "cancelled")
    )
    assert announced(book)[1:4] == [StockReserved, StockAllocated, StockReleased]
    assert [event.sequence for event in book.events[1:4]] == [1, 2, 3]
    reservation = book.reservations["ord_1"]
    assert (reservation.new, reservation.status, reservation.version) == (True, "released", 3)
