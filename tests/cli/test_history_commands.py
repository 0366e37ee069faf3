"""`tradewind import` and `tradewind replay` as a person meets them: exit codes and sentences."""

import asyncio
import gzip
import json
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tradewind.samples import files
from tradewind.testing.shop import Shop


class Result(NamedTuple):
    """How a command ended."""

    exit_code: int
    stdout: str
    stderr: str

    @property
    def output(self) -> str:
        return self.stdout + self.stderr


async def invoke(*arguments: Any) -> Result:
    """Run a command as the program it is."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tradewind", *map(str, arguments)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    stdout, stderr = await process.communicate()
    assert process.returncode is not None
    return Result(process.returncode, stdout.decode(), stderr.decode())


@pytest.fixture
def there(shop: Shop) -> tuple[str, ...]:
    """Options that lead to the shop of the test."""
    return ("--url", shop.url, "--key-file", str(shop.settings.home / "admin.key"))


def product(external_id: str, sku: str, **more: Any) -> dict[str, Any]:
    variant = {"sku": sku, "price": {"amount": "2.55", "currency": "GBP"}, "on_hand": 9}
    return {"external_id": external_id, "title": "Mug", "variants": [variant], **more}


async def test_a_bad_line_is_rejected_alone_and_named(
    shop: Shop, there: tuple[str, ...], tmp_path: Path
) -> None:
    file = tmp_path / "products.ndjson.gz"
    lines = [product("cli-1", "CLI-1"), {"title": "no id"}, product("cli-2", "CLI-2")]
    file.write_bytes(gzip.compress("\n".join(map(json.dumps, lines)).encode()))
    result = await invoke("import", file, *there)
    assert result.exit_code == 1, result.output
    assert "3 lines: 2 accepted, 1 rejected." in result.stdout
    assert "line 2:" in result.stdout
    await shop.until_idle()
    assert (await shop.stock("CLI-2"))["available"] == 9


async def test_a_good_file_leaves_with_0(there: tuple[str, ...], tmp_path: Path) -> None:
    file = tmp_path / "products.ndjson"
    file.write_text(json.dumps(product("cli-1", "CLI-1")) + "\n")
    result = await invoke("import", file, *there)
    assert result.exit_code == 0, result.output
    assert "1 accepted, 0 rejected" in result.stdout


@pytest.fixture
def book(tmp_path: Path) -> Path:
    """An order book of three lines: one to sell, one unknown, one that takes the first back."""
    file = tmp_path / "book.csv"
    file.write_text(
        "InvoiceNo,StockCode,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n"
        "1,CLI-9,2,2010-12-01 08:26:00,1.25,17850,EIRE\n"
        "1,LAMP,1,2010-12-01 08:26:00,1.25,17850,EIRE\n"
        "C2,CLI-9,-1,2010-12-02 08:26:00,1.25,17850,EIRE\n"
    )
    return file


async def test_a_replay_ends_in_a_reconciliation(
    there: tuple[str, ...], book: Path, tmp_path: Path
) -> None:
    catalog = tmp_path / "products.ndjson"
    catalog.write_text(json.dumps(product("cli-9", "CLI-9")) + "\n")
    assert (await invoke("import", catalog, *there)).exit_code == 0
    result = await invoke("replay", "--file", book, "--products", catalog, *there)
    assert result.exit_code == 0, result.output
    for words in (
        "order confirmed, products",
        "given back: amount refunded",
        "left out: product outside the sample",
        "All 3 lines are accounted for; the platform agrees.",
    ):
        assert words in result.stdout
    assert "1 orders in" in result.stderr


async def test_an_order_for_what_nobody_sells_is_no_success(
    there: tuple[str, ...], book: Path, tmp_path: Path
) -> None:
    """The products were not imported: every line is accounted for, and the exit code says no."""
    catalog = tmp_path / "products.ndjson"
    catalog.write_text(json.dumps(product("lamp", "LAMP")) + "\n")
    book.write_text(book.read_text().replace("CLI-9", "NOT-IMPORTED").replace("\n1,", "\n7,"))
    result = await invoke("replay", "--file", book, "--products", catalog, *there)
    assert result.exit_code == 1, result.output
    assert "order refused: unknown_sku" in result.stdout
    assert "Unexpected: order: unknown_sku (1 times)" in result.stdout


async def test_a_file_that_is_no_order_book_is_told(there: tuple[str, ...], book: Path) -> None:
    result = await invoke("replay", "--file", files.PRODUCTS, *there)
    assert result.exit_code == 2
    assert "has no column" in result.stderr
    book.write_text(book.read_text().replace("EIRE", "Atlantis"))
    result = await invoke("replay", "--file", book, *there)
    assert result.exit_code == 2
    assert "line 2" in result.stderr and "Atlantis" in result.stderr


async def test_without_a_key_it_says_where_one_would_be(tmp_path: Path, book: Path) -> None:
    missing = tmp_path / "admin.key"
    result = await invoke("replay", "--file", book, "--key-file", missing)
    assert result.exit_code == 2
    assert str(missing) in result.stderr and "tradewind up" in result.stderr


async def test_a_wrong_key_is_told(shop: Shop, tmp_path: Path, book: Path) -> None:
    key = tmp_path / "some.key"
    key.write_text("tw_live_wrong")
    catalog = tmp_path / "products.ndjson"
    catalog.write_text(json.dumps(product("cli-9", "CLI-9")) + "\n")
    result = await invoke(
        "replay", "--file", book, "--products", catalog, "--url", shop.url, "--key-file", key
    )
    assert result.exit_code == 2
    assert "401" in result.stderr
