"""Rate limits: a token bucket per caller and class of routes, shared by the processes of a machine.

A bucket is one number, the time at which it would be full again (the generic cell rate algorithm):
a request moves it on by the time one request earns, and is refused where that is more than a whole
bucket ahead. The numbers lie in a table of fixed size, in a file that all web processes map, so two
workers share a limit, memory is bounded, and a bucket costs no timer. Two processes that write one
number at the same moment may lose a request's count: a few in a thousand, never a refusal too many.
Callers are told by their hash; of many callers in one place of the table the longest idle one goes.

Behind the buckets stands a smaller table of marks: that an address is known to an account, say.
"""

import ipaddress
import mmap
import os
from collections.abc import Callable, Mapping
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

from msgspec import Struct


class Policy(Struct, frozen=True):
    """How many requests a caller may make in a window; unused ones are saved up to `burst`."""

    quota: int
    window_s: int
    burst: int

    @property
    def header(self) -> str:
        """The policy as the RateLimit-Policy header writes it."""
        return f"q={self.quota};w={self.window_s}"


class Class(Struct, frozen=True):
    """A class of routes: what a caller without and with a credential may do."""

    anonymous: Policy
    keyed: Policy


# Generous: they end abuse and runaway loops, they do not shape honest traffic. An address may be a
# whole office behind one router, so the figures of anonymous callers are not those of one person.
CLASSES: Mapping[str, Class] = {
    "standard": Class(Policy(6_000, 60, 2_000), Policy(60_000, 60, 10_000)),
    "orders": Class(Policy(3_000, 60, 1_000), Policy(60_000, 60, 10_000)),
    "search": Class(Policy(3_000, 60, 1_000), Policy(30_000, 60, 5_000)),
    "imports": Class(Policy(60, 60, 60), Policy(600, 60, 300)),
    # A password costs a tenth of a second of a processor, whether it is right or not.
    "logins": Class(Policy(600, 600, 200), Policy(6_000, 600, 2_000)),
    "sign_ups": Class(Policy(30, 3_600, 30), Policy(6_000, 3_600, 600)),
    # Wrong credentials, by address: guessing a key must be slow.
    "refused": Class(Policy(300, 60, 300), Policy(300, 60, 300)),
}


class Plan(Struct, frozen=True):
    """What a key may do that is not like every key: in some classes of routes, and on a day."""

    classes: Mapping[str, Policy]
    per_day: int


# By the name in `limits` of a key.
PLANS: Mapping[str, Plan] = {
    # A partner's system: steady, and with a quota that an endless loop meets before noon.
    "partner": Plan(
        {
            "standard": Policy(6_000, 60, 2_000),
            "orders": Policy(6_000, 60, 2_000),
            "search": Policy(3_000, 60, 1_000),
        },
        per_day=500_000,
    ),
    # Who moves a whole shop in a night.
    "batch": Plan(
        {
            "standard": Policy(120_000, 60, 20_000),
            "orders": Policy(120_000, 60, 20_000),
            "imports": Policy(1_200, 60, 600),
        },
        per_day=10_000_000,
    ),
}

# A set of neighbouring slots is searched for a caller: enough that strangers rarely meet.
SLOTS = 65_536
PROBES = 8
MARKS = 32_768
# A hash and a time per slot: 1 MiB of buckets, 512 KiB of marks.
TABLE_BYTES = (SLOTS + MARKS) * 16
# Hashes of callers are kept, since hashing costs more than the look-up; then begun anew.
HASHES_KEPT_MAX = 50_000
EPSILON_S = 1e-6
IPV6_PREFIX = 64  # one household or server has at least so much: an address means nothing


class Verdict(NamedTuple):
    """What a caller may still do."""

    allowed: bool
    remaining: int
    reset_s: int  # until one more request is allowed (refused), or the bucket is full (allowed)
    policy: Policy


class Limits:
    """The buckets. `path` is the file that the processes share; None keeps them in this process."""

    def __init__(
        self,
        secret: bytes,
        clock: Callable[[], float],
        *,
        path: Path | None = None,
        classes: Mapping[str, Class] = CLASSES,
    ) -> None:
        self.classes = classes
        self._secret = secret[:64]
        self._clock = clock
        self._hashes: dict[tuple[str, str, bool], int] = {}
        table = memoryview(mapped(path) if path else bytearray(TABLE_BYTES))
        self._buckets = Slots(table[: SLOTS * 16], SLOTS)
        self._marks = Slots(table[SLOTS * 16 :], MARKS)

    def take(self, name: str, caller: str, *, keyed: bool) -> Verdict:
        """Count one request of a caller in a class. Times are of a clock all processes share.

        An address is `keyed=False`: of an IPv6 one its network counts.
        """
        policy = self.classes[name].keyed if keyed else self.classes[name].anonymous
        return self.take_of(policy, name, caller, keyed=keyed)

    def take_of(self, policy: Policy, name: str, caller: str, *, keyed: bool) -> Verdict:
        """The same under a policy of the caller's own."""
        now = self._clock()
        buckets = self._buckets
        slot = buckets.place(self._hash(name, caller, keyed), now)
        earned_s = policy.window_s / policy.quota
        bucket_s = policy.burst * earned_s
        full_at = buckets.times[slot]
        # A time too far ahead is from another boot of the machine, or no time at all.
        if not now < full_at <= now + bucket_s + earned_s:
            full_at = now
        debt_s = full_at + earned_s - now
        if debt_s > bucket_s + EPSILON_S:  # sums of fractions are a little more, or less
            return Verdict(False, 0, int(debt_s - bucket_s) + 1, policy)
        buckets.times[slot] = full_at + earned_s
        return Verdict(
            True, int((bucket_s - debt_s + EPSILON_S) / earned_s), int(debt_s) + 1, policy
        )

    def give_back(self, policy: Policy, name: str, caller: str, *, keyed: bool) -> None:
        """Undo one `take_of`: what it was counted for turned out not to count."""
        slot = self._buckets.find(self._hash(name, caller, keyed))
        if slot is not None:
            self._buckets.times[slot] -= policy.window_s / policy.quota

    def mark(self, name: str, caller: str, *, for_s: float) -> None:
        """Remember something of a caller for a time; under pressure the first to end goes first."""
        now = self._clock()
        slot = self._marks.place(self._hash(name, caller, True), now)
        self._marks.times[slot] = now + for_s

    def is_marked(self, name: str, caller: str) -> bool:
        """Whether it is remembered still."""
        slot = self._marks.find(self._hash(name, caller, True))
        return slot is not None and self._marks.times[slot] > self._clock()

    def _hash(self, name: str, caller: str, keyed: bool) -> int:
        found = self._hashes.get((name, caller, keyed))
        if found is None:
            if len(self._hashes) >= HASHES_KEPT_MAX:
                self._hashes.clear()
            who = caller if keyed else network_of(caller)
            text = f"{name}\0{keyed:d}\0{who}".encode("utf-8", "surrogatepass")
            digest = blake2b(text, digest_size=8, key=self._secret).digest()
            found = self._hashes[name, caller, keyed] = int.from_bytes(digest, "big") or 1
        return found


class Slots:
    """A table of fixed size: a time per owner, who is a hash."""

    def __init__(self, table: memoryview, count: int) -> None:
        self.owners = table[: count * 8].cast("Q")
        self.times = table[count * 8 :].cast("d")
        self._firsts = count - PROBES

    def place(self, owner: int, now: float) -> int:
        """The slot of an owner: his own, a free one, or the one with the earliest time nearby."""
        owners, times = self.owners, self.times
        first = owner % self._firsts
        oldest, oldest_at = first, float("inf")
        for slot in range(first, first + PROBES):
            holder = owners[slot]
            if holder == owner:
                return slot
            at = times[slot] if holder else 0.0
            if at < oldest_at:
                oldest, oldest_at = slot, at
        owners[oldest] = owner
        times[oldest] = now
        return oldest

    def find(self, owner: int) -> int | None:
        """The slot of an owner, where he has one."""
        first = owner % self._firsts
        for slot in range(first, first + PROBES):
            if self.owners[slot] == owner:
                return slot
        return None


def network_of(caller: str) -> str:
    """A caller's name; of an IPv6 address the network, of a mapped IPv4 address that address."""
    if ":" not in caller:
        return caller
    try:
        address = ipaddress.IPv6Address(caller)
    except ValueError:
        return caller
    if address.ipv4_mapped:
        return str(address.ipv4_mapped)
    return str(ipaddress.IPv6Network((address, IPV6_PREFIX), strict=False))


def mapped(path: Path) -> mmap.mmap:
    """The shared table; made (all zeros) by whoever comes first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if os.fstat(descriptor).st_size != TABLE_BYTES:
            os.ftruncate(descriptor, TABLE_BYTES)
        return mmap.mmap(descriptor, TABLE_BYTES)
    finally:
        os.close(descriptor)
