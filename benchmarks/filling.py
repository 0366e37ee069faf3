"""A shop with a past: orders that went through and products on the shelf, written by SQL.

The rows are those that the platform leaves for an order and an imported product, in every table of
every context, in the provider's record too; a test compares them with a real order's and proves all
invariants and the replay over them. They are generated inside PostgreSQL, part by part. What is
not real: the sealed bytes of all but the newest customers are no sealed bytes.
"""

import asyncio
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
from msgspec import Struct

from tradewind.platform.bus.log import END_OF_XID
from tradewind.platform.database.embedded import EmbeddedPostgres
from tradewind.platform.security.secrets import Secrets, read_secrets
from tradewind.platform.vault.keyring import WRAPPING, key_id_of, read_keyring
from tradewind.platform.vault.masters import FileMasters
from tradewind.platform.vault.sealing import new_key, seal
from tradewind.simulator.record import SCHEMA

SQL = Path(__file__).parent / "sql"
# A part's rows lie together as a busy shop's do: this many orders are placed at once.
BATCH = 32
PART = 32_000
EVENTS_PER_ORDER = 9
EVENTS_PER_PRODUCT = 3
# Pages of lists show the newest: these customers' records are sealed for real.
SEALED = 4_096
PAST = timedelta(days=60)
LAST_ORDER_AGE = timedelta(hours=25)

Told = Callable[[str, int, int], None]  # what is done, how much of it, of how much


class Filled(Struct, frozen=True):
    """What a fill holds."""

    orders: int
    products: int


def whole_batches(count: int) -> int:
    """A number, rounded up to whole batches."""
    return -(-count // BATCH) * BATCH


async def fill(home: Path, wanted: Filled, told: Told = lambda *_: None) -> None:
    """Fill the database of a home on which the platform has run, and runs no more."""
    server = EmbeddedPostgres(home / "postgres")
    await server.start()
    try:
        connection = await asyncpg.connect(
            server.dsn, server_settings={"synchronous_commit": "off", "jit": "off"}
        )
        try:
            await Filling(connection, wanted, told).run(read_secrets(home))
            await provider(connection, home / "simulator", wanted.orders, told)
            told("vacuum", 0, 1)
            await connection.execute("VACUUM ANALYZE")
            await connection.execute("CHECKPOINT")
            told("vacuum", 1, 1)
        finally:
            await connection.close()
    finally:
        await server.stop(timeout_s=120)


class Filling:
    """One fill at work."""

    def __init__(self, connection: Any, wanted: Filled, told: Told) -> None:
        self.connection = connection
        self.wanted = wanted
        self.told = told

    async def run(self, secrets: Secrets) -> None:
        """Products, then orders, then what stands for all of them: stock, offsets, sweeps."""
        await self.connection.execute((SQL / "fill_schema.sql").read_text())
        now = datetime.now(UTC)
        products, orders = self.wanted.products, self.wanted.orders
        await self.parts("products", products, now - PAST - timedelta(days=1), timedelta(0, 0.3))
        await self.connection.execute("ANALYZE orders.offers")
        step = (PAST - LAST_ORDER_AGE) / max(1, orders)
        await self.parts("orders", orders, now - PAST, step)
        await self.settle(now)
        await self.seal_newest(secrets)

    async def parts(self, what: str, count: int, begins: datetime, step: timedelta) -> None:
        """All of one kind, a transaction each part."""
        stages = EVENTS_PER_PRODUCT if what == "products" else EVENTS_PER_ORDER
        first_xid = await self.burn(count // BATCH * stages)
        position = await self.value(
            "SELECT coalesce(max(first + count - 1), 0) + 1 FROM bus.feed_ranges"
        )
        script = (SQL / f"fill_{what}.sql").read_text()
        part = (begins, step, self.wanted.products, first_xid, position)
        for low in range(1, count + 1, PART):
            high = min(count, low + PART - 1)
            await self.connection.execute("TRUNCATE bench.part")
            await self.connection.execute(
                "INSERT INTO bench.part VALUES ($1, $2, $3, $4, $5, $6, $7)", low, high, *part
            )
            await self.connection.execute(script)
            self.told(what, high, count)

    async def burn(self, count: int) -> int:
        """Use up so many transaction numbers; the first of them. The log's rows bear them."""
        first = await self.value("SELECT pg_current_xact_id()::text::bigint") + 1
        await self.connection.execute(
            f"DO $$ BEGIN FOR i IN 1..{count + 1} LOOP"
            " PERFORM pg_current_xact_id(); COMMIT; END LOOP; END $$"
        )
        return int(first)

    async def settle(self, now: datetime) -> None:
        """Stock is promised, consumers have read everything, sweeps have looked at it."""
        execute = self.connection.execute
        await execute(
            "UPDATE inventory.stock s SET reserved = r.total FROM ("
            " SELECT sku_key, sum(quantity) AS total FROM inventory.reservations,"
            " unnest(sku_keys, quantities) AS u (sku_key, quantity) GROUP BY sku_key) r"
            " WHERE s.sku_key = r.sku_key"
        )
        await execute(
            "UPDATE bus.offsets"
            " SET xid = (SELECT max(xid) FROM bus.log), number = $1, holder = NULL",
            END_OF_XID,
        )
        last = await self.value("SELECT max(order_id) FROM orders.orders")
        if last is not None:
            await execute("UPDATE orders.swept SET order_id = $1", last)
            await execute(
                "INSERT INTO vault.swept (holder, person) VALUES ('orders', $1)"
                " ON CONFLICT (holder) DO UPDATE SET person = EXCLUDED.person",
                last.replace("ord_", "prs_"),
            )

    async def seal_newest(self, secrets: Secrets) -> None:
        """The customers that lists show can be opened."""
        persons = await self.connection.fetch(
            "SELECT person FROM vault.persons ORDER BY person DESC LIMIT $1", SEALED
        )
        masters = FileMasters(secrets)
        ring = await read_keyring(self.connection, masters)
        key_id = key_id_of(ring.newest[WRAPPING])
        sealed = []
        for (person,) in persons:
            key = new_key()
            fields = {
                "name": "Ada Lovelace",
                "email": f"{person[4:20]}@bench.example",
                "line1": "12 St James's Square",
                "city": "London",
                "postal_code": "SW1Y 4JH",
                "country": "GB",
            }
            sealed.append((person, key_id, ring.wrap(person, key), seal(key, person, fields)))
        await self.connection.executemany(
            "UPDATE vault.persons SET key_id = $2, wrapped = $3, sealed = $4 WHERE person = $1",
            sealed,
        )

    async def value(self, sql: str) -> Any:
        """One value."""
        return await self.connection.fetchval(sql)


# By the primary key: a page of orders as the provider knows them.
ORDERS = """
    SELECT order_id, placed_at FROM orders.orders WHERE order_id > $1 ORDER BY order_id LIMIT $2
"""


async def provider(connection: Any, folder: Path, orders: int, told: Told) -> None:
    """The provider's own record of all authorisations and captures."""
    folder.mkdir(parents=True, exist_ok=True)
    db = sqlite3.connect(folder / "record.sqlite3", check_same_thread=False)
    db.executescript("PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF;" + SCHEMA)
    after, done = "", 0
    while rows := await connection.fetch(ORDERS, after, PART):
        await asyncio.to_thread(record, db, rows)
        after, done = rows[-1][0], done + len(rows)
        told("provider", done, orders)
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()


def record(db: sqlite3.Connection, orders: Sequence[Any]) -> None:
    """Authorised and captured: what the provider wrote down about these orders."""
    db.executemany(
        "INSERT INTO charges (key, operation, order_id, reference, amount_minor, currency, status,"
        " reason, at) VALUES (?, ?, ?, ?, 2997, 'GBP', 'succeeded', '', ?)",
        charges(orders),
    )
    db.executemany(
        "INSERT INTO authorisations VALUES (?, 2997, 'GBP', 'tok_ok', 2997, 0, 1, 0)",
        ((f"pay_{order_id[4:]}:authorise",) for order_id, _ in orders),
    )
    db.commit()


def charges(orders: Sequence[Any]) -> Iterator[tuple[str, ...]]:
    """Two rows an order."""
    for order_id, placed_at in orders:
        at = placed_at.isoformat(timespec="microseconds").replace("+00:00", "Z")
        reference = f"pay_{order_id[4:]}:authorise"
        yield reference, "authorise", order_id, reference, at
        yield f"pay_{order_id[4:]}:capture", "capture", order_id, reference, at
