"""`flow.py` says what the contexts declare, and the docs show what `flow.py` says."""

from pathlib import Path

import pytest

from tradewind import app, flow
from tradewind.flow import FLOW, Asked
from tradewind.platform.context import Context
from tradewind.platform.settings import Settings
from tradewind.testing import drawing

ROOT = Path(__file__).parents[2]
CONTEXTS = app.load_contexts()


def consumers(contexts: list[Context]) -> set[tuple[str, str]]:
    """Every (event type, context.consumer) that is declared."""
    return {
        (event.type, f"{context.name}.{consumer.name}")
        for context in contexts
        for consumer in context.consumers
        for event in consumer.events
    }


def test_every_reaction_is_in_the_table() -> None:
    """What a context listens to stands in the table, and the table invents nothing."""
    told = {(step.hears.type, step.who) for step in FLOW if not isinstance(step.hears, Asked)}
    assert told == consumers(CONTEXTS)


@pytest.mark.parametrize("step", FLOW, ids=lambda s: f"{s.who}:{flow.key_of(s.hears)}")
def test_a_context_announces_only_its_own(step: flow.Step) -> None:
    """Each fact is announced by the context that owns it."""
    context = next(c for c in CONTEXTS if c.name == step.who.split(".")[0])
    for event in step.says:
        assert event in context.announces, f"{context.name} does not announce {event.__name__}"


def test_every_fact_of_an_order_is_somebodys_answer() -> None:
    """Nothing about an order is announced that the table does not show."""
    shown = {event for step in FLOW for event in step.says}
    about_orders = {
        event
        for context in CONTEXTS
        for event in context.announces
        if context.name in ("orders", "inventory", "payments", "fraud", "notifications")
    }
    assert about_orders <= shown, about_orders - shown


@pytest.mark.parametrize("step", FLOW, ids=lambda s: f"{s.who}:{flow.key_of(s.hears)}")
def test_clocks_are_settings(step: flow.Step) -> None:
    """A time limit names a setting."""
    if step.within:
        assert hasattr(Settings(), step.within)


def test_the_page_is_current() -> None:
    """`docs/concepts/order-life.md` is what `make docs` would write."""
    page = ROOT / "docs/concepts/order-life.md"
    assert page.read_text() == drawing.order_life(), "run `make docs`"
