"""What the provider decides: the rules of a card, and the whims its token stands for. Pure."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from tradewind.kernel.money import AMOUNT_MINOR_MAX

Name = Literal["authorise", "capture", "void", "refund"]
Text = Annotated[str, Meta(min_length=1, max_length=255)]


class Operation(Struct, frozen=True, kw_only=True):
    """One request. `reference` is the key of the authorisation that the others act on."""

    key: Text
    operation: Name
    amount_minor: Annotated[int, Meta(ge=0, le=AMOUNT_MINOR_MAX)]
    currency: Annotated[str, Meta(pattern="^[A-Z]{3}$")]
    order_id: Text
    token: Text = "tok_ok"
    reference: Annotated[str, Meta(max_length=255)] = ""


class Result(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The answer to one request. `error` means: nothing happened, ask again with the same key."""

    key: str
    status: Literal["succeeded", "refused", "error", "unknown"]
    reason: str = ""
    amount_minor: int = 0
    at: str = ""


class Authorisation(Struct):
    """What the provider holds for one card payment."""

    amount_minor: int
    currency: str
    token: str
    captured_minor: int = 0
    refunded_minor: int = 0
    captured: bool = False
    voided: bool = False


class Whim(Struct, frozen=True, kw_only=True):
    """How an operation on a token goes differently from an honest answer at once."""

    delay_s: float = 0.0
    failures: int = 0  # so many errors per key before it works
    refusal: str = ""
    reply_lost: bool = False  # done and recorded, but the first answer never leaves
    silent: bool = False  # nothing is done and nothing is answered


PLAIN = Whim()
SLOW = Whim(delay_s=2.0)
FLAKY = Whim(failures=2)
LOST = Whim(reply_lost=True)

# An authorisation on a token that is not listed is declined.
TOKENS: dict[str, dict[Name, Whim]] = {
    "tok_ok": {},
    "tok_suspicious": {},  # nothing the provider would notice: fraud holds it
    "tok_declined": {"authorise": Whim(refusal="card_declined")},
    "tok_slow": {"authorise": SLOW, "capture": SLOW, "void": SLOW, "refund": SLOW},
    "tok_timeout": {"authorise": Whim(silent=True)},
    "tok_flaky": {"authorise": FLAKY, "capture": FLAKY, "void": FLAKY, "refund": FLAKY},
    "tok_unknown": {"authorise": LOST},
    "tok_capture_declined": {"capture": Whim(refusal="capture_declined")},
    "tok_capture_unknown": {"capture": LOST},
    "tok_void_unknown": {"void": LOST},
    "tok_refund_declined": {"refund": Whim(refusal="refund_declined")},
    "tok_refund_unknown": {"refund": LOST},
}


def whim_of(token: str, operation: Name) -> Whim:
    """How `operation` goes on a card with this token."""
    return TOKENS.get(token, {}).get(operation, PLAIN)


def refusal_of(operation: Operation, authorisation: Authorisation | None) -> str:
    """Why the provider says no, or "" when it does as asked.

    `authorisation` is the one that `operation.reference` names; an authorise has none yet.
    """
    token = operation.token if authorisation is None else authorisation.token
    whim = whim_of(token, operation.operation)
    if operation.operation == "authorise":
        return whim.refusal if operation.token in TOKENS else "unknown_token"
    if authorisation is None:
        return "no_such_authorisation"
    if authorisation.currency != operation.currency:
        return "currency_mismatch"
    if authorisation.voided:
        return "voided"
    if operation.operation in ("capture", "void"):
        if authorisation.captured:
            return "already_captured"
        if operation.operation == "capture" and operation.amount_minor > authorisation.amount_minor:
            return "amount_exceeds_authorisation"
    elif not authorisation.captured:
        return "not_captured"
    elif operation.amount_minor > authorisation.captured_minor - authorisation.refunded_minor:
        return "amount_exceeds_capture"
    return whim.refusal


def apply(operation: Operation, authorisation: Authorisation | None) -> Authorisation:
    """The authorisation after an operation that was not refused; changes it in place."""
    if authorisation is None:
        return Authorisation(operation.amount_minor, operation.currency, operation.token)
    if operation.operation == "capture":
        authorisation.captured = True
        authorisation.captured_minor = operation.amount_minor
    elif operation.operation == "void":
        authorisation.voided = True
    elif operation.operation == "refund":
        authorisation.refunded_minor += operation.amount_minor
    return authorisation
