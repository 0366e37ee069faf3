"""What the tests about bad input share: every place where a client may say something, and a watch.

The places come from the route table, so a new route or field is tried without anybody thinking of
it; `BODIES` has what stands around the place, so that a new route is better tried with an entry.
"""

import asyncio
import base64
import copy
import gzip
import json
import logging
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import structlog
from msgspec import inspect as shapes

from tests.contexts.identity import people
from tests.flows.own_corpus import CORPUS
from tradewind import app
from tradewind.checks.proofs import prove_all
from tradewind.kernel.ids import new_id
from tradewind.platform.gateway.forms import FORM
from tradewind.platform.gateway.routing import Keyed, Route, SignedIn
from tradewind.platform.gateway.validation import ANY, leaves
from tradewind.platform.settings import read_settings
from tradewind.testing.database import TestServer
from tradewind.testing.shop import Reply, Shop, SimulatorProcess

ROUTES: list[Route] = [
    route for group in app.routes(app.load_contexts()).values() for route in group
]
AT_ONCE = 16
SKU = "plain"
PRICE = {"amount": "10.00", "currency": "GBP"}
ADDRESS = {
    "name": "Ada Lovelace",
    "line1": "12 St James's Square",
    "city": "London",
    "postal_code": "SW1Y 4JH",
    "country": "GB",
}
ORDER = {
    "email": "ada@example.com",
    "currency": "GBP",
    "lines": [{"sku": SKU, "quantity": 1}],
    "shipping_address": ADDRESS,
    "payment": {"token": "tok_ok"},
}
PRODUCT = {"title": "Plain", "variants": [{"sku": "another", "price": PRICE}]}
# A body that is taken, by route.
BODIES: dict[tuple[str, str], dict[str, Any]] = {
    ("POST", "/v1/dead-letters/retry"): {"consumer": "orders.decisions", "key": "nothing"},
    ("POST", "/v1/orders"): ORDER,
    ("POST", "/v1/orders/{order_id}/cancel"): {"reason": "changed my mind"},
    ("PUT", "/v1/products/{id}"): PRODUCT,
    ("PUT", "/v1/stock/{sku:path}"): {"on_hand": 1_000_000},
    ("PUT", "/v1/locations/{code}"): {"name": "Main"},
    ("POST", "/v1/payments/{payment_id}/refunds"): {"amount": PRICE, "reason": "scratched"},
    ("POST", "/v1/reviews/{order_id}/release"): {"reason": "looked at it"},
    ("POST", "/v1/reviews/{order_id}/refuse"): {"reason": "looked at it"},
    ("POST", "/v1/keys"): {"name": "till", "scopes": ["orders:read"]},
}


def body_routes() -> list[Route]:
    """Routes that read a JSON body."""
    return [r for r in ROUTES if r.body is not None and "application/json" in r.media_types]


def query_fields() -> list[tuple[Route, str]]:
    """Every query parameter of every route."""
    return [
        (route, name)
        for route in ROUTES
        if route.query is not None
        for name in route.query.__struct_fields__
    ]


def text_fields(route: Route) -> list[tuple[Any, ...]]:
    """Every place in a route's body that takes a text of any kind, dates and words included."""
    texts = (shapes.StrType, shapes.DateTimeType, shapes.LiteralType, shapes.EnumType)
    found = [
        path for path, info, _ in leaves(shapes.type_info(route.body)) if isinstance(info, texts)
    ]
    return list(dict.fromkeys(found))


def with_value(document: Any, path: tuple[Any, ...], value: Any) -> Any:
    """A copy of a document that has `value` at a place; what leads there is made."""
    copied = copy.deepcopy(document)
    here: Any = copied
    for step, following in zip(path, (*path[1:], None), strict=True):
        made: Any = value if following is None else [] if following == ANY else {}
        if isinstance(here, list):
            if not here or following is None:
                here[:1] = [made]
            here = here[0]
            continue
        name = "key" if step == ANY else step
        if following is None or not isinstance(here.get(name), dict | list):
            here[name] = made
        here = here[name]
    return copied


def address_of(route: Route, **told: str) -> str:
    """The path of a route, its parameters filled in."""
    known = {"sku:path": SKU, "sku": SKU, "id": "another", "code": "main", **told}
    path = route.path
    for part in [piece.split("}")[0] for piece in route.path.split("{")[1:]]:
        path = path.replace("{" + part + "}", known.get(part, "nothing"))
    return path


async def say(shop: Shop, route: Route, body: Any, **options: Any) -> Reply:
    """A request to a route as somebody who may do everything, with a key where one is needed."""
    headers = {"Prefer": "wait=0", **options.pop("headers", {})}
    key = options.pop("key", None if route.keyed is Keyed.NO else new_id("key"))
    path = options.pop("path", address_of(route))
    bearer = shop.admin_key
    if isinstance(route.permission, SignedIn):  # for people, not for keys
        assert isinstance(shop, WatchedShop), "somebody has to be signed in"
        bearer = shop.signed_in
    if FORM in route.media_types:
        headers["Content-Type"] = FORM
        body = urlencode(body or {}).encode()
    return await shop.request(
        route.method, path, body, key=key, headers=headers, bearer=bearer, **options
    )


def check_harmless(reply: Reply, what: Any) -> Reply:
    """No 5xx, no traceback, JSON or a page, a refusal in the form of all refusals."""
    assert reply.status < 500, (what, reply.status, reply.raw[:500])
    assert b"Traceback" not in reply.raw, what
    if reply.status == 304 or not reply.raw:
        return reply
    kind = reply.headers["Content-Type"]
    assert reply.headers["X-Content-Type-Options"] == "nosniff", what
    if kind == "text/html; charset=utf-8":  # a page: it runs nothing, whatever was said to it
        assert reply.headers["Content-Security-Policy"].startswith("default-src 'none'"), what
        assert b"<script" not in reply.raw.lower(), what
        return reply
    if reply.status < 400:
        # An export is a file of its own kind; whatever else is answered is JSON.
        files = ("application/x-ndjson", "text/csv; charset=utf-8")
        assert kind.startswith("application/json") or kind in files, (what, kind)
        return reply
    problem = reply.json
    # OAuth's clients read their errors as plain JSON, beside the members of every problem.
    expected = "application/json" if "error" in problem else "application/problem+json"
    assert kind == expected, (what, kind)
    assert problem["status"] == reply.status, what
    assert {"type", "title", "status", "code", "trace_id"} <= set(problem), what
    return reply


async def all_of(cases: Iterator[Any] | list[Any], one: Any) -> list[Any]:
    """Run `one` on every case, some at once; the results in the order of the cases."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def gated(case: Any) -> Any:
        async with gate:
            return await one(case)

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(gated(case)) for case in cases]
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from None
    return [task.result() for task in tasks]


def body_of(route: Route) -> Any:
    """A body that the route takes; as much of one as we know."""
    return BODIES.get((route.method, route.path), {})


# Which corpus a test meets: our own small one, or the published one where the large data sets are.
corpus: ContextVar[str] = ContextVar("corpus", default="published")


def data_set(name: str) -> list[dict[str, Any]]:
    """A file of the hostile inputs; skips the test where the large data sets are not there."""
    if corpus.get() == "own":
        return [*CORPUS[name]]
    path = read_settings(os.environ).data_folder / "hostile-inputs" / f"{name}.jsonl.gz"
    if not path.exists():
        pytest.skip(f"no {path.name}: set TRADEWIND_DATA to the folder of the large data sets")
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def naughty() -> list[str]:
    """Strings that break things."""
    return [case["s"] for case in data_set("naughty_strings")]


def documents() -> list[tuple[str, str, bytes]]:
    """JSON texts: name, whether to be taken as JSON (accept, reject, either), bytes."""
    return [
        (case["name"], case["expect"], base64.b64decode(case["base64"]))
        for case in data_set("json_documents")
    ]


class Watch(logging.Handler):
    """Everything that is logged as an error, or with a traceback, while a shop runs."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.errors: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Of the libraries."""
        if record.levelno >= logging.ERROR or record.exc_info:
            self.errors.append(f"{record.name}: {record.getMessage()} {record.exc_info}")

    def __call__(self, _: Any, method: str, entry: Any) -> Any:
        """Of the platform."""
        if method in ("error", "critical", "exception") or entry.get("exc_info"):
            self.errors.append(repr(dict(entry)))
        raise structlog.DropEvent


SOMEBODY = "somebody@hostile.example"


class WatchedShop(Shop):
    """A shop with a bank of its own, whose log is watched."""

    watch: Watch
    signed_in: str  # the session of somebody

    async def check_unharmed(self) -> None:
        """Nothing was logged as an error, nothing is half done, and it still sells."""
        assert self.watch.errors == [], self.watch.errors[:3]
        answer = await self.place((SKU, 1))
        assert (answer.status, answer.json["status"]) == (201, "confirmed"), answer.raw
        await self.until_idle()
        assert self.settings.database_url is not None
        assert self.settings.simulator_url is not None
        report = await prove_all(self.settings.database_url, self.settings.simulator_url, wait_s=60)
        broken = [(one.name, one.proof.first) for one in report.proved if not one.proof.holds]
        assert broken == [], broken
        assert report.holds, str(report.under_way)
        assert self.watch.errors == [], self.watch.errors[:3]


@asynccontextmanager
async def watched_shop(server: TestServer, folder: Path) -> AsyncIterator[WatchedShop]:
    """Open one, with one plain product on the shelf."""
    simulator = SimulatorProcess(folder / "simulator")
    dsn = await server.create_database()
    watch = Watch()
    before = structlog.get_config()
    simulator.start()
    try:
        structlog.configure(processors=[watch], cache_logger_on_first_use=False)
        logging.getLogger().addHandler(watch)
        shop = WatchedShop(dsn, folder / "home", simulator.url)
        shop.watch = watch
        await shop.start()
        try:
            await shop.given_product(SKU, on_hand=1_000_000)
            await people.account(shop, SOMEBODY)
            shop.signed_in = await people.signed_in(shop, SOMEBODY)
            yield shop
        finally:
            await shop.stop()
    finally:
        logging.getLogger().removeHandler(watch)
        structlog.configure(**before)
        simulator.stop()
        await server.drop_database(dsn)
