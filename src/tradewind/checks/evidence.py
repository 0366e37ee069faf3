"""What a proof looks at: one snapshot of the database, and what the payment provider recorded.

Every invariant asks one question in SQL that answers with a row per thing it looked at: its id,
whether it is well (`ok`), and what is wrong with it if it is not.
"""

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Struct

from tradewind.checks.archived import Names

OFFENCES_SHOWN = 5


class Offence(Struct, frozen=True):
    """One thing for which an invariant does not hold."""

    id: str
    detail: str


class Proof(Struct, frozen=True, kw_only=True):
    """What an invariant found: how many things it looked at, and those that break it."""

    checked: int
    things: str  # "skus", "orders": what was counted
    broken: int
    first: tuple[Offence, ...]  # the first few of the broken

    @property
    def holds(self) -> bool:
        """Whether nothing breaks it."""
        return self.broken == 0


class Charge(Struct, frozen=True):
    """An operation that took effect at the provider, in its own words."""

    number: int
    key: str
    operation: str
    order_id: str
    amount_minor: int
    currency: str
    at: str


# Every question is wrapped in this: one pass, and only the first offences travel.
SUMMED_UP = """
    WITH looked_at AS MATERIALIZED ({question})
    SELECT count(*) AS checked, count(*) FILTER (WHERE ok IS NOT TRUE) AS broken,
           (SELECT coalesce(json_agg(json_build_array(id, detail)), '[]')
              FROM (SELECT id, detail FROM looked_at WHERE ok IS NOT TRUE ORDER BY id
                     LIMIT {count_max}) f)::text AS first
      FROM looked_at
"""


class Evidence:
    """The snapshot (a connection inside a read-only transaction) and the provider's record."""

    def __init__(
        self, connection: Any, charges: Sequence[Charge] | None, names: Names | None = None
    ) -> None:
        self._connection = connection
        self._names = names or Names()  # of the log: where part of it is in archive files
        # None: the provider's record could not be read, so nothing is said about it.
        self.charges = charges

    async def prove(self, things: str, question: str, *args: Any) -> Proof:
        """Ask; `question` is a SELECT of (id text, ok boolean, detail text)."""
        sql = SUMMED_UP.format(question=question, count_max=OFFENCES_SHOWN)
        row = await self._connection.fetchrow(self._names.within(sql), *args)
        first = msgspec.json.decode(row["first"], type=list[tuple[str | None, str | None]])
        return Proof(
            checked=row["checked"],
            things=things,
            broken=row["broken"],
            first=tuple(Offence(str(name), detail or "") for name, detail in first),
        )

    async def value(self, question: str, *args: Any) -> Any:
        """One value."""
        return await self._connection.fetchval(question, *args)

    def charges_as_columns(self, operation: str) -> tuple[list[str], list[str], list[int]]:
        """The provider's operations of one kind, for ``unnest``: order, currency, amount."""
        kept = [charge for charge in self.charges or () if charge.operation == operation]
        return (
            [charge.order_id for charge in kept],
            [charge.currency for charge in kept],
            [charge.amount_minor for charge in kept],
        )
