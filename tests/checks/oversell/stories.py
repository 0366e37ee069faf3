"""Histories by hand: a good one, and what it takes to spoil it."""

import json
from typing import Any

from tradewind.checks.oversell.evidence import Act, Asked, Evidence, Fact, History

SECOND = 1_000_000_000


class Story:
    """Clients, a shop and a provider who agree; each method adds something that happened."""

    def __init__(self) -> None:
        self.history = History()
        self.evidence = Evidence()
        self.sequences: dict[tuple[str, str], int] = {}
        self.now = SECOND

    def asked(
        self,
        op: str,
        path: str,
        body: Any,
        *,
        key: str | None = None,
        status: int | None = None,
        answer: Any = None,
        took_s: float = 1.0,
        **headers: str,
    ) -> Asked:
        """A request and its answer, one after the other."""
        begin, self.now = self.now, self.now + int(took_s * SECOND)
        asked = Asked(
            id=len(self.history.asked) + 1,
            op=op,
            method="PUT" if op == "count" else "POST",
            path=path,
            key=key,
            body=body,
            begin=begin,
            end=self.now,
            status=status,
            text="" if answer is None else json.dumps(answer),
            headers=headers,
        )
        self.history.asked.append(asked)
        self.now += SECOND // 10
        return asked

    def told(self, source: str, kind: str, subject: str, **data: Any) -> None:
        """A fact, in the log and in the feed; it happened within the last request."""
        sequence = self.sequences[source, subject] = self.sequences.get((source, subject), 0) + 1
        at = self.now - SECOND // 2
        fact = Fact(source, f"{source}.{kind}.v1", subject, sequence, at, data)
        self.evidence.log.append(fact)
        self.history.tail.append((f"/tradewind/{source}", subject, sequence))

    def charged(self, order_id: str, operation: str, amount: int) -> None:
        """The provider did something, and the ledger knows of it."""
        self.evidence.charges.append(
            {"order_id": order_id, "operation": operation, "amount_minor": amount}
        )
        ledger = self.evidence.ledger
        if operation == "capture":
            ledger.append((order_id, "receivable", "sales", amount, "GBP"))
            ledger.append((order_id, "provider:simulator", "receivable", amount, "GBP"))
        elif operation == "refund":
            ledger.append((order_id, "refunds", "receivable", amount, "GBP"))
            ledger.append((order_id, "receivable", "provider:simulator", amount, "GBP"))

    def counted(self, sku: str, on_hand: int) -> None:
        """A shelf was counted."""
        self.asked("count", f"/v1/stock/{sku}", {"on_hand": on_hand}, status=200)
        self.told("inventory", "stock_counted", f"sku:{sku}", sku=sku, on_hand=on_hand)
        self.evidence.stock[sku] = (on_hand, self.evidence.stock.get(sku, (0, 0))[1])

    def order_body(self, sku: str, quantity: int, token: str = "tok_ok") -> dict[str, Any]:
        """What a client sends."""
        return {"lines": [{"sku": sku, "quantity": quantity}], "payment": {"token": token}}

    def bought(self, order_id: str, sku: str, quantity: int, *, key: str | None = None) -> Asked:
        """An order that was confirmed, with all that belongs to it."""
        asked = self.asked(
            "place",
            "/v1/orders",
            self.order_body(sku, quantity),
            key=key or f"key of {order_id}",
            status=201,
            answer=confirmation(order_id, sku, quantity),
        )
        self.told("orders", "order_placed", order_id, lines=[{"sku": sku, "quantity": quantity}])
        self.told("inventory", "stock_reserved", order_id)
        self.told("orders", "order_confirmed", order_id)
        self.told("inventory", "stock_allocated", order_id)
        self.evidence.orders[order_id] = ("confirmed", 1_000 * quantity)
        self.charged(order_id, "authorise", 1_000 * quantity)
        self.charged(order_id, "capture", 1_000 * quantity)
        on_hand, reserved = self.evidence.stock[sku]
        self.evidence.stock[sku] = (on_hand, reserved + quantity)
        return asked

    def refused(self, order_id: str, sku: str, quantity: int, free: int) -> Asked:
        """An order for which there was not enough."""
        asked = self.asked(
            "place",
            "/v1/orders",
            self.order_body(sku, quantity),
            key=f"key of {order_id}",
            status=409,
            answer={"code": "stock_is_short", "order_id": order_id},
        )
        self.told("orders", "order_placed", order_id, lines=[{"sku": sku, "quantity": quantity}])
        self.told("inventory", "stock_refused", order_id, short=[{"sku": sku, "available": free}])
        self.told("orders", "order_rejected", order_id)
        self.evidence.orders[order_id] = ("rejected", 1_000 * quantity)
        return asked

    def cancelled(self, order_id: str, sku: str, quantity: int) -> Asked:
        """A confirmed order that was called off."""
        asked = self.asked(
            "cancel", f"/v1/orders/{order_id}/cancel", {}, key=f"cancel {order_id}", status=200
        )
        self.told("orders", "order_cancelled", order_id)
        self.told("inventory", "stock_released", order_id)
        self.evidence.orders[order_id] = ("cancelled", 1_000 * quantity)
        self.charged(order_id, "refund", 1_000 * quantity)
        on_hand, reserved = self.evidence.stock[sku]
        self.evidence.stock[sku] = (on_hand, reserved - quantity)
        return asked

    def refunded(self, order_id: str, amount: int) -> Asked:
        """Money that was given back."""
        asked = self.asked(
            "refund",
            f"/v1/payments/pay_{order_id}/refunds",
            {"amount": pounds(amount), "reason": order_id},
            key=f"refund {order_id} {amount}",
            status=201,
            answer={"id": "ref_1", "amount": pounds(amount)},
        )
        self.charged(order_id, "refund", amount)
        return asked

    def disturbed(self) -> None:
        """The nemesis did something."""
        self.history.acts.append(Act(self.now, "kill web process"))


def confirmation(order_id: str, sku: str, quantity: int) -> dict[str, Any]:
    """The answer to a confirmed order."""
    return {
        "id": order_id,
        "status": "confirmed",
        "lines": [{"sku": sku, "quantity": quantity}],
        "totals": {"total": pounds(1_000 * quantity)},
        "payment": {"id": f"pay_{order_id}"},
    }


def pounds(minor: int) -> dict[str, str]:
    """An amount on the wire."""
    return {"amount": f"{minor // 100}.{minor % 100:02}", "currency": "GBP"}
