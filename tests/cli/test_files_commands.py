"""`tradewind import` and `tradewind export` as a person meets them: exit codes and sentences."""

import asyncio
import gzip
import json
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

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
    result = await invoke("import", "products", file, *there)
    assert result.exit_code == 1, result.output
    assert "3 lines: 2 accepted, 1 rejected." in result.stdout
    assert "line 2:" in result.stdout
    await shop.until_idle()
    assert (await shop.stock("CLI-2"))["available"] == 9


async def test_a_good_file_leaves_with_0(there: tuple[str, ...], tmp_path: Path) -> None:
    file = tmp_path / "products.ndjson"
    file.write_text(json.dumps(product("cli-1", "CLI-1")) + "\n")
    result = await invoke("import", "products", file, *there)
    assert result.exit_code == 0, result.output
    assert "1 accepted, 0 rejected" in result.stdout


async def test_a_sheet_is_mapped_tried_and_imported(
    shop: Shop, there: tuple[str, ...], tmp_path: Path
) -> None:
    """Dry run, import, export, from a pipe: what comes out goes in."""
    file, mapping = tmp_path / "wares.csv", tmp_path / "columns.json"
    file.write_text("Code;Name;Cost\nSHEET-1;Cup;1,50\nSHEET-2;Plate;x\n")
    mapping.write_text(
        """{"sku": "Code", "title": "Name", "currency": {"value": "GBP"},
            "price": {"column": "Cost", "decimal": ","}}"""
    )
    told = ("import", "products", file, "--mapping", mapping, *there)
    tried = await invoke(*told, "--dry-run")
    assert tried.exit_code == 1, tried.output
    assert "nothing was changed" in tried.stdout and "1 created" in tried.stdout
    assert (await shop.request("GET", "/v1/products/sku:SHEET-1")).status == 404
    done = await invoke(*told)
    assert done.exit_code == 1 and "line 3: invalid_product: Cost:" in done.stdout, done.output
    counts = tmp_path / "counts.ndjson"
    counts.write_text('{"sku": "SHEET-1", "on_hand": 3}\n')
    assert (await invoke("import", "stock", counts, *there)).exit_code == 0
    for kind in ("products", "stock"):
        out = tmp_path / f"{kind}.csv.gz"
        assert (await invoke("export", kind, "-o", out, *there)).exit_code == 0
        piped = await invoke("export", kind, "--format", "csv", *there)
        assert gzip.decompress(out.read_bytes()).decode() == piped.stdout
        again = await invoke("import", kind, out, *there)
        assert again.exit_code == 0 and "0 created, 0 changed" in again.stdout, again.output


async def test_what_cannot_be_is_a_sentence(there: tuple[str, ...], tmp_path: Path) -> None:
    missing = await invoke("import", "products", tmp_path / "missing.csv", *there)
    assert missing.exit_code == 2 and "There is no file" in missing.stderr
    file = tmp_path / "odd.csv"
    file.write_text("colour\nred\n")
    refused = await invoke("import", "products", file, *there)
    assert refused.exit_code == 2 and "invalid_sheet" in refused.stderr
    file.write_text("sku\nred\n")
    unknown = await invoke(
        "import", "products", file, "--resume", "imp_01m8306gfwe8f9jer3nxaccdkf", *there
    )
    assert unknown.exit_code == 2 and "import_not_found" in unknown.stderr
