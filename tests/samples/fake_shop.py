"""A shop of dictionaries behind real HTTP: enough of the API for a replay, and easy to break.

It keeps answers by Idempotency-Key, forgets nothing when it is closed and opened again, and can be
told to drop connections before or after it has done its work.
"""

import random
from collections import Counter
from collections.abc import Callable
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer as HttpServer

from tradewind.kernel.money import format_minor, line_total_minor, parse_e4, parse_minor

Body = dict[str, Any]


def money(minor: int) -> Body:
    return {"amount": format_minor(minor, "GBP"), "currency": "GBP"}


def minor(amount: Body | None) -> int:
    if amount is None:
        return 0
    value = parse_minor(amount["amount"], "GBP")
    assert value is not None
    return value


class Refused(Exception):
    """The business says no."""

    def __init__(self, status: int, code: str, **members: Any) -> None:
        super().__init__(code)
        self.status = status
        self.document = {"code": code, **members}


class FakeShop:
    """Orders, payments, returns, credit notes and stock."""

    def __init__(self, on_hand: dict[str, int], *, seed: int | None = None) -> None:
        self.on_hand = Counter(on_hand)
        self.reserved: Counter[str] = Counter()
        self.orders: dict[str, Body] = {}
        self.payments: dict[str, Body] = {}
        self.returns: list[Body] = []
        self.documents: dict[str, list[Body]] = {"invoice": [], "credit_note": []}
        self.kept: dict[str, tuple[int, Body]] = {}
        self.external: dict[tuple[str, str], str] = {}
        self.done: list[str] = []  # what was done, in order
        self.balance = Counter[str]()  # by account: debit less credit
        self._chance = random.Random(seed) if seed is not None else None
        self._number = 0
        app = web.Application()
        app.router.add_route("POST", "/{path:.*}", self.post)
        app.router.add_route("GET", "/{path:.*}", self.get)
        self._app = app
        self.server = HttpServer(app)

    async def open(self) -> str:
        await self.server.start_server()
        return str(self.server.make_url(""))

    def forget_keys(self) -> None:
        self.kept.clear()

    # -- HTTP

    def stumbles(self, request: web.Request) -> bool:
        if self._chance is not None and self._chance.random() < 0.2:
            assert request.transport is not None
            request.transport.abort()
            return True
        return False

    async def post(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        if self.stumbles(request):
            return web.Response(status=500)
        key = request.headers["Idempotency-Key"]
        replayed = key in self.kept
        if not replayed:
            try:
                self.kept[key] = self.work(request.path, body)
            except Refused as refusal:
                self.kept[key] = (refusal.status, refusal.document)
        if self.stumbles(request):
            return web.Response(status=500)
        status, answer = self.kept[key]
        headers = {"Idempotent-Replayed": "true"} if replayed else {}
        return web.json_response(answer, status=status, headers=headers)

    async def get(self, request: web.Request) -> web.Response:
        match request.path.split("/")[2:]:
            case ["orders"]:
                return listing(list(self.orders.values()), request)
            case ["orders", order_id]:
                return web.json_response(self.orders[order_id])
            case ["payments", payment_id]:
                return web.json_response(self.payments[payment_id])
            case ["documents"]:
                return listing(self.documents[request.query["kind"]], request)
            case ["returns"]:
                return listing(self.returns, request)
            case ["stock"]:
                return listing(
                    [{"sku": sku, "on_hand": n} for sku, n in sorted(self.on_hand.items())], request
                )
            case _:
                return web.json_response({"items": [account(*one) for one in self.balance.items()]})

    # -- the business

    def work(self, path: str, body: Body) -> tuple[int, Body]:
        steps: dict[tuple[str, ...], Callable[..., Body]] = {
            ("orders",): self.place,
            ("credit-notes",): self.credit,
        }
        match path.split("/")[2:]:
            case ["orders", order_id, "cancel"]:
                return 200, self.cancel(self.orders[order_id])
            case ["orders", order_id, "fulfil"]:
                return 200, self.ship(self.orders[order_id])
            case ["orders", order_id, "returns"]:
                return 201, self.take_back(self.orders[order_id], body)
            case ["stock", sku, "movements"]:
                return 201, self.move(sku, body)
            case rest:
                return 201, steps[tuple(rest)](body)

    def once(self, kind: str, body: Body) -> str:
        name = body["external_id"]
        if (kind, name) in self.external:
            raise Refused(409, "external_id_taken")
        self._number += 1
        self.external[kind, name] = f"{kind}_{self._number}"
        self.done.append(f"{kind} {name}")
        return self.external[kind, name]

    def place(self, body: Body) -> Body:
        order_id = self.once("ord", body)
        total = sum(minor(fee["amount"]) for fee in body.get("fees", ()))
        for each in body["lines"]:
            price = parse_e4(each["unit_price"]["amount"])
            assert price is not None
            each["total"] = line_total_minor(price, each["quantity"], "GBP")
            total += each["total"]
        if total <= 0:
            raise Refused(422, "invalid_order")
        order = self.orders[order_id] = {
            "id": order_id,
            "external_id": body["external_id"],
            "status": "confirmed",
            "lines": body["lines"],
            "totals": {"total": money(total)},
            "payment": {"id": f"pay_{order_id}"},
            "placed_at": body["placed_at"],
            "shipping_address": body["shipping_address"],
        }
        wanted: Counter[str] = Counter()
        for each in body["lines"]:
            wanted[each["sku"]] += each["quantity"]
        if any(n > self.on_hand[sku] - self.reserved[sku] for sku, n in wanted.items()):
            order |= {"status": "rejected", "rejection": {"code": "stock_is_short"}, "payment": {}}
            raise Refused(409, "stock_is_short", order_id=order_id)
        self.reserved += wanted
        order["payment"]["status"] = "captured"
        self.payments[f"pay_{order_id}"] = {
            "status": "captured",
            "captured": money(total),
            "refunded": money(0),
        }
        self.issue("invoice", order_id, total)
        self.book("provider:simulator", "sales", total)
        return order

    def issue(self, kind: str, order_id: str | None, total: int) -> Body:
        number = f"{kind}-2011-{len(self.documents[kind]) + 1:06d}"
        document = {"number": number, "order_id": order_id, "total": money(total)}
        self.documents[kind].append(document)
        return document

    def book(self, debit: str, credit: str, amount: int) -> None:
        self.balance[debit] += amount
        self.balance[credit] -= amount

    def cancel(self, order: Body) -> Body:
        if order["status"] != "confirmed":
            raise Refused(409, "order_not_cancellable")
        order["status"] = "cancelled"
        self.done.append(f"cancel {order['external_id']}")
        for each in order["lines"]:
            self.reserved[each["sku"]] -= each["quantity"]
        self.pay_back(order, minor(order["totals"]["total"]))
        return order

    def pay_back(self, order: Body, amount: int) -> None:
        payment = self.payments[order["payment"]["id"]]
        back = minor(payment["refunded"]) + amount
        assert back <= minor(payment["captured"]), "more goes back than came in"
        payment |= {"refunded": money(back), "status": "partially_refunded"}
        self.issue("credit_note", order["id"], amount)
        self.book("refunds", "provider:simulator", amount)

    def ship(self, order: Body) -> Body:
        if order["status"] != "confirmed":
            raise Refused(409, "order_not_fulfillable")
        order["status"] = "fulfilled"
        self.done.append(f"ship {order['external_id']}")
        for each in order["lines"]:
            self.reserved[each["sku"]] -= each["quantity"]
            self.on_hand[each["sku"]] -= each["quantity"]
            assert self.on_hand[each["sku"]] >= 0
        return order

    def take_back(self, order: Body, body: Body) -> Body:
        assert order["status"] in ("fulfilled", "partly_returned"), order["status"]
        order["status"] = "partly_returned"
        return_id = self.once("ret", body)
        refund = minor(body["receive"].get("fees_refund"))
        for each in body["receive"]["lines"]:
            line = order["lines"][each["line"] - 1]
            line["back"] = line.get("back", 0) + each["restock"]
            assert line["back"] <= line["quantity"], "more comes back than was sent"
            self.on_hand[line["sku"]] += each["restock"]
            refund += minor(each["refund"])
        self.pay_back(order, refund)
        found = {"id": return_id, "order_id": order["id"], "status": "refunded"}
        self.returns.append({**found, "refund": money(refund)})
        return found

    def credit(self, body: Body) -> Body:
        note_id = self.once("crn", body)
        total = sum(minor(each["amount"]) for each in body["lines"])
        assert total > 0
        for each in body["lines"]:
            self.on_hand[each.get("sku", "")] += each.get("restock", 0)
        self.book("refunds", "credits", total)
        note = self.issue("credit_note", None, total)
        note["external_id"] = body["external_id"]
        return {"id": note_id, **note}

    def move(self, sku: str, body: Body) -> Body:
        if self.on_hand[sku] + body["quantity"] < 0:
            raise Refused(409, "stock_would_be_negative", on_hand=self.on_hand[sku])
        movement_id = self.once("mov", body)
        self.on_hand[sku] += body["quantity"]
        return {"id": movement_id}


def account(name: str, balance: int) -> Body:
    sides = {"debit": max(balance, 0), "credit": max(-balance, 0)}
    told = {side: format_minor(amount, "GBP") for side, amount in sides.items()}
    return {"account": name, "currency": "GBP", **told}


def listing(items: list[Body], request: web.Request) -> web.Response:
    begin = int(request.query.get("cursor", "0"))
    end = begin + int(request.query["limit"])
    following = str(end) if end < len(items) else None
    return web.json_response({"items": items[begin:end], "next": following})
