"""What travels between contexts: named after its context, frozen, and without personal data."""

import importlib
import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
import pytest

from tradewind.kernel.messages import Command, Event

ROOT = Path(__file__).parents[2]
CONTEXTS = sorted(
    path.parent.name for path in (ROOT / "src/tradewind/contexts").glob("*/context.py")
)
# Fields that would name a person or say where one lives. Countries and vault tokens are allowed.
PERSONAL = {
    "name", "first_name", "last_name", "email", "phone", "line1", "line2", "street", "city",
    "postal_code", "address", "shipping_address", "billing_address", "ip", "birthday",
}  # fmt: skip


def part(context: str, name: str) -> ModuleType | None:
    """A module of a context, where it has one."""
    if importlib.util.find_spec(f"tradewind.contexts.{context}.{name}") is None:
        return None
    return importlib.import_module(f"tradewind.contexts.{context}.{name}")


def classes(module: ModuleType | None, kind: type) -> Iterator[type]:
    """The subclasses of `kind` that a module defines itself."""
    if module is None:
        return
    for value in vars(module).values():
        own = isinstance(value, type) and value.__module__.startswith(module.__name__)
        if own and issubclass(value, kind):
            yield value


def events_of(context: str) -> list[type[Any]]:
    """The events a context can announce: those with a type of their own."""
    return [each for each in classes(part(context, "events"), Event) if "type" in vars(each)]


ANNOUNCED = [(context, event) for context in CONTEXTS for event in events_of(context)]
REQUESTED = [
    (context, command)
    for context in CONTEXTS
    for command in classes(part(context, "commands"), Command)
]


def named(value: Any) -> str:
    return value if isinstance(value, str) else value.__name__


def fields_within(kind: Any, seen: set[Any]) -> Iterator[str]:
    """The names of all fields that a Struct holds, nested ones too."""
    for struct in structs_in(kind):
        if struct in seen:
            continue
        seen.add(struct)
        for field in msgspec.structs.fields(struct):
            yield field.name
            yield from fields_within(field.type, seen)


def structs_in(kind: Any) -> Iterator[type[msgspec.Struct]]:
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        yield kind
    for inner in getattr(kind, "__args__", ()):
        yield from structs_in(inner)


def test_there_are_messages() -> None:
    """The tests below would pass on nothing."""
    assert len(ANNOUNCED) >= 15
    assert len(REQUESTED) >= 8


@pytest.mark.parametrize(("context", "event"), ANNOUNCED, ids=named)
def test_an_event_is_a_frozen_fact_with_a_name_for_ever(context: str, event: type[Event]) -> None:
    words = re.findall("[A-Z][a-z0-9]*", event.__name__)
    snake = "_".join(word.lower() for word in words)
    assert re.fullmatch(rf"{context}\.{snake}\.v[0-9]+", event.type), event.type
    assert event.__struct_config__.frozen
    assert event.__doc__, "an event says what happened, in a sentence"


@pytest.mark.parametrize(("context", "event"), ANNOUNCED, ids=named)
def test_an_event_carries_no_personal_data(context: str, event: type[Event]) -> None:
    """The log is never rewritten, so a person in it could never be erased. Use vault tokens."""
    personal = PERSONAL & set(fields_within(event, set()))
    assert not personal, f"{event.__name__} carries {sorted(personal)}"


@pytest.mark.parametrize(("context", "command"), REQUESTED, ids=named)
def test_a_command_is_frozen_and_explained(context: str, command: type[Command]) -> None:
    assert command.__struct_config__.frozen
    assert command.__doc__


@pytest.mark.parametrize("context", CONTEXTS)
def test_a_context_declares_what_it_has(context: str) -> None:
    """context.py lists every event and handles every command; nothing is found by magic."""
    module = importlib.import_module(f"tradewind.contexts.{context}.context")
    declared = module.CONTEXT
    assert declared.name == context
    assert set(declared.announces) == set(events_of(context))
    asked = classes(part(context, "commands"), Command)
    assert set(declared.commands) == {kind for kind in asked if not kind.__subclasses__()}
    assert {type(sweep.every_s) for sweep in declared.sweeps} <= {int, float}
    names = [consumer.name for consumer in declared.consumers]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("context", CONTEXTS)
def test_a_context_listens_only_to_what_somebody_announces(context: str) -> None:
    """A consumer of an event that nobody declares would wait for ever. Its own timers it sets."""
    announced = {event for _, event in ANNOUNCED}
    module = importlib.import_module(f"tradewind.contexts.{context}.context")
    own = f"tradewind.contexts.{context}."
    heard = {event for consumer in module.CONTEXT.consumers for event in consumer.events}
    assert {event for event in heard if not event.__module__.startswith(own)} <= announced
