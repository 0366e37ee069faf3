"""Every link inside the documents leads somewhere, and every page can be reached."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("changelog.d/README.md")]
)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
README_LINES_MAX = 150


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


def prose(page: Path) -> str:
    """A page without its fenced blocks."""
    return re.sub(r"^ *```.*?^ *```$", "", page.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """The fragments that headings give."""
    return {
        re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-")
        for heading in HEADING.findall(prose(page))
    }


def targets(page: Path) -> list[tuple[Path, str]]:
    """Where the relative links of a page lead: file and fragment."""
    found = []
    for link in LINK.findall(prose(page)):
        if not re.match(r"[a-z]+:", link):
            path, _, fragment = link.partition("#")
            found.append(((page.parent / path).resolve() if path else page, fragment))
    return found


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_links_lead_somewhere(page: Path) -> None:
    for path, fragment in targets(page):
        assert path.exists(), f"{path} does not exist"
        assert path.is_relative_to(ROOT), "a link that leaves the project breaks in every clone"
        if fragment:
            assert fragment in anchors(path), f"{relative(path)} has no heading #{fragment}"


def test_every_page_can_be_reached_from_the_readme() -> None:
    reached: set[Path] = set()
    waiting = [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in reached or page.suffix != ".md" or not page.exists():
            continue
        reached.add(page)
        waiting += [path for path, _ in targets(page)]
    lost = {relative(page) for page in PAGES} - {relative(page) for page in reached}
    assert not lost, f"nothing links to {sorted(lost)}"


def test_the_readme_is_short() -> None:
    assert (ROOT / "README.md").read_text("utf-8").count("\n") <= README_LINES_MAX


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_a_page_has_one_title(page: Path) -> None:
    titles = re.findall(r"^# ", prose(page), flags=re.MULTILINE)
    assert len(titles) == 1
    assert page.read_text("utf-8").startswith("# ")
