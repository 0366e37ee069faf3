"""What is shipped: complete, small, and what the importer takes."""

import gzip
import importlib.util
import json
import os
import re
from collections import Counter
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
import pytest

from tradewind.contexts.catalog.commands import ProductBody
from tradewind.kernel.money import format_e4, parse_e4
from tradewind.platform.settings import read_settings
from tradewind.samples import countries, files, history

ROOT = Path(__file__).parents[2]
SHIPPED_BYTES_MAX = 3_000_000


@pytest.fixture(scope="module")
def plan() -> history.Plan:
    return history.make_plan(history.read_lines(files.ORDER_LINES), skus=frozenset(files.stock()))


@pytest.fixture(scope="module")
def products() -> list[dict[str, Any]]:
    return [json.loads(line) for line in files.product_lines()]


def test_the_files_add_up_to_what_was_taken_from_the_source(plan: history.Plan) -> None:
    extract = files.extract()
    assert len(plan.source) == extract["lines"] == 105_335
    assert len({line.invoice for line in plan.source}) == extract["invoices"]
    assert sum(line.quantity for line in plan.source) == extract["units"]
    value_e4 = sum(line.quantity * line.unit_price_e4 for line in plan.source)
    assert format_e4(value_e4, "GBP") == extract["value_gbp"]
    days = {line.at.date() for line in plan.source}
    assert (str(min(days)), str(max(days))) == (extract["from"], extract["to"])


def test_every_line_of_the_source_has_one_place_in_the_plan(plan: history.Plan) -> None:
    placed = Counter(
        part.line.line_no for action in plan.actions for part in action.parts if part.first
    )
    for parts in plan.left_out.values():
        placed.update(part.line.line_no for part in parts if part.first)
    assert placed == Counter(line.line_no for line in plan.source)


def test_most_of_the_history_is_replayed(plan: history.Plan) -> None:
    """The products were chosen so that the orders of the 90 days are nearly all there."""
    orders = [action for action in plan.actions if isinstance(action, history.Place)]
    lines = sum(len(order.parts) for order in orders)
    assert len(orders) > 3_500
    assert lines > 0.75 * len(plan.source)
    assert {action.kind for action in plan.actions} == {
        *("place", "cancel", "ship", "return", "credit", "move"),
    }


def test_there_are_a_thousand_products_that_the_importer_takes(
    products: list[dict[str, Any]],
) -> None:
    assert len(products) == files.extract()["products"] == 1_000
    for product in products:
        body = msgspec.convert(product, ProductBody)
        assert body.external_id
        for variant in body.variants:
            assert variant.on_hand
            assert variant.price is not None and parse_e4(variant.price.amount)
    assert len({product["external_id"] for product in products}) == len(products)


def test_skus_are_unique_without_letter_case(products: list[dict[str, Any]]) -> None:
    skus = Counter(variant["sku"].upper() for p in products for variant in p["variants"])
    assert len(skus) == skus.total() == files.extract()["skus"]
    assert set(files.stock()) == set(skus)
    assert sum(files.stock().values()) == files.extract()["on_hand"]


def test_titles_are_clean(products: list[dict[str, Any]]) -> None:
    for product in products:
        for text in (product["title"], *(v["title"] for v in product["variants"])):
            assert text == " ".join(text.split())
            assert text.isprintable()
            assert not re.search(r"[?*]|damage|wrong|lost|amazon", text, re.IGNORECASE), text
            assert not text.isupper() and text[0] == text[0].upper()


def test_what_is_shipped_is_small_and_credited() -> None:
    assert sum(path.stat().st_size for path in files.DATA.iterdir()) < SHIPPED_BYTES_MAX
    text = (files.DATA / "CREDITS.md").read_text(encoding="utf-8")
    for word in ("Daqing Chen", "10.1057/dbm.2012.17", "CC BY 4.0", "changed"):
        assert word in text


def test_country_codes_have_the_shape_of_iso_3166() -> None:
    assert all(re.fullmatch("[A-Z]{2}", code) for code in countries.COUNTRIES.values())


def big_data() -> Path:
    path = read_settings(os.environ).data_folder / "online-retail" / "online_retail_first60.csv.gz"
    if not path.exists():
        pytest.skip("needs online-retail in the folder that TRADEWIND_DATA names")
    return path


def test_the_extract_is_made_again_to_the_byte() -> None:
    """scripts/extract_sample.py, run on the source, gives the files that are shipped."""
    source, script = big_data(), load_script()
    rows = script.read_days(source)
    made = script.choose(script.goods_of(rows))
    lines = b"".join(json.dumps(product, ensure_ascii=False).encode() + b"\n" for product in made)
    assert lines == files.PRODUCTS.read_bytes()
    assert script.sums(source, rows, made) == files.extract()
    # Unpacked: another version of zlib may pack the same text differently.
    with files.open_binary(files.ORDER_LINES) as file:
        assert file.read() == gzip.decompress(script.packed(rows))


def test_the_whole_source_has_a_place_for_every_line() -> None:
    """All of the big file, with its quirks that the 90 days do not have."""
    plan = history.make_plan(history.read_lines(big_data()))
    parts = [part for action in plan.actions for part in action.parts]
    parts += [part for left in plan.left_out.values() for part in left]
    assert sum(part.first for part in parts) == len(plan.source) == 261_322
    value_e4 = sum(part.value_e4 for part in parts)
    assert format_e4(value_e4, "GBP") == "4640080.461"
    assert sum(part.units for part in parts) == 2_422_884


def load_script() -> ModuleType:
    path = ROOT / "scripts" / "extract_sample.py"
    spec = importlib.util.spec_from_file_location("extract_sample", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
