"""Masters on a transit server: against recorded shapes always, against a real server where named.

The shapes are those of HashiCorp Vault 1.21 (`data.ciphertext`, `errors`); the little server here
keeps a key and its versions and really encrypts, so that a wrapped key comes back or does not. With
TRADEWIND_TEST_TRANSIT_URL and _TOKEN the same tests ask a real Vault or OpenBao as well.
"""

import base64
import json
import os
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web

from tradewind.kernel.ids import new_id
from tradewind.platform.security.secrets import Secrets, SecretsError
from tradewind.platform.settings import Settings
from tradewind.platform.vault.masters import FileMasters, Several, Wrapped
from tradewind.platform.vault.sealing import RecordUnreadable, decrypt, encrypt, new_key
from tradewind.platform.vault.transit import (
    PREFIX,
    MastersUnavailable,
    TransitMasters,
    TransitServer,
    masters_of,
)

TOKEN = "s.recorded-token"


class RecordedTransit:
    """Answers as Vault's transit engine does; `asked` has the requests as they came."""

    def __init__(self) -> None:
        self.keys: dict[str, list[bytes]] = {}
        self.asked: list[tuple[str, str, dict[str, Any] | None]] = []
        self.sealed = False

    async def answer(self, request: web.Request) -> web.Response:
        """One request."""
        body = await request.json() if request.can_read_body else None
        self.asked.append((request.method, request.path, body))
        assert request.headers["X-Vault-Request"] == "true"
        if self.sealed:
            return web.json_response({"errors": ["Vault is sealed"]}, status=503)
        if request.headers.get("X-Vault-Token") != TOKEN:
            errors = {"errors": ["2 errors occurred:\n\t* permission denied\n\t* invalid token\n"]}
            return web.json_response(errors, status=403)
        operation, name = request.match_info["operation"], request.match_info["key"]
        if operation == "keys" and request.method == "POST":
            self.keys.setdefault(name, [new_key()])
            return self.data({"name": name, "latest_version": 1})
        if operation == "rotate":
            self.keys[name].append(new_key())
            return self.data({"name": name, "latest_version": len(self.keys[name])})
        versions = self.keys.get(name)
        if versions is None:
            if request.method == "GET":
                return web.json_response({"errors": []}, status=404)
            return web.json_response({"errors": ["encryption key not found"]}, status=400)
        if operation == "keys":
            return self.data({"name": name, "latest_version": len(versions)})
        assert body is not None
        aad = body["associated_data"]
        if operation == "encrypt":
            content = encrypt(versions[-1], base64.b64decode(body["plaintext"]), aad)
            ciphertext = f"vault:v{len(versions)}:{base64.b64encode(content).decode()}"
            return self.data({"ciphertext": ciphertext, "key_version": len(versions)})
        try:
            _, version, coded = body["ciphertext"].split(":")
            plain = decrypt(versions[int(version[1:]) - 1], base64.b64decode(coded), aad)
        except RecordUnreadable:
            errors = {"errors": ["cipher: message authentication failed"]}
            return web.json_response(errors, status=400)
        return self.data({"plaintext": base64.b64encode(plain).decode()})

    def data(self, data: dict[str, Any]) -> web.Response:
        """An answer as it is wrapped."""
        return web.json_response(
            {
                "request_id": "8375227a-4a9f-a108-0b89-84c448419e80",
                "lease_id": "",
                "renewable": False,
                "lease_duration": 0,
                "data": data,
                "wrap_info": None,
                "warnings": None,
                "auth": None,
            }
        )


class Place:
    """A transit server, and what an operator does with it."""

    def __init__(self, url: str, token: str, recorded: RecordedTransit | None) -> None:
        self.url = url
        self.token = token
        self.recorded = recorded
        self.key = new_id("key").replace("_", "-")

    def masters(self, **changed: Any) -> TransitMasters:
        """Masters on it."""
        told = {"url": self.url, "token": self.token, "key": self.key, **changed}
        return TransitMasters(TransitServer(**told))

    async def operate(self, method: str, path: str, body: Any = None) -> None:
        """What the server's own command line would do."""
        headers = {"X-Vault-Token": self.token, "X-Vault-Request": "true"}
        async with (
            aiohttp.ClientSession() as session,
            session.request(method, f"{self.url}/v1/{path}", json=body, headers=headers) as answer,
        ):
            assert answer.status in (200, 204), await answer.text()


REAL = os.environ.get("TRADEWIND_TEST_TRANSIT_URL")


@pytest_asyncio.fixture(params=["recorded", "real"], loop_scope="session")
async def place(request: pytest.FixtureRequest) -> AsyncIterator[Place]:
    """A server with a key of its own."""
    if request.param == "real":
        if REAL is None:
            pytest.skip("set TRADEWIND_TEST_TRANSIT_URL and _TOKEN to a Vault or OpenBao")
        made = Place(REAL, os.environ["TRADEWIND_TEST_TRANSIT_TOKEN"], None)
        await made.operate("POST", f"transit/keys/{made.key}", {})
        yield made
        return
    recorded = RecordedTransit()
    app = web.Application()
    app.router.add_route("*", "/v1/transit/{operation}/{key}", recorded.answer)
    app.router.add_route("*", "/v1/transit/{operation}/{key}/rotate", recorded.answer)
    app.router.add_route("*", "/v1/{mount:team/[a-z]+}/{operation}/{key}", recorded.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    made = Place(f"http://127.0.0.1:{runner.addresses[0][1]}", TOKEN, recorded)
    recorded.keys[made.key] = [new_key()]
    yield made
    await runner.cleanup()


async def test_a_key_comes_back_as_it_was_and_only_under_its_name(place: Place) -> None:
    masters, key = place.masters(), new_key()
    wrapped = await masters.wrap("wrapping 3", key)
    assert wrapped.master == f"{PREFIX}transit/{place.key}:v1" == await masters.newest()
    assert key not in wrapped.wrapped and wrapped.wrapped.startswith(b"vault:v1:")
    assert await place.masters().unwrap("wrapping 3", wrapped) == key
    with pytest.raises(RecordUnreadable, match="wrapping 4"):
        await masters.unwrap("wrapping 4", wrapped)


async def test_the_servers_own_rotation_is_seen_and_what_was_stays_readable(place: Place) -> None:
    masters, key = place.masters(), new_key()
    before = await masters.wrap("texts", key)
    if place.recorded:
        place.recorded.keys[place.key].append(new_key())
    else:
        await place.operate("POST", f"transit/keys/{place.key}/rotate", {})
    assert await masters.newest() == f"{PREFIX}transit/{place.key}:v2"
    after = await masters.wrap("texts", key)
    assert after.master.endswith(":v2")
    assert [await masters.unwrap("texts", w) for w in (before, after)] == [key, key]


async def test_every_refusal_says_what_to_do(place: Place) -> None:
    with pytest.raises(SecretsError, match="policy with update on encrypt"):
        await place.masters(token="wrong").wrap("texts", new_key())
    with pytest.raises(SecretsError, match="vault write -f transit/keys/absent"):
        await place.masters(key="absent").newest()
    foreign = Wrapped(f"{PREFIX}transit/other:v1", b"vault:v1:xxxx")
    with pytest.raises(SecretsError, match="name another key"):
        await place.masters().unwrap("texts", foreign)
    with pytest.raises(MastersUnavailable, match="does not answer"):
        await place.masters(url="http://127.0.0.1:1").newest()


async def test_a_sealed_server_is_away_and_not_an_erasure(place: Place) -> None:
    if place.recorded is None:
        pytest.skip("sealing a real server would end the other tests")
    wrapped = await place.masters().wrap("texts", new_key())
    place.recorded.sealed = True
    with pytest.raises(MastersUnavailable, match="sealed"):
        await place.masters().unwrap("texts", wrapped)


async def test_requests_are_what_the_transit_engine_documents(place: Place) -> None:
    if place.recorded is None:
        pytest.skip("only what is recorded can be looked at")
    key = new_key()
    wrapped = await place.masters().wrap("texts", key)
    await place.masters().unwrap("texts", wrapped)
    name = base64.b64encode(b"texts").decode()
    assert place.recorded.asked == [
        (
            "POST",
            f"/v1/transit/encrypt/{place.key}",
            {"plaintext": base64.b64encode(key).decode(), "associated_data": name},
        ),
        (
            "POST",
            f"/v1/transit/decrypt/{place.key}",
            {"ciphertext": wrapped.wrapped.decode(), "associated_data": name},
        ),
    ]
    assert json.dumps(place.recorded.asked)  # nothing but texts


async def test_the_way_from_the_file_to_the_server(place: Place) -> None:
    """What the file sealed opens still; what is made now is the server's."""
    secrets = Secrets([new_key()])
    file, key = FileMasters(secrets), new_key()
    old = await file.wrap("texts", key)
    settings = Settings(transit_url=place.url, transit_token=place.token, transit_key=place.key)
    both = masters_of(settings, secrets)
    assert isinstance(both, Several)
    assert await both.unwrap("texts", old) == key
    new = await both.wrap("texts", key)
    assert new.master.startswith(PREFIX) and await both.unwrap("texts", new) == key
    assert isinstance(masters_of(Settings(), secrets), FileMasters)
    with pytest.raises(SecretsError, match="TRADEWIND_TRANSIT_TOKEN"):
        masters_of(Settings(transit_url=place.url), secrets)
