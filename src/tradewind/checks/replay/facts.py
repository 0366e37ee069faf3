"""Events as a replay reads them: only what it needs of each."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec
from msgspec import Raw, Struct

# By index of log_one_fact_per_version: all facts about one subject stand together. The order of the
# log within them is put right in memory: an order has some ten facts.
LOG = """
    SELECT subject, source, type, sequence, at, partition, xid::text::bigint AS xid, number, body
      FROM bus.log
     WHERE source IN ('orders', 'inventory', 'payments') AND subject NOT LIKE 'timer:%'
     ORDER BY subject, source, sequence
"""

# Up to where a consumer has read: what it copies from others is as old as that.
OFFSETS = """
    SELECT consumer, partition, xid::text::bigint AS xid, number FROM bus.offsets
     WHERE consumer IN ('orders.decisions', 'payments.payments')
"""
LETTERS = """
    SELECT consumer, xid::text::bigint AS xid, number FROM bus.dead_letters
     WHERE consumer IN ('orders.decisions', 'payments.payments')
"""


class Body(Struct):
    """The body column."""

    data: Raw


class Fact(Struct, frozen=True):
    """One event: its short name ("order_placed"), where it stands in the log, and what it says."""

    name: str
    source: str
    sequence: int
    at: datetime
    partition: int
    place: tuple[int, int]
    data: Mapping[str, Any]


class Read(Struct, frozen=True):
    """What the consumers have handled at the moment of the snapshot."""

    offsets: dict[tuple[str, int], tuple[int, int]]
    letters: frozenset[tuple[str, int, int]]

    def handled(self, consumer: str, fact: Fact) -> bool:
        """Whether a consumer has passed an event, and not put it aside."""
        offset = self.offsets.get((consumer, fact.partition), (0, 0))
        return fact.place <= offset and (consumer, *fact.place) not in self.letters


decode_body = msgspec.json.Decoder(Body).decode
decode_data = msgspec.json.Decoder(dict[str, Any]).decode


def fact_of(row: Any) -> Fact:
    """A row of the log."""
    return Fact(
        name=row["type"].split(".")[1],
        source=row["source"],
        sequence=row["sequence"],
        at=row["at"],
        partition=row["partition"],
        place=(row["xid"], row["number"]),
        data=decode_data(decode_body(row["body"]).data),
    )


def moment(text: str | None) -> datetime | None:
    """A moment as events write it."""
    return None if text is None else datetime.fromisoformat(text)
