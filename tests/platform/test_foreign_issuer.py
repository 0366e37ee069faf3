"""Another issuer's tokens: its keys are fetched rarely and safely, its claims become scopes."""

import base64
import hmac
import json
from collections.abc import Mapping
from typing import Any

import pytest
from aiohttp import web

from tests.platform.signed_tokens import (
    AUDIENCE,
    HEADER,
    ISSUER,
    NOW,
    PUBLIC,
    b64,
    claims,
    signed,
)
from tradewind.platform.security.access_tokens import AccessTokens, TokensUnavailable
from tradewind.platform.security.addresses import OutboundRefused
from tradewind.platform.security.credentials import Credential
from tradewind.platform.security.foreign import ForeignKeys, fetch_keys, foreign_tokens, inside
from tradewind.platform.security.outbound import Outbound


class Elsewhere:
    """An issuer on the loopback address."""

    def __init__(self) -> None:
        self.keys: list[Mapping[str, Any]] = [PUBLIC]
        self.asked = 0
        self.issuer = ""
        self.claimed: str | None = None
        self.keys_at: str | None = None
        self.away = False

    async def start(self) -> None:
        application = web.Application()
        application.router.add_get("/.well-known/openid-configuration", self.discovery)
        application.router.add_get("/jwks", self.jwks)
        self.runner = web.AppRunner(application)
        await self.runner.setup()
        site = web.TCPSite(self.runner, "127.0.0.1", 0)
        await site.start()
        self.issuer = f"http://127.0.0.1:{self.runner.addresses[0][1]}"

    async def discovery(self, request: web.Request) -> web.Response:
        if self.away:
            return web.Response(status=503)
        keys_at = self.keys_at or f"{self.issuer}/jwks"
        document = {"issuer": self.claimed or self.issuer, "jwks_uri": keys_at}
        return web.json_response(document)

    async def jwks(self, request: web.Request) -> web.Response:
        self.asked += 1
        return web.json_response({"keys": self.keys})


@pytest.fixture
async def elsewhere() -> Any:
    issuer = Elsewhere()
    await issuer.start()
    yield issuer
    await issuer.runner.cleanup()


def takes(elsewhere: Elsewhere, **more: Any) -> AccessTokens:
    accepts = foreign_tokens(
        elsewhere.issuer,
        AUDIENCE,
        known=("orders:read", "orders:write", "catalog:write"),
        roles_claim="realm_access.roles",
        roles="clerk=orders:read,orders:write; buyer=catalog:write keys:write",
    )
    return AccessTokens(accepts, ForeignKeys(elsewhere.issuer, **more), None, clock=lambda: NOW)


def theirs(elsewhere: Elsewhere, header: Mapping[str, Any] = HEADER, **more: Any) -> str:
    return signed(header, claims(iss=elsewhere.issuer, **more))


async def test_another_issuers_claims_become_scopes(elsewhere: Elsewhere) -> None:
    tokens = takes(elsewhere)
    token = theirs(
        elsewhere,
        {**HEADER, "typ": "JWT"},
        sub="user-1",
        scope="openid catalog:write keys:write",
        realm_access={"roles": ["clerk", "unknown", 7]},
    )
    found = await tokens.who(token)
    assert isinstance(found, Credential)
    assert found.id == "oidc:user-1"
    assert found.scopes == {"catalog:write", "orders:read", "orders:write"}
    assert found.account_id is None
    for name, value in (("nonce", "n"), ("at_hash", "h"), ("aud", "else"), ("cnf", {"jkt": "x"})):
        assert await tokens.who(theirs(elsewhere, HEADER, **{name: value})) is None, name
    assert await tokens.who(signed(HEADER, claims(iss=ISSUER))) is None


async def test_an_unknown_kid_is_fetched_at_most_once_per_interval(elsewhere: Elsewhere) -> None:
    now = [0.0]
    tokens = takes(elsewhere, timer=lambda: now[0])
    assert await tokens.who(theirs(elsewhere)) is not None
    for number in range(50):
        now[0] += 1.0
        assert await tokens.who(theirs(elsewhere, {**HEADER, "kid": f"k{number}"})) is None
    assert elsewhere.asked <= 3
    # It rotates: the new kid is found, as soon as the interval is over.
    elsewhere.keys = [{**PUBLIC, "kid": "new"}]
    now[0] += 30.0
    assert await tokens.who(theirs(elsewhere, {**HEADER, "kid": "new"})) is not None


async def test_a_wrong_or_absent_issuer_lets_nobody_in(elsewhere: Elsewhere) -> None:
    elsewhere.claimed = "https://another.example"
    with pytest.raises(TokensUnavailable):
        await takes(elsewhere).who(theirs(elsewhere))
    elsewhere.claimed, elsewhere.away = None, True
    now = [0.0]
    tokens = takes(elsewhere, timer=lambda: now[0])
    with pytest.raises(TokensUnavailable):
        await tokens.who(theirs(elsewhere))
    elsewhere.away = False
    now[0] += 31.0
    token = theirs(elsewhere)
    assert await tokens.who(token) is not None
    elsewhere.away = True
    now[0] += 3_600.0
    assert await tokens.who(theirs(elsewhere)) is not None


async def test_symmetric_and_private_keys_of_an_issuer_are_not_used(elsewhere: Elsewhere) -> None:
    secret = base64.urlsafe_b64encode(b"secret" * 8).decode()
    elsewhere.keys = [{"kty": "oct", "k": secret, "kid": "oct", "alg": "HS256"}]
    header = b64(json.dumps({**HEADER, "alg": "HS256", "kid": "oct"}))
    payload = b64(json.dumps(claims(iss=elsewhere.issuer)))
    code = hmac.digest(b"secret" * 8, f"{header}.{payload}".encode(), "sha256")
    assert await takes(elsewhere).who(f"{header}.{payload}.{b64(code)}") is None


@pytest.mark.parametrize("where", ["http://169.254.169.254/", "https://10.0.0.1/", "file:///etc"])
async def test_a_document_cannot_send_us_elsewhere(elsewhere: Elsewhere, where: str) -> None:
    """The issuer is trusted with keys, not with where in the house we look for them."""
    outbound = Outbound(inside(elsewhere.issuer, ()))
    assert await fetch_keys(outbound, elsewhere.issuer)
    elsewhere.keys_at = where
    with pytest.raises(OutboundRefused):
        await fetch_keys(outbound, elsewhere.issuer)
    await outbound.close()


def test_only_an_issuer_on_this_machine_may_be_asked_there() -> None:
    assert inside("https://login.example", ("10.0.0.0/8",)) == ["10.0.0.0/8"]
    assert "127.0.0.0/8" in inside("http://127.0.0.1:8080", ())
