"""What is recorded of an action: who is answerable, and what changed. Ids and numbers, no names."""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct


class Audited(Struct, frozen=True, kw_only=True):
    """Who asks for something, as it goes into the record with what was asked for.

    Made once per command, so that a command that is run again leaves no second entry.
    """

    entry_id: str  # aud_...
    principal: str  # the id of the credential: key_..., ord_...; "" for nobody
    operation: str  # "POST /v1/keys"
    object: str  # what the path names; a `Change` may know better
    address: str  # where from: a token, where the address itself is personal
    notice: str = ""  # what a security system is told of it; "": nothing
    trace: str = ""
    reason: str = ""  # sealed


class Change(Struct, frozen=True):
    """What a command did to one object. Where both sides are equal it did nothing."""

    object: str
    before: Mapping[str, Any] | None  # None: it was not there
    after: Mapping[str, Any] | None

    @classmethod
    def nothing(cls, about: str) -> "Change":
        """It is as it was."""
        return cls(about, None, None)

    @property
    def is_none(self) -> bool:
        """Whether there is nothing to record."""
        return self.before == self.after
