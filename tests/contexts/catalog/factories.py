"""Bodies and drafts as short as a test needs them."""

from typing import Any

import msgspec

from tradewind.contexts.catalog.commands import ProductBody
from tradewind.contexts.catalog.rules.drafts import Draft, check


def variant(sku: str = "MUG-1", amount: str = "12.75", **fields: Any) -> dict[str, Any]:
    return {"sku": sku, "price": {"amount": amount, "currency": "GBP"}, **fields}


def body(*skus: str, **fields: Any) -> ProductBody:
    """A product as it comes over the wire, decoded as the gateway decodes it."""
    document = {"title": "Mug", "variants": [variant(sku) for sku in skus or ("MUG-1",)], **fields}
    return msgspec.json.decode(msgspec.json.encode(document), type=ProductBody)


def draft(external_id: str, *skus: str, **fields: Any) -> Draft:
    checked = check(external_id, body(*skus, **fields))
    assert isinstance(checked, Draft), checked
    return checked


def line(external_id: str, *skus: str, **fields: Any) -> bytes:
    """A line of an import."""
    document = {
        "external_id": external_id,
        "title": "Mug",
        "variants": [variant(sku) for sku in skus or (f"{external_id}-1",)],
        **fields,
    }
    return msgspec.json.encode(document)
