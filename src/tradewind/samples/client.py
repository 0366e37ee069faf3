"""A patient HTTP client of the platform: keeps asking while the server is busy, down or restarting.

Every request it repeats is safe to repeat: reads, and writes under an Idempotency-Key. What the
business refuses (4xx) is an answer and is never repeated.
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Mapping
from types import TracebackType
from typing import Any, Self

import aiohttp
import msgspec
from msgspec import Struct

# Answers of a server that is overloaded, draining or behind a proxy that has lost it.
TRY_AGAIN = frozenset((429, 502, 503, 504))
# 409 where a twin of the same key is still being worked on.
IN_FLIGHT = "idempotency_in_flight"
BACK_OFF_S_MIN = 0.05
BACK_OFF_S_MAX = 2.0
# One answer may wait 30 s for a decision (semantics of Prefer: wait), and as long in a queue.
ANSWER_TIMEOUT_S = 75
PAGE_ITEMS_MAX = 100
PROBLEM_BODY_BYTES_SHOWN = 200


class ShopIsGone(Exception):
    """The server did not answer for longer than we are patient."""


class AccessDenied(Exception):
    """The key is missing, wrong or has not the scope that is needed."""


class UnexpectedAnswer(Exception):
    """The server answered a read with something that makes no sense of it."""


class Reply(Struct, frozen=True):
    """What the server answered."""

    status: int
    body: Any
    replayed: bool  # the answer of an earlier request with the same key
    headers: Mapping[str, str]

    @property
    def ok(self) -> bool:
        """Whether the request did what it asked for."""
        return self.status < 400

    @property
    def code(self) -> str:
        """The stable code of a refusal."""
        if isinstance(self.body, dict) and isinstance(self.body.get("code"), str):
            return str(self.body["code"])
        return f"http_{self.status}"


class Client:
    """Speaks to one server with one key; `connections_max` requests at once.

    `retries` counts every request that had to be sent again.
    """

    def __init__(
        self, url: str, key: str, *, connections_max: int = 32, patience_s: float = 120
    ) -> None:
        self.url = url.rstrip("/")
        self.retries = 0
        self._key = key
        self._connections_max = connections_max
        self._patience_s = patience_s
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=self._connections_max),
            headers={"Authorization": f"Bearer {self._key}"},
            timeout=aiohttp.ClientTimeout(total=None),
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._session is not None
        await self._session.close()

    async def get(self, path: str, **params: str) -> Any:
        """Read; the body. `params` whose value is empty are not sent. Raises `UnexpectedAnswer`."""
        sent = {name: value for name, value in params.items() if value}
        reply = await self._ask("GET", path, sent, None, {})
        if not reply.ok:
            raise UnexpectedAnswer(f"GET {path} was answered {reply.status} {reply.code}")
        return reply.body

    async def post(self, path: str, body: Any, *, idempotency_key: str, prefer: str = "") -> Reply:
        """Write, once however often it has to be sent."""
        headers = {"Content-Type": "application/json", "Idempotency-Key": idempotency_key}
        if prefer:
            headers["Prefer"] = prefer
        return await self._ask("POST", path, {}, msgspec.json.encode(body), headers)

    async def upload(
        self, path: str, chunks: AsyncIterator[bytes], media_type: str, **params: str
    ) -> Reply:
        """Send a stream. It cannot be sent twice, so this is the one call that does not insist."""
        assert self._session is not None
        async with self._session.post(
            self.url + path, params=params, data=chunks, headers={"Content-Type": media_type}
        ) as response:
            return await reply_of(response)

    async def orders(self) -> AsyncIterator[dict[str, Any]]:
        """Every order of the platform, newest first, page by page."""
        cursor = ""
        while True:
            page = await self.get("/v1/orders", limit=str(PAGE_ITEMS_MAX), cursor=cursor)
            for order in page["items"]:
                yield order
            cursor = page["next"] or ""
            if not cursor:
                return

    async def _ask(
        self,
        method: str,
        path: str,
        params: Mapping[str, str],
        data: bytes | None,
        headers: Mapping[str, str],
    ) -> Reply:
        assert self._session is not None, "use it in an `async with` block"
        give_up_at = time.monotonic() + self._patience_s
        delay_s = BACK_OFF_S_MIN
        while True:
            wait_s, why = 0.0, ""
            try:
                async with self._session.request(
                    method,
                    self.url + path,
                    params=params,
                    data=data,
                    headers=headers,
                    timeout=aiohttp.ClientTimeout(total=ANSWER_TIMEOUT_S),
                ) as response:
                    reply = await reply_of(response)
                if reply.status in (401, 403):
                    raise AccessDenied(f"{method} {path}: {reply.status} {reply.code}")
                if reply.status not in TRY_AGAIN and reply.code != IN_FLIGHT:
                    return reply
                wait_s, why = retry_after_s(reply), f"{reply.status} {reply.code}"
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                why = f"{type(error).__name__}: {error}"
            if time.monotonic() + wait_s > give_up_at:
                raise ShopIsGone(
                    f"{self.url} did not take {method} {path} for {self._patience_s:.0f} s; "
                    f"last: {why}"
                )
            self.retries += 1
            await asyncio.sleep(max(wait_s, delay_s * random.uniform(0.5, 1.0)))
            delay_s = min(delay_s * 2, BACK_OFF_S_MAX)


async def reply_of(response: aiohttp.ClientResponse) -> Reply:
    """An answer with its body as plain values; a body that is no JSON as text, cut short."""
    raw = await response.read()
    try:
        body = msgspec.json.decode(raw) if raw else None
    except msgspec.DecodeError:
        body = raw[:PROBLEM_BODY_BYTES_SHOWN].decode(errors="replace")
    return Reply(
        status=response.status,
        body=body,
        replayed=response.headers.get("Idempotent-Replayed") == "true",
        headers={name.lower(): value for name, value in response.headers.items()},
    )


def retry_after_s(reply: Reply) -> float:
    """How long the server asks us to wait; a date, or nothing, is no time."""
    text = reply.headers.get("retry-after", "")
    return min(float(text), 30.0) if text.isdecimal() else 0.0
