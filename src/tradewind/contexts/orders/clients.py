"""Has the vault destroy what carts discarded."""

from collections.abc import Sequence

from tradewind.contexts.orders.commands import PersonsDiscarded, PersonsForgotten
from tradewind.platform.node import Node


async def forget_persons(node: Node, signals: Sequence[PersonsDiscarded]) -> None:
    """Destroy records, but those that an order or another cart uses. Harmless to repeat.

    None of them can come into use again: a cart takes up only what it was given.
    """
    persons = tuple(dict.fromkeys(person for signal in signals for person in signal.persons))
    in_use = node.plan.persons_in_use["orders"]
    async with node.reading("orders") as snapshot:
        used = await in_use(snapshot, persons)
    await node.vault.forget([person for person in persons if person not in used])
    await node.submit(PersonsForgotten(persons=persons))
