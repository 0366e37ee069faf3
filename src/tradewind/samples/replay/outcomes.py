"""What the server answered to the actions of a plan."""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct, field

from tradewind.samples.client import Reply
from tradewind.samples.history import Action

# What an order is called that came through; the shop goes on with it.
SHIPPED = frozenset(("fulfilled", "partly_returned", "returned"))
CONFIRMED = frozenset(("confirmed", "cancelled", *SHIPPED))
UNDECIDED = "undecided"


class Outcome(Struct, frozen=True, kw_only=True):
    """What became of one action: done, or not, and why not (the code of the refusal)."""

    done: bool
    why_not: str = ""
    id: str = ""  # of what was made: an order, a return, a credit note, a movement
    payment_id: str = ""
    status: str = ""  # of the order
    replayed: bool = False  # the answer of an earlier run's request
    found: bool = False  # done by an earlier run, whose keys the server has forgotten


class Outcomes(Struct):
    """Every outcome, by the kind and the name of its action."""

    by_name: dict[tuple[str, str], Outcome] = field(default_factory=dict)

    def put(self, action: Action, outcome: Outcome) -> None:
        """Keep one."""
        self.by_name[action.kind, action.name] = outcome

    def of(self, action: Action) -> Outcome | None:
        """What became of an action; None where it was not tried."""
        return self.by_name.get((action.kind, action.name))

    def order(self, name: str) -> Outcome:
        """What became of the placing of an order."""
        return self.by_name["place", name]


def of_order(body: Mapping[str, Any], *, replayed: bool, found: bool) -> Outcome:
    """An order as it was answered."""
    status = str(body.get("status"))
    why_not = "" if status in CONFIRMED else status
    if status == "rejected":
        why_not = str((body.get("rejection") or {}).get("code", "rejected"))
    elif status == "placed":
        why_not = UNDECIDED
    return Outcome(
        done=status in CONFIRMED,
        why_not=why_not,
        id=str(body.get("id", "")),
        payment_id=str((body.get("payment") or {}).get("id", "")),
        status=status,
        replayed=replayed,
        found=found,
    )


def of_reply(reply: Reply) -> Outcome:
    """An answer to anything else; 202 means that it is under way and cannot be lost."""
    body = reply.body if isinstance(reply.body, dict) else {}
    if reply.ok:
        return Outcome(done=True, id=str(body.get("id", "")), replayed=reply.replayed)
    return Outcome(done=False, why_not=f"refused: {reply.code}", replayed=reply.replayed)
