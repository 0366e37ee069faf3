"""Naughty strings in every text field, JSON documents as every body, addresses and people.

Each test runs with a small corpus of ours, and with the published one where TRADEWIND_DATA is. What
is stored comes back unchanged, everything else is refused with a 4xx; nobody meets a bug.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any
from urllib.parse import quote

import pytest
import pytest_asyncio

from tests.flows.hostile import (
    ADDRESS,
    ORDER,
    PRICE,
    ROUTES,
    WatchedShop,
    address_of,
    all_of,
    body_of,
    body_routes,
    check_harmless,
    corpus,
    data_set,
    documents,
    naughty,
    query_fields,
    say,
    text_fields,
    watched_shop,
    with_value,
)
from tradewind.kernel.ids import new_id
from tradewind.platform.gateway.trace import REQUEST_ID
from tradewind.testing.database import TestServer


@pytest.fixture(autouse=True, params=["own", "published"])
def which(request: pytest.FixtureRequest) -> Iterator[None]:
    """Ours always, the others where they are; then the tests that need them are skipped by name."""
    token = corpus.set(request.param)
    yield
    corpus.reset(token)


# Every field meets every fourth string, each string every fourth field; the fields that keep free
# text meet all of them in the tests about what comes back.
SHARE = 4


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def shop(
    server: TestServer, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[WatchedShop]:
    """One shop for everything here."""
    async with watched_shop(server, tmp_path_factory.mktemp("hostile")) as shop:
        yield shop


# Taken, or refused for what it says; tests add what else may be said of who asks.
ANSWERS = frozenset({200, 201, 202, 400, 404, 409, 422})


def dealt(places: list[Any]) -> list[tuple[Any, str]]:
    """Places and strings, each place with its share of the strings."""
    texts = naughty()
    return [
        (place, text)
        for p, place in enumerate(places)
        for t, text in enumerate(texts)
        if (p + t) % SHARE == 0
    ]


def quoted(text: str) -> str:
    """A text as it stands in a path, half surrogate pairs too."""
    return quote(text.encode("utf-8", "surrogatepass"), safe="")


async def test_in_every_text_field_of_every_body(shop: WatchedShop) -> None:
    """One field at a time, the rest of the body as it should be."""
    places = [(route, path) for route in body_routes() for path in text_fields(route)]
    assert len(places) > 60

    async def one(case: Any) -> int:
        (route, path), text = case
        body = with_value(body_of(route), path, text)
        reply = await say(shop, route, body)
        return check_harmless(reply, (route.path, path, text)).status

    statuses = await all_of(dealt(places), one)
    assert {422, 201, 200} <= set(statuses) <= {*ANSWERS, 401, 402, 403, 410, 429}


FREE = [
    ("email", 254),
    ("external_id", 100),
    ("customer_ref", 100),
    ("channel", 50),
    *((f"shipping_address.{name}", 100) for name in ("name", "line1", "line2", "city", "region")),
    ("shipping_address.postal_code", 20),
    ("shipping_address.phone", 40),
]


async def test_an_order_gives_back_what_it_was_told(shop: WatchedShop) -> None:
    """All its free texts at once; refused as a whole, or stored to the last character."""

    async def one(case: tuple[int, str]) -> bool:
        number, text = case
        body: dict[str, Any] = {**ORDER, "shipping_address": dict(ADDRESS)}
        for name, length_max in FREE:
            path = tuple(name.split("."))
            told = text[:length_max] or "x"
            if name == "email":
                told = f"{number}-{''.join(text.split())[:60].replace('@', '')}@example.com"
            if name == "external_id":
                told = f"{number} {text}"[:100]
            body = with_value(body, path, told)
        reply = check_harmless(await say(shop, ORDERS, body), text)
        if reply.status != 202:
            assert reply.status == 422, (text, reply.raw)
            assert reply.json["errors"], text
            return False
        shown = await shop.read_order(reply.json["id"])
        for name, _ in FREE:
            wanted, found = body, shown
            for step in name.split("."):
                wanted, found = wanted[step], found[step]
            assert found == wanted, (name, text)
        listed = await shop.admin("GET", f"/v1/orders?email={quote(body['email'], safe='')}")
        assert [order["id"] for order in listed.json["items"]] == [reply.json["id"]], text
        return True

    taken = await all_of(list(enumerate(naughty())), one)
    assert taken.count(True) > 0.7 * len(taken)


async def test_a_product_gives_back_what_it_was_told(shop: WatchedShop) -> None:
    """Title, description, category, attributes, and the external id in the path."""

    async def one(case: tuple[int, str]) -> bool:
        number, text = case
        path = f"/v1/products/{quoted(f'{number} {text}'[:90])}"
        body: dict[str, Any] = {
            "title": text[:300] or "x",
            "description": text,
            "variants": [
                {
                    "sku": f"naughty-{corpus.get()}-{number}",
                    "title": text[:300] or "x",
                    "price": PRICE,
                }
            ],
            "attributes": {text[:100] or "x": text[:1_000]},
        }
        reply = check_harmless(await shop.admin("PUT", path, body), text)
        if reply.status not in (200, 201, 202):
            assert reply.status in (404, 422), (text, reply.raw)
            return False
        found = (await shop.request("GET", f"/v1/products/{reply.json['id']}")).json
        assert found["external_id"] == f"{number} {text}"[:90]
        for name in ("title", "description", "attributes"):
            assert found[name] == body[name], (name, text)
        assert found["variants"][0]["title"] == body["variants"][0]["title"], text
        return True

    taken = await all_of(list(enumerate(naughty())), one)
    assert taken.count(True) > 0.7 * len(taken)


async def test_an_import_rejects_the_bad_lines_alone(shop: WatchedShop) -> None:
    """One file with a naughty string a line, in a field in turn, and every document as a line."""
    fields = [
        ("title",),
        ("description",),
        ("category",),
        ("external_id",),
        ("variants", "*", "sku"),
    ]
    lines = []
    for number, text in enumerate(naughty()):
        plain = {
            "external_id": f"import-{number}",
            "title": f"Import {number}",
            "variants": [{"sku": f"import-{number}", "price": PRICE, "on_hand": 1}],
        }
        document = with_value(plain, fields[number % len(fields)], text)
        lines.append(json.dumps(document).encode())
    strings = len(lines)
    lines += [raw.replace(b"\n", b" ") for _, _, raw in documents()]
    reply = await shop.admin("POST", "/v1/imports/products", b"\n".join(lines))
    assert reply.status == 202, reply.raw
    report = reply.json
    blank = sum(1 for line in lines if not line.strip())
    assert report["status"] == "finished"
    assert report["accepted"] + report["rejected"] == len(lines) - blank
    refused = {error["line"]: error for error in report["errors"]}
    assert len(refused) == report["rejected"]
    assert all(error["code"] and error["message"] for error in refused.values())
    assert all(n in refused for n in range(strings + 1, len(lines) + 1) if lines[n - 1].strip())
    for number in range(strings):
        if fields[number % len(fields)] not in (("title",), ("description",), ("category",)):
            continue
        found = await shop.request("GET", f"/v1/products/sku:import-{number}")
        assert found.status == (404 if number + 1 in refused else 200), lines[number]


@pytest.mark.parametrize("kind", ["path", "query"])
async def test_in_every_parameter(shop: WatchedShop, kind: str) -> None:
    """In paths and query strings, percent-encoded as a browser would."""

    async def one(case: Any) -> int:
        (route, name), text = case
        value = quoted(text)
        path = address_of(route)
        if kind == "path":
            path = address_of(route, **{name: value or "%20"})
        else:
            path += f"?{name}={value}"
        body = body_of(route) if route.body is not None else None
        reply = await say(shop, route, body, path=path)
        return check_harmless(reply, (route.path, name, text)).status

    places = query_fields()
    if kind == "path":
        names = [(r, part.split("}")[0]) for r in ROUTES for part in r.path.split("{")[1:]]
        places = [place for place in names if place[0].method != "DELETE"]
    statuses = await all_of(dealt(places), one)
    assert set(statuses) <= {*ANSWERS, 204, 401, 403, 405}


async def test_in_every_header(shop: WatchedShop) -> None:
    """As raw bytes, line breaks and zeros included: no answer is a 5xx, none is split in two."""
    names = (
        *("Idempotency-Key", "Prefer", "Authorization", "If-None-Match", "If-Match", "traceparent"),
        *("X-Request-Id", "Content-Type", "Accept", "Origin", "Cookie", "Content-Encoding"),
    )
    body = json.dumps({**ORDER, "lines": [{"sku": "nothing", "quantity": 1}]}).encode()

    async def one(case: tuple[str, str]) -> None:
        name, text = case
        value = text.encode("utf-8", "surrogatepass")
        head = [
            b"POST /v1/orders HTTP/1.1\r\nHost: localhost\r\nConnection: close",
            b"Content-Length: %d" % len(body),
            name.encode() + b": " + value,
        ]
        if name != "Idempotency-Key":
            head.append(b"Idempotency-Key: " + new_id("key").encode())
        if name != "Content-Type":
            head.append(b"Content-Type: application/json")
        reader, writer = await asyncio.open_connection("127.0.0.1", shop.port)
        try:
            writer.write(b"\r\n".join(head) + b"\r\n\r\n" + body)
            answer = await asyncio.wait_for(reader.read(), 20)
        finally:
            writer.close()
        status, _, rest = answer.partition(b"\r\n")
        assert status.startswith(b"HTTP/1.1 4"), (name, text, answer[:300])
        headers, _, content = rest.partition(b"\r\n\r\n")
        assert b"application/problem+json" in headers, (name, text)
        assert json.loads(content)["status"] == int(status.split()[1])
        if name != "X-Request-Id" or not REQUEST_ID.fullmatch(value):
            assert len(value) < 12 or value not in headers, (name, text)

    await all_of(dealt(list(names)), one)


async def test_every_json_document_as_every_body(shop: WatchedShop) -> None:
    """What is no JSON is called so (400); what is some is refused by its shape, or taken."""

    async def one(case: Any) -> None:
        route, (name, expected, raw) = case
        reply = check_harmless(await say(shop, route, raw), (route.path, name))
        if expected == "reject" and raw.strip():
            assert reply.status == 400, (route.path, name, raw[:100], reply.raw)
            assert reply.json["code"] == "invalid_json"
        elif expected == "accept":
            assert reply.status in (400, 422), (route.path, name)
            repeated = b"key" in reply.raw and b"twice" in reply.raw
            assert reply.status == 422 or repeated, (route.path, name, reply.raw)

    await all_of([(route, document) for route in body_routes() for document in documents()], one)


async def test_published_attacks(shop: WatchedShop) -> None:
    """Whole requests with attacks, to the byte: whatever they are, they meet no bug of ours."""

    async def one(case: Any) -> None:
        told = case["stages"][0]["request"]
        line = f"{told.get('method', 'GET')} {told.get('uri', '/')} HTTP/1.1"
        headers = {**told.get("headers", {}), "Host": "localhost", "Connection": "close"}
        data = str(told.get("data") or "").encode("utf-8", "surrogatepass")
        if data:
            headers["Content-Length"] = str(len(data))
        head = "\r\n".join([line, *(f"{name}: {value}" for name, value in headers.items())])
        reader, writer = await asyncio.open_connection("127.0.0.1", shop.port)
        try:
            writer.write(head.encode("utf-8", "surrogatepass") + b"\r\n\r\n" + data)
            writer.write_eof()
            answer = await asyncio.wait_for(reader.read(), 20)
        except ConnectionError:
            return  # the door was closed while it was still being knocked at
        finally:
            writer.close()
        if answer.startswith(b"HTTP/1.1 3"):
            assert b"\r\nlocation: /docs\r\n" in answer, (line, answer[:300])
        else:
            assert answer == b"" or answer[:10] in (b"HTTP/1.1 2", b"HTTP/1.1 4"), (line, answer)

    await all_of(data_set("waf_requests"), one)


LONGEST = {"line1": 100, "line2": 100, "city": 100, "region": 100, "postal_code": 20}


async def test_addresses_of_the_whole_world(shop: WatchedShop) -> None:
    """Taken and given back as they are, or refused by name: every country, every script."""

    async def one(case: tuple[int, dict[str, Any]]) -> bool:
        number, told = case
        parts = told["components"]
        roads = [parts.get(name, "") for name in ("house_number", "road", "house", "suburb")]
        found = {
            "name": str(parts.get("building") or parts.get("attention") or "Ada Lovelace"),
            "line1": " ".join(str(road) for road in roads if road) or "-",
            "line2": str(parts.get("neighbourhood") or ""),
            "city": str(parts.get("city") or parts.get("town") or parts.get("village") or "-"),
            "region": str(parts.get("state") or ""),
            "postal_code": str(parts.get("postcode") or ""),
            "country": str(parts.get("country_code", "gb")).upper(),
        }
        address = {name: text[: LONGEST.get(name, 100)] for name, text in found.items() if text}
        body = {**ORDER, "email": f"place-{number}@example.com", "shipping_address": address}
        reply = check_harmless(await say(shop, ORDERS, body), told)
        if reply.status != 202:
            assert reply.status == 422 and reply.json["errors"], (told, reply.raw)
            return False
        shown = (await shop.read_order(reply.json["id"]))["shipping_address"]
        assert {name: shown[name] for name in address} == address
        return True

    taken = await all_of(list(enumerate(data_set("addresses"))), one)
    assert taken.count(True) > 0.7 * len(taken)


async def test_telephone_numbers_as_people_write_them(shop: WatchedShop) -> None:
    """No way to write one is taken apart or put right: it comes back as it was told."""
    numbers = [text for case in data_set("phone_numbers") for text in case["inputs"]]
    many = [" / ".join(numbers[start : start + 1])[:40] for start in range(0, len(numbers), 8)]

    async def one(case: tuple[int, str]) -> bool:
        number, text = case
        address = {**ADDRESS, "phone": text}
        body = {**ORDER, "email": f"phone-{number}@example.com", "shipping_address": address}
        reply = check_harmless(await say(shop, ORDERS, body), text)
        if reply.status != 202:
            assert reply.status == 422, (text, reply.raw)
            return False
        shown = await shop.read_order(reply.json["id"])
        assert shown["shipping_address"]["phone"] == text
        return True

    taken = await all_of(list(enumerate(many)), one)
    assert taken.count(True) > 0.7 * len(taken)


async def test_personal_data_where_none_belongs(shop: WatchedShop) -> None:
    """In a search, a path, a reason: answered, and the log has no error to tell of it."""

    async def one(case: dict[str, Any]) -> None:
        text = case["text"][:200]
        told = quote(text, safe="")
        check_harmless(await shop.request("GET", f"/v1/search?q={told}"), text)
        check_harmless(await shop.request("GET", f"/v1/products/sku:{told}"), text)
        check_harmless(await shop.admin("GET", f"/v1/orders?email={told}"), text)

    await all_of(data_set("pii_texts")[:200], one)


async def test_tokens_that_were_made_to_deceive(shop: WatchedShop) -> None:
    """None of them is anybody, whatever its own keys say: 401, on an open route, too."""
    told = [
        test[name]
        for group in data_set("crypto_vectors")
        for test in group["tests"]
        for name in ("jws", "jwe", "jwt")
        if isinstance(test.get(name), str)
    ]
    assert told

    async def one(bearer: str) -> None:
        # Some are JSON, or hold what no header may: a client sends what a header can carry.
        plain = bearer.encode("ascii", "ignore").decode().replace("\r", "").replace("\n", "")
        for path in ("/v1/products?limit=1", "/v1/orders"):
            reply = check_harmless(await shop.request("GET", path, bearer=plain), bearer)
            assert reply.status in (401, 431), (bearer, reply.raw)

    await all_of(told, one)


async def test_the_shop_is_unharmed(shop: WatchedShop) -> None:
    """Nothing half done, no error in the log, and it goes on selling."""
    naughty()
    await shop.check_unharmed()


ORDERS = next(route for route in ROUTES if (route.method, route.path) == ("POST", "/v1/orders"))
