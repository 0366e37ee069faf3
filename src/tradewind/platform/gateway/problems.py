"""The platform's own problems: what can be wrong with a request before a context sees it."""

import msgspec

from tradewind.kernel.problems import FieldError, Problem
from tradewind.platform.bus.batcher import Busy as Busy
from tradewind.platform.bus.batcher import OutcomeUnknown
from tradewind.platform.bus.idempotency import IdempotencyInFlight as IdempotencyInFlight
from tradewind.platform.bus.idempotency import IdempotencyKeyReused as IdempotencyKeyReused
from tradewind.platform.security.authentication import KeysUnavailable

# As `Problem.document` orders it; what the bus keeps of a refusal is written in the same way.
_encode = msgspec.json.Encoder().encode


class InternalError(Problem):
    """Something nobody expected; the trace id finds it in the logs."""

    status = 500
    code = "internal_error"
    title = "Something went wrong on our side."


class NotFound(Problem):
    """No such path, or no such thing for this caller: both look the same from outside."""

    status = 404
    code = "not_found"
    title = "There is nothing here."


class MethodNotAllowed(Problem):
    """The path exists; ``Allow`` says for which methods."""

    status = 405
    code = "method_not_allowed"
    title = "This path does not take that method."


class NotAcceptable(Problem):
    """The caller accepts none of the media types there are."""

    status = 406
    code = "not_acceptable"
    title = "There is no such representation."


class RequestTimeout(Problem):
    """The body did not arrive in time. Nothing was done."""

    status = 408
    code = "request_timeout"
    title = "The request took too long to arrive."


class BodyTooLarge(Problem):
    """The body is longer than the route takes. Nothing was done."""

    status = 413
    code = "body_too_large"
    title = "The body is too large."


class UnsupportedMediaType(Problem):
    """The ``Content-Type`` is none that the route reads."""

    status = 415
    code = "unsupported_media_type"
    title = "The body has a media type that is not read here."


class HeadersTooLarge(Problem):
    """The request line and headers together are longer than the server takes."""

    status = 431
    code = "headers_too_large"
    title = "The request head is too large."


class MalformedRequest(Problem):
    """This is not HTTP as RFC 9112 writes it."""

    status = 400
    code = "malformed_request"
    title = "This is not a valid HTTP request."


class InvalidJson(Problem):
    """The body is no JSON: broken, not UTF-8, nested too deep, or a key stands twice."""

    status = 400
    code = "invalid_json"
    title = "The body is not valid JSON."


class InvalidBody(Problem):
    """The body is JSON, but not of the shape the route reads; ``errors`` says where."""

    status = 422
    code = "invalid_body"
    title = "The body does not have the right shape."


class CardDataRefused(InvalidBody):
    """A text holds what looks like a card number; ``errors`` says where. Cards are the payment
    provider's business: they never enter here, in no field, and nothing of the request was kept.
    """

    code = "card_data_refused"
    title = "Card data does not belong here."


class InvalidQuery(Problem):
    """A query parameter is unknown, repeated or out of its range; ``errors`` names it."""

    status = 400
    code = "invalid_query"
    title = "A query parameter is not right."


class IdempotencyKeyRequired(Problem):
    """The route makes something that must not be made twice, so it needs a key."""

    status = 400
    code = "idempotency_key_required"
    title = "This request needs an Idempotency-Key header."


class IdempotencyKeyInvalid(Problem):
    """A key is 1 to 255 printable ASCII characters."""

    status = 400
    code = "idempotency_key_invalid"
    title = "The Idempotency-Key header is not usable."


class ReasonRequired(Problem):
    """Who moves money or looks at people for the shop says why; it goes on record."""

    status = 400
    code = "reason_required"
    title = "This request needs a reason."

    def __init__(self) -> None:
        super().__init__(
            "Say why in the header Tradewind-Reason, such as a case number: up to 500 characters. "
            "It goes on record."
        )


class ReasonInvalid(Problem):
    """A reason is 1 to 500 printable characters."""

    status = 400
    code = "reason_invalid"
    title = "The Tradewind-Reason header is not usable."


class Unauthenticated(Problem):
    """No credential, or one that is wrong, expired or revoked."""

    status = 401
    code = "unauthenticated"
    title = "A valid credential is needed."

    def __init__(self, detail: str = "", *, wrong: bool = False) -> None:
        challenge = 'Bearer realm="tradewind"' + (', error="invalid_token"' if wrong else "")
        super().__init__(detail, headers={"www-authenticate": challenge})


class Forbidden(Problem):
    """The credential is good, and does not allow this."""

    status = 403
    code = "forbidden"
    title = "The credential does not allow this."


class Stopping(Problem):
    """The process had to stop before it was done; what it had begun may or may not be done."""

    status = 503
    code = "stopping"
    title = "The platform is stopping."

    def __init__(self) -> None:
        super().__init__(
            "The request was cut short, and part of it may be done. Repeat it as it is, with the "
            "same Idempotency-Key where it had one: it takes effect once.",
            headers={"retry-after": "1"},
        )


class ServiceTokenRefused(Problem):
    """A service was asked by somebody else than the gateway, or with a token for something else."""

    status = 401
    code = "service_token_refused"
    title = "This service answers the gateway."


class ServiceUnavailable(Problem):
    """The service that answers this cannot be reached, or broke off."""

    status = 503
    code = "service_unavailable"
    title = "The service does not answer."

    def __init__(self, detail: str = "") -> None:
        again = (
            "Repeat the request in a second; with the same Idempotency-Key it takes effect once."
        )
        super().__init__(detail or again, headers={"retry-after": "1"})


class DatabaseUnavailable(Problem):
    """The database went away, or refuses to write, while the request was at work."""

    status = 503
    code = "database_unavailable"
    title = "The database does not answer."

    def __init__(self) -> None:
        super().__init__(
            "Repeat the request in a second; with the same Idempotency-Key it takes effect once.",
            headers={"retry-after": "1"},
        )


class DiskIsFull(Problem):
    """The disk of the database is nearly full: it can be read from, and not written to."""

    status = 503
    code = "disk_full"
    title = "There is no room to write."

    def __init__(self) -> None:
        super().__init__(
            "Nothing was done. What is there can be read; writing goes on when there is room.",
            headers={"retry-after": "10"},
        )


class TooManyRequests(Problem):
    """The caller is over its rate; ``Retry-After`` says when to come back."""

    status = 429
    code = "too_many_requests"
    title = "Too many requests."


class QuotaExceeded(Problem):
    """The day's quota of the key is used up; ``Retry-After`` says when the next day begins."""

    status = 429
    code = "quota_exceeded"
    title = "The quota of this day is used up."


class TooManyAtOnce(Problem):
    """The caller has too many requests at work; each that is answered makes room for one."""

    status = 429
    code = "too_many_at_once"
    title = "Too many requests at once."


class PreconditionFailed(Problem):
    """``If-Match`` names another version than the current one: read again, then decide."""

    status = 412
    code = "precondition_failed"
    title = "The resource has changed."


class PreconditionRequired(Problem):
    """The route changes only what the caller has seen: send ``If-Match``."""

    status = 428
    code = "precondition_required"
    title = "This request needs an If-Match header."


# What any route may answer, whatever it does.
ANYWHERE: tuple[type[Problem], ...] = (TooManyRequests, Busy, DatabaseUnavailable, InternalError)

GATEWAY_PROBLEMS: tuple[type[Problem], ...] = (
    BodyTooLarge,
    Busy,
    CardDataRefused,
    DatabaseUnavailable,
    DiskIsFull,
    Forbidden,
    HeadersTooLarge,
    IdempotencyInFlight,
    IdempotencyKeyInvalid,
    IdempotencyKeyRequired,
    IdempotencyKeyReused,
    InternalError,
    InvalidBody,
    InvalidJson,
    InvalidQuery,
    KeysUnavailable,
    MalformedRequest,
    MethodNotAllowed,
    NotAcceptable,
    NotFound,
    OutcomeUnknown,
    PreconditionFailed,
    PreconditionRequired,
    QuotaExceeded,
    ReasonInvalid,
    ReasonRequired,
    RequestTimeout,
    ServiceTokenRefused,
    ServiceUnavailable,
    Stopping,
    TooManyAtOnce,
    TooManyRequests,
    Unauthenticated,
    UnsupportedMediaType,
)


def render_problem(problem: Problem, trace_id: str | None = None) -> bytes:
    """The body of a problem: the same bytes for the same problem, so that it can be kept."""
    return _encode(problem.document(trace_id=trace_id))


def invalid_query(name: str, message: str) -> InvalidQuery:
    """The refusal of one query parameter."""
    return InvalidQuery(f"{name}: {message}", errors=(FieldError(name, message),))


def invalid_body(pointer: str, message: str) -> InvalidBody:
    """The refusal of one place in the body, by its JSON pointer (empty: the body itself)."""
    where = pointer or "The body"
    return InvalidBody(f"{where}: {message}", errors=(FieldError(pointer, message),))
