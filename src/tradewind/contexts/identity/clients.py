"""What is asked of identity from inside: by the process that starts, and by the one that checks."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from tradewind.contexts.identity.commands import (
    FIRST_KEY_ID,
    ProvideFirstKey,
    RecordsDiscarded,
    RecordsForgotten,
    RecordUse,
)
from tradewind.platform.node import Node
from tradewind.platform.security.authentication import hash_of_key


async def first_admin_key(node: Node) -> str | None:
    """The API key that a new installation starts with; None once it was revoked.

    Made on the first call; the same on every later one, in every process, so whoever starts the
    platform can write it to its file again if that is missing.
    """
    key = node.secrets.api_key(FIRST_KEY_ID)
    usable: bool = await node.submit(ProvideFirstKey(secret_hash=hash_of_key(key)))
    return key if usable else None


async def mark_used(node: Node, used_at: Mapping[str, float]) -> None:
    """Hand in when keys were last used, in unix time."""
    times = {key_id: datetime.fromtimestamp(at, UTC) for key_id, at in used_at.items()}
    await node.submit(RecordUse(used_at=times))


async def forget_persons(node: Node, signals: Sequence[RecordsDiscarded]) -> None:
    """Destroy records that no account points to any more. Harmless to repeat."""
    persons = tuple(dict.fromkeys(person for signal in signals for person in signal.persons))
    await node.vault.forget(persons)
    await node.submit(RecordsForgotten(persons=persons))
