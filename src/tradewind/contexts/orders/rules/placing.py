"""Placing: a basket at the prices of this moment, or what is wrong with it."""

from collections.abc import Iterable
from datetime import datetime

from tradewind.contexts.orders import problems
from tradewind.contexts.orders.commands import PlaceOrder
from tradewind.contexts.orders.events import (
    OrderLine,
    OrderPlaced,
)
from tradewind.contexts.orders.tables import OfferRow
from tradewind.kernel.money import AMOUNT_MINOR_MAX, format_minor, line_total_minor
from tradewind.kernel.problems import FieldError, Problem
from tradewind.kernel.terms import PaymentTerms


class Offers:
    """What is for sale, by sku without letter case and currency."""

    def __init__(self, rows: Iterable[OfferRow]) -> None:
        self._by_key: dict[tuple[str, str], list[OfferRow]] = {}
        for row in rows:
            self._by_key.setdefault((row.sku_key, row.currency), []).append(row)
        self._skus = {sku for sku, _ in self._by_key}

    def find(self, sku: str, currency: str, *, group: str, now_ms: int) -> OfferRow | None:
        """The offer that counts for a group at a moment, or None.

        One of the group before those for everybody; then the one that began last; then the lowest.
        """
        rows = self._by_key.get((sku.upper(), currency), ())
        best: OfferRow | None = None
        for row in rows:
            if row.customer_group and row.customer_group != group:
                continue
            if row.from_ms <= now_ms < row.until_ms and (best is None or rank(row) > rank(best)):
                best = row
        return best

    def sells(self, sku: str) -> bool:
        """Whether the sku is sold in any currency."""
        return sku.upper() in self._skus


def rank(row: OfferRow) -> tuple[bool, int, int]:
    """Of offers that count at the same time, the greatest one counts."""
    return bool(row.customer_group), row.from_ms, -row.unit_price_e4


def place(
    command: PlaceOrder, offers: Offers, *, external_taken: bool, now: datetime
) -> OrderPlaced | Problem:
    """Accept a basket at the prices of this moment, or say what is wrong with it."""
    if external_taken:
        return problems.ExternalIdTaken(
            f"You have placed an order with external_id {command.external_id!r} before.",
            external_id=command.external_id,
        )
    lines: list[OrderLine] = []
    now_ms = int(now.timestamp() * 1_000)
    errors: list[FieldError] = []
    for index, wanted in enumerate(command.lines):
        offer = offers.find(
            wanted.sku, command.currency, group=command.customer_group, now_ms=now_ms
        )
        if offer is None:
            elsewhere = offers.sells(wanted.sku)
            message = f"is not sold in {command.currency}" if elsewhere else "is not sold here"
            errors.append(FieldError(f"/lines/{index}/sku", f"{wanted.sku!r} {message}"))
            continue
        price = offer.unit_price_e4 if wanted.unit_price_e4 is None else wanted.unit_price_e4
        lines.append(
            OrderLine(
                sku=offer.sku,
                quantity=wanted.quantity,
                unit_price_e4=price,
                total_minor=line_total_minor(price, wanted.quantity, command.currency),
                title=offer.title,
            )
        )
    if errors:
        return problems.UnknownSku("Remove or replace these lines.", errors=tuple(errors))
    subtotal = sum(line.total_minor for line in lines)
    fees = sum(fee.amount_minor for fee in command.fees)
    total = subtotal + fees
    if (refused := refuse_total(command, total)) is not None:
        return refused
    placed_at = command.placed_at or now
    return OrderPlaced(
        sequence=1,
        order_id=command.order_id,
        lines=tuple(lines),
        currency=command.currency,
        subtotal_minor=subtotal,
        shipping_minor=0,
        tax_minor=0,
        discount_minor=0,
        fees_minor=fees,
        total_minor=total,
        channel=command.channel,
        payment=PaymentTerms(
            order_id=command.order_id,
            payment_id=command.payment_id,
            amount_minor=total,
            currency=command.currency,
            token=command.payment_token,
            customer=command.customer,
            contact=command.contact,
            guest=command.guest,
            imported=command.imported,
            shipping_country=command.shipping_country,
            billing_country=command.billing_country,
            placed_at=placed_at,
        ),
        placed_at=placed_at,
        cart_id=command.cart_id,
        account=command.account,
        hold=command.hold,
    )


def refuse_total(command: PlaceOrder, total_minor: int) -> Problem | None:
    """Why an order may not cost this much, if so."""
    if total_minor <= 0:
        return problems.InvalidOrder(
            "The order costs nothing; there is nothing to pay.",
            errors=(FieldError("/lines", "the total must be more than zero"),),
        )
    if total_minor > AMOUNT_MINOR_MAX:
        return problems.InvalidOrder(
            "The order is larger than any we can take.",
            errors=(FieldError("/lines", "the total is too large"),),
        )
    expected = command.expected_total_minor
    if expected is not None and expected != total_minor:
        return problems.PriceChanged(
            "Show the new total, and place the order again with it and a new Idempotency-Key.",
            expected_total=amount(expected, command.currency),
            total=amount(total_minor, command.currency),
        )
    return None


def amount(amount_minor: int, currency: str) -> dict[str, str]:
    """Money as a member of a problem."""
    return {"amount": format_minor(amount_minor, currency), "currency": currency}
