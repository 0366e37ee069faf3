"""What changed of a product: fields by their JSON pointers, old and new."""

from typing import Any

import msgspec
from msgspec import Struct

from tradewind.contexts.catalog.events import ProductChanged, sku_key

# Changes of one product that are kept, fields of one change, characters of a value: at most some
# 60 kB a change, and hardly ever more than one.
KEPT_MAX = 100
FIELDS_MAX = 60
VALUE_LENGTH_MAX = 500
OF_PRODUCT = ("title", "description", "category", "attributes", "archived", "options", "media")
OF_VARIANT = ("sku", "title", "prices", "attributes", "archived", "options", "group_prices")


class FieldChange(Struct, frozen=True, omit_defaults=True):
    """One field that is not as it was; long values are cut short."""

    field: str
    before: Any = None
    after: Any = None


def changes(before: ProductChanged | None, after: ProductChanged) -> list[FieldChange]:
    """What differs, in the order of the fields; of a new product only that it is there."""
    if before is None:
        return [FieldChange("", None, "created")]
    found: list[FieldChange] = []
    for name in OF_PRODUCT:
        compare(found, f"/{name}", getattr(before, name), getattr(after, name))
    known = {sku_key(variant.sku): variant for variant in before.variants}
    for variant in after.variants:
        was = known.pop(sku_key(variant.sku), None)
        place = f"/variants/{variant.sku}"
        if was is None:
            found.append(FieldChange(place, None, "created"))
            continue
        for name in OF_VARIANT:
            compare(found, f"{place}/{name}", getattr(was, name), getattr(variant, name))
    return found[:FIELDS_MAX]


def compare(found: list[FieldChange], place: str, before: Any, after: Any) -> None:
    """Note a field if it changed; members of an object one by one."""
    if isinstance(before, dict) and isinstance(after, dict):
        for name in sorted({*before, *after}):
            compare(found, f"{place}/{name}", before.get(name), after.get(name))
    elif before != after or type(before) is not type(after):
        found.append(FieldChange(place, shown(before), shown(after)))


def shown(value: Any) -> Any:
    """A value as it is kept."""
    if isinstance(value, str):
        return value[:VALUE_LENGTH_MAX]
    if value is None or isinstance(value, bool | int | float):
        return value
    text = msgspec.json.encode(value).decode()
    return msgspec.json.decode(text) if len(text) <= VALUE_LENGTH_MAX else text[:VALUE_LENGTH_MAX]
