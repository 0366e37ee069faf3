"""Attributes that are defined hold what their definition says; all others hold anything."""

import re
from collections.abc import Iterable, Mapping
from datetime import date

from tradewind.contexts.catalog.commands import AttributeDefinition
from tradewind.contexts.catalog.events import AttributeValue, category_path
from tradewind.contexts.catalog.problems import InvalidAttribute
from tradewind.contexts.catalog.rules.drafts import Draft
from tradewind.contexts.catalog.tables import Attribute
from tradewind.kernel.problems import FieldError

# Narrower than what Python reads: no week dates, no digits of other scripts, no underscores.
DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
NUMBER = re.compile(r"[+-]?\d{1,300}(\.\d{1,300})?", re.ASCII)
WORDS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


def define(name: str, body: AttributeDefinition) -> Attribute | InvalidAttribute:
    """A definition, or what contradicts itself in it."""
    errors: list[FieldError] = []
    if body.kind == "choice" and not body.choices:
        errors.append(FieldError("/choices", "is required of a choice"))
    if body.kind != "choice" and body.choices:
        errors.append(FieldError("/choices", "is for a choice only"))
    if len(set(body.choices)) < len(body.choices):
        errors.append(FieldError("/choices", "must differ"))
    if body.unit is not None and body.kind != "number":
        errors.append(FieldError("/unit", "is for a number only"))
    if errors:
        told = f"{errors[0].pointer}: {errors[0].message}"
        return InvalidAttribute(told, errors=tuple(errors))
    return Attribute(
        name,
        body.kind,
        body.unit,
        tuple(body.choices),
        body.required,
        tuple(sorted({path for path in map(category_path, body.categories) if path})),
        body.description,
    )


def applies(defined: Attribute, category: str | None) -> bool:
    """Whether a definition counts in a category: there, or in one above."""
    if not defined.categories:
        return True
    place = f"{category or ''}/"
    return any(place.startswith(f"{path}/") for path in defined.categories)


def wrong_with(defined: Mapping[str, Attribute], draft: Draft) -> list[FieldError]:
    """What contradicts the definitions that count where the draft stands."""
    if not defined or draft.archived:
        return []
    here = [each for each in defined.values() if applies(each, draft.category)]
    errors: list[FieldError] = []
    for each in here:
        place = each.name.replace("~", "~0").replace("/", "~1")
        found = [("/attributes", draft.attributes)]
        found += [
            (f"/variants/{index}/attributes", variant.attributes)
            for index, variant in enumerate(draft.variants)
            if not variant.archived
        ]
        for pointer, attributes in found:
            value = attributes.get(each.name)
            message = why_not(each, value) if value is not None else None
            if message is not None:
                errors.append(FieldError(f"{pointer}/{place}", message))
        if each.required and not is_said(each.name, draft):
            errors.append(FieldError(f"/attributes/{place}", "is required in this category"))
    return errors


def is_said(name: str, draft: Draft) -> bool:
    """Whether the product, or every variant of it, has a value."""
    if draft.attributes.get(name) is not None:
        return True
    live = [variant for variant in draft.variants if not variant.archived]
    return all(variant.attributes.get(name) is not None for variant in live)


def why_not(defined: Attribute, value: AttributeValue) -> str | None:
    """Why a value cannot be, or None."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    match defined.kind:
        case "number" if not is_number:
            return f"must be a number{f' ({defined.unit})' if defined.unit else ''}"
        case "boolean" if not isinstance(value, bool):
            return "must be true or false"
        case "text" if not isinstance(value, str):
            return "must be a text"
        case "choice" if value not in defined.choices or not isinstance(value, str):
            return f"must be one of {', '.join(defined.choices[:20])}"
        case "date" if not is_date(value):
            return "must be a date such as 2026-01-31"
    return None


def is_date(value: AttributeValue) -> bool:
    """Whether a value is a day."""
    if not isinstance(value, str) or DAY.fullmatch(value) is None:
        return False
    try:
        date.fromisoformat(value)
    except ValueError:
        return False
    return True


def from_cell(defined: Attribute | None, cell: str) -> AttributeValue:
    """What a cell of a sheet says of an attribute; a text, unless it is defined otherwise."""
    if defined is not None and defined.kind == "boolean":
        return WORDS.get(cell.strip().lower(), cell)
    if defined is not None and defined.kind == "number" and NUMBER.fullmatch(cell.strip()):
        number = float(cell)
        return int(number) if number.is_integer() and "." not in cell else number
    return cell


def moved(defined: Iterable[Attribute], paths: Mapping[str, str]) -> list[Attribute]:
    """The definitions that name a category that moved, as they are then."""
    found = []
    for each in defined:
        categories = tuple(sorted({paths.get(path, path) for path in each.categories}))
        if categories != each.categories:
            found.append(
                Attribute(
                    each.name,
                    each.kind,
                    each.unit,
                    each.choices,
                    each.required,
                    categories,
                    each.description,
                )
            )
    return found
