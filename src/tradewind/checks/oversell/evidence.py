"""What the judge looks at: the clients' history, the quiet database, the provider's record.

Like the judge it knows nothing of Tradewind but its wire contract and five tables, each read by one
statement that stands here. The standard library and asyncpg, nothing else.
"""

import json
import urllib.request
from bisect import bisect
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import asyncpg

# Not an outcome: the same request with the same key is asked again.
NOT_YET = frozenset({202, 503})
CHARGES_PAGE = 1_000
TIMEOUT_S = 30


@dataclass
class Asked:
    """One request, from its first byte sent to its last byte received; times in ns since 1970."""

    id: int
    op: str
    method: str
    path: str
    key: str | None
    body: Any
    begin: int
    end: int | None = None
    status: int | None = None
    text: str = ""
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def decided(self) -> bool:
        """Whether this is an answer that stays."""
        return self.status is not None and self.status not in NOT_YET

    @cached_property
    def answer(self) -> dict[str, Any]:
        """The body of the answer; nothing where none came, or none that an API gives."""
        try:
            found = json.loads(self.text) if self.status else {}
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}

    @property
    def code(self) -> str:
        """The code of the problem, or nothing."""
        return str(self.answer.get("code", "")) if self.status and self.status >= 400 else ""

    @property
    def order_id(self) -> str | None:
        """The order an answer to a placing is about."""
        found = self.answer.get("order_id" if self.code else "id")
        return found if isinstance(found, str) else None


def by_key(asked: Iterable[Asked]) -> dict[str, list[Asked]]:
    """Requests by idempotency key, in the order in which they were sent."""
    found: dict[str, list[Asked]] = defaultdict(list)
    for one in asked:
        if one.key is not None:
            found[one.key].append(one)
    return found


def first_decided(asked: Sequence[Asked], code_not: str = "") -> Asked | None:
    """The decided answer that came first."""
    decided = [a for a in asked if a.decided and not (code_not and a.code == code_not)]
    return min(decided, key=lambda a: a.end or 0) if decided else None


@dataclass
class Act:
    """Something the nemesis did."""

    at: int
    what: str
    window: str = ""


@dataclass
class History:
    """What clients saw and what was done to the platform."""

    seed: int = 0
    asked: list[Asked] = field(default_factory=list)
    acts: list[Act] = field(default_factory=list)
    tail: list[tuple[str, str, int]] = field(default_factory=list)  # the feed as it was followed

    @cached_property
    def placed(self) -> dict[str, list[Asked]]:
        """Placings by key: the first one's body is what the key stands for."""
        return by_key(a for a in self.asked if a.op == "place")

    @cached_property
    def cancels(self) -> dict[str, list[Asked]]:
        """Cancellations by order."""
        found: dict[str, list[Asked]] = defaultdict(list)
        for asked in self.asked:
            if asked.op == "cancel":
                found[asked.path.split("/")[3]].append(asked)
        return found

    @cached_property
    def refunds(self) -> dict[str, dict[str, list[Asked]]]:
        """Refunds by payment and key."""
        found: dict[str, dict[str, list[Asked]]] = defaultdict(lambda: defaultdict(list))
        for asked in self.asked:
            if asked.op == "refund" and asked.key:
                found[asked.path.split("/")[3]][asked.key].append(asked)
        return found


@dataclass(frozen=True)
class Fact:
    """An event as the log holds it, in the order of the log."""

    source: str
    type: str
    subject: str
    sequence: int
    at: int
    data: dict[str, Any]


@dataclass
class Evidence:
    """What the platform and the provider hold when all is quiet."""

    orders: dict[str, tuple[str, int]] = field(default_factory=dict)  # status, total in minor units
    stock: dict[str, tuple[int, int]] = field(default_factory=dict)  # on hand, reserved
    log: list[Fact] = field(default_factory=list)
    ledger: list[tuple[str, str, str, int, str]] = field(default_factory=list)
    charges: list[dict[str, Any]] = field(default_factory=list)

    @cached_property
    def money(self) -> dict[str, dict[str, list[int]]]:
        """What the provider did: order -> operation -> amounts."""
        found: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
        for charge in self.charges:
            found[charge["order_id"]][charge["operation"]].append(charge["amount_minor"])
        return found

    @cached_property
    def said(self) -> dict[str, Counter[str]]:
        """How often which kind of fact was announced about an order."""
        found: dict[str, Counter[str]] = defaultdict(Counter)
        for fact in self.log:
            found[fact.subject][fact.type] += 1
        return found


# -- shelves

# A unit of work ends within this; two that overlap may stand in the log in either order.
OVERLAP_NS = 250_000_000


@dataclass
class Shelf:
    """One sku while the log is replayed: its counts, and what was free after each change."""

    on_hand: int = 0
    reserved: int = 0
    frees: list[tuple[int, int]] = field(default_factory=list)  # place in the log, free
    holes: list[tuple[int, str, str]] = field(default_factory=list)  # at, order, what was missing

    @property
    def free(self) -> int:
        """What may still be promised."""
        return self.on_hand - self.reserved

    @property
    def overdrawn(self) -> list[tuple[str, str]]:
        """Orders that got more than was free, and what was missing."""
        return [(order_id, detail) for _, order_id, detail in self.holes]

    def hold(self, place: int, at: int, quantity: int, order_id: str) -> None:
        """Units are promised to an order."""
        if quantity > self.free:
            self.holes.append((at, order_id, f"{quantity} held, {self.free} free"))
        self.reserved += quantity
        self.frees.append((place, self.free))

    def count(self, place: int, on_hand: int) -> None:
        """Somebody says how many are there."""
        self.on_hand = on_hand
        self.frees.append((place, self.free))

    def give_back(self, place: int, at: int, quantity: int) -> None:
        """Units are free again.

        A hole that a unit of work at the same moment fills is none: a shelf is compared with what
        was read, and units that were held and given back in between leave it as it was.
        """
        self.reserved -= quantity
        self.frees.append((place, self.free))
        if self.free >= 0:
            self.holes = [hole for hole in self.holes if hole[0] + OVERLAP_NS < at]

    def free_since(self, place: int) -> list[int]:
        """What was free at a place in the log, and at every change since."""
        first = max(0, bisect(self.frees, (place, 2**62)) - 1)
        return [free for _, free in self.frees[first:]] or [0]


# -- small sums


def minor(amount: dict[str, str]) -> int:
    """An amount of two decimals in minor units."""
    whole, _, part = amount["amount"].partition(".")
    return int(whole) * 100 + int(part or 0)


def refunds_told(history: History) -> Counter[str]:
    """What callers were told to have been given back, by order."""
    found: Counter[str] = Counter()
    for keys in history.refunds.values():
        for twins in keys.values():
            asked = first_decided(twins)
            if asked is not None and asked.status == 201:
                found[asked.body["reason"]] += minor(asked.answer["amount"])
    return found


def most_on_hand(counts: Sequence[tuple[int, int, int]], begin: int, end: int) -> int:
    """The largest count that may have been in force at any moment between `begin` and `end`."""
    return max(
        (
            value
            for value, told_at, done in counts
            if told_at <= end
            and not any(later > done and later_done <= begin for _, later, later_done in counts)
        ),
        default=0,
    )


# -- reading


def read_history(path: Path) -> History:
    """The file that the clients wrote: a line of JSON per thing that happened."""
    history = History()
    asked: dict[int, Asked] = {}
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            told = json.loads(line)
            match told["what"]:
                case "begin":
                    one = asked[told["id"]] = Asked(
                        id=told["id"],
                        op=told["op"],
                        method=told["method"],
                        path=told["path"],
                        key=told["key"],
                        body=told["body"],
                        begin=told["at"],
                    )
                    history.asked.append(one)
                case "end":
                    one = asked[told["id"]]
                    one.end, one.status = told["at"], told["status"]
                    one.text, one.headers = told["text"], told["headers"]
                case "act":
                    history.acts.append(Act(told["at"], told["act"], told["window"]))
                case "feed":
                    history.tail += [(str(s), str(u), int(n)) for s, u, n in told["items"]]
                case "seed":
                    history.seed = told["seed"]
    return history


ORDERS = "SELECT order_id, status, total_minor FROM orders.orders"
STOCK = "SELECT sku_key, sum(on_hand), sum(reserved) FROM inventory.stock GROUP BY sku_key"
LEDGER = "SELECT order_id, debit, credit, amount_minor, currency FROM payments.ledger"
# A timer that fired is on the log, but it is no fact about a subject: it has no sequence.
LOG = """
    SELECT source, type, subject, sequence, at, body FROM bus.log
     WHERE subject NOT LIKE 'timer:%' ORDER BY xid, number
"""
# The facts whose content matters; the rest only has to be there.
READ_CLOSELY = frozenset(
    {
        "orders.order_placed.v1",
        "inventory.stock_adjusted.v1",
        "inventory.stock_counted.v1",
        "inventory.stock_refused.v1",
    }
)


async def collect(dsn: str, provider_url: str) -> Evidence:
    """Everything the judge needs of a platform at rest."""
    connection = await asyncpg.connect(dsn)
    try:
        orders = await connection.fetch(ORDERS)
        stock = await connection.fetch(STOCK)
        ledger = await connection.fetch(LEDGER)
        log = await connection.fetch(LOG)
    finally:
        await connection.close()
    return Evidence(
        orders={row[0]: (row[1], row[2]) for row in orders},
        stock={row[0]: (int(row[1]), int(row[2])) for row in stock},
        ledger=[tuple(row) for row in ledger],
        log=[fact_of(row) for row in log],
        charges=read_charges(provider_url),
    )


def fact_of(row: Any) -> Fact:
    """A row of the log."""
    source, kind, subject, sequence, at, body = row
    data = json.loads(body)["data"] if kind in READ_CLOSELY else {}
    return Fact(source, kind, subject, sequence, nanoseconds(at), data)


def nanoseconds(moment: datetime) -> int:
    """Since 1970, as the history counts."""
    return int(moment.timestamp() * 1_000_000) * 1_000


def read_charges(url: str) -> list[dict[str, Any]]:
    """The provider's own record, all of it, in the order in which things took effect."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    charges: list[dict[str, Any]] = []
    after: int | None = 0
    while after is not None:
        address = f"{url}/v1/charges?after={after}&limit={CHARGES_PAGE}"
        with opener.open(address, timeout=TIMEOUT_S) as reply:
            page = json.loads(reply.read())
        charges += page["items"]
        after = page["next"]
    return charges
