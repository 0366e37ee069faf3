"""Forward-only migrations in plain SQL, and the roles that keep contexts apart.

Every schema has an owner (the login) and one role ``tradewind_<schema>`` with rights on that schema
only. Migrations run under one advisory lock, so any number of processes may start at once; each
file is one transaction; an applied file that changed since is refused.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import asyncpg
from msgspec import Struct

from tradewind.platform.database.pool import Connection, Pool

MIGRATION_LOCK = 7_311_001
FILE_PATTERN = "[0-9][0-9][0-9][0-9]_*.sql"

# Which requests came under which key, and what they were answered: at once in the key's own row, or
# later, under the resource they led to, in a row of its own (an update would move the long answer
# and the key's index entries to another page). Per context, because the rows commit in the
# transaction of the business. Keyed by a digest: the key itself may be personal, and 16 bytes keep
# the index small. The last two statements bring tables of the first form into this one.
IDEMPOTENCY = """
CREATE TABLE IF NOT EXISTS {schema}.idempotency_keys (
  digest      bytea       PRIMARY KEY CHECK (length(digest) = 16),
  fingerprint bytea       NOT NULL,
  resource    text        COLLATE "C",
  status      smallint,
  body        bytea,
  headers     text,
  trace       text,
  created_at  timestamptz NOT NULL DEFAULT now(),
  CHECK (status IS NOT NULL OR resource IS NOT NULL)
);
CREATE TABLE IF NOT EXISTS {schema}.kept_answers (
  resource   text        COLLATE "C" PRIMARY KEY,
  status     smallint    NOT NULL,
  body       bytea       NOT NULL,
  headers    text        NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now()
);
INSERT INTO {schema}.kept_answers (resource, status, body, headers, created_at)
SELECT DISTINCT ON (resource) resource, status, coalesce(body, ''), coalesce(headers, '{{}}'),
       created_at
  FROM {schema}.idempotency_keys WHERE resource IS NOT NULL AND status IS NOT NULL
    ON CONFLICT DO NOTHING;
DROP INDEX IF EXISTS {schema}.idempotency_keys_by_resource;
"""


class MigrationError(Exception):
    """A migration cannot be applied; the text says which and what to do."""


class SchemaSource(Struct, frozen=True):
    """A schema and the folder its migrations stand in."""

    schema: str
    folder: Path
    is_context: bool = True
    # False: its migrations say themselves what its role may do.
    granted: bool = True


async def migrate(pool: Pool, sources: Sequence[SchemaSource]) -> list[str]:
    """Bring every schema up to date; returns what was applied (``orders/0001_orders.sql``)."""
    connection = await pool.connect(name="tradewind migrate")
    try:
        await connection.execute("SELECT pg_advisory_lock($1)", MIGRATION_LOCK)
        return await apply(connection, sources)
    finally:
        await connection.close()


async def apply(connection: Connection, sources: Sequence[SchemaSource]) -> list[str]:
    """Apply what is missing, in the order given. The caller holds the migration lock."""
    await connection.execute(
        """
        CREATE SCHEMA IF NOT EXISTS tradewind;
        CREATE TABLE IF NOT EXISTS tradewind.migrations (
          schema text NOT NULL, name text NOT NULL, sha256 text NOT NULL,
          applied_at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (schema, name));
        """
    )
    known = {
        (row["schema"], row["name"]): row["sha256"]
        for row in await connection.fetch("SELECT schema, name, sha256 FROM tradewind.migrations")
    }
    applied: list[str] = []
    await ensure_role(connection, "tradewind_context")
    for source in sources:
        await ensure_role(connection, f"tradewind_{source.schema}")
        for path in sorted(source.folder.glob(FILE_PATTERN)):
            text = path.read_text(encoding="utf-8")
            digest = hashlib.sha256(text.encode()).hexdigest()
            before = known.get((source.schema, path.name))
            if before == digest:
                continue
            if before is not None:
                raise MigrationError(
                    f"Migration {source.schema}/{path.name} was changed after it had been applied. "
                    "Migrations only go forward: restore the file and add a new one."
                )
            async with connection.transaction():
                await ensure_schema(connection, source)
                await connection.execute(text)
                if source.granted:
                    await grant(connection, source)
                await connection.execute(
                    "INSERT INTO tradewind.migrations (schema, name, sha256) VALUES ($1, $2, $3)",
                    source.schema,
                    path.name,
                    digest,
                )
            applied.append(f"{source.schema}/{path.name}")
        kept = f"{source.schema}.kept_answers"
        if source.is_context and not await connection.fetchval("SELECT to_regclass($1)", kept):
            async with connection.transaction():
                await ensure_schema(connection, source)
                await grant(connection, source)
    return applied


async def ensure_role(connection: Connection, role: str) -> None:
    """Create a role without login, if it is missing, and let the login speak as it."""
    exists = await connection.fetchval("SELECT 1 FROM pg_roles WHERE rolname = $1", role)
    if not exists:
        try:
            await connection.execute(f"CREATE ROLE {role} NOLOGIN")
        except (asyncpg.DuplicateObjectError, asyncpg.UniqueViolationError):
            pass  # another database of the same server was faster; roles belong to the server
        except asyncpg.InsufficientPrivilegeError:
            raise MigrationError(
                "The database login may not create roles. Give it CREATEROLE: every context of "
                "Tradewind speaks through a role of its own."
            ) from None
    # Since version 16 being a member and being allowed to speak as a role are two things.
    right = "SET" if connection.get_server_version().major >= 16 else "MEMBER"
    member = await connection.fetchval("SELECT pg_has_role(current_user, $1, $2)", role, right)
    if not member:
        await connection.execute(f"GRANT {role} TO CURRENT_USER")


async def ensure_schema(connection: Connection, source: SchemaSource) -> None:
    """The schema and, for a context, its tables of idempotency. The role is there."""
    role = f"tradewind_{source.schema}"
    await connection.execute(f"CREATE SCHEMA IF NOT EXISTS {source.schema}")
    if source.is_context:
        await connection.execute(f"GRANT tradewind_context TO {role}")
        await connection.execute(IDEMPOTENCY.format(schema=source.schema))


async def grant(connection: Connection, source: SchemaSource) -> None:
    """Rights on its own schema's rows, nothing else: no DDL, no TRUNCATE, no other schema."""
    role = f"tradewind_{source.schema}"
    await connection.execute(
        f"""
        GRANT USAGE ON SCHEMA {source.schema} TO {role};
        GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {source.schema} TO {role};
        GRANT USAGE ON ALL SEQUENCES IN SCHEMA {source.schema} TO {role};
        GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA {source.schema} TO {role};
        """
    )
