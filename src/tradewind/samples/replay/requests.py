"""Actions of a plan as requests of the public API: address, body, Idempotency-Key.

The key is made from the old invoice's number, so a second run is told what the first one did.
Should the server have forgotten the keys (it keeps them a day at least), the number is the
`external_id` too.
"""

from datetime import datetime
from typing import Any

from msgspec import Struct

from tradewind.kernel.money import format_e4, format_minor
from tradewind.samples.history import (
    CURRENCY,
    Action,
    Credit,
    Move,
    Part,
    Place,
    Return,
    fee_name,
    is_goods,
)

CHANNEL = "web"
CARD = "tok_ok"
CANCEL_REASON = "The customer cancelled the order."


class Asked(Struct, frozen=True):
    """One request: a POST."""

    path: str
    body: dict[str, Any]
    key: str


def key_of(action: Action, *, again: bool = False) -> str:
    """The Idempotency-Key; `again`: of a second attempt, where the first came too early."""
    return f"replay-{action.kind}-{action.name}" + ("-again" if again else "")


def wire_minor(amount_minor: int) -> dict[str, str]:
    """Pence as money on the wire."""
    return {"amount": format_minor(amount_minor, CURRENCY), "currency": CURRENCY}


def moment(at: datetime) -> str:
    """A time on the wire."""
    return at.isoformat().replace("+00:00", "Z")


def placing(action: Place) -> Asked:
    """The old invoice as an order, with the fields of an import."""
    body: dict[str, Any] = {
        "external_id": action.name,
        "customer_ref": action.customer_ref,
        "currency": CURRENCY,
        "lines": [
            {
                "sku": part.line.sku,
                "quantity": part.units,
                "unit_price": {
                    "amount": format_e4(part.line.unit_price_e4, CURRENCY),
                    "currency": CURRENCY,
                },
            }
            for part in action.lines
        ],
        "shipping_address": {"country": action.country},
        "payment": {"token": CARD},
        "placed_at": moment(action.at),
        "channel": CHANNEL,
    }
    if action.fees:
        body["fees"] = fees(action.fees)
    return Asked("/v1/orders", body, key_of(action))


def fees(parts: tuple[Part, ...]) -> list[dict[str, Any]]:
    """Charges as fees, one of a kind."""
    sums: dict[str, int] = {}
    for part in parts:
        name = fee_name(part.line.sku)
        sums[name] = sums.get(name, 0) + part.total_minor
    return [{"code": name, "amount": wire_minor(total)} for name, total in sums.items()]


def cancelling(action: Action, order_id: str) -> Asked:
    """Calling an order off."""
    body = {"reason": CANCEL_REASON}
    return Asked(f"/v1/orders/{order_id}/cancel", body, key_of(action))


def shipping(action: Action, order_id: str, *, again: bool) -> Asked:
    """Sending an order out."""
    body = {"at": moment(action.at)}
    return Asked(f"/v1/orders/{order_id}/fulfil", body, key_of(action, again=again))


def returning(action: Return, order_id: str) -> Asked:
    """A return from request to refund in one call: everything goes back to the shelf."""
    receive: dict[str, Any] = {
        "lines": [
            {
                "line": line.number,
                "restock": line.units,
                "write_off": 0,
                "refund": wire_minor(line.refund_minor),
            }
            for line in action.lines
        ]
    }
    if action.fees_refund_minor:
        receive["fees_refund"] = wire_minor(action.fees_refund_minor)
    body = {
        "lines": [{"line": line.number, "quantity": line.units} for line in action.lines],
        "reason": f"Goods came back: {action.invoice}.",
        "external_id": action.name,
        "at": moment(action.at),
        "receive": receive,
    }
    return Asked(f"/v1/orders/{order_id}/returns", body, key_of(action))


def crediting(action: Credit) -> Asked:
    """A credit note of its own."""
    body = {
        "external_id": action.name,
        "currency": CURRENCY,
        "customer_ref": action.customer_ref,
        "country": action.country,
        "reason": f"Credited without a sale: {action.name}.",
        "lines": [credited_line(part) for part in action.parts],
        "at": moment(action.at),
    }
    return Asked("/v1/credit-notes", body, key_of(action))


def credited_line(part: Part) -> dict[str, Any]:
    """A line of a credit note; goods go back to the shelf where units came back."""
    units = -part.units if part.units < 0 else part.units
    line: dict[str, Any] = {
        "description": part.line.words or part.line.sku,
        "quantity": units,
        "amount": wire_minor(-part.total_minor),
    }
    if is_goods(part.line.sku):
        line["sku"] = part.line.sku
        if part.units < 0:
            line["restock"] = units
    return line


def moving(action: Move) -> Asked:
    """Units that came or went without an order."""
    body = {
        "kind": action.movement,
        "quantity": action.quantity,
        "reason": action.reason,
        "external_id": action.name,
        "at": moment(action.at),
    }
    return Asked(f"/v1/stock/{action.part.line.sku}/movements", body, key_of(action))
