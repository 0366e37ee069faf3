"""Entity tags: answers that need not be sent again, and changes that must not overwrite others.

A tag is built of parts, joined by a dash, so that a route can compare one of them: a product's tag
is its catalog version and the mark of its availability, and ``If-Match`` looks at the version.
"""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tradewind.kernel.answers import Answer
from tradewind.platform.gateway.problems import PreconditionFailed, PreconditionRequired

if TYPE_CHECKING:
    from tradewind.platform.gateway.request import Request

TAG = re.compile(r'(W/)?"([\x21\x23-\x7e\x80-\xff]*)"')


def strong(*parts: str | int) -> str:
    """A strong entity tag of these parts, as it goes into the ETag header."""
    return '"' + "-".join(str(part) for part in parts) + '"'


def tagged(
    request: "Request", tag: str, body: Any, *, headers: Mapping[str, str] | None = None
) -> Answer:
    """200 with the body and its tag, or 304 without where the caller has it already."""
    told = {"etag": tag, **(headers or {})}
    if is_known(request.headers.get("if-none-match"), tag):
        return Answer(status=304, headers=told)
    return Answer(body=body, headers=told)


def is_known(if_none_match: str | None, tag: str) -> bool:
    """Whether If-None-Match names the tag (weak comparison, RFC 9110 section 13.1.2)."""
    if if_none_match is None:
        return False
    if if_none_match.strip() == "*":
        return True
    return tag[1:-1] in [found[2] for found in TAG.finditer(if_none_match)]


def if_match(request: "Request", *, required: bool = False) -> tuple[str, ...] | None:
    """The tags of If-Match without quotes; None without the header, or where it is ``*``.

    Weak tags never match (RFC 9110 section 13.1.1), so they are left out. Raises
    `PreconditionRequired` where the header is required and missing.
    """
    header = request.headers.get("if-match")
    if header is None:
        if required:
            raise PreconditionRequired(
                "Read the resource first and send its ETag as If-Match, so that nobody else's "
                "change is lost."
            )
        return None
    if header.strip() == "*":
        return None
    return tuple(found[2] for found in TAG.finditer(header) if not found[1])


def check_match(request: "Request", current: str | int, *, required: bool = False) -> None:
    """Raise `PreconditionFailed` unless If-Match names `current` as the first part of a tag."""
    tags = if_match(request, required=required)
    if tags is not None and str(current) not in [tag.split("-")[0] for tag in tags]:
        raise PreconditionFailed(
            "Somebody has changed it since you read it. Read it again.", current=strong(current)
        )
