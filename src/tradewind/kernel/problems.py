"""Expected failures: RFC 9457 problem details with a stable code.

A problem is a value. Rules *return* it as the outcome of one message; routes raise it. It names
what is wrong, where (``errors`` with JSON pointers) and, in ``detail``, what to do about it.
"""

from typing import Any, ClassVar

from msgspec import Struct


class FieldError(Struct, frozen=True):
    """One thing wrong with a request: a JSON pointer into the body, or the name of a parameter."""

    pointer: str
    message: str


class Problem(Exception):
    """The way Tradewind says no. Subclasses fix status, code and title; `detail` is per case.

    Keyword arguments beyond `detail` and `errors` become members of the problem document
    (``available``, ``order_id``): data a client can act on.
    """

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal_error"
    title: ClassVar[str] = "Something went wrong on our side."
    # As what it is sent. OAuth's clients read their errors as plain JSON only (RFC 6749, 5.2).
    media_type: ClassVar[str] = "application/problem+json"
    # Whether an idempotent replay returns it: only what the business decided is kept.
    kept: ClassVar[bool] = False
    # What a security system is told when somebody is refused so; "": nothing.
    notice: ClassVar[str] = ""

    def __init__(
        self,
        detail: str = "",
        *,
        errors: tuple[FieldError, ...] = (),
        headers: dict[str, str] | None = None,
        **members: Any,
    ) -> None:
        super().__init__(detail or self.title)
        self.detail = detail or self.title
        self.errors = errors
        self.headers = headers or {}
        self.members = members

    def __eq__(self, other: object) -> bool:
        return (
            type(other) is type(self)
            and isinstance(other, Problem)
            and (other.detail, other.errors, other.members)
            == (self.detail, self.errors, self.members)
        )

    def __hash__(self) -> int:
        return hash((type(self), self.detail))

    def document(self, *, trace_id: str | None = None) -> dict[str, Any]:
        """The problem as its RFC 9457 JSON object."""
        body: dict[str, Any] = {
            "type": f"/problems/{self.code}",
            "title": self.title,
            "status": self.status,
            "code": self.code,
            "detail": self.detail,
        }
        if self.errors:
            body["errors"] = [{"pointer": e.pointer, "message": e.message} for e in self.errors]
        body.update(self.members)
        if trace_id:
            body["trace_id"] = trace_id
        return body
