"""`tradewind replay` as a person meets them: exit codes and sentences."""

import asyncio
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


ROWS = (
    "536365,99001,2,2010-12-01 08:26:00,1.25,17850,EIRE,CLI MUG",
    "536365,POST,1,2010-12-01 08:26:00,18.00,17850,EIRE,POSTAGE",
    "536366,99002a,1,2010-12-01 08:28:00,5.005,,Atlantis,CLI BAG",
    "536367,99002A,3,2010-12-01 09:00:00,0,,United Kingdom,found",
    "536368,99001,-1,2010-12-02 09:00:00,0,,United Kingdom,damaged",
    "C536369,99001,-1,2010-12-02 10:00:00,1.25,17850,EIRE,CLI MUG",
    "C536370,M,-1,2010-12-02 11:00:00,4.50,17850,EIRE,Manual",
)
HEAD = "InvoiceNo,StockCode,Quantity,InvoiceDate,UnitPrice,CustomerID,Country,Description"


@pytest.fixture
def book(tmp_path: Path) -> Path:
    """An order book with something of everything, and what it adds up to."""
    file = tmp_path / "book.csv"
    file.write_text("\n".join((HEAD, *ROWS)) + "\n")
    totals = {"lines": 7, "units_net": 4, "net_amount_gbp": "19.755", "countries": 3}
    (tmp_path / "totals.json").write_text(json.dumps(totals))
    return file


async def test_a_book_is_imported_replayed_and_reconciled(
    there: tuple[str, ...], book: Path, tmp_path: Path
) -> None:
    imported = await invoke("import", "online-retail", book, *there)
    assert imported.exit_code == 0, imported.output
    assert "2 lines: 2 accepted, 0 rejected." in imported.stdout
    report = tmp_path / "report.json"
    result = await invoke("replay", book, "--report", report, *there)
    assert result.exit_code == 0, result.output
    for words in (
        "ordered, goods",
        "ordered, fees",
        "returned and refunded: goods back on the shelf",
        "credited: a note without an order",
        "stock: write off",
        "stock: found",
        "No country we know, sent as ZZ: 'Atlantis'",
        "All 7 lines are accounted for; the platform agrees.",
    ):
        assert words in result.stdout
    assert "2 orders in" in result.stderr
    told = json.loads(report.read_text())
    assert told["agrees"] and told["rounding_gbp"] == "0.005"
    assert {check["about"] for check in told["totals"]} == {
        *("lines", "units_net", "net_amount_gbp", "countries"),
    }
    again = await invoke("replay", book, *there)
    assert again.exit_code == 0, again.output
    assert "known already" in again.stderr


async def test_totals_that_differ_are_no_success(there: tuple[str, ...], book: Path) -> None:
    """Whatever else differs on a shop that sold nothing of it, the totals say so by name."""
    (book.parent / "totals.json").write_text('{"lines": 8, "moons": 1}')
    result = await invoke("replay", book, *there)
    assert result.exit_code == 1, result.output
    wrong = [line for line in result.stdout.splitlines() if "DIFFERS" in line]
    assert any("moons" in line and "not known" in line for line in wrong)
    assert any("│ lines" in line for line in wrong)


async def test_an_order_for_what_nobody_sells_is_no_success(
    there: tuple[str, ...], book: Path
) -> None:
    """The products were not imported: every line is accounted for, and the exit code says no."""
    book.write_text(f"{HEAD}\n7,99009,1,2010-12-01 08:26:00,1.25,17850,EIRE,NEVER IMPORTED\n")
    result = await invoke("replay", book, *there)
    assert result.exit_code == 1, result.output
    assert "order refused: unknown_sku" in result.stdout
    assert "Unexpected: place: unknown_sku (1 times)" in result.stdout


async def test_a_file_that_is_no_order_book_is_told(
    there: tuple[str, ...], book: Path, tmp_path: Path
) -> None:
    result = await invoke("replay", files.PRODUCTS, *there)
    assert result.exit_code == 2
    assert "has no column" in result.stderr
    book.write_text(book.read_text().replace("1.25", "cheap"))
    for command in (("replay",), ("import", "online-retail")):
        result = await invoke(*command, book, *there)
        assert result.exit_code == 2
        assert "line 2" in result.stderr and "cheap" in result.stderr
    result = await invoke("replay", tmp_path / "missing.csv", *there)
    assert result.exit_code == 2 and "There is no file" in result.stderr


async def test_the_book_of_the_data_set_is_found_or_missed(
    there: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRADEWIND_DATA", str(tmp_path))
    result = await invoke("import", "online-retail", *there)
    assert result.exit_code == 2
    assert "holds 0 order books" in result.stderr and "TRADEWIND_DATA" in result.stderr


async def test_without_a_key_it_says_where_one_would_be(tmp_path: Path, book: Path) -> None:
    missing = tmp_path / "admin.key"
    result = await invoke("replay", book, "--key-file", missing)
    assert result.exit_code == 2
    assert str(missing) in result.stderr and "tradewind up" in result.stderr


async def test_a_wrong_key_is_told(shop: Shop, tmp_path: Path, book: Path) -> None:
    key = tmp_path / "some.key"
    key.write_text("tw_live_wrong")
    result = await invoke("replay", book, "--url", shop.url, "--key-file", key)
    assert result.exit_code == 2
    assert "401" in result.stderr
