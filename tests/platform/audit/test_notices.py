"""Refusals are told once and counted; addresses of people are tokens, and reasons are sealed."""

import time
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from tradewind.platform.audit.ecs import NOTICES, document, line, syslog
from tradewind.platform.audit.events import SecurityNoticed
from tradewind.platform.audit.masking import Mask
from tradewind.platform.audit.notices import KINDS_MAX, REST, WINDOW, Kind, Notices
from tradewind.platform.security.secrets import Secrets, SecretsError

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
MASK = Mask(Secrets([b"m" * 32]))


class Clock:
    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now


def kind(address: str = "127.0.0.1", notice: str = "credential_refused") -> Kind:
    return Kind(notice, "GET /v1/orders", "", address)


def count_of(entry: object) -> int:
    found: int = msgspec.json.decode(entry.after)["count"]  # type: ignore[attr-defined]
    return found


def test_the_first_is_told_at_once_and_a_flood_once_a_minute() -> None:
    clock = Clock()
    notices = Notices(clock)
    notices.note(kind(), "t1")
    assert [count_of(e) for e in notices.take()] == [1]
    for _ in range(100_000):
        notices.note(kind(), "t2")
    assert notices.take() == []
    clock.now += WINDOW
    told = notices.take()
    assert [count_of(e) for e in told] == [100_000]
    assert told[0].trace == "t2"
    clock.now += WINDOW
    assert notices.take() == []
    notices.note(kind(), "t3")
    assert [count_of(e) for e in notices.take()] == [1], "quiet for a minute: it begins anew"


def test_what_is_counted_is_told_when_the_process_ends() -> None:
    notices = Notices(Clock())
    notices.note(kind(), "")
    notices.take()
    notices.note(kind(), "")
    assert [count_of(e) for e in notices.take(all_of_them=True)] == [1]


def test_a_flood_from_everywhere_does_not_grow_without_end() -> None:
    """Of too many different ones the rest is one: what an attacker can write has a bound."""
    notices = Notices(Clock())
    for number in range(5 * KINDS_MAX):
        notices.note(kind(f"net_{number}"), "")
    told = notices.take()
    assert len(told) == KINDS_MAX + 1
    rest = [entry for entry in told if entry.address == REST]
    assert sum(map(count_of, told)) == 5 * KINDS_MAX
    assert count_of(rest[0]) == 4 * KINDS_MAX


def test_counting_costs_no_more_than_a_look_into_a_table() -> None:
    """A hundred thousand refusals against as many look-ups of a dictionary, in one run."""
    notices = Notices(lambda: NOON)
    same = kind()
    table = {same: 1}

    def counted() -> float:
        began = time.perf_counter()
        for _ in range(20_000):
            notices.note(same, "")
        return time.perf_counter() - began

    def looked() -> float:
        began = time.perf_counter()
        for _ in range(20_000):
            table[same] += 1
        return time.perf_counter() - began

    ratios = sorted(counted() / looked() for _ in range(7))
    assert ratios[3] < 10


def test_an_address_of_the_internet_is_a_token_and_one_of_the_house_is_not() -> None:
    assert MASK.address("127.0.0.1") == "127.0.0.1"
    assert MASK.address("10.2.3.4") == "10.2.3.4"
    assert MASK.address("fd00::1") == "fd00::1"
    token = MASK.address("8.8.8.8")
    assert token.startswith("net_")
    assert token == MASK.address("8.8.8.8") != MASK.address("8.8.4.4")
    assert Mask(Secrets([b"n" * 32])).address("8.8.8.8") != token
    assert MASK.address("") == ""
    assert "2001" not in MASK.address("2001:4860:4860::8888")
    assert "strange" not in MASK.address("strange")


def test_a_reason_opens_in_its_entry_only() -> None:
    sealed = MASK.seal("case 17, Ada Lovelace", "aud_1")
    assert "Ada" not in sealed
    assert MASK.unseal(sealed, "aud_1") == "case 17, Ada Lovelace"
    assert MASK.unseal(sealed, "aud_2") is None
    assert MASK.unseal(sealed[:-8] + "AAAAAAA=", "aud_1") is None
    assert (MASK.seal("", "aud_1"), MASK.unseal("", "aud_1")) == ("", "")
    with pytest.raises(SecretsError):
        Mask(Secrets([b"n" * 32])).unseal(sealed, "aud_1")


def test_an_old_master_key_still_opens_reasons() -> None:
    sealed = MASK.seal("case 17", "aud_1")
    newer = Mask(Secrets([b"n" * 32, b"m" * 32]))
    assert newer.unseal(sealed, "aud_1") == "case 17"


def noticed(**fields: object) -> SecurityNoticed:
    told = {
        "sequence": 1,
        "entry_id": "aud_" + "0" * 26,
        "position": 7,
        "notice": "key_made",
        "operation": "POST /v1/keys",
        "principal": "key_a",
        "object": "key_b",
        "address": "127.0.0.1",
        "count": 1,
        "at": NOON + timedelta(microseconds=5),
        "request_trace": "a" * 32,
        **fields,
    }
    return SecurityNoticed(**told)  # type: ignore[arg-type]


# What ECS 8.11 allows in its three fields of categorisation.
CATEGORIES = frozenset(
    [
        "api",
        "authentication",
        "configuration",
        "database",
        "driver",
        "email",
        "file",
        "host",
        "iam",
        "intrusion_detection",
        "library",
        "malware",
        "network",
        "package",
        "process",
        "registry",
        "session",
        "threat",
        "vulnerability",
        "web",
    ]
)
TYPES = frozenset(
    [
        "access",
        "admin",
        "allowed",
        "change",
        "connection",
        "creation",
        "deletion",
        "denied",
        "end",
        "error",
        "group",
        "indicator",
        "info",
        "installation",
        "protocol",
        "start",
        "user",
    ]
)


@pytest.mark.parametrize("notice", NOTICES)
def test_every_notice_is_a_document_of_ecs(notice: str) -> None:
    told = document(noticed(notice=notice), "1.0")
    event = told["event"]
    assert set(event["category"]) <= CATEGORIES
    assert set(event["type"]) <= TYPES
    assert event["outcome"] in {"success", "failure", "unknown"}
    assert event["kind"] in {"alert", "event"}
    assert event["action"] == notice
    assert told["@timestamp"] == "2026-11-23T12:00:00.000005+00:00"
    assert told["ecs"]["version"].count(".") == 2
    assert told["source"] == {"address": "127.0.0.1", "ip": "127.0.0.1"}


def test_a_token_is_no_ip() -> None:
    assert document(noticed(address="net_abc"), "1.0")["source"] == {"address": "net_abc"}


def test_a_line_is_one_line_of_ascii() -> None:
    raw = line(noticed(object="Grüße\n\r\u2028 %s"), "1.0")
    assert raw.isascii()
    assert b"\n" not in raw
    assert msgspec.json.decode(raw)["labels"]["object"] == "Grüße\n\r\u2028 %s"


def test_syslog_is_as_rfc_5424_writes_it() -> None:
    event = noticed(notice="tampering_found")
    raw = syslog(event, line(event, "1.0"), host="till", process=12)
    head, _, rest = raw.partition(b" {")
    assert head == b"<105>1 2026-11-23T12:00:00.000005Z till tradewind 12 tampering_found -"
    assert msgspec.json.decode(b"{" + rest)["event"]["severity"] == 1
