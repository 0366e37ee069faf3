"""What the record announces, on the topic ``security-events``."""

from datetime import datetime
from typing import Any, ClassVar

import msgspec

from tradewind.kernel.ids import new_id
from tradewind.kernel.messages import Event
from tradewind.platform.audit.entries import Standing

SOURCE = "audit"
TOPIC = "security-events"


class SecurityNoticed(Event, frozen=True, kw_only=True):
    """Something that a security system should know of. Each is about one entry of the record.

    Nothing in it is personal: `principal` is the id of a credential, `address` a token.
    """

    type: ClassVar[str] = "audit.security_noticed.v1"

    entry_id: str
    position: int  # in the chain; 0: about the chain itself
    notice: str  # "credential_refused"
    operation: str
    principal: str
    object: str
    address: str
    count: int  # how often it happened, where floods are told as one
    at: datetime
    request_trace: str = ""

    @property
    def subject(self) -> str:
        """The entry."""
        return self.entry_id

    @classmethod
    def of_tampering(cls, where: str, now: datetime) -> "SecurityNoticed":
        """The record itself was changed."""
        return cls(
            sequence=1,
            entry_id=new_id("aud"),
            position=0,
            notice="tampering_found",
            operation="",
            principal="",
            object=where,
            address="",
            count=1,
            at=now,
        )


def noticed(entry: Standing, position: int) -> SecurityNoticed:
    """What is announced of an entry."""
    after: dict[str, Any] = msgspec.json.decode(entry.after) if entry.after else {}
    count = after.get("count", 1) if entry.kind == "notice" else 1
    return SecurityNoticed(
        sequence=1,
        entry_id=entry.entry_id,
        position=position,
        notice=entry.notice,
        operation=entry.operation,
        principal=entry.principal,
        object=entry.object,
        address=entry.address,
        count=count,
        at=entry.at,
        request_trace=entry.trace,
    )
