"""Strings and documents that break things, in every field of a product. Needs TRADEWIND_DATA."""

import base64
import gzip
import json
from typing import Any

import pytest

from tests.contexts.catalog.factories import line, variant
from tradewind.contexts.catalog import queries
from tradewind.contexts.catalog.commands import BeginImport, ImportChunk
from tradewind.contexts.catalog.handlers import imports
from tradewind.contexts.catalog.queries import words_of
from tradewind.contexts.catalog.rules.imports import read_line
from tradewind.kernel.ids import new_id
from tradewind.platform.settings import read_settings
from tradewind.testing.database import UnitRunner

pytestmark = pytest.mark.asyncio(loop_scope="session")


def cases(name: str) -> list[dict[str, Any]]:
    path = read_settings({}).data_folder / "hostile-inputs" / f"{name}.jsonl.gz"
    if not path.exists():
        pytest.skip(f"no {path.name}: set TRADEWIND_DATA to the folder of the large data sets")
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [json.loads(text) for text in file]


def with_text(number: int, field: str, text: str) -> bytes:
    """A line that has the text in one field and is harmless otherwise."""
    plain: dict[str, Any] = {"variants": [variant(f"{field}-{number}")]}
    if field == "external_id":
        return line(text, **plain)
    if field == "sku":
        plain["variants"] = [variant(text)]
    elif field == "attribute":
        plain["attributes"] = {text: text}
    else:
        plain[field] = text
    return line(f"{field}-{number}", **plain)


@pytest.mark.parametrize(
    "field", ["title", "description", "category", "external_id", "sku", "attribute"]
)
async def test_a_naughty_string_is_stored_unchanged_or_refused(
    unit: UnitRunner, field: str
) -> None:
    """Each on its own line of an import: what is refused is reported, the rest stands in rows."""
    texts = [case["s"] for case in cases("naughty_strings")]
    lines = tuple(with_text(number, field, text) for number, text in enumerate(texts))
    import_id = new_id("imp")
    await unit.run("catalog", imports.begin_imports, [BeginImport(import_id=import_id)])
    taken = 0
    while taken < len(lines):
        chunk = ImportChunk(import_id=import_id, first_line=taken + 1, lines=lines[taken:])
        (progress,) = (await unit.run("catalog", imports.take_chunks, [chunk])).outcomes
        taken = progress.lines_taken
    assert progress.lines_taken == len(texts) == progress.accepted + progress.rejected
    assert field in ("external_id", "sku") or progress.accepted > len(texts) * 0.8
    refused = {
        row["line"]
        for row in await unit.sql(
            "SELECT line FROM catalog.import_errors WHERE import_id = $1", import_id
        )
    }
    stored = {row["title"] for row in await unit.sql("SELECT title FROM catalog.products")}
    if field == "title":
        assert {text for n, text in enumerate(texts, 1) if n not in refused} <= stored


async def test_a_naughty_string_can_be_looked_for(unit: UnitRunner) -> None:
    async with unit.reading("catalog") as snapshot:
        for case in cases("naughty_strings"):
            text = case["s"].replace("\x00", "").encode("utf-8", "replace").decode()[:200]
            await queries.list_products(snapshot, words_of(case["s"]), text, before="", count_max=5)
            await queries.product_of_sku(snapshot, text)


async def test_a_line_of_broken_json_is_called_so() -> None:
    for case in cases("json_documents"):
        read = read_line(2, base64.b64decode(case["base64"]), lambda: new_id("prd"))
        if read.error is None:
            assert read.draft is None and not base64.b64decode(case["base64"]).strip()
        elif case["expect"] == "accept":
            assert read.error.code == "invalid_product" or "stands twice" in read.error.message
        elif case["expect"] == "reject":
            assert read.error.code in ("broken_json", "not_utf8"), case["name"]
