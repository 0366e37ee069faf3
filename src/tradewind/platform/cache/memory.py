"""Answers that a process remembers, and how it knows that they still hold.

Invariants: what `find` returns was true at most `FRESH_S` ago, whatever happened to this process,
its connections or other processes meanwhile; what a `look` that began after a commit has seen is
never contradicted by a later `find`.

Nothing is pushed. While somebody asks, the process looks every `LOOK_AFTER_S` what was committed
since its last look; an answer counts for `FRESH_S` from the moment in which the last look that came
back was *sent*. A process that was stopped, that cannot reach the database, or whose look is late
simply has no fresh answers. A look that fails may mean that the server crashed and gives its
transaction numbers again: then everything is forgotten.
"""

import asyncio
import time
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Hashable, Iterable, Sequence
from typing import Any, NamedTuple, TypeVar

from msgspec import Struct

from tradewind.platform.telemetry import logs, metrics

logger = logs.get(__name__)

# How old an answer from memory may be. Half a second is what shoppers are promised; a process that
# changes something waits this long before it believes that all others know.
FRESH_S = 0.3
# A look takes two turns of the loop, which under load are 50 ms each: it must be back in time.
LOOK_AFTER_S = 0.05
LOOK_TIMEOUT_S = 2.0
PAUSE_AFTER_FAILURE_S = 0.2
# Changes of so many looks are compared with what was read meanwhile; a read that takes longer than
# those looks is answered and not remembered.
LOOKS_KEPT_MAX = 64
# What an entry costs beside its bytes: objects, places in three tables.
ENTRY_BYTES = 1_000
# Questions of which it is known that somebody asked them once, while room is scarce.
ASKED_ONCE_MAX = 10_000
# Comparing changes with spans is a loop: beyond this all spans go, which costs a read each.
COMPARISONS_MAX = 50_000

Timer = Callable[[], float]
T = TypeVar("T")


class Change(NamedTuple):
    """Something that is not as it was. `deep`: others may be found for it, not only shown."""

    key: str
    deep: bool


class Seen(Struct, frozen=True):
    """What a look saw: where it stands now, and what changed since it stood elsewhere."""

    place: str
    changes: Sequence[Change] = ()


Look = Callable[[str | None], Awaitable[Seen]]


class Depends(Struct, frozen=True):
    """What an answer is made of; a change to any of it ends the answer."""

    keys: frozenset[str] = frozenset()
    span: tuple[str, str] | None = None  # every key from the first, and before the second
    deep: bool = False  # whatever is found: any deep change
    wide: bool = False  # whatever there is: any change at all

    def meets(self, change: Change) -> bool:
        """Whether this change ends the answer."""
        if self.wide or change.key in self.keys or (self.deep and change.deep):
            return True
        return self.span is not None and self.span[0] <= change.key < self.span[1]


class Trail:
    """The changes since it was begun, for who keeps something that is made of everything.

    Whoever has followed up some takes them out of `keys`. `broken`: some may not be in it, begin
    anew.
    """

    __slots__ = ("broken", "keys", "wide")

    def __init__(self, *, wide: bool = False) -> None:
        self.wide = wide  # of all changes, not only of deep ones
        self.broken = False
        self.keys: set[str] = set()


class Entry(NamedTuple):
    """What is remembered under a key."""

    value: Any
    size: int
    depends: Depends


class Memory:
    """What one process remembers of one context. `look` asks the database what has changed."""

    def __init__(
        self,
        look: Look,
        *,
        bytes_max: int,
        companions_bytes_max: int = 0,
        name: str = "",
        timer: Timer = time.monotonic,
        closed: Callable[[], None] = lambda: None,
    ) -> None:
        self.bytes_max = bytes_max
        self.companions_bytes_max = companions_bytes_max  # beside it
        self.size = 0
        self._look = look
        self._timer = timer
        self._closed = closed
        self._entries: OrderedDict[Hashable, Entry] = OrderedDict()
        # Answers of one key are found by it. Those of many are looked through when something
        # changes, which is rare: noting each under twenty keys would cost more than most answers.
        self._of_key: dict[str, set[Hashable]] = {}
        self._of_many: dict[Hashable, frozenset[str]] = {}
        self._spans: dict[Hashable, tuple[str, str]] = {}
        self._deep: set[Hashable] = set()
        self._wide: set[Hashable] = set()
        self._asked_once: OrderedDict[Hashable, None] = OrderedDict()
        self._place: str | None = None
        self._looked_at = float("-inf")  # when the last look that came back was sent
        self._not_before = float("-inf")
        self._looking: asyncio.Task[None] | None = None
        self._looks = 0
        self._oldest_mark = 0
        self._recent: deque[tuple[int, Sequence[Change]]] = deque(maxlen=LOOKS_KEPT_MAX)
        self._trails: list[Trail] = []
        self._companions: dict[type[Any], Any] = {}
        self._hits = metrics.REMEMBERED.labels(name, "hit")
        self._misses = metrics.REMEMBERED.labels(name, "miss")
        self._bytes = metrics.REMEMBERED_BYTES.labels(name)

    def __len__(self) -> int:
        return len(self._entries)

    def find(self, key: Hashable) -> Any:
        """What is remembered under a key, if it is known to hold; else None. Starts due looks."""
        age_s = self._timer() - self._looked_at
        if age_s > LOOK_AFTER_S:
            self._begin_look()
            if age_s > FRESH_S:
                return None
        entry = self._entries.get(key)
        if entry is None:
            return None
        self._entries.move_to_end(key)
        self._hits.inc()
        return entry.value

    @property
    def is_fresh(self) -> bool:
        """Whether the last look is not too long ago."""
        return self._timer() - self._looked_at <= FRESH_S

    def peek(self, key: Hashable) -> Any:
        """What is remembered under a key, for who knows already that memory is `fresh`."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        self._entries.move_to_end(key)
        return entry.value

    def companion(self, kind: Callable[["Memory"], T]) -> T:
        """The one of its kind that goes with this memory; made when first asked for."""
        found: T | None = self._companions.get(kind)  # type: ignore[call-overload]
        if found is None:
            found = self._companions[kind] = kind(self)  # type: ignore[index]
        return found

    def follow(self, *, wide: bool = False) -> Trail:
        """What changes deeply (`wide`: at all) from now on; a broken one while nothing is known."""
        trail = Trail(wide=wide)
        trail.broken = self._place is None
        if not trail.broken:
            self._trails.append(trail)
        return trail

    def unfollow(self, trail: Trail) -> None:
        """Nobody needs this one any more."""
        if trail in self._trails:
            self._trails.remove(trail)

    def missed(self) -> None:
        """Count an answer that had to be made, though it might have been here."""
        self._misses.inc()

    def mark(self) -> int:
        """Where memory stands before something is read; to be handed to `keep` with it."""
        return self._looks if self._place is not None else -1

    def keep(self, key: Hashable, value: Any, size: int, depends: Depends, *, mark: int) -> bool:
        """Remember what was read after `mark`, unless it may have changed since; whether it is.

        Where room is scarce, what is made of several things is remembered when it comes again.
        """
        size += ENTRY_BYTES
        if mark < self._oldest_mark or self._place is None or size > self.bytes_max // 8:
            return False
        for number, changes in reversed(self._recent):
            if number <= mark:
                break
            if any(map(depends.meets, changes)):
                return False
        if len(depends.keys) > 1 and self._is_passing(key):
            return False
        self._drop(key)
        self._entries[key] = Entry(value, size, depends)
        self.size += size
        if len(depends.keys) == 1:
            (name,) = depends.keys
            self._of_key.setdefault(name, set()).add(key)
        elif depends.keys:
            self._of_many[key] = depends.keys
        if depends.span is not None:
            self._spans[key] = depends.span
        if depends.deep:
            self._deep.add(key)
        if depends.wide:
            self._wide.add(key)
        while self.size > self.bytes_max:
            self._drop(next(iter(self._entries)))
        return True

    def _is_passing(self, key: Hashable) -> bool:
        """Whether room is scarce and this, as far as is known, is asked for the first time.

        Searches that nobody repeats would push out the products that they are made of.
        """
        if 2 * self.size < self.bytes_max or key in self._asked_once:
            return False
        self._asked_once[key] = None
        if len(self._asked_once) > ASKED_ONCE_MAX:
            self._asked_once.popitem(last=False)
        return True

    async def look_now(self) -> None:
        """Return once a look that began after this call has come back, or everything is forgotten.

        Whoever changed something calls it before he says so.
        """
        if self._place is None:
            return  # whatever is read from now on sees it
        if self._looking is not None:
            await asyncio.shield(self._looking)
        self._begin_look()
        if self._looking is not None:
            await asyncio.shield(self._looking)

    async def fresh(self) -> bool:
        """Return once a look has come back lately, or one that began after this call; False where
        none does.

        However long the latter takes, it has seen whatever was committed before the call: a
        process that is out of breath answers late from what it remembers, and not never.
        """
        called_at = self._timer()
        for _ in range(2):  # the first look may have begun before
            if self.is_fresh or self._looked_at >= called_at:
                return True
            self._begin_look()
            if self._looking is not None:
                await asyncio.shield(self._looking)
        return self.is_fresh or self._looked_at >= called_at

    async def close(self) -> None:
        """Forget everything and look no more."""
        self._not_before = float("inf")
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)
        self.forget()

    def forget(self) -> None:
        """Believe nothing that was remembered, nor what is being read now."""
        self._entries.clear()
        self._of_key.clear()
        self._of_many.clear()
        self._spans.clear()
        self._deep.clear()
        self._wide.clear()
        self._recent.clear()
        for trail in self._trails:
            trail.broken = True
        self._trails.clear()
        self.size = 0
        self._place = None
        self._looked_at = float("-inf")
        self._looks += 1
        self._oldest_mark = self._looks
        self._closed()

    def _begin_look(self) -> None:
        if self._looking is None and self._timer() >= self._not_before:
            self._looking = asyncio.get_running_loop().create_task(self._look_once())

    async def _look_once(self) -> None:
        sent_at = self._timer()
        try:
            async with asyncio.timeout(LOOK_TIMEOUT_S):
                seen = await self._look(self._place)
        except Exception as fault:
            logger.warning("memory.look_failed", fault=repr(fault)[:300])
            self._not_before = self._timer() + PAUSE_AFTER_FAILURE_S
            self.forget()
        else:
            self._take(seen, sent_at)
        finally:
            self._looking = None

    def _take(self, seen: Seen, sent_at: float) -> None:
        self._looks += 1
        if seen.changes:
            if len(self._recent) == LOOKS_KEPT_MAX:
                self._oldest_mark = self._recent[0][0]
            self._recent.append((self._looks, seen.changes))
            self._end_of(seen.changes)
            deep = [change.key for change in seen.changes if change.deep]
            for trail in self._trails:
                trail.keys.update([one.key for one in seen.changes] if trail.wide else deep)
        self._place = seen.place
        self._looked_at = sent_at
        self._bytes.set(self.size)

    def _end_of(self, changes: Sequence[Change]) -> None:
        """Drop every answer that one of these changes ends."""
        ended = set(self._wide)
        if len(changes) * len(self._spans) > COMPARISONS_MAX:
            ended.update(self._spans)
        else:
            keys = [change.key for change in changes]
            for entry, (first, before) in self._spans.items():
                if any(first <= key < before for key in keys):
                    ended.add(entry)
        changed = {change.key for change in changes}
        for name in changed:
            ended.update(self._of_key.get(name, ()))
        ended.update([e for e, keys in self._of_many.items() if not changed.isdisjoint(keys)])
        if any(change.deep for change in changes):
            ended |= self._deep
        self._drop_all(ended)

    def _drop_all(self, keys: Iterable[Hashable]) -> None:
        for key in keys:
            self._drop(key)

    def _drop(self, key: Hashable) -> None:
        entry = self._entries.pop(key, None)
        if entry is None:
            return
        self.size -= entry.size
        if self._of_many.pop(key, None) is None:
            for name in entry.depends.keys:
                holders = self._of_key.get(name)
                if holders is not None:
                    holders.discard(key)
                    if not holders:
                        del self._of_key[name]
        self._spans.pop(key, None)
        self._deep.discard(key)
        self._wide.discard(key)
