"""Texts that people write: sealed where they are written, so that they may stand anywhere.

A reason, a remark, a line of a credit note may name somebody. It is sealed under the key of the
person it is about and travels as that: `~prs_...~` and what no one can read. The log, its archive
and backups carry it; when the person's key is destroyed, all of them hold noise. A text about
nobody in particular is sealed under a key of the vault.
"""

import base64
import binascii
import re
from collections.abc import Iterable, Mapping

from tradewind.platform.vault.sealing import RecordUnreadable, decrypt, encrypt

MARK = "~"
NOBODY = "txt"
# What stands in the place of a text about somebody who is erased already.
GONE = "~gone~"
SEALED = re.compile(r"~(prs_[0-9a-z]{26}|txt\.[0-9]{1,9})~([A-Za-z0-9_-]{38,90000})")
# A cheap question before a careful look: a sealed text always has one of these in an answer.
SIGNS = (b'"~prs_', b'"~txt.', b'"~gone~"')


def is_sealed(text: str) -> bool:
    """Whether a text is a sealed one."""
    return text.startswith(MARK) and (text == GONE or SEALED.fullmatch(text) is not None)


def key_name_of(text: str) -> str | None:
    """Whose key opens a sealed text: a person's token, or a version of the vault's own, txt.N."""
    found = SEALED.fullmatch(text)
    return found[1] if found else None


def seal_text(key: bytes, key_name: str, text: str) -> str:
    """A text as it may stand anywhere."""
    content = encrypt(key, text.encode("utf-8"), f"text of {key_name}")
    return f"{MARK}{key_name}{MARK}{base64.urlsafe_b64encode(content).rstrip(b'=').decode()}"


def open_text(key: bytes, text: str) -> str:
    """The text again. Raises `RecordUnreadable`."""
    found = SEALED.fullmatch(text)
    if found is None:
        raise RecordUnreadable("This is no sealed text.")
    try:
        content = base64.urlsafe_b64decode(found[2] + "=" * (-len(found[2]) % 4))
    except (binascii.Error, ValueError) as error:
        raise RecordUnreadable(f"A text of {found[1]} was changed.") from error
    return decrypt(key, content, f"text of {found[1]}").decode("utf-8")


def has_sealed(raw: bytes) -> bool:
    """Whether an encoded answer may hold a sealed text."""
    return any(sign in raw for sign in SIGNS)


def sealed_in(document: object) -> Iterable[str]:
    """Every sealed text in a decoded JSON document."""
    waiting = [document]
    while waiting:
        value = waiting.pop()
        if isinstance(value, str):
            if is_sealed(value):
                yield value
        elif isinstance(value, list):
            waiting.extend(value)
        elif isinstance(value, dict):
            waiting.extend(value.values())


def with_texts(document: object, opened: Mapping[str, str | None]) -> object:
    """The document with every sealed text as it reads; null for one that opens no more."""
    if isinstance(document, str):
        return opened.get(document) if is_sealed(document) else document
    if isinstance(document, list):
        return [with_texts(item, opened) for item in document]
    if isinstance(document, dict):
        return {name: with_texts(value, opened) for name, value in document.items()}
    return document
