"""The catalog over HTTP: the gateway and a node around this one context, on a real database."""

from collections.abc import AsyncIterator, Sequence
from typing import Any
from urllib.parse import quote

import msgspec
import pytest
import pytest_asyncio

from tests.contexts.catalog.factories import line, variant
from tradewind import app
from tradewind.contexts.catalog import routes
from tradewind.contexts.catalog.context import CONTEXT
from tradewind.contexts.catalog.handlers.availability import remember_availability
from tradewind.contexts.inventory.events import AvailabilityChanged
from tradewind.platform.gateway import importing
from tradewind.platform.gateway.admission import Admission
from tradewind.platform.gateway.asgi import Application
from tradewind.platform.gateway.doors import FrontDoor
from tradewind.platform.gateway.endpoint import Endpoint
from tradewind.platform.security.authentication import Credential
from tradewind.platform.security.secrets import Secrets
from tradewind.platform.settings import Settings
from tradewind.testing.database import UnitRunner

pytestmark = pytest.mark.asyncio(loop_scope="session")

WRITER = Credential("key_writer", frozenset({"catalog:write"}))


class Answer(msgspec.Struct):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.body)


class Client:
    """Sends requests straight into the application."""

    def __init__(self, application: Application) -> None:
        self.application = application

    async def send(
        self, method: str, url: str, *pieces: bytes, writes: bool = True, **headers: str
    ) -> Answer:
        path, _, query = url.partition("?")
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        names["content-length"] = str(sum(len(piece) for piece in pieces))
        if writes:
            names["authorization"] = "Bearer writer"
        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "headers": [(k.encode(), v.encode()) for k, v in names.items()],
            "client": ("127.0.0.1", 1),
        }
        waiting = [*pieces[:-1]]
        last = pieces[-1] if pieces else b""
        sent: list[Any] = []

        async def receive() -> dict[str, Any]:
            if waiting:
                return {"type": "http.request", "body": waiting.pop(0), "more_body": True}
            return {"type": "http.request", "body": last, "more_body": False}

        async def take(message: Any) -> None:
            sent.append(message)

        await self.application(scope, receive, take)
        told = {k.decode(): v.decode() for k, v in sent[0]["headers"]}
        return Answer(sent[0]["status"], told, sent[1]["body"])

    async def put(self, external_id: str, *skus: str, **fields: Any) -> Answer:
        headers = fields.pop("headers", {})
        document = {
            "title": "Mug",
            "variants": [variant(sku) for sku in skus or (f"{external_id}-1",)],
            **fields,
        }
        url = f"/v1/products/{quote(external_id, safe='')}"
        return await self.send("PUT", url, msgspec.json.encode(document), **headers)

    async def get(self, url: str, **headers: str) -> Answer:
        return await self.send("GET", url, writes=False, **headers)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def client(unit: UnitRunner) -> AsyncIterator[Client]:
    settings = Settings(limits=False)
    node = app.build_node(settings, unit.dsn, [CONTEXT], Secrets([b"k" * 32]))

    async def authenticate(token: str) -> Credential | None:
        return WRITER if token == "writer" else None

    await node.start()
    endpoints = [Endpoint(route, CONTEXT.name) for route in routes.ROUTES]
    admission = Admission(settings, None)
    door = FrontDoor(node, authenticate, admission)
    yield Client(Application(endpoints, node, admission, door, pages=(), lifespan=None))
    await node.stop()


async def test_a_product_is_put_and_read_by_id_and_by_sku(client: Client) -> None:
    created = await client.put("a/b c", "R&B/1", category="Home/Light", description="Two\nlines")
    assert created.status == 201, created.body
    product = created.json
    assert (product["external_id"], product["version"]) == ("a/b c", 1)
    assert product["variants"][0]["price"] == {"amount": "12.75", "currency": "GBP"}
    assert product["variants"][0]["availability"] == "out_of_stock"
    for address in (f"/v1/products/{product['id']}", "/v1/products/sku:r%26b%2F1"):
        read = await client.get(address)
        assert (read.status, read.body) == (200, created.body)
        assert read.headers["etag"] == created.headers["etag"]
        again = await client.get(address, if_none_match=read.headers["etag"])
        assert (again.status, again.body) == (304, b"")
    unchanged = await client.put("a/b c", "R&B/1", category="Home/Light", description="Two\nlines")
    assert (unchanged.status, unchanged.json["version"]) == (200, 1)


async def test_what_was_read_can_be_sent_back(client: Client) -> None:
    created = await client.put(
        "back", variants=[variant("BACK", prices=[{"amount": "1", "currency": "EUR"}])]
    )
    sent = await client.send("PUT", "/v1/products/back", created.body)
    assert (sent.status, sent.json) == (200, created.json)


async def test_if_match_compares_the_catalog_version_only(client: Client, unit: UnitRunner) -> None:
    tag = (await client.put("match", "MATCH")).headers["etag"]
    event = AvailabilityChanged(sku="MATCH", availability="in_stock", sequence=1)
    await unit.run("catalog", remember_availability, [event])
    seen = await client.get("/v1/products/sku:match", if_none_match=tag)
    assert (seen.status, seen.json["variants"][0]["availability"]) == (200, "in_stock")
    headers = {"if_match": tag}
    assert (await client.put("match", "MATCH", title="New", headers=headers)).status == 200
    refused = await client.put("match", "MATCH", title="Newer", headers=headers)
    assert (refused.status, refused.json["code"]) == (412, "version_mismatch")
    for condition in ({"if_match": "*"}, {"if_match": 'W/"1"'}, {"if_match": "nonsense"}):
        assert (await client.put("unmatched", headers=condition)).status == 412
    only_new = {"if_none_match": "*"}
    assert (await client.put("match", "MATCH", headers=only_new)).status == 412
    assert (await client.put("fresh", headers=only_new)).status == 201


async def test_a_sku_of_another_product_is_refused(client: Client) -> None:
    await client.put("owner", "OWNED")
    taken = await client.put("thief", "owned")
    assert (taken.status, taken.json["code"]) == (409, "sku_taken")
    assert taken.json["errors"][0]["pointer"] == "/variants/0/sku"
    assert taken.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"title": ""}, "/title"),
        ({"title": 5}, "/title"),
        ({"title": None}, "/title"),
        ({"variants": []}, "/variants"),
        ({"variants": [variant(f"V{n}") for n in range(101)]}, "/variants"),
        ({"variants": [variant(on_hand=-1)]}, "/variants/0/on_hand"),
        ({"variants": [variant(on_hand=10**30)]}, "/variants/0/on_hand"),
        ({"variants": [variant(amount="-0.01")]}, "/variants/0/price/amount"),
        ({"attributes": {"a": 2**60}}, "/attributes/a"),
        ({"attributes": {"a": []}}, "/attributes/a"),
        ({"title": "a\u0007b"}, "/title"),
        ({"surprise": 1}, "/surprise"),
    ],
)
async def test_a_bad_body_is_422_with_a_pointer(
    client: Client, fields: dict[str, Any], pointer: str
) -> None:
    refused = await client.put("bad", **fields)
    assert refused.status == 422, refused.body
    assert [error["pointer"] for error in refused.json["errors"]] == [pointer]
    assert (await client.get("/v1/search?q=bad-1")).json["items"] == []


async def test_an_archived_product_is_gone_and_comes_back(client: Client) -> None:
    product = (await client.put("gone", "GONE")).json
    assert (await client.send("DELETE", "/v1/products/gone")).status == 204
    assert (await client.get(f"/v1/products/{product['id']}")).status == 404
    assert (await client.get("/v1/products/sku:gone")).json["code"] == "product_not_found"
    assert (await client.send("DELETE", "/v1/products/never")).status == 404
    assert (await client.put("gone", "GONE")).json["id"] == product["id"]
    assert (await client.get(f"/v1/products/{product['id']}")).status == 200


async def test_writing_needs_the_scope(client: Client) -> None:
    for method, url in (
        ("PUT", "/v1/products/x"),
        ("DELETE", "/v1/products/x"),
        ("POST", "/v1/imports/products"),
        ("GET", "/v1/imports/imp_x"),
    ):
        assert (await client.send(method, url, b"{}", writes=False)).status == 401


async def pages(client: Client, url: str) -> list[Any]:
    """Every item of a list, page by page."""
    items, cursor = [], ""
    while True:
        page = (await client.get(f"{url}&limit=2{cursor}")).json
        items += page["items"]
        if page["next"] is None:
            return items
        cursor = f"&cursor={page['next']}"


async def test_lists_and_searches_give_pages(client: Client) -> None:
    for number in range(5):
        await client.put(f"page-{number}", title=f"Zebra {number}", category=f"Zoo/Z{number % 2}")
    listed = await pages(client, "/v1/products?category=Zoo")
    assert sorted(p["external_id"] for p in listed) == [f"page-{n}" for n in range(5)]
    found = await pages(client, "/v1/search?q=zebra")
    assert len({p["id"] for p in found}) == 5
    assert all(hit["score"] > 0 for hit in found)
    assert [hit["score"] for hit in found] == sorted((h["score"] for h in found), reverse=True)
    facets = (await client.get("/v1/search?q=zebra&limit=1")).json["facets"]
    assert facets == {
        "category": [{"value": "Zoo/Z0", "count": 3}, {"value": "Zoo/Z1", "count": 2}]
    }
    paths = [
        c["path"] for c in await pages(client, "/v1/categories?limit=2".replace("limit=2", ""))
    ]
    assert paths == sorted(paths) and {"Zoo", "Zoo/Z0", "Zoo/Z1"} <= set(paths)


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=101", "limit=x", "cursor=x", "cursor=WyJhIl0", "cursor=WzEsMl0", "nope=1"],
)
@pytest.mark.parametrize("path", ["/v1/products", "/v1/search"])
async def test_a_bad_parameter_is_400_and_named(client: Client, path: str, query: str) -> None:
    refused = await client.get(f"{path}?{query}")
    assert refused.status == 400
    assert refused.json["errors"][0]["pointer"] == query.partition("=")[0]


async def test_too_many_facets_are_refused(client: Client) -> None:
    refused = await client.get("/v1/search?q=a&facets=" + ",".join("abcdefghijk"))
    assert (refused.status, refused.json["errors"][0]["pointer"]) == (400, "facets")
    assert (await client.get("/v1/search?q=a&facets=")).json["facets"] == {}


async def post(client: Client, pieces: Sequence[bytes], query: str = "") -> Answer:
    return await client.send(
        "POST", f"/v1/imports/products{query}", *pieces, content_type="application/x-ndjson"
    )


async def test_an_import_reports_every_line(client: Client) -> None:
    text = b"\n".join(
        [line("i-1"), b"", b"{bad", b'{"title":"\xff"}', line("i-2", "I-1-1"), line("i-3")]
    )
    cut = [text[start : start + 7] for start in range(0, len(text), 7)]
    answer = await post(client, cut)
    assert answer.status == 202
    report = answer.json
    assert (report["status"], report["lines"]) == ("finished", 6)
    assert (report["accepted"], report["rejected"], report["errors_omitted"]) == (2, 3, 0)
    assert [(error["line"], error["code"]) for error in report["errors"]] == [
        (3, "broken_json"),
        (4, "not_utf8"),
        (5, "sku_taken"),
    ]
    read = await client.send("GET", answer.headers["location"])
    assert read.json == report
    assert (await client.get("/v1/products/sku:i-3-1")).status == 200
    assert (await client.send("GET", "/v1/imports/imp_nothing")).status == 404


async def test_a_long_import_goes_through_many_commits_and_can_be_resumed(
    client: Client, unit: UnitRunner
) -> None:
    """Sent again under the same import, every line is skipped; sent anew, nothing is written."""
    lines = [line(f"long-{n}", f"L{n}-1", f"L{n}-2") for n in range(1_201)]
    lines[600:600] = [b"x" * (importing.LINE_BYTES_MAX + 1), b"y" * importing.LINE_BYTES_MAX]
    text = b"\n".join(lines) + b"\n"
    pieces = [text[start : start + 65_536] for start in range(0, len(text), 65_536)]
    first = (await post(client, pieces)).json
    assert (first["lines"], first["accepted"], first["rejected"]) == (1_203, 1_201, 2)
    assert [(e["line"], e["code"]) for e in first["errors"]] == [
        (601, "line_too_long"),
        (602, "broken_json"),
    ]
    resumed = (await post(client, pieces, f"?resume={first['id']}")).json
    assert {**resumed, "updated_at": ""} == {**first, "updated_at": ""}
    (count,) = await unit.sql(
        "SELECT count(*), max(version) FROM catalog.products "
        "WHERE external_id >= 'long-' AND external_id < 'long.'"
    )
    assert tuple(count) == (1_201, 1)
    assert (await post(client, pieces, "?resume=imp_other")).status == 404


async def test_an_empty_import(client: Client) -> None:
    answer = await post(client, [b""])
    assert (answer.status, answer.json["lines"], answer.json["errors"]) == (202, 0, [])


async def cut_into_lines(*pieces: bytes) -> list[bytes | None]:
    async def stream() -> AsyncIterator[bytes]:
        for piece in pieces:
            yield piece

    return [line async for line in importing.lines_of(stream())]


async def test_lines_are_cut_wherever_the_pieces_end() -> None:
    limit = importing.LINE_BYTES_MAX
    assert await cut_into_lines(b"a\nb", b"c\n", b"\nd") == [b"a", b"bc", b"", b"d"]
    assert await cut_into_lines(b"a\n") == [b"a"]
    assert await cut_into_lines() == []
    long = [b"x" * (limit // 2)] * 3
    assert await cut_into_lines(*long, b"\nb\n", *long) == [None, b"b", None]
    assert await cut_into_lines(b"x" * limit + b"\n" + b"x" * (limit + 1) + b"\n") == [
        b"x" * limit,
        None,
    ]
