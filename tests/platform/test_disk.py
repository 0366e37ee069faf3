"""The room on the database's disk: writes stop before it is full, and go on by themselves."""

import os
from pathlib import Path
from types import SimpleNamespace

import asyncpg
import pytest

from tests.platform.gateway.gateway_shop import KEY, application, call, order
from tradewind.platform.database.disk import MIB, Disk


def with_free_mb(monkeypatch: pytest.MonkeyPatch, free_mb: int) -> None:
    found = SimpleNamespace(f_bavail=free_mb, f_frsize=MIB)
    monkeypatch.setattr(os, "statvfs", lambda folder: found)


def test_it_is_low_below_the_reserve_and_until_there_is_a_little_more(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    disk = Disk(tmp_path, reserve_mb=100)
    for free_mb, low in ((101, False), (99, True), (101, True), (131, True), (132, False)):
        with_free_mb(monkeypatch, free_mb)
        disk.look()
        assert disk.low is low, free_mb


def test_somebody_elses_disk_is_not_looked_at(tmp_path: Path) -> None:
    """The database lies elsewhere: there is no folder of ours."""
    disk = Disk(tmp_path / "postgres", reserve_mb=10**9)
    disk.look()
    assert not disk.low


async def test_with_a_low_disk_reads_are_answered_and_writes_refused() -> None:
    app = application()
    app.node.disk.low = True
    assert (await call(app, "GET", "/v1/orders/ord_1", bearer="holder")).status == 200
    refused = await call(app, "POST", "/v1/orders", body=order(), headers=KEY)
    assert (refused.status, refused.code) == (503, "disk_full")
    assert refused.headers["retry-after"] == "10"
    app.node.disk.low = False
    assert (await call(app, "POST", "/v1/orders", body=order(), headers=KEY)).status == 201


@pytest.mark.parametrize(
    "fault",
    [
        asyncpg.CannotConnectNowError("the database system is in recovery mode"),
        asyncpg.DiskFullError("could not extend file"),
        FileNotFoundError(2, "No such file or directory"),
    ],
)
async def test_a_database_that_is_away_is_503_and_no_bug(
    monkeypatch: pytest.MonkeyPatch, fault: Exception
) -> None:
    app = application()

    async def submit(command: object) -> object:
        raise fault

    monkeypatch.setattr(app.node, "submit", submit)
    reply = await call(app, "POST", "/v1/orders", body=order(), headers=KEY)
    assert (reply.status, reply.code) == (503, "database_unavailable")
    assert reply.headers["retry-after"] == "1"
