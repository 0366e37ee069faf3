"""What fraud is asked over HTTP: to decide a review."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from tradewind.kernel.messages import Command


class ReviewBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Why the reviewer decides so. Seen by staff only; never put a person's data into it."""

    reason: Annotated[str, Meta(min_length=1, max_length=500)]


class DecideReview(Command, frozen=True, kw_only=True):
    """End the review of a held order. Outcome: an `Answer` with the `Review`."""

    order_id: str
    verdict: Literal["released", "refused"]
    reason: str
    reviewer: str  # id of the credential
