"""Rate limits: the bucket, its bounds, and that processes share it."""

import mmap
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradewind.platform.gateway import limits
from tradewind.platform.gateway.limits import Class, Limits, Policy, network_of

SECRET = b"s" * 32
POLICY = Policy(quota=60, window_s=60, burst=10)
CLASSES = {"standard": Class(POLICY, Policy(600, 60, 100)), "other": Class(POLICY, POLICY)}


class Time:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Time:
    return Time()


def allowed(buckets: Limits, count: int, caller: str = "192.0.2.1", name: str = "standard") -> int:
    return sum(buckets.take(name, caller, keyed=False).allowed for _ in range(count))


def test_a_burst_is_allowed_then_the_rate(clock: Time) -> None:
    buckets = Limits(SECRET, clock, classes=CLASSES)
    assert allowed(buckets, 20) == 10
    clock.now += 1
    assert allowed(buckets, 20) == 1
    clock.now += 3.5
    assert allowed(buckets, 20) == 3
    clock.now += 3_600
    assert allowed(buckets, 20) == 10


def test_the_verdict_says_what_is_left_and_when_to_come_back(clock: Time) -> None:
    buckets = Limits(SECRET, clock, classes=CLASSES)
    assert buckets.take("standard", "a", keyed=False).remaining == 9
    allowed(buckets, 9, "a")
    verdict = buckets.take("standard", "a", keyed=False)
    assert (verdict.allowed, verdict.remaining) == (False, 0)
    clock.now += verdict.reset_s
    assert buckets.take("standard", "a", keyed=False).allowed


def test_callers_classes_and_credentials_have_buckets_of_their_own(clock: Time) -> None:
    buckets = Limits(SECRET, clock, classes=CLASSES)
    assert allowed(buckets, 20, "a") == allowed(buckets, 20, "b") == 10
    assert allowed(buckets, 20, "a", "other") == 10
    assert sum(buckets.take("standard", "key_1", keyed=True).allowed for _ in range(200)) == 100


def test_processes_share_a_bucket_through_the_file(clock: Time, tmp_path: Path) -> None:
    path = tmp_path / "run" / "limits"
    first, second = (Limits(SECRET, clock, path=path, classes=CLASSES) for _ in range(2))
    assert allowed(first, 4) == 4
    assert allowed(second, 20) == 6
    assert allowed(first, 1) == 0
    assert path.stat().st_size == limits.TABLE_BYTES
    assert path.stat().st_mode & 0o077 == 0


def test_times_of_another_boot_lock_nobody_out(clock: Time, tmp_path: Path) -> None:
    path = tmp_path / "limits"
    buckets = Limits(SECRET, clock, path=path, classes=CLASSES)
    clock.now += 1e9
    allowed(buckets, 20)
    clock.now = 5.0
    assert allowed(buckets, 20) == 10
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as table:
        table[limits.SLOTS * 8 : limits.SLOTS * 16] = struct.pack("<d", float("nan")) * limits.SLOTS
    assert allowed(buckets, 20) == 10


def test_memory_does_not_grow_with_callers(clock: Time, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of many callers the longest idle ones are forgotten, never the one who is busy."""
    monkeypatch.setattr(limits, "HASHES_KEPT_MAX", 1_000)
    buckets = Limits(SECRET, clock, classes=CLASSES)
    passed = 0
    for number in range(20_000):
        passed += allowed(buckets, 1, f"10.0.{number >> 8}.{number & 255}")
        if number % 100 == 0:
            allowed(buckets, 20, "busy")
    assert passed == 20_000
    assert len(buckets._hashes) <= 1_000
    assert allowed(buckets, 5, "busy") == 0


@given(st.integers(1, 1_000), st.integers(1, 60), st.integers(1, 200), st.integers(0, 5_000))
def test_never_more_than_the_burst_and_the_rate(
    quota: int, window_s: int, burst: int, steps: int
) -> None:
    clock = Time()
    policy = Policy(quota, window_s, burst)
    buckets = Limits(SECRET, clock, classes={"x": Class(policy, policy)})
    passed = 0
    for _ in range(min(steps, 300)):
        passed += buckets.take("x", "a", keyed=False).allowed
        clock.now += 0.01
    elapsed_s = clock.now - 1_000.0
    assert passed <= burst + elapsed_s * quota / window_s + 1


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::1", "2001:db8:1:2::/64"),
        ("not:an:address", "not:an:address"),
        ("", ""),
    ],
)
def test_an_ipv6_caller_is_his_network(address: str, network: str) -> None:
    assert network_of(address) == network
