"""The provider: decides each key once, in either way, and remembers."""

import copy
from collections.abc import Iterator

from tradewind.checks.life.model import CURRENCY, Call, Life, changed
from tradewind.simulator import behaviour

# What it may refuse at will; it lets go of what it holds whenever it can.
MAY_REFUSE = {"authorise": "card_declined", "capture": "capture_declined", "refund": "no_refund"}


def decisions(life: Life, call: Call) -> Iterator[tuple[str, Life]]:
    """Every way in which the provider may take a request: ("succeeded" or a reason, the life)."""
    known = dict(life.decided).get(call.key)
    if known is not None:
        yield known, life
        return
    ask = behaviour.Operation(
        key=call.key,
        operation=call.operation,  # type: ignore[arg-type]
        amount_minor=call.amount_minor,
        currency=CURRENCY,
        order_id=life.order.order_id,
        reference=f"{life.order.payment_id}:authorise",
    )
    reason = behaviour.refusal_of(ask, None if call.operation == "authorise" else life.held)
    if not reason:
        held = behaviour.apply(ask, copy.copy(life.held))
        done = remembered(life, call, "succeeded")
        yield "succeeded", changed(done, held=held, effects=(*done.effects, call.operation))
        reason = MAY_REFUSE.get(call.operation, "")
    if reason:
        yield reason, remembered(life, call, reason)


def remembered(life: Life, call: Call, decision: str) -> Life:
    """The life after a decision under a key."""
    return changed(life, decided=tuple(sorted((*life.decided, (call.key, decision)))))
