"""API keys over real HTTP, and ``tradewind keys``, which is a client of it like any other."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from msgspec import Struct
from typer.testing import CliRunner, Result

from tradewind import app
from tradewind.cli import keys as command_line
from tradewind.contexts.identity import context as identity
from tradewind.contexts.identity import routes
from tradewind.contexts.identity.commands import FIRST_KEY_ID, SCOPES
from tradewind.platform.gateway.assembly import build_app
from tradewind.platform.gateway.server import Server
from tradewind.platform.security.files import write_private_file
from tradewind.platform.security.secrets import read_secrets
from tradewind.platform.settings import Settings
from tradewind.testing.database import UnitRunner

pytestmark = pytest.mark.asyncio(loop_scope="session")


# Nothing is folded or cut at the edge of a terminal.
WIDE = {"COLUMNS": "250"}


class Reply(Struct):
    """What came back."""

    status: int
    body: Any
    raw: bytes
    replayed: bool


class House:
    """A running server with identity in it, and its admin key."""

    def __init__(self, url: str, admin: str, key_file: Path) -> None:
        self.url = url
        self.admin = admin
        self.key_file = key_file
        self.session = aiohttp.ClientSession()

    async def send(
        self, method: str, path: str, body: Any = None, *, key: str = "", idempotency: str = ""
    ) -> Reply:
        headers = {"Authorization": f"Bearer {key or self.admin}"}
        if idempotency:
            headers["Idempotency-Key"] = idempotency
        async with self.session.request(
            method, self.url + path, json=body, headers=headers
        ) as answer:
            raw = await answer.read()
            replayed = "Idempotent-Replayed" in answer.headers
            return Reply(answer.status, json.loads(raw), raw, replayed)

    async def create(self, *scopes: str, **more: Any) -> Reply:
        sent = {name: more.pop(name) for name in ("key", "idempotency") if name in more}
        body = {"name": "till", "scopes": list(scopes), **more}
        return await self.send("POST", "/v1/keys", body, **sent)

    async def run(self, *words: str) -> Result:
        """``tradewind keys ...``, in a thread of its own."""
        told = [*words, "--url", self.url, "--key-file", str(self.key_file)]
        return await asyncio.to_thread(CliRunner(env=WIDE).invoke, command_line.app, told)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def house(unit: UnitRunner, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    home = tmp_path_factory.mktemp("home")
    settings = Settings(home=home, limits=False)
    node = app.build_node(settings, unit.dsn, [identity.CONTEXT], read_secrets(home))
    await node.start()
    authenticator = identity.authenticator(node)
    admin = await identity.first_admin_key(node)
    assert admin is not None
    write_private_file(home / "admin.key", f"{admin}\n".encode())
    server = Server(
        build_app(
            {"identity": routes.ROUTES},
            node,
            authenticate=authenticator.authenticate,
            limits=None,
            version="test",
        ),
        settings,
    )
    listener = socket.create_server(("127.0.0.1", 0))
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    house = House(f"http://127.0.0.1:{listener.getsockname()[1]}", admin, home / "admin.key")
    yield house
    await house.session.close()
    server.should_exit = True
    await serving
    await authenticator.close()
    await node.stop()


async def test_a_new_key_works_at_once_and_its_secret_is_shown_once(house: House) -> None:
    made = await house.create("keys:write")
    assert made.status == 201
    assert made.body["created_by"] == FIRST_KEY_ID
    listed = await house.send("GET", "/v1/keys", key=made.body["key"])
    assert listed.status == 200
    assert {key["id"] for key in listed.body["items"]} >= {FIRST_KEY_ID, made.body["id"]}
    assert made.body["key"].rpartition("_")[2].encode() not in listed.raw
    assert all("key" not in item for item in listed.body["items"])


async def test_a_repeated_request_gets_the_same_key_again_to_the_byte(house: House) -> None:
    first = await house.create("orders:read", idempotency="once")
    second = await house.create("orders:read", idempotency="once")
    assert (first.status, first.replayed) == (201, False)
    assert (second.status, second.replayed) == (201, True)
    assert first.raw == second.raw
    other = await house.create("orders:write", idempotency="once")
    assert (other.status, other.body["code"]) == (422, "idempotency_key_reused")


async def test_twins_at_the_same_moment_make_one_key(house: House) -> None:
    replies = await asyncio.gather(
        *(house.create("orders:read", idempotency="twins") for _ in range(8))
    )
    assert {reply.status for reply in replies} == {201}
    assert len({reply.raw for reply in replies}) == 1


async def test_without_the_scope_keys_stay_closed(house: House) -> None:
    made = await house.create("orders:read")
    for method, path in (
        ("GET", "/v1/keys"),
        ("POST", "/v1/keys"),
        ("POST", f"/v1/keys/{FIRST_KEY_ID}/revoke"),
    ):
        reply = await house.send(method, path, key=made.body["key"])
        assert reply.status == 403, (method, path, reply.body)


async def test_nobody_gives_what_they_do_not_have(house: House) -> None:
    made = await house.create("keys:write", "orders:read")
    reply = await house.create("orders:read", "payments:write", key=made.body["key"])
    assert (reply.status, reply.body["code"]) == (403, "scope_not_held")
    assert reply.body["missing"] == ["payments:write"]


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"scopes": []}, "/scopes"),
        ({"scopes": ["everything"]}, "/scopes/0"),
        ({"scopes": "orders:read"}, "/scopes"),
        ({"name": ""}, "/name"),
        ({"name": "x" * 101}, "/name"),
        ({"name": "a\u0000b"}, "/name"),
        ({"expires_at": "2020-01-01T00:00:00Z"}, "/expires_at"),
        ({"expires_at": "2999-01-01T00:00:00Z"}, "/expires_at"),
        ({"expires_at": "2030-01-01T00:00:00"}, "/expires_at"),
        ({"expires_at": "tomorrow"}, "/expires_at"),
    ],
)
async def test_what_is_wrong_with_a_body_is_pointed_at(
    house: House, change: dict[str, Any], pointer: str
) -> None:
    body = {"name": "till", "scopes": ["orders:read"], **change}
    reply = await house.send("POST", "/v1/keys", body)
    assert (reply.status, reply.body["errors"][0]["pointer"]) == (422, pointer), reply.body


async def test_a_revoked_key_is_refused_within_a_second(house: House) -> None:
    made = await house.create("keys:write")
    assert (await house.send("GET", "/v1/keys", key=made.body["key"])).status == 200
    revoked = await house.send("POST", f"/v1/keys/{made.body['id']}/revoke")
    assert revoked.status == 200
    assert revoked.body["revoked_at"] is not None
    await asyncio.sleep(1)
    assert (await house.send("GET", "/v1/keys", key=made.body["key"])).status == 401
    again = await house.send("POST", f"/v1/keys/{made.body['id']}/revoke")
    assert (again.status, again.body) == (200, revoked.body)


@pytest.mark.parametrize(
    "key_id", ["key_01jd8zq4m7e0srv2k3w9p5x6yt", "nonsense", "a%00b", "%F0%9F%94%91"]
)
async def test_a_key_that_is_not_there_is_not_found(house: House, key_id: str) -> None:
    reply = await house.send("POST", f"/v1/keys/{key_id}/revoke")
    assert reply.status in (400, 404)


async def test_pages_hold_every_key_once(house: House) -> None:
    for _ in range(5):
        await house.create("orders:read")
    whole = (await house.send("GET", "/v1/keys?limit=100")).body
    assert whole["next"] is None
    seen: list[str] = []
    cursor = ""
    while True:
        page = (await house.send("GET", f"/v1/keys?limit=2{cursor}")).body
        seen += [item["id"] for item in page["items"]]
        if page["next"] is None:
            break
        cursor = f"&cursor={page['next']}"
    assert seen == [item["id"] for item in whole["items"]]
    assert seen[-1] == FIRST_KEY_ID
    assert (await house.send("GET", "/v1/keys?cursor=broken")).status == 400


# -- the command line


async def test_the_command_line_makes_lists_and_revokes(house: House) -> None:
    made = await house.run("create", "erp [bold]", "-s", "catalog:write", "--days", "30")
    assert made.exit_code == 0, made.output
    key = made.stdout.strip()
    key_id = f"key_{key[8:34]}"
    assert (await house.send("GET", "/v1/keys", key=key)).status == 403, "known, but may not"

    listed = await house.run("list")
    assert listed.exit_code == 0
    assert key_id in listed.stdout
    assert "erp [bold]" in listed.stdout
    assert key.rpartition("_")[2] not in listed.output
    until = (datetime.now(UTC) + timedelta(days=30)).date().isoformat()
    assert f"until {until}" in " ".join(listed.stdout.split())

    rotated = await house.run("rotate", key_id, "--hours", "1")
    assert rotated.exit_code == 0, rotated.output
    assert rotated.stdout.strip() != key
    for secret in (key, rotated.stdout.strip()):
        assert (await house.send("GET", "/v1/keys", key=secret)).status == 403, "both are known"

    revoked = await house.run("revoke", key_id)
    assert revoked.exit_code == 0
    shown = json.loads((await house.run("list", "--json")).stdout)
    assert key_id not in [item["id"] for item in shown]
    shown = json.loads((await house.run("list", "--json", "--revoked")).stdout)
    assert key_id in [item["id"] for item in shown]


async def test_the_command_line_gives_everything_when_asked_to(house: House) -> None:
    made = json.loads((await house.run("create", "admin 2", "-s", "all", "--json")).stdout)
    assert made["scopes"] == sorted(SCOPES)
    assert (await house.send("GET", "/v1/keys", key=made["key"])).status == 200


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("create", "x", "-s", "nothing:real"), 1, "/scopes/0"),
        (("revoke", "key_" + "1" * 26), 1, "key_not_found"),
        (("list", "--url", "http://127.0.0.1:1"), 2, "tradewind up"),
        (("list", "--url", "ftp://x"), 2, "is no address"),
    ],
)
async def test_the_command_line_says_what_is_wrong(
    house: House, words: Sequence[str], code: int, says: str
) -> None:
    result = (
        await house.run(*words)
        if "--url" not in words
        else await asyncio.to_thread(
            CliRunner().invoke, command_line.app, [*words, "--key-file", str(house.key_file)]
        )
    )
    assert result.exit_code == code
    assert says in result.output
    assert "Traceback" not in result.output


async def test_the_help_names_every_scope() -> None:
    text = CliRunner(env=WIDE).invoke(command_line.app, ["create", "--help"]).output
    assert all(scope in text for scope in SCOPES)
