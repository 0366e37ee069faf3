"""What notifications announces. The subject is what the message is about: an order, or an errand of
an account.
"""

from datetime import datetime
from typing import ClassVar, Literal

from tradewind.kernel.messages import Event

# What a message says. One of each at most per order; "account": one per errand.
Kind = Literal["confirmation", "cancellation", "account"]


class MessageEvent(Event, frozen=True, kw_only=True):
    """What became of one message to the customer of an order, or to the holder of an account."""

    order_id: str  # or the errand ("ern_...") of an account that the message is about
    message_id: str
    kind: Kind

    @property
    def subject(self) -> str:
        """The order, or the errand."""
        return self.order_id


class MessageSent(MessageEvent, frozen=True, kw_only=True):
    """A mail left the house: the mail server, or the embedded mailbox, took it."""

    type: ClassVar[str] = "notifications.message_sent.v1"

    via: Literal["smtp", "mailbox"]
    sent_at: datetime


class MessageFailed(MessageEvent, frozen=True, kw_only=True):
    """A mail will not be sent: the address refused it, or every attempt failed."""

    type: ClassVar[str] = "notifications.message_failed.v1"

    reason: str  # a word or a reply code, never the server's text: that may quote the address
    attempts: int
