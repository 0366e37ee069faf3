"""Who is let in to what: the front door of a gateway, and the door of a service behind one.

Both end with a request whose caller is known and may do what it asks for. The front door looks at
what the caller shows, and counts; a service believes nothing but the gateway's token, and looks at
permission and ownership again, by its own rows.
"""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Protocol

from tradewind.kernel.problems import Problem
from tradewind.platform.gateway.admission import Admission, notice_of
from tradewind.platform.gateway.certificates import Certificates
from tradewind.platform.gateway.endpoint import Endpoint, Header
from tradewind.platform.gateway.problems import NotFound, ServiceTokenRefused, Unauthenticated
from tradewind.platform.gateway.request import Request
from tradewind.platform.gateway.routing import Owner
from tradewind.platform.security.credentials import Credential
from tradewind.platform.security.jose import TokenRefused
from tradewind.platform.security.service_tokens import (
    HEADER,
    TIME_HEADER,
    OutOfTime,
    ServiceVerifier,
)
from tradewind.platform.telemetry import logs

if TYPE_CHECKING:
    from tradewind.platform.node import Node

Authenticate = Callable[[str], Awaitable[Credential | None]]

logger = logs.get(__name__)


class Door(Protocol):
    """Lets a request in, or raises the problem that refuses it."""

    async def admit(self, endpoint: Endpoint, request: Request, extra: list[Header]) -> None:
        """Find out who calls, and whether they may. Headers for any outcome go to `extra`."""


class FrontDoor:
    """Credentials, limits, permissions. With `passes_on` services look at what belongs to whom."""

    def __init__(
        self,
        node: "Node",
        authenticate: Authenticate,
        admission: Admission,
        *,
        passes_on: bool = False,
    ) -> None:
        self._node = node
        self._authenticate = authenticate
        self._admission = admission
        self._passes_on = passes_on
        self._certificates = Certificates(
            node.settings.client_certificate_header, admission.proxies.trusts
        )

    async def admit(self, endpoint: Endpoint, request: Request, extra: list[Header]) -> None:
        """Let the caller in, or refuse him; who showed a credential in vain is noted."""
        headers = request.raw_headers
        authorization = headers.get(b"authorization")
        request.certificate = self._certificates.thumbprint(headers, request.peer)
        resource = resource_of(endpoint, request)
        try:
            if authorization is not None and not endpoint.own_credentials:
                request.credential = await self._identify(authorization, request)
            elif not endpoint.open:
                endpoint.permit(None, None)
            self._admission.count(endpoint.route.limit, request, extra)
            if request.credential is not None and self._admission.has_quota(request.credential):
                await self._admission.count_day(request.credential, extra)
            owner = endpoint.permit(request.credential, resource)
            if owner is not None and not self._passes_on:
                await check_owner(owner, request, resource)
        except Problem as refusal:
            note(self._node, notice_of(refusal, shown=authorization is not None), request)
            raise
        judge(endpoint, request, resource)

    async def _identify(self, authorization: bytes, request: Request) -> Credential:
        """Who the bearer is. Raises `Unauthenticated`, `TooManyRequests` for who keeps guessing."""
        kind, _, token = authorization.partition(b" ")
        credential = None
        if kind.lower() == b"bearer" and token:
            credential = await self._authenticate(token.strip().decode("latin-1"))
        if credential is not None and credential.certificate in (None, request.certificate):
            return credential
        self._admission.refused(request.client)
        raise Unauthenticated("This credential is not known, or not valid any more.", wrong=True)


class ServiceDoor:
    """The gateway's token, and then permission and ownership as everywhere."""

    def __init__(self, node: "Node", verifier: ServiceVerifier) -> None:
        self._node = node
        self._verifier = verifier

    async def admit(self, endpoint: Endpoint, request: Request, extra: list[Header]) -> None:
        """Take over what the gateway found out. Raises `ServiceTokenRefused` without its token."""
        token = request.raw_headers.get(HEADER, b"").decode("latin-1")
        try:
            passed = self._verifier.read(token, request.route.operation).passed
        except OutOfTime as error:
            extra.append((TIME_HEADER, b"%.3f" % self._verifier.clock()))
            raise ServiceTokenRefused("The token is not valid at this time.") from error
        except TokenRefused as error:
            logger.warning("gateway.service_token_refused", why=str(error))
            note(self._node, "credential_refused", request)
            raise ServiceTokenRefused("Ask the gateway, not this service.") from error
        request.credential = passed.credential
        request.client = passed.client
        request.certificate = passed.certificate
        resource = resource_of(endpoint, request)
        owner = endpoint.permit(request.credential, resource)
        if owner is not None:
            await check_owner(owner, request, resource)
        judge(endpoint, request, resource)


def resource_of(endpoint: Endpoint, request: Request) -> str | None:
    """The order or cart that a path names, where a token may open it."""
    parameter = endpoint.held_parameter
    return request.params[parameter] if parameter else None


def judge(endpoint: Endpoint, request: Request, resource: str | None) -> None:
    """As what the caller came in, and whether it goes on record."""
    request.is_staff = endpoint.is_staff(request.credential, resource)
    request.on_record = endpoint.goes_on_record(staff=request.is_staff)


def note(node: "Node", notice: str, request: Request) -> None:
    """Count a refusal that a security system hears of."""
    if notice:
        caller = request.credential.id if request.credential is not None else ""
        operation, trace_id = request.route.operation, request.trace_id
        node.audit.refused(notice, operation, caller, request.client, trace_id)


async def check_owner(owner: Owner, request: Request, resource: str | None) -> None:
    """Raise unless what the path names belongs to the account of the caller."""
    assert request.credential is not None, "only who is signed in can own something"
    async with request.reading() as snapshot:
        account_id = await owner(snapshot, resource or "")
    if account_id is None or account_id != request.credential.account_id:
        raise NotFound
