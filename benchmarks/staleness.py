"""How old the answers were: each one against the changes that had been acknowledged before it.

A change is acknowledged at the moment in which its answer had been read. An answer whose request
was sent later and that does not show the change is as old as the time between the two.
"""

import json
from collections.abc import Mapping, Sequence

from msgspec import Struct

from benchmarks.reading import Record

STALE_S_MAX = 1.0


class Acknowledged(Struct, frozen=True):
    """A product got this version, and whoever changed it was told at this moment."""

    product_id: str
    version: int
    at: float


class Ages(Struct, frozen=True):
    """What was found. `stale`: answers older than `STALE_S_MAX`."""

    compared: int  # answers that show a product which changed
    oldest_s: float
    stale: int


def first_missing(shown: Mapping[str, int], changes: Sequence[Acknowledged]) -> float:
    """When the first change was acknowledged that an answer with these versions does not show."""
    return min(
        (c.at for c in changes if c.product_id in shown and c.version > shown[c.product_id]),
        default=float("inf"),
    )


def ages(record: Record, shows: Sequence[Sequence[str]], changes: Sequence[Acknowledged]) -> Ages:
    """How old the answers of a record were; `shows` names the product of each target, or nothing
    where the bodies say what they show.
    """
    changed = {change.product_id for change in changes}
    missing: dict[tuple[int, int], float] = {}
    bodies = [versions_in(body) for body in record.bodies]
    compared = stale = 0
    oldest_s = 0.0
    for sent_at, target, state in zip(record.sent_at, record.targets, record.states, strict=True):
        key = target, state
        missing_since = missing.get(key)
        if missing_since is None:
            shown = bodies[state] if bodies else dict.fromkeys(shows[target], state)
            relevant = not changed.isdisjoint(shown)
            missing_since = first_missing(shown, changes) if relevant else -1.0
            missing[key] = missing_since
        if missing_since < 0:
            continue
        compared += 1
        age_s = sent_at - missing_since
        if age_s > 0:
            oldest_s = max(oldest_s, age_s)
            stale += age_s > STALE_S_MAX
    return Ages(compared, oldest_s, stale)


def versions_in(body: bytes) -> dict[str, int]:
    """The products of a list with their versions."""
    return {item["id"]: item["version"] for item in json.loads(body)["items"]}
