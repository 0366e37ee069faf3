"""The keys that the vault keeps for itself, opened: what a process has of them in memory.

A purpose is the id of a key, and has versions. The newest that is not retired makes what is new;
all of them open what is old. A version goes when nothing uses it any more.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from tradewind.platform.database.pool import Connection
from tradewind.platform.vault.masters import Masters, Wrapped
from tradewind.platform.vault.sealing import new_key, unwrap, wrap

WRAPPING = "wrapping"
BLIND_INDEX = "blind index"
TEXTS = "texts"
RETENTION = "retention"
# What every vault has from its first record on.
STANDING = (WRAPPING, BLIND_INDEX, TEXTS)


class VersionUnknown(Exception):
    """A row names a version that this process has not read yet, or that is gone."""


class Keyring(Struct, frozen=True):
    """Opened keys by purpose and version."""

    keys: Mapping[tuple[str, int], bytes]
    newest: Mapping[str, int]  # of each purpose, the version that makes what is new

    def key(self, purpose: str, version: int) -> bytes:
        """One key. Raises `VersionUnknown`."""
        found = self.keys.get((purpose, version))
        if found is None:
            raise VersionUnknown(f"{purpose} {version}")
        return found

    def wrap(self, name: str, key: bytes) -> bytes:
        """The key of a person under the newest wrapping key."""
        return wrap(self.key(WRAPPING, self.newest[WRAPPING]), name, key)

    def older(self, purpose: str) -> list[int]:
        """The versions that only open, newest first."""
        newest = self.newest[purpose]
        return sorted((v for p, v in self.keys if p == purpose and v != newest), reverse=True)


def key_id_of(version: int) -> str:
    """What stands in a person's row: id and version of the key that wrapped its key."""
    return f"{WRAPPING}.{version}"


async def unwrap_person(
    ring: Keyring, masters: Masters, name: str, key_id: str, wrapped: bytes
) -> bytes:
    """A person's key. Those from before wrapping keys had versions lie under a master itself."""
    purpose, dot, version = key_id.partition(".")
    if not dot:
        return await masters.unwrap(name, Wrapped(key_id, wrapped))
    return unwrap(ring.key(purpose, int(version)), name, wrapped)


READ = "SELECT purpose, version, master, wrapped, retired_at FROM vault.key_versions"
ADD = """
    INSERT INTO vault.key_versions (purpose, version, master, wrapped) VALUES ($1, $2, $3, $4)
    ON CONFLICT DO NOTHING"""


def name_of(purpose: str, version: int) -> str:
    """What a key is bound to. The first version of each came before there were versions."""
    return purpose if version == 1 else f"{purpose} {version}"


async def add_version(connection: Connection, masters: Masters, purpose: str, version: int) -> None:
    """Make a version, unless it is there."""
    made = await masters.wrap(name_of(purpose, version), new_key())
    await connection.execute(ADD, purpose, version, made.master, made.wrapped)


async def read_keyring(connection: Connection, masters: Masters) -> Keyring:
    """All keys, those made that are missing. Raises `SecretsError` on a server that lacks their
    master, and then makes none.
    """
    rows: Sequence[Any] = await connection.fetch(READ)
    opened = await open_keys(masters, rows)  # first: a stranger's keys must not get company
    missing = [purpose for purpose in STANDING if purpose not in opened.newest]
    if missing:
        for purpose in missing:
            await add_version(connection, masters, purpose, 1)
        opened = await open_keys(masters, await connection.fetch(READ))
    return opened


async def open_keys(masters: Masters, rows: Sequence[Any]) -> Keyring:
    """Rows of the table as keys."""
    keys: dict[tuple[str, int], bytes] = {}
    newest: dict[str, int] = {}
    for purpose, version, master, wrapped, retired_at in rows:
        name = name_of(purpose, version)
        keys[purpose, version] = await masters.unwrap(name, Wrapped(master, wrapped))
        if retired_at is None:
            newest[purpose] = max(version, newest.get(purpose, 0))
    return Keyring(keys, newest)
