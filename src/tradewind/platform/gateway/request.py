"""What a route handler is given: a request that is authenticated, within limits and validated."""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any

import msgspec

from tradewind.kernel.answers import Idempotency
from tradewind.kernel.audit import Audited
from tradewind.kernel.ids import new_id
from tradewind.kernel.messages import Command
from tradewind.platform.cache.memory import FRESH_S, Depends, Memory
from tradewind.platform.database.transaction import Snapshot
from tradewind.platform.gateway.admission import Admission
from tradewind.platform.gateway.guesses import Guess
from tradewind.platform.gateway.idempotency import Fingerprints, scoped
from tradewind.platform.gateway.routing import Route
from tradewind.platform.gateway.trace import Trace
from tradewind.platform.security.authentication import Credential
from tradewind.platform.security.issuing import Issuer

if TYPE_CHECKING:
    from tradewind.platform.node import Node

PREFER_WAIT = re.compile(rb"(?:^|[,;\s])wait\s*=\s*\"?(\d{1,6})\"?(?=$|[,;\s])", re.IGNORECASE)


class Request:
    """One request. `params`, `query` and `body` are as the route declares them."""

    __slots__ = (
        "_admission",
        "_begun",
        "_coming",
        "_context",
        "_fingerprints",
        "_headers",
        "_recorded",
        "about",
        "body",
        "certificate",
        "chunks",
        "client",
        "credential",
        "depends",
        "is_staff",
        "issuer",
        "key",
        "memory",
        "node",
        "on_record",
        "params",
        "peer",
        "query",
        "raw_headers",
        "reason",
        "route",
    )

    params: Mapping[str, str]
    raw_headers: Mapping[bytes, bytes]
    query: Any  # the route's query Struct
    body: Any  # the route's body Struct
    credential: Credential | None  # None: an anonymous caller of an open route
    about: str  # whom or what the record is to name, where the path does not
    client: str  # the network address, for limits and logs; never for decisions
    peer: str  # who is at the other end of the connection: a proxy, perhaps
    certificate: str | None  # SHA-256 of the client's TLS certificate, where it came with one
    issuer: Issuer | None  # makes tokens; None where another issuer is in charge
    route: Route
    node: "Node"
    key: str | None  # the Idempotency-Key as sent; `idempotency` has it in its scope
    chunks: AsyncIterator[bytes] | None  # the body of a streamed route
    depends: Depends | None  # of an open GET: what its answer is made of, so that it can be kept
    memory: Memory | None  # what this process remembers of the context
    is_staff: bool  # came in by a scope, and not as whose thing it is
    on_record: bool  # what this caller does here is recorded
    reason: str  # why staff does it, where they said so

    def __init__(
        self,
        route: Route,
        context: str,
        node: "Node",
        begun: Trace,
        *,
        fingerprints: Fingerprints,
        headers: Mapping[bytes, bytes],
        client: str,
        admission: Admission,
    ) -> None:
        self.route = route
        self.node = node
        self.client = client
        self.query = self.body = self.credential = self.depends = self.memory = None
        self._begun = begun
        self._context = context
        self._fingerprints = fingerprints
        self.raw_headers = headers
        self._admission = admission
        self._headers: dict[str, str] | None = None
        self.key = self.certificate = self.issuer = None
        self.chunks = None
        self._coming: type[Command] | None = None
        self._recorded = False
        self.on_record = self.is_staff = False
        self.reason = self.about = self.peer = ""

    def audited(self, about: str | None = None) -> Audited | None:
        """Who is answerable, for what is about to be done; None where it is not recorded.

        Whoever takes it writes it, in the transaction of the effect.
        """
        if not self.on_record:
            return None
        self._recorded = True
        entry_id = new_id("aud")
        mask = self.node.audit.mask
        return Audited(
            entry_id=entry_id,
            principal=self.credential.id if self.credential is not None else "",
            operation=self.route.operation,
            object=about or self.about or " ".join(self.params.values()) or self._own_account,
            address=mask.address(self.client),
            notice=self.route.notice,
            trace=self._begun.trace_id,
            reason=mask.seal(self.reason, entry_id),
        )

    @property
    def _own_account(self) -> str:
        return (self.credential.account_id or "") if self.credential is not None else ""

    async def leave_record(self, status: int) -> None:
        """Record what no unit of work has: a look at personal data, a write of another kind.

        Called before the answer goes out: what is shown is on record.
        """
        if self._recorded or not self.on_record or status >= 400:
            return
        audited = self.audited()
        assert audited is not None
        if self.route.writes:
            await self.node.audit.did(audited)
        else:
            await self.node.audit.read(audited)

    def comes(self, command: type[Command]) -> None:
        """It will submit one of these: there must be room for it."""
        self._coming = command
        self.node.comes(command, 1)

    def came(self) -> None:
        """It has been submitted, or it never will be."""
        if self._coming is not None:
            self.node.comes(self._coming, -1)
            self._coming = None

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers by lower-case name."""
        if self._headers is None:
            self._headers = {
                name.decode("latin-1"): value.decode("latin-1")
                for name, value in self.raw_headers.items()
            }
        return self._headers

    @property
    def trace(self) -> str:
        """The W3C traceparent that goes on to commands, events and calls."""
        return self._begun.parent

    @property
    def trace_id(self) -> str:
        """The id under which logs, problems and traces speak of this request."""
        return self._begun.trace_id

    @property
    def idempotency(self) -> Idempotency | None:
        """The caller's Idempotency-Key in its scope; None where the route takes or got none.

        The scope of an anonymous caller is the `email` in the body where there is one: who repeats
        an order from another network is still the same caller.
        """
        if self.key is None:
            return None
        if self.credential is not None:
            return self.idempotency_for(self.credential.id)
        email = getattr(self.body, "email", None)
        if isinstance(email, str):
            return self.idempotency_for(self._fingerprints.of_email(email))
        return self.idempotency_for(self.client)

    def idempotency_for(self, caller: str) -> Idempotency | None:
        """The Idempotency-Key in the scope of a caller that the route names itself."""
        if self.key is None:
            return None
        fingerprint = self._fingerprints.of_request(self.params, self.query, self.body)
        return scoped(caller, self.route.method, self.route.path, self.key, fingerprint)

    @property
    def prefer_wait_s(self) -> float | None:
        """The N of ``Prefer: wait=N``, no longer than the settings allow; None without one."""
        header = self.raw_headers.get(b"prefer")
        found = PREFER_WAIT.search(header) if header else None
        if found is None:
            return None
        return min(float(found[1]), self.node.settings.wait_max_s)

    def guess(self, account: str) -> Guess:
        """Count a try of a password or code for an account, before it is looked at.

        Say `was_right()` of what is returned where it was. Raises `TooManyRequests` where too many
        were wrong: by this address, for this account, or everywhere.
        """
        return self._admission.guess(account, self.client)

    def reading(self) -> AbstractAsyncContextManager[Snapshot]:
        """A snapshot in the role of the route's own context."""
        return self.node.reading(self._context)

    async def submit(self, command: Command) -> Any:
        """Hand a command in, under this request's trace; its outcome, or the problem raised."""
        audited = self.audited() if self.on_record and type(command).recorded else None
        if command.trace is None or audited is not None:
            trace = command.trace or self._begun.parent
            command = msgspec.structs.replace(command, trace=trace, audit=audited)
        self.came()
        return await self.node.submit(command)

    async def sealed(
        self, text: str, *, person: str | None = None, order_id: str | None = None
    ) -> str:
        """A text that somebody wrote, as it may stand anywhere: see `platform.vault.texts`.

        It is about a person, about the customer of an order, or about nobody in particular.
        """
        for context, knows in self.node.plan.personal.items():
            if person is None and order_id is not None and knows.person_of_order is not None:
                async with self.node.reading(context) as snapshot:
                    person = await knows.person_of_order(snapshot, order_id)
        return await self.node.vault.seal_text(person, text)

    async def known_to_all(self) -> None:
        """Return once no process answers from memory as if this request had changed nothing.

        This one looks at once. Others have looked, or believe nothing any more, after `FRESH_S`.
        """
        if self.memory is None:
            return
        until = time.monotonic() + FRESH_S
        await self.memory.look_now()
        if not self.node.members.alone:
            await asyncio.sleep(until - time.monotonic())

    def stream(self) -> AsyncIterator[bytes]:
        """The body of a `streamed` route in chunks as they arrive, none of them kept.

        Raises `BodyTooLarge`, or `RequestTimeout` where the client stops sending.
        """
        assert self.chunks is not None, f"{self.route.path} is not declared as streamed"
        return self.chunks


__all__ = ["Credential", "Request"]
