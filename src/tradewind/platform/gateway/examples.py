"""Example values for schemas: what a declared example, the name of a field and its type suggest."""

from collections.abc import Mapping
from typing import Any

DEPTH_MAX = 8

# By the name of the field: what a reader of the documentation recognises.
BY_NAME: Mapping[str, Any] = {
    "amount": "12.75",
    "availability": "in_stock",
    "category": "Kitchen/Mugs",
    "city": "London",
    "code": "gift_wrap",
    "country": "GB",
    "currency": "GBP",
    "description": "Holds 350 ml. Dishwasher safe.",
    "email": "ada@example.com",
    "external_id": "shop-1001",
    "line1": "12 Analytical Row",
    "name": "Ada Lovelace",
    "note": "Please ring twice.",
    "on_hand": 100,
    "phone": "+442071838750",
    "postal_code": "N1 9GU",
    "quantity": 2,
    "reason": "The customer changed their mind.",
    "sku": "MUG-BLUE",
    "title": "Blue mug",
    "token": "tok_ok",
}
# Optional fields that hardly any request leaves out.
USUAL = frozenset({"city", "email", "line1", "name", "postal_code", "price"})
BY_FORMAT: Mapping[str, Any] = {
    "date-time": "2026-01-31T12:00:00Z",
    "date": "2026-01-31",
    "uuid": "018f6b1e-7d8a-7c3e-9f1a-2b3c4d5e6f70",
}


def example_of(
    schema: Mapping[str, Any], components: Mapping[str, Any], name: str = "", depth: int = 0
) -> Any:
    """A plausible value. `name` is that of the field; of an object what usually is there."""
    if "$ref" in schema:
        return example_of(components[schema["$ref"].rpartition("/")[2]], components, name, depth)
    for key in ("const", "default"):
        if schema.get(key) not in (None, "", [], {}):
            return schema[key]
    if schema.get("examples"):
        return schema["examples"][0]
    if schema.get("enum"):
        return schema["enum"][0]
    for key in ("anyOf", "oneOf"):
        if schema.get(key):
            return example_of(schema[key][0], components, name, depth)
    kind = schema.get("type", "object" if "properties" in schema else "string")
    if kind == "object":
        return object_example(schema, components, depth)
    if kind == "array":
        item = schema.get("items") or {}
        if depth >= DEPTH_MAX or not item:
            return []
        return [example_of(item, components, name.removesuffix("s"), depth + 1)]
    return plain_example(kind, schema, name)


def object_example(
    schema: Mapping[str, Any], components: Mapping[str, Any], depth: int
) -> dict[str, Any]:
    """An object with what must be there, and what usually is."""
    if depth >= DEPTH_MAX:
        return {}
    required = schema.get("required", ())
    return {
        name: example_of(kind, components, name, depth + 1)
        for name, kind in schema.get("properties", {}).items()
        if name in required or name in USUAL
    }


def plain_example(kind: str, schema: Mapping[str, Any], name: str) -> Any:
    """A text, a number or a truth value."""
    known = BY_NAME.get(name)
    if kind == "string":
        if isinstance(known, str):
            return known
        return BY_FORMAT.get(schema.get("format", ""), "text")
    if kind in ("integer", "number"):
        if isinstance(known, int):
            return known
        return schema.get("minimum", 1)
    return {"boolean": True, "null": None}.get(kind)
