"""kill -9 while people sign up and in: what was answered holds, and what was asked can be asked."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.contexts.identity.people import PASSWORD, TOKEN
from tradewind.kernel.ids import new_id
from tradewind.testing.platform import UNANSWERED, Platform
from tradewind.testing.shop import Reply

# Starts a whole platform and kills its parts: not beside other tests.
pytestmark = pytest.mark.alone

PEOPLE = 6
LOAD_S = 1.0
BACK_WITHIN_S = 60.0
MAIL_WITHIN_S = 20.0


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def platform(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Platform]:
    """One home that is hurt again and again."""
    platform = Platform(tmp_path_factory.mktemp("killed-accounts"))
    try:
        await platform.start()
        yield platform
    finally:
        await platform.stop()


class Person:
    """Signs up and in under one address after the other; asks again whatever was not answered."""

    def __init__(self, platform: Platform) -> None:
        self.platform = platform
        self.over = asyncio.Event()
        self.done: list[tuple[str, str, str]] = []  # address, account, session

    async def ask(self, method: str, path: str, body: object, bearer: str | None = None) -> Reply:
        while True:
            try:
                reply = await self.platform.request(method, path, body, bearer=bearer)
            except UNANSWERED:
                reply = None
            if reply is not None and reply.status < 500:
                return reply
            await asyncio.sleep(0.1)

    async def token(self, email: str) -> str:
        async with asyncio.timeout(MAIL_WITHIN_S):
            while True:
                path = f"/v1/mailbox?to={email}"
                found = await self.ask("GET", path, None, self.platform.admin_key)
                for mail in found.json["items"]:
                    if token := TOKEN.search(mail["text"] or ""):
                        return token[0]
                await asyncio.sleep(0.1)

    async def live(self) -> None:
        while not self.over.is_set():
            email = f"{new_id('cus')}@killed.example"
            credentials = {"email": email, "password": PASSWORD}
            assert (await self.ask("POST", "/v1/accounts", credentials)).status == 202
            token = {"token": await self.token(email)}
            first = await self.ask("POST", "/v1/accounts/verify", token)
            again = await self.ask("POST", "/v1/accounts/verify", token)
            assert (first.status, first.raw) == (200, again.raw), "one mail, one account"
            session = await self.ask("POST", "/v1/sessions", credentials)
            assert session.status == 201, session.raw
            self.done.append((email, first.json["id"], session.json["token"]))


@pytest.mark.parametrize("part", ["web", "postgres"])
async def test_killed_while_people_sign_up_and_in(platform: Platform, part: str) -> None:
    """Every account that was answered is there, once, and every session opens it."""
    victim = platform.web[0] if part == "web" else platform.postgres
    people = [Person(platform) for _ in range(PEOPLE)]
    tasks = [asyncio.create_task(person.live()) for person in people]
    try:
        await asyncio.sleep(LOAD_S)
        platform.kill(victim)
        await platform.until_ready(BACK_WITHIN_S)
        await asyncio.sleep(LOAD_S)
    finally:
        for person in people:
            person.over.set()
        await asyncio.gather(*tasks)
    done = [each for person in people for each in person.done]
    assert len(done) >= PEOPLE
    assert len({account for _, account, _ in done}) == len(done)
    for email, account, session in done:
        me = await platform.request("GET", "/v1/me", bearer=session)
        assert (me.json["email"], me.json["id"]) == (email, account)
    assert platform.error_lines() == []
