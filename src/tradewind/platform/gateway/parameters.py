"""Query parameters into a Struct, or into a problem that names the parameter."""

from collections.abc import Iterator
from typing import Any, get_origin
from urllib.parse import unquote_to_bytes

import msgspec
from msgspec import Struct

from tradewind.kernel.problems import FieldError
from tradewind.kernel.texts import refused_character, why_refused
from tradewind.platform.gateway.explaining import MISSING_FIELD, humane, shortened, split_path
from tradewind.platform.gateway.problems import InvalidQuery, invalid_query

QUERY_BYTES_MAX = 8_192
QUERY_PARAMETERS_MAX = 64


class Query:
    """Reads the query parameters of one route into its Struct."""

    def __init__(self, shape: type[Struct], *, lenient: bool = False) -> None:
        self.shape = shape
        self._lenient = lenient  # parameters that nobody knows are ignored
        fields = msgspec.structs.fields(shape)
        self._known = {field.encode_name for field in fields}
        # `filter[colour]=red`: names of the client's choice, each with all its values.
        self._maps = {field.encode_name for field in fields if get_origin(field.type) is dict}
        self._empty = None if any(field.required for field in fields) else shape()

    def read(self, raw: bytes) -> Any:
        """The parameters as `shape`. Raises `InvalidQuery` with the name of the parameter."""
        if not raw and self._empty is not None:
            return self._empty
        values: dict[str, Any] = {}
        for name, value in parameters(raw):
            field, bracket, rest = name.partition("[")
            if bracket and field in self._maps and rest.endswith("]"):
                values.setdefault(field, {}).setdefault(rest[:-1], []).append(value)
                continue
            if name not in self._known and self._lenient:
                continue
            if name not in self._known or name in self._maps:
                raise invalid_query(shortened(name)[1:-1], "is not a parameter of this route")
            if name in values:
                raise invalid_query(name, "is given twice")
            values[name] = value
        try:
            return msgspec.convert(values, self.shape, strict=False)
        except msgspec.ValidationError as error:
            message, where = split_path(str(error))
            missing = MISSING_FIELD.match(message)
            if missing:
                raise invalid_query(missing[1], "is required") from None
            name = str(where[0]) if where else ""
            message = humane(message).removesuffix(", not a text")
            raise invalid_query(name, message) from None


def no_query(raw: bytes) -> None:
    """The check of a route without parameters."""
    for name, _ in parameters(raw):
        raise invalid_query(shortened(name)[1:-1], "is not a parameter of this route")


def parameters(raw: bytes) -> Iterator[tuple[str, str]]:
    """Names and values of a query string. Refuses what is not UTF-8 and control characters."""
    if not raw:
        return
    parts = raw.split(b"&")
    if len(raw) > QUERY_BYTES_MAX or len(parts) > QUERY_PARAMETERS_MAX:
        raise InvalidQuery("The query string is too long.", errors=(FieldError("", "is too long"),))
    for part in parts:
        if not part:
            continue
        name, _, value = part.partition(b"=")
        texts = []
        for piece in (name, value):
            try:
                text = unquote_to_bytes(piece.replace(b"+", b" ")).decode()
            except UnicodeDecodeError:
                raise invalid_query(ascii_name(name), "is not UTF-8") from None
            character = refused_character(text)
            if character:
                raise invalid_query(ascii_name(name), why_refused(character))
            texts.append(text)
        yield texts[0], texts[1]


def ascii_name(name: bytes) -> str:
    """A parameter's name as it can be shown whatever it is."""
    return name[:60].decode("ascii", "backslashreplace")
