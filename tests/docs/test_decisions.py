"""Decisions are numbered, complete, indexed, and name guards that exist."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs" / "decisions"
PAGES = sorted(FOLDER.glob("[0-9]*.md"))
SECTIONS = ["Context", "Decision", "Consequences", "Alternatives", "Measurement", "Guard"]
STATUS = re.compile(r"^Status: (accepted|proposed|superseded by \d{4})\b", re.MULTILINE)


def name(path: Path) -> str:
    return path.name


def test_pages_are_numbered_without_gaps() -> None:
    numbers = [int(page.name[:4]) for page in PAGES]
    assert numbers == list(range(1, len(numbers) + 1))
    assert numbers[-1:] >= [14]


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_a_page_is_complete(page: Path) -> None:
    text = page.read_text("utf-8")
    assert text.startswith(f"# {page.name[:4]}: ")
    assert re.findall(r"^## (.+)$", text, flags=re.MULTILINE) == SECTIONS
    for section in SECTIONS:
        body = text.partition(f"## {section}\n")[2].partition("\n## ")[0]
        assert body.strip(), f"{section} is empty"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_the_index_knows_a_page_and_its_status(page: Path) -> None:
    status = STATUS.search(page.read_text("utf-8"))
    assert status, "the third line says: Status: accepted."
    row = re.search(
        rf"^\| \[{page.name[:4]}\]\({page.name}\) \| .+ \| {status[1]} \|$",
        (FOLDER / "README.md").read_text("utf-8"),
        flags=re.MULTILINE,
    )
    assert row, f"docs/decisions/README.md must list {page.name} as {status[1]}"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_the_guard_exists(page: Path) -> None:
    """Files and folders that a guard names are there."""
    guard = page.read_text("utf-8").partition("## Guard\n")[2]
    named = re.findall(r"`((?:tests|src|benchmarks)/[\w./]*)`", guard)
    for path in named:
        assert (ROOT / path).exists(), f"{path} does not exist"


def test_references_from_the_code_lead_to_a_decision() -> None:
    """A comment says docs/decisions/0006: there must be one, under that number."""
    known = {page.name[:4] for page in PAGES}
    for path in [*(ROOT / "src").rglob("*.py"), *(ROOT / "src").rglob("*.sql")]:
        for number in re.findall(r"docs/decisions/(\d{4})", path.read_text("utf-8")):
            assert number in known, f"{path.relative_to(ROOT)} refers to decision {number}"
