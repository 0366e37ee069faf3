"""What notifications can be asked. Both commands come from its own sender, not from outside."""

from typing import Literal

from msgspec import Struct

from tradewind.kernel.messages import Command


class MessagesAreDue(Struct, frozen=True):
    """A signal: there is mail to send. The sender of this process then claims it."""


class ClaimMessages(Command, frozen=True, kw_only=True):
    """Take up to `count_max` messages that are due, for one attempt.

    The outcome is a tuple of `tables.DueMessage`. The attempt is committed before anything is
    sent; a claim whose sender dies lapses after `rules.CLAIM_S`.
    """

    count_max: int


class Attempt(Struct, frozen=True, kw_only=True):
    """How one attempt to send one message ended."""

    message_id: str
    order_id: str
    attempt: int
    result: Literal["sent", "failed", "refused"]  # failed: try again; refused: do not
    via: Literal["smtp", "mailbox"]
    reason: str = ""  # of a failure, without personal data


class RecordAttempts(Command, frozen=True, kw_only=True):
    """Write down how attempts ended. Safe to repeat: a message settles once."""

    attempts: tuple[Attempt, ...]
