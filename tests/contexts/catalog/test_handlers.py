"""Units of work of the catalog on a real database."""

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from tests.contexts.catalog.factories import body, line, variant
from tradewind.contexts.catalog.commands import (
    ArchiveProduct,
    BeginImport,
    FinishImport,
    ImportChunk,
    ImportProgress,
    Precondition,
    UpsertProduct,
)
from tradewind.contexts.catalog.events import ProductChanged
from tradewind.contexts.catalog.handlers import imports
from tradewind.contexts.catalog.handlers.availability import remember_availability
from tradewind.contexts.catalog.handlers.products import archive_products, upsert_products
from tradewind.contexts.catalog.problems import InvalidProduct, SkuTaken
from tradewind.contexts.catalog.tables import Product
from tradewind.contexts.inventory.events import AvailabilityChanged
from tradewind.kernel.answers import Answer
from tradewind.kernel.ids import new_id
from tradewind.kernel.imports import ImportNotFound
from tradewind.kernel.messages import Decision
from tradewind.testing.database import UnitRunner

pytestmark = pytest.mark.asyncio(loop_scope="session")


def upsert(external_id: str, *skus: str, wanted: Precondition | None = None, **fields: Any) -> Any:
    return UpsertProduct(
        product_id=new_id("prd"),
        external_id=external_id,
        body=body(*skus or (f"{external_id}-1",), **fields),
        precondition=wanted or Precondition(),
    )


async def put(unit: UnitRunner, *commands: UpsertProduct) -> Decision:
    decision: Decision = await unit.run("catalog", upsert_products, commands)
    return decision


async def row(unit: UnitRunner, external_id: str) -> Any:
    sql = "SELECT * FROM catalog.products WHERE external_id = $1"
    (found,) = await unit.sql(sql, external_id)
    return found


def changes(decision: Decision) -> list[ProductChanged]:
    assert all(isinstance(event, ProductChanged) for event in decision.events)
    return [event for event in decision.events if isinstance(event, ProductChanged)]


def seen(document: str | bytes) -> Product:
    return msgspec.json.decode(document, type=Product)


async def test_a_product_is_created_once_and_found_as_it_was_sent(unit: UnitRunner) -> None:
    command = upsert("one", "One-1", "One-2", category="Home/Light", attributes={"w": 1.5, "a": 1})
    decision = await put(unit, command)
    (answer,) = decision.outcomes
    assert (answer.status, len(decision.events)) == (201, 1)
    stored = await row(unit, "one")
    assert stored["document"].encode() == answer.body
    assert answer.headers["ETag"] == f'"1-{stored["mark"]}"'
    assert stored["categories"] == ["Home", "Home/Light"]
    again = await put(unit, command)
    assert again.outcomes[0].status == 200
    assert (again.outcomes[0].body, list(again.events)) == (answer.body, [])
    paths = await unit.sql("SELECT path, parent FROM catalog.categories ORDER BY path")
    assert [tuple(path) for path in paths] == [("Home", None), ("Home/Light", "Home")]


async def test_requests_of_one_batch_see_each_other_in_their_order(unit: UnitRunner) -> None:
    """Two of one product are folded into one row and two events; a sku goes to the first."""
    decision = await put(
        unit,
        upsert("two", "T-1", title="First"),
        upsert("thief", "t-1"),
        upsert("two", "T-2", title="Second"),
        upsert("bad", title="  "),
        upsert("two", "T-3", wanted=Precondition(versions=(1,))),
    )
    first, taken, second, invalid, stale = decision.outcomes
    assert (first.status, second.status) == (201, 200)
    assert isinstance(taken, SkuTaken) and isinstance(invalid, InvalidProduct)
    assert stale.status == 412
    assert [(event.title, event.sequence) for event in changes(decision)] == [
        ("First", 1),
        ("Second", 2),
    ]
    stored = await row(unit, "two")
    assert (stored["title"], stored["version"]) == ("Second", 2)
    variants = await unit.sql(
        "SELECT sku, archived FROM catalog.variants WHERE product_id = $1 ORDER BY position",
        stored["product_id"],
    )
    assert [tuple(v) for v in variants] == [("T-2", False), ("T-1", True)]
    assert not await unit.sql("SELECT 1 FROM catalog.products WHERE external_id = 'thief'")


async def test_archived_and_brought_back(unit: UnitRunner) -> None:
    await put(unit, upsert("gone", "G-1"))
    command = ArchiveProduct(external_id="gone")
    decision = await unit.run("catalog", archive_products, [command, command])
    assert [outcome.status for outcome in decision.outcomes] == [204, 204]
    assert [event.archived for event in decision.events] == [True]
    assert (await row(unit, "gone"))["archived"] is True
    back = await put(unit, upsert("gone", "G-1"))
    assert (back.outcomes[0].status, back.events[0].sequence) == (200, 3)


async def test_availability_is_shown_whichever_comes_first(unit: UnitRunner) -> None:
    """Word of a sku may come before its product; a late repetition of old word changes nothing."""

    async def tell(sku: str, availability: Any, sequence: int) -> None:
        event = AvailabilityChanged(sku=sku, availability=availability, sequence=sequence)
        await unit.run("catalog", remember_availability, [event])

    await tell("av-1", "in_stock", 1)
    (answer,) = (await put(unit, upsert("av", "AV-1", "AV-2"))).outcomes
    assert [v.availability for v in seen(answer.body).variants] == ["in_stock", "out_of_stock"]
    await tell("AV-2", "low", 4)
    changed = await row(unit, "av")
    assert [v.availability for v in seen(changed["document"]).variants] == ["in_stock", "low"]
    assert (changed["version"], changed["mark"] != answer.headers["ETag"]) == (1, True)
    assert f'"1-{changed["mark"]}"' != answer.headers["ETag"]
    await tell("AV-2", "in_stock", 3)
    assert (await row(unit, "av"))["mark"] == changed["mark"]
    (later,) = (await put(unit, upsert("av", "AV-2"))).outcomes
    assert [v.availability for v in seen(later.body).variants] == ["low"]


async def test_many_at_once_lose_nothing(unit: UnitRunner) -> None:
    """Eight units about the same products, skus and marks: all commit, versions have no gaps."""

    async def change(number: int) -> Sequence[Any]:
        commands = [
            upsert(f"race-{n}", f"R-{n}", f"R-{n}-{number}", title=f"Round {number}")
            for n in range(5)
        ]
        return (await put(unit, *commands[number % 2 :], *commands[: number % 2])).events

    async def tell(number: int) -> Sequence[Any]:
        events = [
            AvailabilityChanged(sku=f"R-{n}", availability="low", sequence=number + 1)
            for n in range(5)
        ]
        await unit.run("catalog", remember_availability, events)
        return []

    done = await asyncio.gather(*(change(n) for n in range(8)), *(tell(n) for n in range(4)))
    events: list[ProductChanged] = [event for some in done for event in some]
    for n in range(5):
        stored = await row(unit, f"race-{n}")
        own = sorted(e.sequence for e in events if e.product_id == stored["product_id"])
        assert own == list(range(1, 9))
        assert stored["version"] == 8
        shown = seen(stored["document"])
        assert (shown.variants[0].sku, shown.variants[0].availability) == (f"R-{n}", "low")


async def begin(unit: UnitRunner) -> str:
    import_id = new_id("imp")
    await unit.run("catalog", imports.begin_imports, [BeginImport(import_id=import_id)])
    return import_id


async def take(unit: UnitRunner, *chunks: ImportChunk) -> list[Any]:
    decision: Decision = await unit.run("catalog", imports.take_chunks, chunks)
    return list(decision.outcomes)


async def test_an_import_commits_lines_events_and_report_together(unit: UnitRunner) -> None:
    import_id = await begin(unit)
    lines = (
        line("imp-a", "IA-1", variants=[variant("IA-1", on_hand=7)]),
        b"{broken",
        None,
        b"",
        line("imp-b", "ia-1"),
        line("imp-a", "IA-1", title="Better"),
    )
    chunk = ImportChunk(import_id=import_id, first_line=1, lines=lines)
    decision = await unit.run("catalog", imports.take_chunks, [chunk])
    (progress,) = decision.outcomes
    assert progress == ImportProgress(
        import_id=import_id,
        lines_taken=6,
        accepted=2,
        rejected=3,
        finished=False,
        digest=progress.digest,
    )
    assert [(event.title, event.variants[0].on_hand) for event in decision.events] == [
        ("Mug", 7),
        ("Better", None),
    ]
    errors = await unit.sql(
        "SELECT line, code FROM catalog.import_errors WHERE import_id = $1 ORDER BY line", import_id
    )
    assert [tuple(error) for error in errors] == [
        (2, "broken_json"),
        (3, "line_too_long"),
        (5, "sku_taken"),
    ]
    again = await unit.run("catalog", imports.take_chunks, [chunk])
    assert (list(again.outcomes), list(again.events)) == ([progress], [])
    finish = FinishImport(import_id=import_id)
    (finished,) = (await unit.run("catalog", imports.finish_imports, [finish])).outcomes
    assert finished == msgspec.structs.replace(progress, finished=True)


async def test_a_unit_takes_no_more_lines_than_its_rows_allow(unit: UnitRunner) -> None:
    """Two imports in one batch share the budget, and each goes on."""
    first, second = await begin(unit), await begin(unit)
    wide = [line(f"w{n}", *(f"w{n}-{v}" for v in range(99))) for n in range(30)]
    chunks = [
        ImportChunk(import_id=first, first_line=1, lines=tuple(wide)),
        ImportChunk(import_id=second, first_line=1, lines=tuple(wide[20:])),
    ]
    progress = await take(unit, *chunks)
    assert [p.lines_taken for p in progress] == [4, 1]
    rest = ImportChunk(import_id=first, first_line=5, lines=tuple(wide[4:]))
    assert (await take(unit, rest))[0].lines_taken == 8


async def test_an_import_that_is_not_there(unit: UnitRunner) -> None:
    ghost = new_id("imp")
    chunk = ImportChunk(import_id=ghost, first_line=1, lines=(line("ghost"),))
    assert isinstance((await take(unit, chunk))[0], ImportNotFound)
    assert not await unit.sql("SELECT 1 FROM catalog.products WHERE external_id = 'ghost'")
    resume = BeginImport(import_id=ghost, must_exist=True)
    (outcome,) = (await unit.run("catalog", imports.begin_imports, [resume])).outcomes
    assert isinstance(outcome, ImportNotFound)
    finish = FinishImport(import_id=ghost)
    (outcome,) = (await unit.run("catalog", imports.finish_imports, [finish])).outcomes
    assert isinstance(outcome, ImportNotFound)


async def test_texts_at_their_limits_are_stored(unit: UnitRunner) -> None:
    """The longest texts in four bytes a character fit into rows, indexes and the search vector."""
    big = "\U0001f600"
    words = " ".join(f"{n:x}{big}" for n in range(4_000))
    command = upsert(
        big * 100,
        title=big * 300,
        description=words[:20_000],
        category="/".join([big * 60] * 8),
        attributes={f"{n}{big * 90}": big * 1_000 for n in range(100)},
        variants=[variant(f"LIMIT-{n:058d}", title=big * 300) for n in range(100)],
    )
    (answer,) = (await put(unit, command)).outcomes
    assert isinstance(answer, Answer), answer
    assert answer.status == 201
