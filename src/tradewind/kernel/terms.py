"""The terms of a payment, as they travel with an order from stage to stage.

Event-carried state: inventory and payments pass the terms on unchanged, so that no stage needs a
copy of the order. They hold nothing that names a person: tokens of the vault, and countries.
"""

from datetime import datetime

from msgspec import Struct

OF_ORDER = "order:"


def card_of(order_id: str) -> str:
    """Stands for the card that another order was paid with. No client can send it."""
    return OF_ORDER + order_id


class PaymentTerms(Struct, frozen=True, kw_only=True):
    """What the customer agreed to pay, how, and what fraud may look at."""

    order_id: str
    payment_id: str
    amount_minor: int
    currency: str
    token: str  # the provider's token of a card; card data itself never enters
    customer: str  # vault token of the person record, "prs_..."
    contact: (
        str | None
    )  # vault token of the e-mail address, "ctc_..."; the same for the same address
    guest: bool
    imported: bool  # history: scored, never held
    shipping_country: str
    billing_country: str | None
    placed_at: datetime
