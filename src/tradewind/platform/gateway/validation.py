"""JSON bodies into Structs, or into problems that say where and why.

A body is read in three steps, each of which may refuse it:

1. as JSON (400 `invalid_json`): broken, not UTF-8, nested too deep, NaN, a key twice in an object;
2. its texts (422): characters that cannot be stored or shown (see `tradewind.kernel.texts`);
3. its shape (422 `invalid_body`): a JSON pointer and a sentence for the first thing that differs.

The first step decodes to plain objects, which the third converts: cheaper than decoding twice, and
a broken body is called broken even where its beginning already had the wrong shape.
"""

import json
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
from msgspec import inspect as shapes

from tradewind.kernel.cards import NOT_LOOKED_AT, holds_card, may_hold_card
from tradewind.kernel.problems import FieldError
from tradewind.kernel.texts import PROSE, refused_character, why_refused
from tradewind.platform.gateway.explaining import (
    Where,
    explain,
    pointer_of,
    shortened,
    split_path,
)
from tradewind.platform.gateway.problems import (
    CardDataRefused,
    InvalidBody,
    InvalidJson,
    invalid_body,
)

DEPTH_MAX = 64
ANY = "*"  # in a path: every item of a list, every value of a map

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


class Body:
    """Reads bodies of one type. Made once per route; safe to share."""

    def __init__(self, shape: Any) -> None:
        self.shape = shape
        self._prose = frozenset(prose_paths(shape))
        # Where every field has a default the whole body may be left out.
        self.may_be_empty = isinstance(shape, type) and issubclass(shape, msgspec.Struct)
        if self.may_be_empty:
            self.may_be_empty = not any(f.required for f in msgspec.structs.fields(shape))

    def read(self, raw: bytes) -> Any:
        """The body as `shape`. Raises `InvalidJson` or `InvalidBody`."""
        if not raw and self.may_be_empty:
            return self.shape()
        document = parse(raw)
        if b"\\" in raw or b"\x7f" in raw or b"\xc2" in raw:
            # Every escape begins with a backslash, DEL stands for itself and C1 controls begin with
            # 0xC2: only then can there be a refused character, and we look closely.
            refuse_texts(document, self._prose)
        if may_hold_card(raw):
            refuse_cards(document)
        try:
            return msgspec.convert(document, self.shape)
        except msgspec.ValidationError as error:
            raise explain(error, document, self.shape) from None


def parse(raw: bytes) -> Any:
    """A JSON text as plain objects. Raises `InvalidJson`, or `InvalidBody` for numbers and texts
    that are JSON and no value we can hold.
    """
    if not raw:
        raise InvalidJson("The body is empty; a JSON document is needed.")
    try:
        document = _decode(raw)
    except msgspec.ValidationError as error:  # 1e999: a number, but no float
        _, where = split_path(str(error))
        raise invalid_body(pointer_of(where), "is a number too large to hold") from None
    except msgspec.DecodeError as error:
        raise broken(raw, str(error)) from None
    except UnicodeDecodeError as error:
        raise InvalidJson(f"The body is not UTF-8: {error.reason}.") from None
    except RecursionError:
        raise InvalidJson(f"The body is nested more than {DEPTH_MAX} levels deep.") from None
    if raw.count(b"[") + raw.count(b"{") > DEPTH_MAX and is_deeper(document, DEPTH_MAX):
        raise InvalidJson(f"The body is nested more than {DEPTH_MAX} levels deep.")
    # Every key and text has two quotes. A key that stood twice is gone from the decoded document,
    # so written out again it has fewer. Escaped quotes differ too: then we look exactly.
    if raw.count(b'"') != _encode(document).count(b'"') or b"\\u0022" in raw:
        refuse_repeated_keys(raw)
    return document


def is_deeper(document: Any, levels: int) -> bool:
    """Whether lists and objects are nested more than `levels` deep."""
    level = [document] if isinstance(document, dict | list) else []
    for _ in range(levels):
        if not level:
            return False
        level = [
            item
            for container in level
            for item in (container.values() if isinstance(container, dict) else container)
            if isinstance(item, dict | list)
        ]
    return bool(level)


def broken(raw: bytes, reason: str) -> InvalidJson | InvalidBody:
    """What is wrong with a text that is no JSON. Half a surrogate pair is JSON, and 422."""
    if b"\\u" in raw:
        try:
            # The standard library follows RFC 8259 in taking lone surrogates.
            document = json.loads(raw, parse_constant=refuse_constant)
            refuse_texts(document, frozenset())
        except InvalidBody as problem:
            return problem
        except (ValueError, RecursionError):
            pass
    reason = reason.removeprefix("JSON is malformed: ")
    return InvalidJson(f"The body is not valid JSON: {reason[0].lower()}{reason[1:]}.")


def refuse_constant(name: str) -> Any:
    """NaN and Infinity are not JSON, whatever Python's own reader thinks."""
    raise ValueError(name)


def refuse_repeated_keys(raw: bytes) -> None:
    """Raise `InvalidJson` for a key that is twice in an object: readers differ in which wins."""

    def unique(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
        members = dict(pairs)
        if len(members) != len(pairs):
            names = [name for name, _ in pairs]
            twice = next(name for name in names if names.count(name) > 1)
            raise InvalidJson(f"The key {shortened(twice)} stands twice in one object.")
        return members

    json.loads(raw, object_pairs_hook=unique)


def refuse_texts(document: Any, prose: frozenset[Where]) -> None:
    """Raise `InvalidBody` for the first text with a refused character; `prose` has its paths."""
    for where, text in texts_of(document):
        character = refused_character(text)
        if character and any(is_at(where, path) for path in prose):
            character = refused_character(text, prose=True)
        if character:
            raise invalid_body(pointer_of(where), why_refused(character))


def refuse_cards(document: Any) -> None:
    """Raise `CardDataRefused` for the first text with a card number; it is not repeated."""
    for where, text in texts_of(document):
        if NOT_LOOKED_AT.isdisjoint(where) and holds_card(text, phone=where[-1:] == ("phone",)):
            pointer = pointer_of(where)
            raise CardDataRefused(
                f"{pointer} holds what looks like a card number. Give the card to the payment "
                "provider and send its token.",
                errors=(FieldError(pointer, "must not hold a card number"),),
            )


def texts_of(document: Any) -> Iterator[tuple[Where, str]]:
    """Every text of a decoded JSON document, keys too, with its place."""
    waiting: list[tuple[Where, Any]] = [((), document)]
    while waiting:
        where, value = waiting.pop()
        if isinstance(value, str):
            yield where, value
        elif isinstance(value, list):
            waiting.extend(((*where, index), item) for index, item in enumerate(value))
        elif isinstance(value, dict):
            for key, item in value.items():
                yield where, key
                waiting.append(((*where, key), item))


def is_at(where: Where, path: Where) -> bool:
    """Whether a place is one of those that a path with `ANY` steps describes."""
    return len(where) == len(path) and all(
        step in (ANY, here) for here, step in zip(where, path, strict=True)
    )


def prose_paths(shape: Any) -> Iterator[Where]:
    """The places of a type whose texts may have several lines."""
    for path, info, prose in leaves(shapes.type_info(shape)):
        if prose and isinstance(info, shapes.StrType | shapes.AnyType):
            yield path


def leaves(
    info: Any, path: Where = (), inside: tuple[Any, ...] = (), prose: bool = False
) -> Iterator[tuple[Where, Any, bool]]:
    """Every plain type inside a type: its place, itself, whether it is marked as prose.

    `inside` holds the Structs we are in, since a Struct may hold itself.
    """
    if isinstance(info, shapes.Metadata):
        marked = prose or bool((info.extra or {}).get(PROSE))
        yield from leaves(info.type, path, inside, marked)
    elif isinstance(info, shapes.StructType):
        if info.cls not in inside:
            for field in info.fields:
                yield from leaves(field.type, (*path, field.encode_name), (*inside, info.cls))
    elif isinstance(info, shapes.UnionType):
        for member in info.types:
            yield from leaves(member, path, inside, prose)
    elif isinstance(info, shapes.DictType):
        yield from leaves(info.value_type, (*path, ANY), inside, prose)
    elif isinstance(info, shapes.CollectionType):
        yield from leaves(info.item_type, (*path, ANY), inside, prose)
    else:
        yield path, info, prose


def lenient_structs(shape: Any) -> list[str]:
    """The Structs inside a body type that would silently drop fields they do not know."""
    found: dict[str, None] = {}
    _lenient(shapes.type_info(shape), set(), found)
    return list(found)


def _lenient(info: Any, seen: set[Any], found: dict[str, None]) -> None:
    if isinstance(info, shapes.StructType):
        if info.cls in seen:
            return
        seen.add(info.cls)
        if not info.forbid_unknown_fields:
            found[info.cls.__name__] = None
        for field in info.fields:
            _lenient(field.type, seen, found)
    elif isinstance(info, shapes.UnionType):
        for member in info.types:
            _lenient(member, seen, found)
    elif isinstance(info, shapes.Metadata):
        _lenient(info.type, seen, found)
    elif isinstance(info, shapes.DictType):
        _lenient(info.value_type, seen, found)
    elif isinstance(info, shapes.CollectionType):
        _lenient(info.item_type, seen, found)


def unbounded_fields(shape: Any) -> list[str]:
    """Places of a type where a client may send a number or a text without end.

    The database would answer them with an error of its own; a test asks for an empty list.
    """
    found = []
    for path, info, _ in leaves(shapes.type_info(shape)):
        place = pointer_of(path)
        if isinstance(info, shapes.IntType) and (
            (info.ge is None and info.gt is None) or (info.le is None and info.lt is None)
        ):
            found.append(f"{place}: an int without ge and le")
        if isinstance(info, shapes.StrType) and info.max_length is None and info.pattern is None:
            found.append(f"{place}: a str without max_length")
    return found
