"""What msgspec says about a document that has not the shape, as a JSON pointer and a sentence."""

import functools
import json
import re
from collections.abc import Sequence
from typing import Any

import msgspec

from tradewind.platform.gateway.problems import InvalidBody, invalid_body

# To name the culprit in a map we convert it key by key; beyond this many the map itself is named.
CULPRITS_TRIED_MAX = 200

UNKNOWN_FIELD = re.compile(r"Object contains unknown field `(.*?)`", re.DOTALL)
MISSING_FIELD = re.compile(r"Object missing required field `(.*?)`", re.DOTALL)
STEP = re.compile(r"\[(\d+)\]|(\[\.\.\.\])|\.([^.\[]+)")
TYPE_NAMES = {
    "`int`": "a whole number",
    "`float`": "a number",
    "`str`": "a text",
    "`bool`": "true or false",
    "`null`": "null",
    "`array`": "a list",
    "`object`": "an object",
}

Where = tuple[str | int, ...]


def explain(error: msgspec.ValidationError, document: Any, shape: Any) -> InvalidBody:
    """The problem for a document that has not the shape."""
    message, where = split_path(str(error))
    if None in where:
        where = locate(document, shape, where)
    for pattern, text in ((UNKNOWN_FIELD, "is not a known field"), (MISSING_FIELD, "is required")):
        found = pattern.match(message)
        if found:
            return invalid_body(pointer_of((*known(where), found[1])), text)
    return invalid_body(pointer_of(known(where)), humane(message))


def split_path(text: str) -> tuple[str, tuple[str | int | None, ...]]:
    """``Expected `int` - at `$.lines[0].quantity``` as message and place; None: some key."""
    message, at, path = text.rpartition(" - at `")
    if not at:
        return text, ()
    path = path.removesuffix("`")
    if path.startswith("key in `"):
        path = path.removeprefix("key in `")
    steps: list[str | int | None] = []
    for index, any_key, name in STEP.findall(path.removeprefix("$")):
        steps.append(int(index) if index else None if any_key else name)
    return message, tuple(steps)


def locate(
    document: Any, shape: Any, where: tuple[str | int | None, ...]
) -> tuple[str | int | None, ...]:
    """Put the key that is at fault in the place of the first None: try the map key by key."""
    at = where.index(None)
    holder = document
    for step in where[:at]:
        holder = holder[step]
    if not isinstance(holder, dict) or len(holder) > CULPRITS_TRIED_MAX:
        return where
    for key, value in holder.items():
        try:
            msgspec.convert(replaced(document, where[:at], {key: value}), shape)
        except msgspec.ValidationError as error:
            _, found = split_path(str(error))
            if len(found) > at and found[at] is None:
                found = (*where[:at], key, *found[at + 1 :])
                return locate(document, shape, found) if None in found else found
    return where


def replaced(document: Any, where: Sequence[Any], value: Any) -> Any:
    """A copy of `document` with `value` at a place."""
    if not where:
        return value
    copy = document.copy()
    copy[where[0]] = replaced(document[where[0]], where[1:], value)
    return copy


def known(where: tuple[str | int | None, ...]) -> Where:
    """The place as far as it is known."""
    return where[: where.index(None)] if None in where else where  # type: ignore[return-value]


def pointer_of(where: Sequence[str | int | None]) -> str:
    """A place as a JSON pointer (RFC 6901)."""
    return "".join(
        "/" + str(step).replace("~", "~0").replace("/", "~1") for step in where if step is not None
    )


@functools.lru_cache(maxsize=1_024)
def humane(message: str) -> str:
    """``Expected `int` >= 1`` as ``must be a whole number of at least 1``."""
    found = re.fullmatch(r"Expected (.*?), got (.*)", message, re.DOTALL)
    if found:
        got = "a fraction" if found[2] == "`float`" else named(found[2])
        return f"must be {named(found[1])}, not {got}"
    found = re.fullmatch(r"Expected `(int|float)` (>=|<=|>|<) (.*)", message)
    if found:
        words = {">=": "at least", "<=": "at most", ">": "more than", "<": "less than"}[found[2]]
        return f"must be {words} {found[3]}"
    found = re.fullmatch(r"Expected `(\w+)` of length (>=|<=|==) (\d+)", message)
    if found:
        words = {">=": "at least", "<=": "at most", "==": "exactly"}[found[2]]
        one = found[3] == "1"
        unit = {"str": "character", "array": "item", "object": "member"}.get(found[1], "item")
        return f"must have {words} {found[3]} {unit}{'' if one else 's'}"
    found = re.fullmatch(r"Expected `str` matching regex (.*)", message, re.DOTALL)
    if found:
        return f"must match {found[1]}"
    found = re.fullmatch(r"Invalid enum value (.*)", message, re.DOTALL)
    if found:
        return f"{shortened(found[1].strip(chr(39)))} is not one of the values allowed here"
    return message[:1].lower() + message[1:]


def named(types: str) -> str:
    """``int | null`` between backticks as ``a whole number or null``."""
    parts = [f"`{part.strip()}`" for part in types.strip("`").split("|")]
    return " or ".join(TYPE_NAMES.get(part, part.strip("`")) for part in parts)


def shortened(text: str) -> str:
    """A client's text, quoted and cut, for a message."""
    return json.dumps(text if len(text) <= 60 else text[:57] + "...")
