"""JSON bodies: what is taken, what is refused, and where the refusal points."""

import base64
import json
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Meta, Struct

from tests.platform.gateway.gateway_shop import hostile
from tradewind.kernel.problems import Problem
from tradewind.kernel.texts import Prose
from tradewind.platform.gateway.validation import (
    Body,
    lenient_structs,
    parse,
    prose_paths,
    unbounded_fields,
)


class Line(Struct, forbid_unknown_fields=True):
    """A line."""

    sku: Annotated[str, Meta(min_length=1, max_length=5)]
    quantity: Annotated[int, Meta(ge=1, le=9)]


class Document(Struct, forbid_unknown_fields=True):
    """A body with one of everything."""

    lines: list[Line]
    counts: dict[str, dict[str, int]] = {}
    note: Prose | None = None
    title: str = ""
    at: datetime | None = None
    kind: Literal["a", "b"] = "a"
    ratio: float | None = None
    tags: Annotated[list[str], Meta(max_length=2)] = []


BODY = Body(Document)


def refused(raw: bytes) -> Problem:
    with pytest.raises(Problem) as caught:
        BODY.read(raw)
    return caught.value


@pytest.mark.parametrize(
    ("raw", "pointer", "message"),
    [
        (b'{"lines":[{"sku":"a","quantity":0}]}', "/lines/0/quantity", "must be at least 1"),
        (b'{"lines":[{"sku":"a","quantity":10}]}', "/lines/0/quantity", "must be at most 9"),
        (
            b'{"lines":[{"sku":"a","quantity":1.5}]}',
            "/lines/0/quantity",
            "must be a whole number, not a fraction",
        ),
        (
            b'{"lines":[{"sku":"a","quantity":"1"}]}',
            "/lines/0/quantity",
            "must be a whole number, not a text",
        ),
        (b'{"lines":[{"sku":"a","quantity":' + b"9" * 400 + b"}]}", "/lines/0/quantity", None),
        (b'{"lines":[{"sku":"a","q":1}]}', "/lines/0/q", "is not a known field"),
        (b'{"lines":[{"sku":"a"}]}', "/lines/0/quantity", "is required"),
        (b'{"lines":[{"sku":"","quantity":1}]}', "/lines/0/sku", "must have at least 1 character"),
        (b"{}", "/lines", "is required"),
        (b"[]", "", "must be an object, not a list"),
        (b"null", "", "must be an object, not null"),
        (b'{"lines":[],"counts":{"a":{},"c/d":{"x":1,"y~":"z"}}}', "/counts/c~1d/y~0", None),
        (b'{"lines":[],"counts":{"a":3}}', "/counts/a", "must be an object, not a whole number"),
        (b'{"lines":[],"kind":"c"}', "/kind", '"c" is not one of the values allowed here'),
        (b'{"lines":[],"at":"yesterday"}', "/at", "invalid RFC3339 encoded datetime"),
        (b'{"lines":[],"tags":["a","b","c"]}', "/tags", "must have at most 2 items"),
        (b'{"lines":[],"ratio":1e999}', "", "is a number too large to hold"),
        (b'{"lines":[],"title":"a\\u0000b"}', "/title", None),
        (b'{"lines":[],"title":"a\x7f"}', "/title", None),
        ('{"lines":[],"title":"a\u0085"}'.encode(), "/title", None),
        (b'{"lines":[],"title":"a\\nb"}', "/title", "must be a single line without tabs: it holds"),
        (b'{"lines":[],"note":"a\\u001bb"}', "/note", None),
        (b'{"lines":[],"title":"\\ud800"}', "/title", "holds half of a surrogate pair (U+D800)"),
        (b'{"lines":[],"title":"\\udc00\\ud800"}', "/title", None),
        (b'{"lines":[],"counts":{"\\u0000":{}}}', "/counts", None),
    ],
)
def test_a_body_of_the_wrong_shape_is_422_with_a_pointer(
    raw: bytes, pointer: str, message: str | None
) -> None:
    problem = refused(raw)
    assert (problem.status, problem.code) == (422, "invalid_body")
    assert problem.errors[0].pointer == pointer
    if message is not None:
        assert problem.errors[0].message.startswith(message)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b'{"lines":[]',
        b'{"lines":[]} x',
        b"\xef\xbb\xbf{}",
        b'{"lines":NaN}',
        b'{"lines":[],"ratio":Infinity}',
        b'{"lines":[],"ratio":-Infinity}',
        b'{"lines":[],"title":"\xff"}',
        b'{"lines":[],"title":"\xed\xa0\x80"}',
        b'{"lines":[],"lines":[]}',
        b'{"lines":[{"sku":"a","sku":"a","quantity":1}]}',
        b'{"lines":[],"title":"\\u0022","title":""}',
        b'{"lines":[],"title":"","title":"\\""}',
        b'{"lines":"wrong type and then broken"',
        b"[" * 100_000,
        b"[" * 100_000 + b"]" * 100_000,
        b'{"lines":' + b"[" * 64 + b"]" * 64 + b"}",
        b"'lines'",
    ],
)
def test_what_is_no_json_is_400(raw: bytes) -> None:
    problem = refused(raw)
    assert (problem.status, problem.code) == (400, "invalid_json")


def test_nesting_of_64_levels_is_taken_and_65_is_not() -> None:
    assert parse(b"[" * 64 + b"]" * 64)
    with pytest.raises(Problem, match="64 levels"):
        parse(b"[" * 65 + b"]" * 65)


def test_a_text_of_several_lines_is_taken_where_it_is_prose() -> None:
    found = BODY.read(b'{"lines":[],"note":"a\\n\\tb\\r\\n","title":"back\\\\slash \\"quoted\\""}')
    assert (found.note, found.title) == ("a\n\tb\r\n", 'back\\slash "quoted"')


def test_prose_is_found_inside_lists_maps_and_unions() -> None:
    class Inner(Struct):
        text: Prose
        again: "list[Inner] | None" = None

    class Outer(Struct):
        a: Prose | None
        b: list[Prose]
        c: dict[str, Inner]
        d: str

    globals()["Inner"] = Inner
    assert set(prose_paths(Outer)) == {("a",), ("b", "*"), ("c", "*", "text")}


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=20,
)


@given(JSON)
def test_every_json_value_is_parsed_as_the_standard_library_does(value: Any) -> None:
    for raw in (
        json.dumps(value).encode(),
        json.dumps(value, ensure_ascii=False, indent=1).encode(),
        msgspec.json.encode(value),
    ):
        assert parse(raw) == json.loads(raw)


@given(st.dictionaries(st.text(), st.text() | st.integers(), min_size=1, max_size=4))
def test_a_repeated_key_is_always_found(value: dict[str, Any]) -> None:
    members = [f"{json.dumps(key)}:{json.dumps(item)}" for key, item in value.items()]
    with pytest.raises(Problem, match="twice"):
        parse(("{" + ",".join([*members, members[0]]) + "}").encode())


@given(st.binary(max_size=200))
def test_bytes_never_raise_anything_but_a_problem(raw: bytes) -> None:
    try:
        BODY.read(raw)
    except Problem as problem:
        assert problem.status in (400, 422)


def test_hostile_json_documents() -> None:
    """Each JSON text of the JSONTestSuite is taken as JSON, or refused, as the suite says."""
    wrong = []
    for case in hostile("json_documents.jsonl.gz"):
        raw = base64.b64decode(case["base64"])
        try:
            BODY.read(raw)
            status = 200
        except Problem as problem:
            status = problem.status
        allowed = {"accept": (200, 422), "reject": (400,), "either": (200, 400, 422)}
        # A key that stands twice is legal JSON with an undefined meaning; we refuse it.
        if case["expect"] == "accept" and "duplicated_key" in case["name"]:
            allowed["accept"] = (400,)
        if status not in allowed[case["expect"]]:
            wrong.append((case["name"], case["expect"], status))
    assert wrong == []


def test_hostile_texts_come_back_unchanged_or_are_refused() -> None:
    for case in hostile("naughty_strings.jsonl.gz"):
        raw = json.dumps({"lines": [], "note": case["s"], "title": "x"}).encode()
        try:
            assert BODY.read(raw).note == case["s"]
        except Problem as problem:
            assert (problem.status, problem.errors[0].pointer) == (422, "/note")


def test_structs_that_drop_unknown_fields_and_endless_fields_are_named() -> None:
    class Lenient(Struct):
        count: int
        name: Annotated[str, Meta(max_length=3)]

    class Holder(Struct, forbid_unknown_fields=True):
        items: dict[str, list[Lenient]]
        text: str
        code: Annotated[str, Meta(pattern="^[a-z]{2}$")]

    globals()["Lenient"] = Lenient
    assert lenient_structs(Holder) == ["Lenient"]
    assert unbounded_fields(Holder) == [
        "/items/*/*/count: an int without ge and le",
        "/text: a str without max_length",
    ]
