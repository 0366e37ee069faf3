"""The shell examples of the README and the guides, run as they stand, against a real shop."""

import asyncio
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tradewind.testing.shop import Shop

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    page
    for page in [ROOT / "README.md", *ROOT.glob("docs/**/*.md")]
    if "<!-- needs: platform -->" in page.read_text("utf-8")
)
BLOCK = re.compile(r"<!-- needs: platform -->\n```bash\n(.*?)```", re.DOTALL)
# A refused call ends the block; answers stand on lines of their own.
STRICT = """set -euo pipefail
curl() { command curl --fail-with-body --max-time 30 --write-out '\\n' "$@"; }
"""


async def run(block: str, folder: Path, shop: Shop) -> list[Any]:
    """Run a block in `folder` against `shop`; the JSON answers it printed."""
    script = STRICT + block.replace("http://127.0.0.1:8080", shop.url)
    done = await asyncio.to_thread(
        subprocess.run,
        ["bash", "-c", script],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
async def test_the_examples_of_a_page_work_one_after_the_other(
    page: Path, shop: Shop, tmp_path: Path
) -> None:
    """As a newcomer would: in one folder, from top to bottom."""
    await shop.given_product("85123A", on_hand=100, price="2.95")
    home = tmp_path / ".tradewind"
    home.mkdir()
    (home / "admin.key").write_text(shop.admin_key, encoding="utf-8")
    blocks = BLOCK.findall(page.read_text("utf-8"))
    answers = []
    for block in blocks:
        answers += await run(block, tmp_path, shop)
        await shop.until_idle()
    assert not any(answer.get("rejected", 0) > 1 for answer in answers)
    if '/v1/orders"' not in page.read_text("utf-8"):
        return
    order = next(answer for answer in answers if "order_token" in answer)
    assert order["status"] == "confirmed"
    assert "MessageSent" in {name_of(item) for name in answers for item in name.get("items", [])}


def name_of(item: dict[str, Any]) -> str:
    """The name of a timeline entry: ``notifications.message_sent.v1`` is MessageSent."""
    words = str(item.get("type", "..")).split(".")[1].split("_")
    return "".join(word.capitalize() for word in words)
