"""Whom an export or an erasure is about, in tokens and ids.

A subject grows: it begins with records of the vault, the context that has orders adds orders and
payments, and the others find theirs by those.
"""

from msgspec import Struct


class Subject(Struct, frozen=True, kw_only=True):
    """One person, as far as the platform can tell."""

    persons: tuple[str, ...]
    contacts: tuple[str, ...] = ()
    accounts: tuple[str, ...] = ()
    errands: tuple[str, ...] = ()  # what its accounts asked for, by mail
    orders: tuple[str, ...] = ()
    payments: tuple[str, ...] = ()


class OpenMatter(Struct, frozen=True):
    """Something that must come to its end before a person can be erased."""

    kind: str  # "order", "return"
    id: str
    status: str
    passing: bool  # it ends by itself within moments
