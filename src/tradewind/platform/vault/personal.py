"""What contexts say about a person: each of its own tables, in tokens. The vault's third use."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from msgspec import Struct

from tradewind.kernel.subject import OpenMatter, Subject
from tradewind.platform.database.transaction import Snapshot


class Personal(Struct, frozen=True, kw_only=True):
    """What one context knows, and how to ask it."""

    # The record of an order's customer.
    person_of_order: Callable[[Snapshot, str], Awaitable[str | None]] | None = None
    # The subject with what belongs to it here.
    belongings: Callable[[Snapshot, Subject], Awaitable[Subject]] | None = None
    # Everything that is held of it, by the name of a section.
    export: Callable[[Snapshot, Subject], Awaitable[Mapping[str, Sequence[Any]]]] | None = None
    open_matters: Callable[[Snapshot, Subject], Awaitable[Sequence[OpenMatter]]] | None = None
    # Which of its records stand on papers that the law wants whole.
    on_papers: Callable[[Snapshot, Subject], Awaitable[Sequence[str]]] | None = None
    # Told after the vault's commit, again and again for two days: what else ends with them.
    erased: Callable[[Any, Sequence[str]], Awaitable[None]] | None = None  # node, persons
