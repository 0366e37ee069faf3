"""The consumers of the log benchmark: a process whose groups listen to everything and do nothing.

A node of the platform with three consumers, and with the sequencer of the feed that every node
has. It prints one line when it holds all partitions; for each line on its standard input it prints
how many events each consumer has handled; it ends when there is no line any more.
"""

import argparse
import asyncio
import gc
import sys
from collections.abc import Sequence
from typing import Any

import msgspec
import uvloop

from benchmarks.announcing import EVENTS, SOURCE
from tradewind.kernel.messages import NOTHING, PARTITIONS, Decision
from tradewind.platform.bus.consumer import WHOLE
from tradewind.platform.database.transaction import Transaction
from tradewind.platform.node import ConsumerPlan, Node, Plan
from tradewind.platform.security.secrets import Secrets
from tradewind.platform.settings import Settings
from tradewind.platform.telemetry import metrics
from tradewind.supervisor import garbage

# Contexts of the platform, for their roles; the name makes them consumers of their own.
CONTEXTS = ("inventory", "notifications", "payments")
NAME = "bench"
GROUPS = tuple(f"{context}.{NAME}" for context in CONTEXTS)
HELD_POLL_S = 0.02


async def nothing(tx: Transaction, messages: Sequence[Any]) -> Decision:
    """Decide nothing: what is left is the log, and the offset."""
    return NOTHING


def node_of(dsn: str, batch_max: int) -> Node:
    """Three consumers of everything."""
    plan = Plan(
        commands=(),
        consumers=[ConsumerPlan(context, NAME, nothing, EVENTS, batch_max) for context in CONTEXTS],
        sweeps=(),
        clients={},
        announced=EVENTS,
        sources={"order-events": (SOURCE,)},
    )
    return Node(Settings(), plan, dsn=dsn, secrets=Secrets([bytes(32)]))


def holds_all(node: Node) -> bool:
    """Whether every consumer has all its partitions, and the reader stands behind them."""
    return all(
        len(work.held) == (1 if WHOLE in work.held else PARTITIONS) and not work.behind
        for work in node.works
    )


def handled() -> dict[str, int]:
    """Events by consumer, counted when their offset was committed."""
    name, worker = "tradewind_bus_events_total", metrics.worker()
    return {
        group: int(
            metrics.REGISTRY.get_sample_value(name, {"consumer": group, "worker": worker}) or 0
        )
        for group in GROUPS
    }


async def run(dsn: str, batch_max: int) -> None:
    """Listen until nobody asks any more."""
    loop = asyncio.get_running_loop()
    questions = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(questions), sys.stdin)
    node = node_of(dsn, batch_max)
    await node.start()
    try:
        while not holds_all(node):
            await asyncio.sleep(HELD_POLL_S)
        gc.collect()
        gc.freeze()
        garbage.begin()  # as a web process does
        print("ready", flush=True)
        while await questions.readline():
            print(msgspec.json.encode(handled()).decode(), flush=True)
    finally:
        await node.stop()


def main() -> None:
    """Read the arguments and listen."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dsn", required=True)
    parser.add_argument("--batch-max", type=int, required=True)
    given = parser.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run(given.dsn, given.batch_max))


if __name__ == "__main__":
    main()
