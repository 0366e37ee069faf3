"""What rows the facts about one subject make. Facts come in the order of the log."""

from collections.abc import Mapping, Sequence
from typing import Any

from tradewind.checks.replay.facts import Fact, Read, moment

Row = dict[str, Any]

# How far the copy of a payment's status is; it only moves forward.
FORWARD = ("pending", "authorised", "captured", "partially_refunded", "failed", "")
STATUS = {"order_confirmed": "confirmed", "order_held": "held"}
# Ends of orders for which no payment was, or ever will be.
NEVER_RESERVED = "stock_is_short"


def order(facts: Sequence[Fact], read: Read) -> Row | None:
    """The row of orders.orders, without what is only there: see `run.NOT_TOLD`."""
    own = [fact for fact in facts if fact.source == "orders"]
    if not own or own[0].name != "order_placed":
        return None
    placed = own[0].data
    row: Row = {
        name: placed[name]
        for name in (
            *("currency", "subtotal_minor", "shipping_minor", "tax_minor", "discount_minor"),
            *("fees_minor", "total_minor", "channel"),
        )
    }
    terms = placed["payment"]
    row |= {name: terms[name] for name in ("customer", "contact", "payment_id", "imported")}
    row |= {
        "placed_at": moment(placed["placed_at"]),
        "version": own[-1].sequence,
        "status": "placed",
        "payment_status": "pending",
        "stock_released": False,
        "review_before": None,
        "decided_at": own[1].at if len(own) > 1 else None,
        "rejection_code": None,
    }
    for fact in facts:
        if fact.source == "orders":
            decide(row, fact)
        elif read.handled("orders.decisions", fact):
            note(row, fact)
    if row["status"] == "partly_returned" and came_back(own) == sent(placed):
        row["status"] = "returned"
    return row


def sent(placed: Mapping[str, Any]) -> int:
    """The units of an order."""
    return sum(line["quantity"] for line in placed["lines"])


def came_back(facts: Sequence[Fact]) -> int:
    """The units of all its returns."""
    return sum(
        line["restock"] + line["write_off"]
        for fact in facts
        if fact.name == "return_received"
        for line in fact.data["lines"]
    )


def decide(row: Row, fact: Fact) -> None:
    """An order's own fact."""
    name, data = fact.name, fact.data
    if name in STATUS:
        row["status"] = STATUS[name]
        copy_status(row, "authorised")
    if name == "order_held":
        row["review_before"] = moment(data["review_before"])
    elif name == "order_rejected":
        row["status"], row["rejection_code"] = "rejected", data["code"]
        if data["code"] == NEVER_RESERVED:
            copy_status(row, "voided")
    elif name == "order_cancelled":
        row["status"] = "cancelled"
    elif name == "order_fulfilled":
        row["status"] = "fulfilled"
    elif name == "return_received":
        row["status"] = "partly_returned"


def note(row: Row, fact: Fact) -> None:
    """What orders heard from others."""
    if fact.name in ("stock_released", "stock_refused"):
        row["stock_released"] = True
    elif fact.name == "payment_refunded":
        whole = fact.data["refunded_minor"] >= fact.data["captured_minor"]
        copy_status(row, "refunded" if whole else "partially_refunded")
    elif fact.name in (
        "payment_captured",
        "payment_voided",
        "payment_declined",
        "payment_failed",
    ):
        copy_status(row, fact.name.removeprefix("payment_"))


def copy_status(row: Row, status: str) -> None:
    """Move the copy of a payment's status forward."""
    if rank(status) > rank(row["payment_status"]):
        row["payment_status"] = status


def rank(status: str) -> int:
    """How far a payment is; all ends are alike."""
    return FORWARD.index(status) if status in FORWARD else len(FORWARD)


def lines(facts: Sequence[Fact]) -> Row | None:
    """The lines of an order, as columns."""
    for fact in facts:
        if fact.name == "order_placed" and fact.data["lines"]:
            names = ("sku", "title", "quantity", "unit_price_e4", "total_minor")
            return {name: [line[name] for line in fact.data["lines"]] for name in names}
    return None


def reservation(facts: Sequence[Fact]) -> Row | None:
    """The row of inventory.reservations; `parts` are its units by sku and location."""
    own = [fact for fact in facts if fact.source == "inventory"]
    if not own:
        return None
    parts: dict[tuple[str, str], int] = {}
    row: Row = {"reason": None}
    for fact in own:
        row["status"] = fact.name.removeprefix("stock_")
        row["reason"] = fact.data.get("reason")
        if fact.name != "stock_reserved":
            continue
        for taken in fact.data.get("taken", ()):
            key = taken["sku"], taken["location"]
            parts[key] = parts.get(key, 0) + taken["quantity"]
        if not parts:
            wanted = lines(facts) or {"sku": [], "quantity": []}
            for sku, quantity in zip(wanted["sku"], wanted["quantity"], strict=True):
                key = sku.upper(), "main"
                parts[key] = parts.get(key, 0) + quantity
    return row | {
        "version": own[-1].sequence,
        "parts": parts,
        "created_at": own[0].at,
        "changed_at": own[-1].at,
    }


def payment(facts: Sequence[Fact], read: Read) -> Row | None:
    """The row of payments.payments; None where the order ended before a payment began."""
    row: Row | None = None
    for fact in facts:
        if fact.source == "payments":
            if row is not None:
                move(row, fact)
        elif not read.handled("payments.payments", fact):
            continue
        elif fact.name == "stock_reserved":
            row = begun(fact.data["payment"])
        elif fact.name == "order_confirmed" and row is not None:
            want(row, "captured")
        elif fact.name in ("order_rejected", "order_cancelled"):
            if row is None:
                return None
            want(row, "nothing")
    return row


def begun(terms: dict[str, Any]) -> Row:
    """A payment as it begins."""
    return {
        "payment_id": terms["payment_id"],
        "amount_minor": terms["amount_minor"],
        "currency": terms["currency"],
        "token": terms["token"],
        "terms": terms,
        "status": "pending",
        "wanted": "authorised",
        "captured_minor": 0,
        "refunded_minor": 0,
        "sequence": 0,
    }


def want(row: Row, wanted: str) -> None:
    """Where the money should end: nothing comes after nothing."""
    if row["wanted"] != "nothing":
        row["wanted"] = wanted


def move(row: Row, fact: Fact) -> None:
    """A payment's own fact."""
    row["sequence"] = fact.sequence
    match fact.name:
        case "payment_authorised" | "payment_voided":
            row["status"] = fact.name.removeprefix("payment_")
        case "payment_declined" | "payment_failed":
            row["status"] = fact.name.removeprefix("payment_")
            row["wanted"] = "nothing"
        case "capture_refused":
            row["wanted"] = "nothing"
        case "payment_captured":
            row["status"], row["captured_minor"] = "captured", fact.data["amount_minor"]
        case "payment_refunded":
            row["refunded_minor"] = fact.data["refunded_minor"]
            whole = row["refunded_minor"] == row["captured_minor"]
            row["status"] = "refunded" if whole else "partially_refunded"


POSTED = {
    "payment_captured": (
        ("sale", "receivable", "sales"),
        ("settlement", "provider:simulator", "receivable"),
    ),
    "payment_refunded": (
        ("return", "refunds", "receivable"),
        ("repayment", "receivable", "provider:simulator"),
    ),
}


def postings(facts: Sequence[Fact]) -> Row | None:
    """All rows of payments.ledger about one order, sorted."""
    rows: list[tuple[Any, ...]] = sorted(
        (kind, debit, credit, fact.data["amount_minor"], fact.data["currency"], fact.at)
        for fact in facts
        for kind, debit, credit in POSTED.get(fact.name, ())
        if fact.data["amount_minor"] > 0
    )
    rows += [
        ("credit", "refunds", "credits", fact.data["total_minor"], fact.data["currency"], None)
        for fact in facts
        if fact.name == "credit_note_issued" and fact.data["credit_note_id"] is not None
    ]
    return {"postings": rows} if rows else None


def held(facts: Sequence[Fact]) -> Row | None:
    """What is kept for a cart: `parts` are its units by sku and location."""
    own = [fact for fact in facts if fact.name in ("units_held", "hold_ended")]
    if not own or own[-1].name == "hold_ended":
        return None
    parts: dict[tuple[str, str], int] = {}
    for taken in own[-1].data["taken"]:
        key = taken["sku"], taken["location"]
        parts[key] = parts.get(key, 0) + taken["quantity"]
    return {"status": "reserved", "parts": parts}


def shelves(facts: Sequence[Fact]) -> dict[tuple[str, str], int]:
    """What lies where, of one sku: as the last count or movement of each location left it."""
    return {
        (fact.data["sku"].upper(), fact.data["location"]): fact.data["on_hand"]
        for fact in facts
        if fact.name in ("stock_counted", "stock_adjusted")
    }


def sku(facts: Sequence[Fact]) -> Row | None:
    """The row of inventory.skus."""
    if not facts:
        return None
    marks = [f.data["availability"] for f in facts if f.name == "availability_changed"]
    return {"sequence": facts[-1].sequence, "availability": marks[-1] if marks else None}
