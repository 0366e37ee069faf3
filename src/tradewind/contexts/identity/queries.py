"""Reads of API keys: for the list, and for the process that checks callers."""

from collections.abc import Sequence

from tradewind.contexts.identity.tables import KeyId, KeyRow
from tradewind.platform.database.transaction import Snapshot
from tradewind.platform.security.authentication import KeyFacts

# api_keys_pkey, read backwards: ids are in the order of time.
PAGE = """
    SELECT key_id, name, scopes, secret_hash, version, created_at, created_by, expires_at,
           revoked_at, revoked_by, last_used_at, customer_group
      FROM identity.api_keys WHERE $1::text IS NULL OR key_id < $1
     ORDER BY key_id DESC LIMIT $2"""


async def keys(db: Snapshot, *, before: str | None, count_max: int) -> list[KeyRow]:
    """Keys, revoked ones too, newest first, from behind the key `before`."""
    return await db.fetch(PAGE, before, count_max, into=KeyRow)


# api_keys_pkey.
FACTS = """
    SELECT key_id, secret_hash, scopes, expires_at, customer_group FROM identity.api_keys
     WHERE key_id = ANY ($1::text[]) AND revoked_at IS NULL"""


async def key_facts(db: Snapshot, key_ids: Sequence[str]) -> list[KeyFacts]:
    """What authentication needs of those keys that exist and are not revoked."""
    return await db.fetch(FACTS, list(key_ids), into=KeyFacts)


# api_keys_revoked. The database's clock on both sides: `tx.now`, which stamps them, follows it.
REVOKED = """
    SELECT key_id FROM identity.api_keys WHERE revoked_at > now() - make_interval(secs => $1)"""


async def revoked_within(db: Snapshot, seconds: float) -> list[str]:
    """The keys that were revoked in the last `seconds`."""
    return [row.key_id for row in await db.fetch(REVOKED, seconds, into=KeyId)]
