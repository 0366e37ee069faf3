"""What a route handler is given: a request that is authenticated, within limits and validated."""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any

import msgspec

from tradewind.kernel.answers import Idempotency
from tradewind.kernel.messages import Command
from tradewind.platform.cache.memory import FRESH_S, Depends, Memory
from tradewind.platform.database.transaction import Snapshot
from tradewind.platform.gateway.idempotency import Fingerprints, scoped
from tradewind.platform.gateway.routing import Route
from tradewind.platform.gateway.trace import Trace
from tradewind.platform.security.authentication import Credential

if TYPE_CHECKING:
    from tradewind.platform.node import Node

PREFER_WAIT = re.compile(rb"(?:^|[,;\s])wait\s*=\s*\"?(\d{1,6})\"?(?=$|[,;\s])", re.IGNORECASE)


class Request:
    """One request. `params`, `query` and `body` are as the route declares them."""

    __slots__ = (
        "_begun",
        "_coming",
        "_context",
        "_fingerprints",
        "_headers",
        "_raw_headers",
        "body",
        "chunks",
        "client",
        "credential",
        "depends",
        "key",
        "memory",
        "node",
        "params",
        "query",
        "route",
    )

    params: Mapping[str, str]
    query: Any  # the route's query Struct
    body: Any  # the route's body Struct
    credential: Credential | None  # None: an anonymous caller of an open route
    client: str  # the network address, for limits and logs; never for decisions
    route: Route
    node: "Node"
    key: str | None  # the Idempotency-Key as sent; `idempotency` has it in its scope
    chunks: AsyncIterator[bytes] | None  # the body of a streamed route
    depends: Depends | None  # of an open GET: what its answer is made of, so that it can be kept
    memory: Memory | None  # what this process remembers of the context

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
    ) -> None:
        self.route = route
        self.node = node
        self.client = client
        self.query = self.body = self.credential = self.depends = self.memory = None
        self._begun = begun
        self._context = context
        self._fingerprints = fingerprints
        self._raw_headers = headers
        self._headers: dict[str, str] | None = None
        self.key = None
        self.chunks = None
        self._coming: type[Command] | None = None

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
                for name, value in self._raw_headers.items()
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
        header = self._raw_headers.get(b"prefer")
        found = PREFER_WAIT.search(header) if header else None
        if found is None:
            return None
        return min(float(found[1]), self.node.settings.wait_max_s)

    def reading(self) -> AbstractAsyncContextManager[Snapshot]:
        """A snapshot in the role of the route's own context."""
        return self.node.reading(self._context)

    async def submit(self, command: Command) -> Any:
        """Hand a command in, under this request's trace; its outcome, or the problem raised."""
        if command.trace is None:
            command = msgspec.structs.replace(command, trace=self._begun.parent)
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
