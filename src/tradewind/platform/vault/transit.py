"""Masters that never leave their server: HashiCorp Vault or OpenBao, the transit engine over HTTP.

Asked a handful of times in the life of a process, when it reads its keyring; a rotation asks once
more. The key's own versions are the server's business: it says which one it used, and that is part
of the name under which the wrapped key is kept.
"""

import base64
import binascii
from collections.abc import Mapping
from typing import Any

import aiohttp
from msgspec import Struct

from tradewind.kernel.problems import Problem
from tradewind.platform.security.secrets import Secrets, SecretsError
from tradewind.platform.settings import Settings
from tradewind.platform.vault.masters import FileMasters, Masters, Several, Wrapped
from tradewind.platform.vault.sealing import RecordUnreadable

PREFIX = "transit:"
TIMEOUT_S = 5.0
TOKEN_VARIABLE = "TRADEWIND_TRANSIT_TOKEN"  # noqa: S105 - where it is, not what
SEALED_OR_STANDBY = frozenset({429, 472, 473, 500, 502, 503, 504})


class MastersUnavailable(Problem):
    """The server of the master keys does not answer; what was read before goes on working."""

    status = 503
    code = "vault_unavailable"
    title = "Personal data cannot be read or written right now."


class TransitServer(Struct, frozen=True):
    """Where a transit engine is, and which of its keys is ours."""

    url: str
    token: str
    mount: str = "transit"
    key: str = "tradewind"
    namespace: str | None = None


class TransitMasters:
    """`Masters` on a transit server. The token needs update on encrypt/KEY and decrypt/KEY, and
    read on keys/KEY.
    """

    def __init__(self, server: TransitServer) -> None:
        self._server = server
        self._name = f"{PREFIX}{server.mount}/{server.key}:v"

    async def wrap(self, name: str, key: bytes) -> Wrapped:
        """See `Masters`."""
        told = {"plaintext": in_base64(key), "associated_data": in_base64(name.encode())}
        data = await self._ask("POST", "encrypt", told)
        ciphertext = text_of(data, "ciphertext")
        version = ciphertext.split(":")[1] if ciphertext.count(":") >= 2 else ""
        if not version.startswith("v") or not version[1:].isdigit():
            raise SecretsError("The transit server answered something that is no ciphertext.")
        return Wrapped(self._name + version[1:], ciphertext.encode())

    async def unwrap(self, name: str, wrapped: Wrapped) -> bytes:
        """See `Masters`."""
        if not wrapped.master.startswith(self._name):
            raise SecretsError(
                f"This data was sealed under {wrapped.master.removeprefix(PREFIX)}, and the "
                f"settings name another key of the transit server: {self._server.key}."
            )
        told = {
            "ciphertext": wrapped.wrapped.decode("ascii", "replace"),
            "associated_data": in_base64(name.encode()),
        }
        data = await self._ask("POST", "decrypt", told, about=name)
        try:
            return base64.b64decode(text_of(data, "plaintext"), validate=True)
        except (binascii.Error, ValueError) as error:
            raise SecretsError("The transit server answered no plaintext.") from error

    async def newest(self) -> str:
        """See `Masters`."""
        data = await self._ask("GET", "keys", None)
        return f"{self._name}{int(data.get('latest_version', 0))}"

    async def _ask(
        self, method: str, operation: str, body: Mapping[str, str] | None, *, about: str = ""
    ) -> Mapping[str, Any]:
        server = self._server
        url = f"{server.url.rstrip('/')}/v1/{server.mount}/{operation}/{server.key}"
        headers = {"X-Vault-Token": server.token, "X-Vault-Request": "true"}
        if server.namespace:
            headers["X-Vault-Namespace"] = server.namespace
        try:
            async with (
                aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT_S)) as session,
                session.request(
                    method, url, json=body, headers=headers, allow_redirects=False
                ) as answer,
            ):
                status = answer.status
                document = await answer.json(content_type=None)
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            raise unreachable(type(error).__name__) from error
        if status == 200 and isinstance(document, dict) and isinstance(document.get("data"), dict):
            data: Mapping[str, Any] = document["data"]
            return data
        raise refusal(status, document, operation, server.key, about)


def refusal(status: int, document: Any, operation: str, key: str, about: str) -> Exception:
    """What an answer other than 200 means. The server's words hold no secret of ours."""
    errors = document.get("errors") if isinstance(document, dict) else None
    words = "; ".join(str(error) for error in errors or ())[:300]
    if status in SEALED_OR_STANDBY:
        return unreachable(f"status {status}: {words}")
    if status == 400 and operation == "decrypt" and "authentication failed" in words:
        return RecordUnreadable(f"The vault's record {about} was changed or moved.")
    if status == 403:
        return SecretsError(
            f"The transit server refuses the token for {operation}/{key}. Give it a policy with "
            f"update on encrypt/{key} and decrypt/{key} and read on keys/{key}, and set "
            f"{TOKEN_VARIABLE}."
        )
    if status == 404 or "not found" in words:
        return SecretsError(
            f"The transit server has no key {key}. Make it once: vault write -f transit/keys/{key}"
        )
    return SecretsError(f"The transit server answered {status} to {operation}/{key}: {words}")


def unreachable(why: str) -> MastersUnavailable:
    """The server is away, or sealed."""
    return MastersUnavailable(
        f"The transit server does not answer ({why}). Try again in a second.",
        headers={"Retry-After": "1"},
    )


def in_base64(data: bytes) -> str:
    """As the transit engine wants bytes."""
    return base64.b64encode(data).decode("ascii")


def text_of(data: Mapping[str, Any], name: str) -> str:
    """A text of an answer. Raises `SecretsError` where there is none."""
    found = data.get(name)
    if not isinstance(found, str):
        raise SecretsError(f"The transit server answered without {name}.")
    return found


def masters_of(settings: Settings, secrets: Secrets) -> Masters:
    """The masters that the settings name. Those of the file open what they sealed before."""
    file = FileMasters(secrets)
    if settings.transit_url is None:
        return file
    if not settings.transit_token:
        raise SecretsError(f"transit_url is set, and {TOKEN_VARIABLE} is not.")
    server = TransitServer(
        url=settings.transit_url,
        token=settings.transit_token,
        mount=settings.transit_mount,
        key=settings.transit_key,
        namespace=settings.transit_namespace,
    )
    return Several([(PREFIX, TransitMasters(server))], file)
