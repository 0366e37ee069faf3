"""Payments without a database: rows in dicts, the provider's own rules, a clock moved by hand."""

import copy
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

from tradewind.contexts.payments import rules
from tradewind.contexts.payments.commands import ProviderCall, ProviderOutcome, RefundPayment
from tradewind.contexts.payments.rules import Aim, Begin, Book, Case, Policy, Posting
from tradewind.contexts.payments.tables import Operation, Payment, Refund
from tradewind.kernel.answers import Answer
from tradewind.kernel.messages import Event
from tradewind.kernel.problems import Problem
from tradewind.kernel.terms import PaymentTerms
from tradewind.simulator import behaviour

START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
POLICY = Policy(attempt_timeout_s=3.0, attempts_max=3, total_timeout_s=8.0)
OPEN = ("requested", "unknown")


def terms_of(number: int, *, token: str = "tok_ok", amount_minor: int = 1_000) -> PaymentTerms:
    """What the customer of order `number` agreed to pay."""
    return PaymentTerms(
        order_id=f"ord_{number}",
        payment_id=f"pay_{number}",
        amount_minor=amount_minor,
        currency="GBP",
        token=token,
        customer="prs_1",
        contact="ctc_1",
        guest=True,
        imported=False,
        shipping_country="GB",
        billing_country=None,
        placed_at=START,
    )


class Bank:
    """The provider: decides by the simulator's rules, once per key."""

    def __init__(self) -> None:
        self.decided: dict[str, tuple[str, str]] = {}
        self.held: dict[str, behaviour.Authorisation] = {}
        self.took_effect: Counter[str] = Counter()

    def decide(self, call: ProviderCall) -> tuple[str, str]:
        """(status, reason) of a call."""
        if call.key not in self.decided:
            ask = behaviour.Operation(
                key=call.key,
                operation=call.operation,
                amount_minor=call.amount_minor,
                currency=call.currency,
                order_id=call.order_id,
                token=call.token,
                reference=call.reference,
            )
            held = None if call.operation == "authorise" else self.held.get(call.reference)
            reason = behaviour.refusal_of(ask, held)
            if not reason:
                self.held[call.reference] = behaviour.apply(ask, held)
                self.took_effect[call.key] += 1
            self.decided[call.key] = ("refused" if reason else "succeeded", reason)
        return self.decided[call.key]

    def answer(self, call: ProviderCall) -> ProviderOutcome:
        """The honest outcome of a call or a look-up."""
        if call.look_up:
            status, reason = self.decided.get(call.key, ("not_found", ""))
        else:
            status, reason = self.decide(call)
        return outcome_of(call, status, reason)


def outcome_of(call: ProviderCall, outcome: Any, reason: str = "") -> ProviderOutcome:
    """An outcome of a call."""
    return ProviderOutcome(
        payment_id=call.payment_id,
        key=call.key,
        claim=call.claim,
        outcome=outcome,
        reason=reason,
    )


class World:
    """The tables of payments, and units of work over them."""

    def __init__(self) -> None:
        self.now = START
        self.bank = Bank()
        self.payments: dict[str, Payment] = {}
        self.operations: dict[str, Operation] = {}
        self.refunds: dict[str, Refund] = {}
        self.ended: set[str] = set()
        self.ledger: list[Posting] = []
        self.events: list[Event] = []
        self.answers: dict[str, list[Answer | Problem]] = {}
        self.calls: list[ProviderCall] = []
        self.reconciled: list[str] = []

    def book(self) -> Book:
        """Everything there is, as a unit reads it."""
        cases = []
        for payment in self.payments.values():
            under_way = [
                o
                for o in self.operations.values()
                if o.payment_id == payment.payment_id and o.status in OPEN
            ]
            pending = {
                r.refund_id: copy.copy(r)
                for r in self.refunds.values()
                if r.payment_id == payment.payment_id and r.status == "pending"
            }
            case = Case(copy.copy(payment), refunds=pending)
            if under_way:
                case.open = copy.copy(under_way[0])
            cases.append(case)
        return Book(cases, now=self.now, policy=POLICY, ended=self.ended)

    def commit(self, book: Book) -> None:
        """What `save` writes, with the constraints of the tables."""
        for payment in [*book.payments_new, *book.payments_changed]:
            before = self.payments.get(payment.payment_id)
            assert (before.version if before else 0) == payment.version
            payment.version += 1
            self.payments[payment.payment_id] = payment
        for key, operation in book.operations_new.items():
            assert key not in self.operations, "a key is used for one operation"
            self.operations[key] = operation
        self.operations.update(book.operations_changed)
        for refund_id, refund in book.refunds_new.items():
            assert refund_id not in self.refunds
            self.refunds[refund_id] = refund
        self.refunds.update(book.refunds_changed)
        changed = {p.payment_id for p in [*book.payments_new, *book.payments_changed]}
        guarded = {o.payment_id for o in book.operations_changed.values()}
        guarded |= {r.payment_id for r in book.refunds_changed.values()}
        assert guarded <= changed, "the version of its payment guards every row"
        self.ledger += book.postings
        self.ended.update(book.ended_now)
        self.events += book.events
        self.calls += book.calls
        self.reconciled += [one.case for one in book.reconciled]
        for refund_id, answer in book.answers.items():
            self.answers.setdefault(refund_id, []).append(answer)
        self.check()

    def follow(self, *messages: Begin | Aim) -> None:
        """A unit on messages of orders and inventory."""
        book = self.book()
        rules.follow_orders(book, messages)
        self.commit(book)

    def record(self, *outcomes: ProviderOutcome) -> None:
        """A unit on outcomes."""
        book = self.book()
        for outcome in outcomes:
            rules.record(book, outcome)
        self.commit(book)

    def refund(self, payment_id: str, refund_id: str, amount_minor: int) -> Any:
        """A unit on one refund that somebody asks for."""
        book = self.book()
        command = RefundPayment(
            payment_id=payment_id,
            refund_id=refund_id,
            amount_minor=amount_minor,
            currency="GBP",
            reason="broken",
        )
        outcome = rules.request_refund(book, command)
        self.commit(book)
        return outcome

    def sweep(self) -> None:
        """A unit of the sweep."""
        book = self.book()
        for case in book.by_payment.values():
            rules.take_up(book, case)
        self.commit(book)

    def later(self, wait_s: float) -> None:
        """Time passes."""
        self.now += timedelta(seconds=wait_s)

    def settle(self) -> None:
        """From here on the provider answers everything, until nothing is under way."""
        for _ in range(400):
            while self.calls:
                self.record(self.bank.answer(self.calls.pop(0)))
            waiting = [o.due_at for o in self.operations.values() if o.status in OPEN]
            if not waiting:
                return
            self.now = max(self.now, min(waiting))
            self.sweep()
        raise AssertionError("it never ends")

    def check(self) -> None:
        """What must hold after every commit."""
        under_way = Counter(o.payment_id for o in self.operations.values() if o.status in OPEN)
        assert all(count == 1 for count in under_way.values())
        for payment in self.payments.values():
            moved = payment.refunded_minor + payment.pending_refund_minor
            assert 0 <= moved <= payment.captured_minor <= payment.amount_minor
            taken = payment.status in ("captured", "partially_refunded", "refunded")
            assert taken or payment.captured_minor == 0
            pending = [
                r.amount_minor
                for r in self.refunds.values()
                if r.payment_id == payment.payment_id and r.status == "pending"
            ]
            assert sum(pending) == payment.pending_refund_minor
        sequences: dict[str, list[int]] = {}
        for event in self.events:
            sequences.setdefault(event.subject, []).append(event.sequence)
        for numbers in sequences.values():
            assert numbers == list(range(1, len(numbers) + 1))
        balance: Counter[str] = Counter()
        for posting in self.ledger:
            assert posting.amount_minor > 0
            balance[posting.debit] += posting.amount_minor
            balance[posting.credit] -= posting.amount_minor
        net = sum(p.captured_minor - p.refunded_minor for p in self.payments.values())
        assert sum(balance.values()) == 0
        assert balance[rules.PROVIDER] == net
        assert balance["receivable"] == 0
        assert all(count == 1 for count in self.bank.took_effect.values())

    def announced(self, number: int) -> list[str]:
        """The names of what was announced about an order, in order."""
        return [type(e).__name__ for e in self.events if e.subject == f"ord_{number}"]
