"""Paths to routes, query strings to Structs, cursors, entity tags, trace contexts."""

import base64
import json
from datetime import UTC, datetime
from typing import Annotated, Any, cast
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Meta, Struct

from tradewind.kernel.problems import Problem
from tradewind.platform.gateway import etags, trace
from tradewind.platform.gateway.pages import decode_cursor, encode_cursor
from tradewind.platform.gateway.parameters import Query, no_query
from tradewind.platform.gateway.paths import Paths
from tradewind.platform.gateway.problems import InvalidQuery

PATHS = Paths(
    [
        ("/v1/products", "list"),
        ("/v1/products/{product_id}", "by id"),
        ("/v1/products/sku:{sku:path}", "by sku"),
        ("/v1/orders/{order_id}/lines/{number}", "line"),
        ("/v1/orders/current/lines/{number}", "current"),
    ]
)


@pytest.mark.parametrize(
    ("path", "target", "params"),
    [
        ("/v1/products", "list", {}),
        ("/v1/products/prd_1", "by id", {"product_id": "prd_1"}),
        ("/v1/products/sku:A B/C", "by sku", {"sku": "A B/C"}),
        ("/v1/products/sku%3AA%2FB", "by sku", {"sku": "A/B"}),
        ("/v1/products/a%2Fb", "by id", {"product_id": "a/b"}),
        ("/v1/products/%C3%A9%F0%9F%8D%B5", "by id", {"product_id": "é🍵"}),
        ("/v1/orders/o1/lines/2", "line", {"order_id": "o1", "number": "2"}),
        ("/v1/orders/current/lines/2", "current", {"number": "2"}),
    ],
)
def test_a_path_finds_its_target(path: str, target: str, params: dict[str, str]) -> None:
    found = PATHS.find(path, path.encode())
    assert found is not None
    assert (found[0], dict(found[1])) == (target, params)


@pytest.mark.parametrize(
    "path",
    [
        "/v1/products/",
        "/v1/products//",
        "/v1/Products",
        "/v1/orders/o1/lines/",
        "/v1/products/%00",
        "/v1/products/a%0Ab",
        "/v1/products/%FF",
        "",
        "//v1/products",
    ],
)
def test_what_is_no_path_finds_nothing(path: str) -> None:
    assert PATHS.find(path, path.encode()) is None


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1))
def test_every_text_can_stand_in_a_path(text: str) -> None:
    path = "/v1/products/sku:" + quote(text, safe="")
    found = PATHS.find(path, path.encode())
    assert found == ("by sku", {"sku": text})


class ListQuery(Struct, forbid_unknown_fields=True):
    """The usual parameters."""

    limit: Annotated[int, Meta(ge=1, le=100)] = 20
    q: Annotated[str, Meta(max_length=10)] | None = None
    deep: bool = False


class Needed(Struct, forbid_unknown_fields=True):
    """A required one."""

    sku: str


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"", ListQuery()),
        (b"limit=1&q=a+b%26c", ListQuery(1, "a b&c")),
        (b"deep=true&&", ListQuery(deep=True)),
        (b"q=", ListQuery(q="")),
    ],
)
def test_query_parameters_are_read(raw: bytes, expected: ListQuery) -> None:
    assert Query(ListQuery).read(raw) == expected


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        (b"limit=0", "limit"),
        (b"limit=101", "limit"),
        (b"limit=x", "limit"),
        (b"limit=", "limit"),
        (b"limit=1&limit=1", "limit"),
        (b"limit=99999999999999999999999", "limit"),
        (b"Limit=1", "Limit"),
        (b"nope=1", "nope"),
        (b"q=%00", "q"),
        (b"q=%ff", "q"),
        (b"q=12345678901", "q"),
        (b"deep=maybe", "deep"),
        (b"%ff=1", "%ff"),
    ],
)
def test_a_wrong_parameter_is_named(raw: bytes, name: str) -> None:
    with pytest.raises(Problem) as caught:
        Query(ListQuery).read(raw)
    assert (caught.value.status, caught.value.errors[0].pointer) == (400, name)


def test_a_required_parameter_and_one_on_a_route_without() -> None:
    with pytest.raises(Problem) as caught:
        Query(Needed).read(b"")
    assert caught.value.errors[0].pointer == "sku"
    with pytest.raises(Problem):
        no_query(b"a=1")
    with pytest.raises(Problem):
        Query(ListQuery).read(b"&".join([b"q=1"] * 65))


VALUES = st.tuples(
    st.integers(-(2**63), 2**63 - 1), st.text(st.characters(exclude_categories=["Cs", "Cc"]))
) | st.tuples(st.booleans(), st.none())


@given(VALUES)
def test_a_cursor_comes_back_as_it_went(values: tuple[Any, ...]) -> None:
    types = [type(value) for value in values]
    assert decode_cursor(encode_cursor(*values), *types) == values


def test_a_cursor_may_hold_a_time() -> None:
    at = datetime(2026, 1, 31, 12, 0, 0, 123456, tzinfo=UTC)
    assert decode_cursor(encode_cursor(at, "ord_1"), datetime, str) == (at, "ord_1")


def forged(*values: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(values).encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    "cursor",
    [
        "",
        "x",
        "!!!!",
        "é",
        "a" * 2_000,
        forged(),
        forged("1", "a"),
        forged(1, "a", 2),
        forged(2**63, "a"),
        forged(1.5, "a"),
        forged(1, "a\0b"),
        forged(1, "a\nb"),
        base64.urlsafe_b64encode(b'{"a":1}').decode(),
        base64.urlsafe_b64encode(b"[1,\xff]").decode(),
    ],
)
def test_a_cursor_that_we_did_not_make_is_400(cursor: str) -> None:
    with pytest.raises(Problem) as caught:
        decode_cursor(cursor, int, str)
    assert (caught.value.code, caught.value.errors[0].pointer) == ("invalid_query", "cursor")


@given(st.text(max_size=60))
def test_no_cursor_raises_anything_else(text: str) -> None:
    try:
        decode_cursor(text, datetime, str)
    except Problem as problem:
        assert problem.status == 400


class Asked:
    """The headers of a request, which is all that entity tags look at."""

    def __init__(self, **headers: str) -> None:
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


def asked(**headers: str) -> Any:
    return cast(Any, Asked(**headers))


@pytest.mark.parametrize(
    ("header", "status"),
    [
        ('"3-low"', 304),
        ('"1", W/"3-low"', 304),
        ("*", 304),
        ('"3"', 200),
        ("3-low", 200),
        ('"', 200),
    ],
)
def test_if_none_match(header: str, status: int) -> None:
    answer = etags.tagged(asked(if_none_match=header), etags.strong(3, "low"), {"a": 1})
    assert answer.status == status
    assert answer.headers["etag"] == '"3-low"'
    assert (answer.body is None) == (status == 304)


def test_if_match_looks_at_the_first_part() -> None:
    etags.check_match(asked(if_match='"3-low"'), 3)
    etags.check_match(asked(if_match='"2", "3"'), 3)
    etags.check_match(asked(if_match="*"), 3, required=True)
    etags.check_match(asked(), 3)
    for header in ('"2-low"', 'W/"3-low"', "nonsense"):
        with pytest.raises(Problem) as caught:
            etags.check_match(asked(if_match=header), 3)
        assert caught.value.status == 412
    with pytest.raises(Problem) as caught:
        etags.check_match(asked(), 3, required=True)
    assert caught.value.status == 428


def test_a_trace_is_taken_over() -> None:
    begun = trace.begin(b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
    assert begun.trace_id == "4bf92f3577b34da6a3ce929d0e0e4736"
    version, trace_id, span, flags = begun.parent.split("-")
    assert (version, trace_id, flags) == ("00", begun.trace_id, "01")
    assert span != "00f067aa0ba902b7" and len(span) == 16


@pytest.mark.parametrize(
    "header",
    [
        None,
        b"",
        b"00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        b"00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        b"ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        b"00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
    ],
)
def test_a_wrong_traceparent_begins_a_new_trace(header: bytes | None) -> None:
    first, second = trace.begin(header), trace.begin(header)
    assert first.trace_id != second.trace_id
    assert len(first.trace_id) == 32 and first.trace_id != "4bf92f3577b34da6a3ce929d0e0e4736"


class Filtered(Struct, frozen=True, kw_only=True):
    limit: int = 20
    filter: dict[str, list[str]] = {}


def test_a_parameter_may_have_names_of_the_clients_choice() -> None:
    """Each with all its values, in their order."""
    query = Query(Filtered)
    read = query.read(b"filter%5Bcolour%5D=red&limit=5&filter[colour]=blue&filter[a[b]]=")
    assert read == Filtered(limit=5, filter={"colour": ["red", "blue"], "a[b]": [""]})
    for wrong in (b"filter=red", b"filter[a=b", b"limit[a]=5", b"other[a]=b"):
        with pytest.raises(InvalidQuery):
            query.read(wrong)
