"""OpenAPI, the API page and the pages of problem codes: generated, valid, self-contained."""

import json
import re
from html.parser import HTMLParser
from typing import Any

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]
from msgspec import structs
from openapi_spec_validator import validate

from tests.platform.gateway.gateway_shop import ORDERS, application, call
from tradewind import app as platform
from tradewind.platform.gateway.endpoint import Endpoint
from tradewind.platform.gateway.examples import example_of
from tradewind.platform.gateway.limits import CLASSES
from tradewind.platform.gateway.openapi import openapi_document


async def document() -> dict[str, Any]:
    reply = await call(application(), "GET", "/openapi.json")
    assert reply.headers["content-type"] == "application/json"
    found: dict[str, Any] = reply.json
    return found


async def test_the_document_is_valid_openapi() -> None:
    validate(await document())


def test_the_document_of_the_whole_platform_is_valid() -> None:
    """Every route of every context: unique ids, no module names, examples of the right shape."""
    endpoints = [
        Endpoint(route, name)
        for name, routes in platform.routes(platform.load_contexts()).items()
        for route in routes
    ]
    found = openapi_document(endpoints, "1.2.3")
    validate(found)
    text = json.dumps(found)
    assert "tradewind.contexts" not in text
    refused = examples_of_the_wrong_shape(found)
    assert refused == []
    assert {endpoint.route.limit for endpoint in endpoints} <= set(CLASSES)


def examples_of_the_wrong_shape(found: dict[str, Any]) -> list[str]:
    """What is wrong with the examples of bodies, one line each."""
    wrong = []
    for path, item in found["paths"].items():
        for operation in (item[method] for method in ("post", "put") if method in item):
            for content in operation.get("requestBody", {}).get("content", {}).values():
                if "example" in content:
                    schema = {**content["schema"], "components": found["components"]}
                    errors = Draft202012Validator(schema).iter_errors(content["example"])
                    wrong += [f"{path}: {error.message}" for error in errors]
    return wrong


async def test_it_describes_what_is_served() -> None:
    found = await document()
    assert found["openapi"] == "3.1.0"
    assert found["info"]["version"] == "1.2.3"
    placed = found["paths"]["/v1/orders"]["post"]
    assert placed["operationId"] == "post_order"
    assert placed["description"].startswith("Place an order.")
    assert set(placed["responses"]) == {
        *("201", "202", "400", "401", "408", "409", "413", "415", "422", "429", "500", "503"),
    }
    examples = placed["responses"]["409"]["content"]["application/problem+json"]["examples"]
    assert set(examples) == {"stock_is_short", "idempotency_in_flight"}
    assert placed["security"] == [{}, {"bearer": []}]
    header = next(p for p in placed["parameters"] if p["in"] == "header")
    assert (header["name"], header["required"]) == ("Idempotency-Key", True)
    listed = found["paths"]["/v1/orders"]["get"]
    assert listed["security"] == [{"bearer": ["orders:read"]}]
    limit = next(p for p in listed["parameters"] if p["name"] == "limit")
    assert (limit["schema"]["minimum"], limit["schema"]["maximum"]) == (1, 100)
    assert "/v1/things/sku:{sku}" in found["paths"], "the kind of a parameter is not shown"
    assert {"/livez", "/readyz", "/metrics", "/docs"} <= set(found["paths"])


async def test_examples_have_the_shape_they_are_examples_of() -> None:
    found = await document()
    schemas = found["components"]["schemas"]
    assert examples_of_the_wrong_shape(found) == []
    assert example_of({"type": "array", "items": {"type": "string"}}, schemas, "skus")
    assert example_of({"anyOf": [{"type": "string"}, {"type": "null"}]}, {}, "city") == "London"
    assert example_of({"type": "integer", "minimum": 3}, {}, "x") == 3


async def test_two_handlers_of_one_name_get_different_ids() -> None:
    twin = structs.replace(ORDERS[0], path="/v1/carts")
    app = application(routes={"orders": ORDERS, "carts": (twin,)})
    found = (await call(app, "GET", "/openapi.json")).json
    assert found["paths"]["/v1/carts"]["post"]["operationId"] == "carts_post_order"
    validate(found)


async def test_documents_are_revalidated() -> None:
    app = application()
    for path in ("/openapi.json", "/docs", "/problems"):
        reply = await call(app, "GET", path)
        tag = reply.headers["etag"]
        again = await call(app, "GET", path, headers={"if-none-match": tag})
        assert (again.status, again.body) == (304, b"")
        assert reply.headers["cache-control"] == "no-cache"


class Page(HTMLParser):
    """What a browser would load, and whether every element is closed."""

    VOID = frozenset({"meta", "link", "br", "hr", "img", "input"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.tags: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        values = dict(attrs)
        self.ids.append(values.get("id") or "")
        self.links += [values.get(name) or "" for name in ("href", "src") if name in values]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


async def test_the_api_page_is_whole_and_loads_nothing() -> None:
    reply = await call(application(), "GET", "/docs")
    assert reply.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in reply.headers["content-security-policy"]
    text = reply.body.decode()
    page = Page(text)
    assert page.open == []
    assert "script" not in page.tags and "img" not in page.tags
    outside = [link for link in page.links if re.match(r"(https?:)?//", link)]
    assert outside == []
    assert "url(" not in text and "@import" not in text
    anchors = {link[1:] for link in page.links if link.startswith("#") and link != "#"}
    assert anchors <= set(page.ids)
    assert "post_order" in anchors
    for shown in ("/v1/orders/<i>{order_id}</i>", "lines[].", "stock_is_short", "$(uuidgen)"):
        assert shown in text


async def test_what_handlers_say_is_escaped() -> None:
    route = structs.replace(ORDERS[0], summary="<script>alert(1)</script> & more.")
    reply = await call(application(routes={"<b>": (route,)}), "GET", "/docs")
    assert b"<script" not in reply.body and b"<b>&lt;" not in reply.body
    assert b"&lt;script&gt;alert(1)&lt;/script&gt; &amp; more" in reply.body


async def test_every_problem_has_a_page() -> None:
    app = application()
    listed = (await call(app, "GET", "/problems")).json["items"]
    codes = {problem["code"] for problem in listed}
    assert {"stock_is_short", "busy", "invalid_body", "idempotency_key_reused"} <= codes
    for problem in listed:
        found = await call(app, "GET", problem["example"]["type"])
        assert found.json["description"], problem["code"]
        page = await call(
            app, "GET", problem["example"]["type"], headers={"accept": "text/html,*/*"}
        )
        assert Page(page.body.decode()).open == []
        assert problem["code"] in page.body.decode()
    stock = (await call(app, "GET", "/problems/stock_is_short")).json
    assert (stock["status"], stock["replayed"]) == (409, True)


async def test_the_root_leads_to_the_page() -> None:
    reply = await call(application(), "GET", "/")
    assert (reply.status, reply.headers["location"]) == (302, "/docs")


@pytest.mark.parametrize("code", ["%3Cscript%3E", "..%2f", "%00"])
async def test_a_code_that_is_none_is_404(code: str) -> None:
    reply = await call(application(), "GET", f"/problems/{code}", headers={"accept": "text/html"})
    assert reply.status == 404
    assert json.loads(reply.body)["code"] == "not_found"
