"""Keyset pages: a cursor is the last row's sort key, opaque to clients and checked when it returns.

A cursor costs the same on page one and page one thousand, and rows that are added meanwhile neither
repeat nor hide others. It is not signed: it says where to go on, never what one may see.
"""

import base64
import binascii
from datetime import datetime
from typing import Any

import msgspec

from tradewind.kernel.texts import refused_character
from tradewind.platform.gateway.problems import InvalidQuery, invalid_query

CURSOR_CHARACTERS_MAX = 1_024
BIGINT_MIN, BIGINT_MAX = -(2**63), 2**63 - 1

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(list[Any]).decode


def encode_cursor(*values: str | int | float | bool | datetime | None) -> str:
    """The values of a row's sort key as one opaque text, safe in a URL."""
    return base64.urlsafe_b64encode(_encode(values)).rstrip(b"=").decode("ascii")


def decode_cursor(text: str, *types: Any) -> tuple[Any, ...]:
    """The values that `encode_cursor` was given, as these types. Raises a 400 at `cursor`.

    Clients may send anything: numbers are held to what a bigint takes, texts to what can be stored.
    """
    if len(text) > CURSOR_CHARACTERS_MAX:
        raise broken_cursor()
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        values = _decode(raw)
        if len(values) != len(types):
            raise broken_cursor()
        found = tuple(
            msgspec.convert(value, kind) for value, kind in zip(values, types, strict=True)
        )
    except (binascii.Error, ValueError, RecursionError, msgspec.MsgspecError):
        raise broken_cursor() from None
    for value in found:
        if isinstance(value, str) and refused_character(value):
            raise broken_cursor()
        if isinstance(value, int) and not BIGINT_MIN <= value <= BIGINT_MAX:
            raise broken_cursor()
        if isinstance(value, datetime) and (value.tzinfo is None or not 1 < value.year < 9999):
            raise broken_cursor()
    return found


def broken_cursor() -> InvalidQuery:
    """The refusal of a cursor that we did not make."""
    return invalid_query("cursor", "is not a cursor of this list; begin again without it")
