"""What may be installed: the audit finds what it says it finds."""

import tomllib
from pathlib import Path
from typing import Any

import pytest
from scripts.audit_dependencies import findings, is_hit, licence_of, unlicensed, unpinned, unsafe

ROOT = Path(__file__).parents[2]
LOCK = tomllib.loads((ROOT / "uv.lock").read_text())
GOOD: dict[str, Any] = {
    "name": "thing",
    "version": "1.4.2",
    "source": {"registry": "https://pypi.org/simple"},
    "wheels": [{"url": "https://x/thing-1.4.2.whl", "hash": "sha256:" + "a" * 64}],
}


def test_what_is_locked_here_is_in_order() -> None:
    assert findings(LOCK, None) == []
    assert len(LOCK["package"]) > 40


@pytest.mark.parametrize(
    "bad",
    [
        {"source": {"git": "https://example.com/thing"}},
        {"source": {"registry": "https://other.example/simple"}},
        {"wheels": [{"url": "https://x/thing.whl"}]},
        {"wheels": [{"url": "https://x/thing.whl", "hash": "md5:" + "a" * 32}]},
        {"wheels": []},
    ],
)
def test_what_is_not_pinned_is_found(bad: dict[str, Any]) -> None:
    assert list(unpinned({"package": [GOOD]})) == []
    assert list(unpinned({"package": [GOOD | bad]}))


def test_every_licence_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    assert licence_of("msgspec")
    assert licence_of("no-such-package") is None
    for told in ("", "AGPL-3.0", "GPL with BSD parts, Affero"):
        monkeypatch.setattr("scripts.audit_dependencies.licence_of", lambda name, told=told: told)
        assert list(unlicensed(["thing"])), told


def advisory(**affected: Any) -> dict[str, Any]:
    package = {"ecosystem": "PyPI", "name": "Thing"}
    return {"id": "PYSEC-1", "affected": [{"package": package, **affected}]}


def span(*events: dict[str, str]) -> dict[str, Any]:
    return {"ranges": [{"type": "ECOSYSTEM", "events": list(events)}]}


def test_a_version_that_an_advisory_names_is_found() -> None:
    lock = {"package": [GOOD]}
    assert list(unsafe(lock, [advisory(versions=["1.4.2"])]))
    assert list(unsafe(lock, [advisory(versions=["1.4.3"])])) == []
    assert list(unsafe(lock, [advisory(versions=["1.4.2"]) | {"withdrawn": "2026-01-01"}])) == []
    other = advisory(versions=["1.4.2"])
    other["affected"][0]["package"]["ecosystem"] = "npm"
    assert list(unsafe(lock, [other])) == []


@pytest.mark.parametrize(
    ("version", "hit"),
    [("1.3", False), ("1.4", True), ("1.4.2", True), ("1.5", False), ("2.0", True), ("2.1", False)],
)
def test_ranges_begin_and_end_where_they_say(version: str, hit: bool) -> None:
    affected = span(
        {"introduced": "1.4"}, {"fixed": "1.5"}, {"introduced": "2.0"}, {"last_affected": "2.0"}
    )
    assert is_hit(version, affected) is hit
    assert is_hit(version, span({"introduced": "0"}))
