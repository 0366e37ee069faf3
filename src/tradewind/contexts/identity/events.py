"""What identity announces. The subject is the key; no event holds anything of its secret."""

from datetime import datetime
from typing import ClassVar

from tradewind.kernel.messages import Event


class KeyCreated(Event, frozen=True, kw_only=True):
    """A program was let in. Always the first fact about a key.

    Without the key's name: people write their own into it, and a log cannot forget.
    """

    type: ClassVar[str] = "identity.key_created.v1"

    key_id: str
    scopes: tuple[str, ...]
    created_at: datetime
    created_by: str  # the key that asked for it; its own id for the first one
    expires_at: datetime | None

    @property
    def subject(self) -> str:
        """The key."""
        return self.key_id


class KeyRevoked(Event, frozen=True, kw_only=True):
    """A key opens nothing any more. Always the last fact about a key."""

    type: ClassVar[str] = "identity.key_revoked.v1"

    key_id: str
    revoked_at: datetime
    revoked_by: str

    @property
    def subject(self) -> str:
        """The key."""
        return self.key_id
