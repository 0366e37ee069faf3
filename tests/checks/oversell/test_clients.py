"""Clients and the history: what is written down is what happened, whatever happens."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest_asyncio
from aiohttp import web

from tradewind.checks.oversell.checker import judge
from tradewind.checks.oversell.clients import Client, Crowd, Follower, Storekeeper, Wish
from tradewind.checks.oversell.evidence import Evidence, read_history
from tradewind.checks.oversell.history import Recorder


class FakeShop:
    """Answers as told, in turn; the last answer for ever."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, Any]] = [(200, {})]
        self.asked: list[tuple[str, str, dict[str, str], Any]] = []

    async def answer(self, request: web.Request) -> web.Response:
        body = await request.json() if request.can_read_body else None
        self.asked.append((request.method, request.path, dict(request.headers), body))
        status, answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if status == 0:
            assert request.transport is not None
            request.transport.close()
        return web.json_response(answer, status=status or 500)


@pytest_asyncio.fixture
async def shop() -> AsyncIterator[tuple[FakeShop, str]]:
    """A shop of which every answer is known."""
    fake = FakeShop()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", fake.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    assert site._server is not None
    port = site._server.sockets[0].getsockname()[1]  # type: ignore[attr-defined]
    yield fake, f"http://127.0.0.1:{port}"
    await runner.cleanup()


@pytest_asyncio.fixture
async def crowd(shop: tuple[FakeShop, str], tmp_path: Path) -> AsyncIterator[Crowd]:
    """A crowd before that shop."""
    recorder = Recorder(tmp_path / "history.jsonl", seed=3)
    connector = aiohttp.TCPConnector(limit=0, force_close=True)
    async with aiohttp.ClientSession(connector=connector) as session:
        yield Crowd(session, shop[1], "the key", recorder)
    recorder.close()


async def test_a_wish_is_asked_again_with_its_key_until_it_is_decided(
    shop: tuple[FakeShop, str], crowd: Crowd
) -> None:
    """No answer, 202 and 503 are none; the history has every attempt and what came of it."""
    fake, _ = shop
    fake.answers = [(0, None), (503, {}), (202, {"id": "ord_1"}), (201, {"id": "ord_1"})]
    body = {"lines": [], "payment": {"token": "tok_ok"}}
    wish = Wish("place", "/v1/orders", body, "key-1")
    await crowd.until_answered(wish, 10)
    assert (wish.status, wish.answer) == (201, {"id": "ord_1"})
    assert {headers["Idempotency-Key"] for _, _, headers, _ in fake.asked} == {"key-1"}
    crowd.recorder.close()
    history = read_history(crowd.recorder.path)
    assert history.seed == 3
    assert [asked.status for asked in history.asked] == [None, 503, 202, 201]
    assert all(asked.end is not None and asked.end > asked.begin for asked in history.asked)
    assert [asked.order_id for asked in history.placed["key-1"]][2:] == ["ord_1", "ord_1"]
    kinds = {anomaly.kind for anomaly in judge(history, Evidence())}
    assert "acknowledged order is gone" in kinds


async def test_the_same_seed_makes_the_same_wishes(crowd: Crowd) -> None:
    def wishes(number: int, seed: int) -> list[Wish]:
        client = Client(crowd, number, seed)
        return [client.order() for _ in range(50)]

    assert wishes(1, 7) == wishes(1, 7)
    assert wishes(1, 7) != wishes(1, 8)
    keys = [wish.key for number in range(3) for wish in wishes(number, 7)]
    assert len(set(keys)) == len(keys), "two wishes share a key"


async def test_clients_do_everything_they_can(shop: tuple[FakeShop, str], crowd: Crowd) -> None:
    """Against a shop that confirms whatever it is asked."""
    shop[0].answers = [(201, {"id": "ord_1", "status": "confirmed", "payment": {"id": "pay_1"}})]
    client = Client(crowd, 1, 1)
    for deed in (*client.mix, *client.mix):
        await deed()
    assert set(crowd.recorder.asked) == {"place", "cancel", "refund", "payment"}


async def test_the_storekeeper_repeats_a_count_until_it_is_taken(
    shop: tuple[FakeShop, str], crowd: Crowd
) -> None:
    shop[0].answers = [(0, None), (503, {}), (200, {})]
    await Storekeeper(crowd, 1).count("HOT-0", 7)
    assert [body for _, _, _, body in shop[0].asked] == [{"on_hand": 7}] * 3


async def test_the_follower_keeps_its_place(shop: tuple[FakeShop, str], crowd: Crowd) -> None:
    """A page that was not answered is asked for again, from the same place."""

    def page(*sequences: int, after: str) -> dict[str, Any]:
        items = [{"source": "/tradewind/orders", "subject": "o", "sequence": n} for n in sequences]
        return {"items": items, "next": after}

    shop[0].answers = [(200, page(1, 2, after="b")), (0, None), (500, {}), (200, page(after="b"))]
    follower = Follower(crowd)
    counts = [await follower.page() for _ in range(4)]
    assert (counts, follower.count, follower.cursor) == ([2, 0, 0, 0], 2, "b")
    crowd.recorder.close()
    assert read_history(crowd.recorder.path).tail == [
        ("/tradewind/orders", "o", 1),
        ("/tradewind/orders", "o", 2),
    ]


def test_every_line_of_a_history_stands_alone(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "h", seed=1)
    number = recorder.begin("place", "POST", "/v1/orders", "k", {"a": "é\n"})
    recorder.act("kill web process", "batch-committed")
    recorder.act("pause web process")
    recorder.end(number, 201, '{"id":\n1}', {"location": "/x", "date": "now"})
    recorder.close()
    lines = [json.loads(line) for line in (tmp_path / "h").read_text().splitlines()]
    assert [line["what"] for line in lines] == ["seed", "begin", "act", "act", "end"]
    assert lines[-1]["headers"] == {"location": "/x"}
    assert recorder.windows == {"batch-committed": 1}
