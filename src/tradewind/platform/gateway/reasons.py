"""Why somebody of the shop does something: a header, or a `reason` of the body."""

from typing import Any

from tradewind.platform.gateway.problems import ReasonInvalid, ReasonRequired

HEADER = b"tradewind-reason"
LENGTH_MAX = 500


def read_reason(header: bytes | None, body: Any, *, required: bool) -> str:
    """The reason of a request; "" where none was given. Raises where it must be, or is no text."""
    if header is not None:
        try:
            reason = header.decode("utf-8").strip()
        except UnicodeDecodeError:
            raise ReasonInvalid("Write it in UTF-8.") from None
        if len(reason) > LENGTH_MAX or not reason.isprintable():
            raise ReasonInvalid(f"Give 1 to {LENGTH_MAX} printable characters.")
    else:
        told = getattr(body, "reason", None)
        reason = told.strip() if isinstance(told, str) else ""
    if required and not reason:
        raise ReasonRequired
    return reason
