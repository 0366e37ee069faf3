"""What the documents show is true: Python runs, quotes are quotes, calls fit the declared routes.

Blocks marked ``<!-- needs: platform -->`` are run against a real platform by tests/flows; here
each of their calls is held against the route table, body included.
"""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest
import typer.main
from msgspec import Struct

from tradewind import app
from tradewind.cli import commands as command_line
from tradewind.platform.gateway import events
from tradewind.platform.gateway.routing import Route

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("benchmarks/*.md")])
FENCE = re.compile(
    r"^(?P<indent> *)```(?P<language>\w+)\n(?P<text>.*?)^ *```$", re.DOTALL | re.MULTILINE
)
MARK = re.compile(r"<!-- (quoted|needs): (\S+) -->\s*\Z")
CURL = re.compile(r'curl -s "\$API(?P<target>[^"]+)"(?P<options>(?:\\\n|\'[^\']*\'|[^\n\'])*)')
OPEN_PATHS = {"/readyz", "/livez", "/version", "/metrics", "/openapi.json", "/docs"}


class Block(Struct, frozen=True):
    """A fenced block of a page."""

    page: Path
    line: int
    language: str
    text: str
    mark: str  # "quoted", "needs" or nothing
    target: str

    @property
    def id(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks() -> Iterator[Block]:
    """Every fenced block that names its language."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for found in FENCE.finditer(text):
            mark = MARK.search(text[: found.start()].rstrip() + "\n")
            indent = found["indent"]
            yield Block(
                page,
                text.count("\n", 0, found.start()) + 1,
                found["language"],
                "".join(
                    line.removeprefix(indent) for line in found["text"].splitlines(keepends=True)
                ),
                mark[1] if mark else "",
                mark[2] if mark else "",
            )


BLOCKS = list(blocks())
PYTHON = [b for b in BLOCKS if b.language == "python"]
BASH = [b for b in BLOCKS if b.language == "bash"]
CONSOLE = [b for b in BLOCKS if b.language == "console"]


def block_id(block: Block) -> str:
    return block.id


def test_there_are_examples() -> None:
    """The tests below would pass on empty pages."""
    assert len([b for b in PYTHON if b.mark == "quoted"]) >= 8
    assert len(BASH) >= 5
    assert len(CONSOLE) >= 5


@pytest.mark.parametrize("block", [b for b in PYTHON if b.mark == "quoted"], ids=block_id)
def test_a_quote_stands_in_the_file_it_names(block: Block) -> None:
    source = (ROOT / block.target).read_text(encoding="utf-8")
    assert block.text.rstrip() in source, f"{block.target} says something else now: quote it anew"


@pytest.mark.parametrize("block", [b for b in PYTHON if b.mark != "quoted"], ids=block_id)
def test_a_python_example_runs(block: Block) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", block.text],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("block", BASH, ids=block_id)
def test_a_shell_example_can_be_pasted(block: Block) -> None:
    """Each block stands alone: what it uses, it sets."""
    assert block.mark == "needs", "say what it needs, so that it can be run"
    assert subprocess.run(["bash", "-n"], input=block.text, text=True, check=False).returncode == 0
    used = set(re.findall(r"\$([A-Z]+)", block.text))
    given = set(re.findall(r"^([A-Z]+)=", block.text, flags=re.MULTILINE))
    assert used <= given, f"the block uses {used - given} of another block"


def routes() -> list[Route]:
    return [
        *(route for context in app.load_contexts() for route in context.routes),
        *events.ROUTES,
    ]


SENDS = re.compile(r" (-d|--data-binary) ")


def calls(block: Block) -> Iterator[tuple[str, str, str]]:
    """Every curl call of a block: method, target, options."""
    for found in CURL.finditer(block.text):
        options = found["options"]
        named = re.search(r"-X ([A-Z]+)", options)
        yield (
            named[1] if named else "POST" if SENDS.search(options) else "GET",
            found["target"],
            options,
        )


def matching(method: str, path: str) -> Route | None:
    """The declared route of a call; ``$ORDER`` stands for any one segment."""
    for route in routes():
        pattern = re.sub(r"\{[a-z_]+:path\}", ".+", route.path)
        pattern = re.sub(r"\{[a-z_]+\}", "[^/]+", pattern)
        if route.method == method and re.fullmatch(pattern, path):
            return route
    return None


@pytest.mark.parametrize("block", [b for b in BASH if "curl" in b.text], ids=block_id)
def test_a_call_fits_the_route_table(block: Block) -> None:
    """Path, query, body and key of every curl are what the route declares."""
    found = list(calls(block))
    assert len(found) == block.text.count("curl "), "a call that this test cannot read"
    for method, target, options in found:
        url = urlsplit(target)
        if url.path in OPEN_PATHS:
            continue
        route = matching(method, url.path)
        assert route is not None, f"there is no route {method} {url.path}"
        query: dict[str, Any] = {name: values[0] for name, values in parse_qs(url.query).items()}
        if route.query is not None:
            msgspec.convert(query, route.query, strict=False)
        else:
            assert not query
        assert ("Idempotency-Key" in options) or route.keyed.value != "required"
        body = re.search(r"-d '([^']*)'", options)
        assert (body is not None) == (route.body is not None)
        if body:
            known = {field.name for field in msgspec.structs.fields(route.body)}
            document = json.loads(body[1])
            assert set(document) <= known
            msgspec.convert(document, route.body)


def subcommands() -> set[str]:
    """Every `tradewind ...` command, with its group."""
    root = typer.main.get_command(command_line.app)
    found: set[str] = set()
    for name, command in getattr(root, "commands", {}).items():
        found.add(name)
        found |= {f"{name} {inner}" for inner in getattr(command, "commands", {})}
    return found


@pytest.mark.parametrize("block", CONSOLE, ids=block_id)
def test_a_command_exists(block: Block) -> None:
    """Every `make` target and every subcommand of `tradewind` that a page shows."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    known = subcommands()
    for line in block.text.splitlines():
        command = line.removeprefix("$ ").partition("#")[0]
        made = re.search(r"\bmake ([a-z-]+)", command)
        if made:
            assert made[1] in targets, f"no target {made[1]} in the Makefile"
        ran = re.search(r"\btradewind ([a-z-]+)(?: ([a-z][a-z-]+))?", command)
        if ran:
            wanted = {ran[1], f"{ran[1]} {ran[2]}"}
            assert wanted & known, f"there is no command tradewind {ran[1]}"
