"""What can be asked of payments, and the calls to the provider that follow from it."""

from typing import ClassVar, Literal

from msgspec import Struct

from tradewind.kernel.messages import Command

OperationName = Literal["authorise", "capture", "void", "refund"]


class RefundPayment(Command, frozen=True, kw_only=True):
    """Give money back. Answered under `refund_id` when the provider has done it, or refused."""

    payment_id: str
    refund_id: str
    amount_minor: int
    currency: str
    reason: str


class ProviderCall(Struct, frozen=True, kw_only=True):
    """A committed claim: this process is to call the provider, or to look the key up.

    `claim` names the claim; an outcome without a decision counts only for the latest one.
    """

    key: str
    claim: int
    look_up: bool
    payment_id: str
    order_id: str
    operation: OperationName
    amount_minor: int
    currency: str
    token: str
    reference: str  # the key of the authorisation
    wait_s: float  # before it goes out
    timeout_s: float  # for its answer


# succeeded, refused: the provider decided. failed: it says that nothing happened, ask again.
# not_found: it does not know the key. no_answer: anything may have happened. unreached: nothing
# was sent.
Outcome = Literal["succeeded", "refused", "failed", "not_found", "no_answer", "unreached"]


class ProviderOutcome(Struct, frozen=True, kw_only=True):
    """What came of one call."""

    payment_id: str
    key: str
    claim: int
    outcome: Outcome
    reason: str = ""


class RecordOutcomes(Command, frozen=True, kw_only=True):
    """Write down what came of calls; one burst of answers is one command."""

    durable: ClassVar[bool] = False  # if a crash undoes it, the provider is asked by key

    outcomes: tuple[ProviderOutcome, ...]
