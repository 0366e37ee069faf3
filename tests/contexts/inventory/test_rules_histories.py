"""The rules of stock against a reference, for whatever history of requests."""

from collections import Counter
from collections.abc import Sequence

from hypothesis import given

from tests.contexts.inventory.warehouse import (
    LOW,
    Warehouse,
    empty_book,
    histories,
    reopen,
    rows_of,
    run,
)
from tradewind.contexts.inventory import rules
from tradewind.contexts.inventory.events import (
    Availability,
    AvailabilityChanged,
    StockAdjusted,
    StockAllocated,
    StockCounted,
    StockReleased,
)
from tradewind.contexts.inventory.rules import (
    Adjust,
    Book,
    Count,
    Hold,
    Request,
)


@given(histories)
def test_batches_decide_what_one_by_one_decides(history: list[list[Request]]) -> None:
    """However requests are cut into batches, counts and reservations end as the reference has them;
    every ledger sums up, and `short` is exactly the gap.
    """
    warehouse = Warehouse()
    book = empty_book()
    moved: Counter[tuple[str, str]] = Counter()
    for batch in history:
        book = run(*batch, book=book)
        for request in batch:
            warehouse.apply(request)
        for move in book.moves:
            moved[move.sku_key, move.location] += move.on_hand_delta
        check_against(book, warehouse, moved)


def check_against(book: Book, warehouse: Warehouse, moved: Counter[tuple[str, str]]) -> None:
    assert set(book.skus) == warehouse.counted
    assert {r.order_id: r.status for r in book.reservations.values()} == warehouse.status
    promised: Counter[tuple[str, str]] = Counter()
    for reservation in book.reservations.values():
        if reservation.status not in ("reserved", "allocated"):
            continue
        places = reservation.locations or ["main"] * len(reservation.sku_keys)
        totals: Counter[str] = Counter()
        for key, quantity, place in zip(
            reservation.sku_keys, reservation.quantities, places, strict=True
        ):
            promised[key, place] += quantity
            totals[key] += quantity
        assert totals == Counter(warehouse.held[reservation.order_id])
    for sku in book.skus.values():
        assert rules.free_units(sku) == warehouse.available(sku.key)
        assert sku.availability == rules.availability_of(rules.free_units(sku), LOW)
        for shelf in sku.shelves:
            where = (sku.key, shelf.location)
            assert shelf.on_hand == warehouse.on_hand[where] == moved[where]
            assert shelf.reserved == promised[where]
            assert shelf.short == max(shelf.reserved - shelf.on_hand, 0)


@given(histories)
def test_reservations_alone_never_promise_more_than_there_is(history: list[list[Request]]) -> None:
    """Counts and movements first, nothing counted afterwards: no shelf is ever short."""
    flat = [request for batch in history for request in batch]
    book = run(*[request for request in flat if isinstance(request, Count | Adjust)])
    book = run(*[request for request in flat if not isinstance(request, Count | Adjust)], book=book)
    for sku in book.skus.values():
        assert all(0 <= shelf.reserved <= shelf.on_hand for shelf in sku.shelves)


@given(histories)
def test_a_batch_seen_again_changes_nothing(history: list[list[Request]]) -> None:
    """Repeats of orders' events and of a product's counts are known by status and version."""
    book = empty_book()
    for batch in history:
        told = [r for r in batch if not is_said(r)]
        told.sort(key=lambda r: not isinstance(r, Hold))  # in the log, an order is placed first
        book = run(*told, book=book)
        again = run(*[r for r in told if not changes_hands(told, r)], book=book)
        assert again.events == [] and again.moves == []
        assert rows_of(again) == rows_of(reopen(book))


def is_said(request: Request) -> bool:
    """Whether a person said it: then nothing but its key tells a repeat. What was refused for want
    of units has left nothing behind, and may be possible the next time.
    """
    if isinstance(request, Adjust):
        return request.external_id is None or request.quantity < 0
    return isinstance(request, Count) and request.product is None


def changes_hands(batch: Sequence[Request], request: Request) -> bool:
    """Whether two products counted a sku in one batch: then no version tells which is new."""
    return isinstance(request, Count) and any(
        isinstance(other, Count)
        and other.sku.upper() == request.sku.upper()
        and other.product != request.product
        for other in batch
    )


@given(histories)
def test_sequences_have_no_gaps(history: list[list[Request]]) -> None:
    """Per order and per sku, sequences are 1..n over all batches; marks are said on crossing."""
    book = empty_book()
    sequences: Counter[str] = Counter()
    marks: dict[str, Availability] = {}
    for batch in history:
        book = run(*batch, book=book)
        for event in book.events:
            sequences[event.subject] += 1
            assert event.sequence == sequences[event.subject]
            if isinstance(event, AvailabilityChanged):
                assert marks.get(event.subject) != event.availability
                marks[event.subject] = event.availability
    assert marks == {"sku:" + sku.key: sku.availability for sku in book.skus.values()}


@given(histories)
def test_the_facts_about_a_sku_tell_what_lies_where(history: list[list[Request]]) -> None:
    """Whoever keeps the last count or movement of each location knows every shelf; and a movement
    is what lies between the one before and itself.
    """
    book = empty_book()
    told: dict[tuple[str, str], tuple[int, int, int]] = {}
    for batch in history:
        book = run(*batch, book=book)
        for event in book.events:
            if isinstance(event, StockCounted | StockAdjusted):
                where = (event.sku.upper(), event.location)
                if isinstance(event, StockAdjusted):
                    before = told.get(where, (0, 0, 0))[0]
                    assert event.on_hand == before + event.quantity
                told[where] = (event.on_hand, event.reserved, event.short)
                assert event.short == max(event.reserved - event.on_hand, 0)
    there = {
        (sku.key, shelf.location): shelf.on_hand
        for sku in book.skus.values()
        for shelf in sku.shelves
    }
    assert {where: numbers[0] for where, numbers in told.items()} == there


@given(histories)
def test_only_the_changed_is_marked_for_saving(history: list[list[Request]]) -> None:
    """A shelf with the cheap statement only lost free units; only steps rewrite a reservation."""
    book = empty_book()
    for batch in history:
        book = run(*batch, book=book)
        for sku in book.skus.values():
            for shelf in sku.shelves:
                if shelf.taken_only:
                    assert shelf.on_hand == shelf.on_hand_before
                    assert shelf.reserved >= shelf.reserved_before
                    assert shelf.reserved == shelf.reserved_before or shelf.short == 0
        stepped = {e.subject for e in book.events if isinstance(e, StockAllocated | StockReleased)}
        changed = {r.order_id for r in book.reservations.values() if r.changed}
        assert changed == stepped
