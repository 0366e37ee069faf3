"""Where the master key is: what wraps the few keys that the vault keeps in its own tables.

The vault asks for it when a process first needs a key, and never on the way of an order. By default
the masters are those of `server.key`; a transit server (`transit.py`) or a cloud's key service is
another `Masters`: two calls, and a name by which a key that was wrapped knows its master again.
"""

from collections.abc import Sequence
from typing import Protocol

from msgspec import Struct

from tradewind.platform.security.secrets import Secrets
from tradewind.platform.vault.sealing import unwrap, wrap

PURPOSE = "vault"


class Wrapped(Struct, frozen=True):
    """A key that only the master that is named can bring back."""

    master: str
    wrapped: bytes


class Masters(Protocol):
    """Wraps and unwraps keys. To add a key service, write one of these and name it in `of`."""

    async def wrap(self, name: str, key: bytes) -> Wrapped:
        """`key` under the newest master, bound to `name`."""
        ...

    async def unwrap(self, name: str, wrapped: Wrapped) -> bytes:
        """The key again. Raises `SecretsError` where its master is not to be had, and
        `RecordUnreadable` where the bytes were changed.
        """
        ...

    async def newest(self) -> str:
        """The name of the master that wraps what is made now."""
        ...


class FileMasters:
    """The masters of `server.key`, newest first. A new one in front, `tradewind vault rotate`, and
    the old one may go.
    """

    def __init__(self, secrets: Secrets) -> None:
        self._secrets = secrets

    async def wrap(self, name: str, key: bytes) -> Wrapped:
        """See `Masters`."""
        key_id = self._secrets.key_id
        return Wrapped(key_id, wrap(self._secrets.purpose_key(PURPOSE, key_id), name, key))

    async def unwrap(self, name: str, wrapped: Wrapped) -> bytes:
        """See `Masters`."""
        outer = self._secrets.purpose_key(PURPOSE, wrapped.master)
        return unwrap(outer, name, wrapped.wrapped)

    async def newest(self) -> str:
        """See `Masters`."""
        return self._secrets.key_id


class Several:
    """The first wraps; each unwraps what is its own. For the way from one place to another."""

    def __init__(self, named: Sequence[tuple[str, Masters]], rest: Masters) -> None:
        """`named`: by the beginning of the names they give; `rest` has all others."""
        self._named = named
        self._rest = rest
        self._first = named[0][1] if named else rest

    async def wrap(self, name: str, key: bytes) -> Wrapped:
        """See `Masters`."""
        return await self._first.wrap(name, key)

    async def unwrap(self, name: str, wrapped: Wrapped) -> bytes:
        """See `Masters`."""
        for prefix, masters in self._named:
            if wrapped.master.startswith(prefix):
                return await masters.unwrap(name, wrapped)
        return await self._rest.unwrap(name, wrapped)

    async def newest(self) -> str:
        """See `Masters`."""
        return await self._first.newest()
