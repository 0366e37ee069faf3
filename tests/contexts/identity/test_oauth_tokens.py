"""Programs get tokens for themselves, use them, and lose them."""

import asyncio
import time
from pathlib import Path
from typing import Any

from tests.contexts.identity.programs import claims_of, own_token, post, program
from tradewind.platform.security.jose import public_key
from tradewind.testing.database import TestServer
from tradewind.testing.shop import Shop, SimulatorProcess

CREDENTIALS = "client_credentials"


async def test_a_program_gets_a_token_and_uses_it(shop: Shop) -> None:
    erp = await program(shop, CREDENTIALS, scopes=["inventory:write", "orders:read"])
    reply = await post(shop, "/oauth/token", {"grant_type": CREDENTIALS}, erp)
    assert reply.status == 200
    assert reply.headers["Cache-Control"] == "no-store"
    answer = reply.json
    assert (answer["token_type"], answer["expires_in"]) == ("Bearer", 300)
    header, claims = claims_of(answer["access_token"], 0), claims_of(answer["access_token"])
    assert (header["alg"], header["typ"]) == ("ES256", "at+jwt")
    assert claims["iss"] == shop.url
    assert claims["aud"] == f"{shop.url}/v1"
    assert claims["sub"] == claims["client_id"] == erp["id"]
    assert claims["scope"] == "inventory:write orders:read"
    assert claims["exp"] - claims["iat"] == 300
    listed = await shop.request("GET", "/v1/orders", bearer=answer["access_token"])
    assert listed.status == 200
    other = await shop.request("GET", "/v1/keys", bearer=answer["access_token"])
    assert other.status == 403
    assert other.json["required_scope"] == "keys:write"
    mine = await shop.request("GET", "/v1/sessions", bearer=answer["access_token"])
    assert mine.status == 403


async def test_a_token_may_ask_for_less_and_never_for_more(shop: Shop) -> None:
    erp = await program(shop, CREDENTIALS, scopes=["inventory:write", "orders:read"])
    less = await own_token(shop, erp, scope="orders:read")
    assert claims_of(less)["scope"] == "orders:read"
    more = await post(shop, "/oauth/token", {"grant_type": CREDENTIALS, "scope": "keys:write"}, erp)
    assert (more.status, more.json["error"]) == (400, "invalid_scope")
    assert more.headers["Content-Type"] == "application/json"


async def test_wrong_ways_are_refused_as_oauth_says(shop: Shop) -> None:
    erp = await program(shop, CREDENTIALS, scopes=["orders:read"])
    wrong = {**erp, "secret": erp["secret"][:-1] + ("A" if erp["secret"][-1] != "A" else "B")}
    other = await program(shop, CREDENTIALS)
    cases = [
        ({"grant_type": CREDENTIALS}, wrong, 401, "invalid_client"),
        ({"grant_type": CREDENTIALS}, {**erp, "secret": other["secret"]}, 401, "invalid_client"),
        ({"grant_type": CREDENTIALS}, {"id": erp["id"]}, 401, "invalid_client"),
        ({"grant_type": CREDENTIALS}, None, 401, "invalid_client"),
        ({"grant_type": "password"}, erp, 400, "unsupported_grant_type"),
        ({"grant_type": "authorization_code"}, erp, 400, "unauthorized_client"),
        ({"scope": "orders:read"}, erp, 400, "invalid_request"),
        ({"grant_type": CREDENTIALS, "resource": "https://else"}, erp, 400, "invalid_target"),
        ({"grant_type": CREDENTIALS, "client_secret": "x"}, erp, 400, "invalid_request"),
        ({"grant_type": CREDENTIALS, "client_id": other["id"]}, erp, 400, "invalid_request"),
    ]
    for fields, client, status, error in cases:
        reply = await post(shop, "/oauth/token", fields, client)
        assert (reply.status, reply.json["error"]) == (status, error), (fields, reply.raw)
        if status == 401 and client is not None and "secret" in client:
            assert reply.headers["WWW-Authenticate"].startswith("Basic ")
    twice = f"grant_type={CREDENTIALS}&scope=orders:read&scope=orders:read".encode()
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    reply = await shop.request("POST", "/oauth/token", twice, headers=form)
    assert (reply.status, reply.json["error"]) == (400, "invalid_request")


async def test_the_keys_of_tokens_are_public_and_hold_nothing_private(shop: Shop) -> None:
    token = await own_token(shop, await program(shop, CREDENTIALS))
    jwks = await shop.request("GET", "/oauth/jwks")
    assert jwks.status == 200
    assert "max-age=3600" in jwks.headers["Cache-Control"]
    keys = {key["kid"]: key for key in jwks.json["keys"]}
    signed_by = keys[claims_of(token, 0)["kid"]]
    assert set(signed_by) == {"kty", "crv", "x", "y", "kid", "use", "alg"}
    assert public_key(signed_by) is not None
    for path in ("openid-configuration", "oauth-authorization-server"):
        found = (await shop.request("GET", f"/.well-known/{path}")).json
        assert found["issuer"] == shop.url
        assert found["jwks_uri"] == f"{shop.url}/oauth/jwks"
        assert found["code_challenge_methods_supported"] == ["S256"]
        assert "none" not in found["id_token_signing_alg_values_supported"]


async def test_a_program_asks_whether_a_token_is_good(shop: Shop) -> None:
    erp = await program(shop, CREDENTIALS, scopes=["orders:read"])
    guard = await program(shop, CREDENTIALS, scopes=["tokens:read"])
    stranger = await program(shop, CREDENTIALS)
    token = await own_token(shop, erp)
    for client in (erp, guard):
        facts = (await post(shop, "/oauth/introspect", {"token": token}, client)).json
        assert facts["active"] is True
        assert facts["client_id"] == erp["id"]
        assert facts["scope"] == "orders:read"
    for text, client in [(token, stranger), (token + "x", erp), ("nothing", erp)]:
        reply = await post(shop, "/oauth/introspect", {"token": text}, client)
        assert reply.json == {"active": False}
    anonymous = await post(shop, "/oauth/introspect", {"token": token})
    assert anonymous.status == 401


async def test_a_void_token_is_refused_within_a_second(shop: Shop) -> None:
    erp = await program(shop, CREDENTIALS, scopes=["orders:read"])
    stranger = await program(shop, CREDENTIALS)
    token, kept = await own_token(shop, erp), await own_token(shop, erp)
    assert (await shop.request("GET", "/v1/orders", bearer=token)).status == 200
    for client in (stranger, erp):
        reply = await post(shop, "/oauth/revoke", {"token": token}, client)
        assert reply.status == 200
        await asyncio.sleep(1.05)
        expected = 401 if client is erp else 200
        assert (await shop.request("GET", "/v1/orders", bearer=token)).status == expected
    assert (await shop.request("GET", "/v1/orders", bearer=kept)).status == 200
    assert (await post(shop, "/oauth/introspect", {"token": token}, erp)).json == {"active": False}


async def test_a_revoked_program_loses_every_token(shop: Shop) -> None:
    erp = await program(shop, CREDENTIALS, scopes=["orders:read"])
    token = await own_token(shop, erp)
    assert (await shop.request("GET", "/v1/orders", bearer=token)).status == 200
    revoked = await shop.admin("POST", f"/v1/oauth/clients/{erp['id']}/revoke")
    assert revoked.json["revoked_at"] is not None
    until = time.monotonic() + 1.05
    while (await shop.request("GET", "/v1/orders", bearer=token)).status == 200:
        assert time.monotonic() < until, "a second has passed"
    again = await post(shop, "/oauth/token", {"grant_type": CREDENTIALS}, erp)
    assert (again.status, again.json["error"]) == (401, "invalid_client")


async def test_a_renewed_secret_works_beside_the_one_before(shop: Shop) -> None:
    erp = await program(shop, CREDENTIALS)
    new = (await shop.admin("POST", f"/v1/oauth/clients/{erp['id']}/secret")).json
    assert new["secret"] != erp["secret"]
    await own_token(shop, new)
    await own_token(shop, erp)
    newest = (await shop.admin("POST", f"/v1/oauth/clients/{erp['id']}/secret")).json
    await own_token(shop, newest)
    await own_token(shop, new)
    reply = await post(shop, "/oauth/token", {"grant_type": CREDENTIALS}, erp)
    assert reply.status == 401
    shown = (await shop.admin("GET", f"/v1/oauth/clients/{erp['id']}")).json
    assert "secret" not in shown


async def test_a_client_is_registered_once_per_key(shop: Shop) -> None:
    body = {"name": "ERP", "grants": [CREDENTIALS]}
    first = await shop.admin("POST", "/v1/oauth/clients", body, key="register-erp")
    again = await shop.admin("POST", "/v1/oauth/clients", body, key="register-erp")
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.raw == first.raw
    listed = (await shop.admin("GET", "/v1/oauth/clients?limit=1")).json["items"]
    assert [item["id"] for item in listed] == [first.json["id"]]
    assert "secret" not in listed[0]


async def test_nobody_registers_a_program_with_more_than_they_have(shop: Shop) -> None:
    body = {"name": "registrar", "scopes": ["clients:write"]}
    key = (await shop.admin("POST", "/v1/keys", body)).json["key"]
    wanted = {"name": "greedy", "grants": [CREDENTIALS], "scopes": ["orders:read"]}
    reply = await shop.request("POST", "/v1/oauth/clients", wanted, bearer=key)
    assert (reply.status, reply.json["code"]) == (403, "scope_not_held")
    assert reply.json["missing"] == ["orders:read"]


async def test_another_process_refuses_a_void_token_within_a_second(
    server: TestServer, simulator: SimulatorProcess, tmp_path: Path
) -> None:
    """Two nodes on one database, behind one public address."""
    dsn = await server.create_database()
    address = {"public_url": "https://shop.example"}
    one = Shop(dsn, tmp_path, simulator.url, **address)
    other = Shop(dsn, tmp_path, simulator.url, **address)
    await one.start()
    await other.start()
    try:
        erp = await program(one, CREDENTIALS, scopes=["orders:read"])
        token = await own_token(one, erp)
        for shop in (one, other):
            assert (await shop.request("GET", "/v1/orders", bearer=token)).status == 200
        keys = [(await shop.request("GET", "/oauth/jwks")).json for shop in (one, other)]
        assert keys[0] == keys[1]
        await post(one, "/oauth/revoke", {"token": token}, erp)
        until = time.monotonic() + 1.05
        while (await other.request("GET", "/v1/orders", bearer=token)).status == 200:
            assert time.monotonic() < until, "a second has passed"
            await asyncio.sleep(0.02)
    finally:
        await one.stop()
        await other.stop()
        await server.drop_database(dsn)


async def test_a_bearer_check_asks_the_database_nothing(shop: Shop) -> None:
    """Verified once; afterwards a token costs a look into memory, and news twice a second."""
    erp = await program(shop, CREDENTIALS, scopes=["orders:read"])
    token = await own_token(shop, erp)
    assert (await shop.request("GET", "/v1/orders", bearer=token)).status == 200
    asked = []
    reading = shop.node.reading

    def counting(context: str) -> Any:
        asked.append(context)
        return reading(context)

    shop.node.reading = counting
    try:
        for _ in range(50):
            refused = await shop.request("GET", "/v1/keys", bearer=token)
            assert refused.status == 403
    finally:
        del shop.node.reading
    # One question for news per 0.4 s, however many requests come.
    assert len(asked) <= 12
