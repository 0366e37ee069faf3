"""The glossary knows every context, event and command, so that a newcomer can look each one up."""

import importlib
import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tradewind.kernel.messages import Command, Event

ROOT = Path(__file__).parents[2]
GLOSSARY = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
CONTEXTS = sorted(
    path.parent.name for path in (ROOT / "src/tradewind/contexts").glob("*/__init__.py")
)


def declared(context: str, part: str, kind: type) -> Iterator[str]:
    """The names of the messages that a context defines."""
    name = f"tradewind.contexts.{context}.{part}"
    if importlib.util.find_spec(name) is None:
        return
    for value in vars(importlib.import_module(name)).values():
        own = (
            isinstance(value, type)
            and value.__module__.startswith(name)
            and issubclass(value, kind)
        )
        # What others are made of is never announced, nor asked for.
        if own and (not value.__subclasses__() if kind is Command else "type" in vars(value)):
            yield value.__name__


EVENTS = [(context, name) for context in CONTEXTS for name in declared(context, "events", Event)]
COMMANDS = [
    (context, name) for context in CONTEXTS for name in declared(context, "commands", Command)
]


def rows(heading: str) -> dict[str, list[str]]:
    """The rows of the table under a heading, by their first cell."""
    _, found, rest = GLOSSARY.partition(f"## {heading}\n")
    assert found, f"docs/glossary.md has no section {heading!r}"
    section = rest.partition("\n## ")[0]
    cells = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in section.splitlines()
        if line.startswith("| ") and not line.startswith("| ---")
    ]
    return {row[0].strip("`"): row[1:] for row in cells[1:]}


@pytest.mark.parametrize("context", CONTEXTS)
def test_every_context_is_explained(context: str) -> None:
    assert rows("Contexts").get(context), f"add {context} to the table Contexts"


@pytest.mark.parametrize(("context", "event"), EVENTS)
def test_every_event_is_explained_under_its_context(context: str, event: str) -> None:
    entry = rows("Events").get(event)
    assert entry, f"add {event} to the table Events of docs/glossary.md"
    assert entry[-1] == context, f"{event} is announced by {context}"


@pytest.mark.parametrize(("context", "command"), COMMANDS)
def test_every_command_is_explained_under_its_context(context: str, command: str) -> None:
    entry = rows("Commands").get(command)
    assert entry, f"add {command} to the table Commands of docs/glossary.md"
    assert entry[-1] == context, f"{command} belongs to {context}"


def test_the_glossary_explains_nothing_that_is_gone() -> None:
    """A renamed event leaves no ghost behind."""
    assert set(rows("Events")) == {name for _, name in EVENTS}
    assert set(rows("Commands")) == {name for _, name in COMMANDS}
    assert set(rows("Contexts")) == set(CONTEXTS)


@pytest.mark.parametrize("heading", ["Words of the business", "Words of the machine"])
def test_words_are_sorted_and_explained_once(heading: str) -> None:
    words = [
        line.split("|")[1].strip()
        for line in GLOSSARY.partition(f"## {heading}\n")[2].partition("\n## ")[0].splitlines()
        if re.match(r"\| [a-z]", line)
    ][1:]
    assert words == sorted(set(words))
