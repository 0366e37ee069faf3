"""The way from a gateway to the services: which one answers what, and how it is asked.

A request that was let in goes on as it came, but for its credential: in its place stands the
gateway's token, which says who calls. What the service answers goes back as it is. A service that
cannot be reached is a 503 after a moment; what certainly did not arrive, or may be repeated, is
asked once more before that, so a service that is started again costs its callers a pause.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from email.utils import parsedate_to_datetime

import aiohttp
from msgspec import Struct
from yarl import URL

from tradewind.platform.gateway.endpoint import Endpoint, Header, Response
from tradewind.platform.gateway.problems import ServiceUnavailable
from tradewind.platform.gateway.request import Request
from tradewind.platform.security import service_tokens
from tradewind.platform.security.service_tokens import Passed, ServiceSigner
from tradewind.platform.telemetry import logs

logger = logs.get(__name__)

# How long the longest wait that a caller may ask for lets a service think beyond it.
THINKS_S = 15.0
CONNECTS_WITHIN_S = 2.0
# A service that is being started again is back in about this time.
AWAITED_S = 3.0
PAUSE_S = 0.1
LOOKED_AT_EVERY_S = 2.0
# Answers up to here are passed on whole, longer ones piece by piece.
WHOLE_BYTES_MAX = 1024 * 1024
PIECE_BYTES = 64 * 1024
# What is between two neighbours only, and what the gateway says itself.
NOT_ASKED = frozenset(
    b"authorization connection content-length expect host keep-alive proxy-authorization "
    b"proxy-connection te trailer transfer-encoding upgrade traceparent x-request-id".split()
) | {service_tokens.HEADER}
NOT_ANSWERED = frozenset(
    b"connection content-length date keep-alive server transfer-encoding x-request-id".split()
) | {service_tokens.TIME_HEADER}
REPEATABLE = frozenset({"GET", "HEAD", "PUT", "DELETE"})


class Service(Struct, frozen=True):
    """A service as the gateway knows it."""

    name: str
    url: str


class Onward:
    """The services behind a gateway. One per process; `watch` runs beside the requests."""

    def __init__(
        self,
        services: Mapping[str, Service],
        signer: ServiceSigner,
        *,
        answers_within_s: float,
        client_header: str,
    ) -> None:
        self._services = services  # by the name that routes are declared under
        self._signer = signer
        self._answers_within_s = answers_within_s + THINKS_S
        self._not_asked = NOT_ASKED | ({client_header.lower().encode()} if client_header else set())
        self._session: aiohttp.ClientSession | None = None
        self._unready: dict[str, str] = {
            service.name: f"the service {service.name} has not been asked yet"
            for service in services.values()
        }

    # -- life

    def open(self) -> None:
        """Begin: call it in the loop that asks."""
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=60, ttl_dns_cache=10),
            timeout=aiohttp.ClientTimeout(
                total=None, sock_connect=CONNECTS_WITHIN_S, sock_read=self._answers_within_s
            ),
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=("Accept", "Accept-Encoding", "Content-Type", "User-Agent"),
        )

    async def close(self) -> None:
        """End: what is being asked breaks off."""
        if self._session is not None:
            await self._session.close()

    async def watch(self) -> None:
        """Look again and again who is ready, and what time they have."""
        services = {service.name: service for service in self._services.values()}
        while True:
            await asyncio.gather(*map(self._look_at, services.values()))
            await asyncio.sleep(LOOKED_AT_EVERY_S if not self._unready else PAUSE_S)

    def unready(self) -> Sequence[str]:
        """Which services cannot be used, and why."""
        return list(self._unready.values())

    async def _look_at(self, service: Service) -> None:
        assert self._session is not None
        try:
            limit = aiohttp.ClientTimeout(total=CONNECTS_WITHIN_S)
            async with self._session.get(f"{service.url}/readyz", timeout=limit) as reply:
                date, status = reply.headers.get("date"), reply.status
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            self._unready[service.name] = f"the service {service.name} does not answer: {error!r}"
            return
        if date is not None:
            self._signer.learn_time(service.name, parsedate_to_datetime(date).timestamp())
        if status == 200:
            self._unready.pop(service.name, None)
        else:
            self._unready[service.name] = f"the service {service.name} is not ready"

    # -- requests

    async def ask(
        self,
        endpoint: Endpoint,
        request: Request,
        target: bytes,
        body: bytes | AsyncIterator[bytes],
    ) -> Response:
        """What the service says that answers an endpoint. Raises `ServiceUnavailable`."""
        service = self._services[endpoint.context]
        streamed = not isinstance(body, bytes)
        repeatable = not streamed and (
            request.route.method in REPEATABLE or b"idempotency-key" in request.raw_headers
        )
        loop = asyncio.get_running_loop()
        give_up_at = loop.time() + AWAITED_S
        dated_anew = False
        while True:
            try:
                reply = await self._send(service, endpoint, request, target, body)
            except aiohttp.ClientConnectorError as error:  # it never left
                fault: Exception = error
                again = not streamed
            except (aiohttp.ClientError, OSError) as error:
                fault, again = error, repeatable
            except TimeoutError as error:
                raise ServiceUnavailable(
                    "It took too long. Repeat the request as it is."
                ) from error
            else:
                told = reply.headers.get(service_tokens.TIME_HEADER.decode())
                if told is None or dated_anew or streamed:
                    return await passed_back(reply)
                reply.release()
                dated_anew = self._signer.learn_time(service.name, float(told))
                if not dated_anew:
                    raise ServiceUnavailable(
                        f"The clock of {service.name} is hours away from ours."
                    )
                continue
            if not again or loop.time() > give_up_at:
                logger.warning("gateway.service_fault", service=service.name, fault=repr(fault))
                raise ServiceUnavailable from fault
            await asyncio.sleep(PAUSE_S)

    async def _send(
        self,
        service: Service,
        endpoint: Endpoint,
        request: Request,
        target: bytes,
        body: bytes | AsyncIterator[bytes],
    ) -> aiohttp.ClientResponse:
        assert self._session is not None, "open() comes before the first request"
        token = self._signer.token(
            service.name,
            request.route.operation,
            Passed(request.credential, request.client, request.certificate),
            request.trace,
        )
        headers = [
            (name.decode("latin-1"), value.decode("latin-1"))
            for name, value in request.raw_headers.items()
            if name not in self._not_asked
        ]
        headers.append((service_tokens.HEADER.decode(), token))
        headers.append(("traceparent", request.trace))
        own = request.raw_headers.get(b"authorization")
        if own is not None and endpoint.own_credentials:
            headers.append(("authorization", own.decode("latin-1")))
        return await self._session.request(
            request.route.method,
            URL(service.url + target.decode("latin-1"), encoded=True),
            headers=headers,
            data=body or None,
            allow_redirects=False,
        )


async def passed_back(reply: aiohttp.ClientResponse) -> Response:
    """An answer of a service as the gateway gives it."""
    headers: list[Header] = [
        (name.lower(), value)
        for name, value in reply.raw_headers
        if name.lower() not in NOT_ANSWERED
    ]
    length = reply.content_length
    if length is not None and length <= WHOLE_BYTES_MAX:
        try:
            return Response(reply.status, headers, await reply.read())
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise ServiceUnavailable("Its answer broke off.") from error
        finally:
            reply.release()
    if reply.status in (204, 304):
        reply.release()
        return Response(reply.status, headers, b"")
    return Response(reply.status, headers, b"", pieces_of(reply))


async def pieces_of(reply: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    """A long answer as it comes."""
    async with reply:
        async for piece in reply.content.iter_chunked(PIECE_BYTES):
            yield piece
