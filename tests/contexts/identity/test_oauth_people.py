"""Somebody lets a program in: sign-in and consent, codes, refresh tokens, devices, signing out."""

import asyncio
from typing import Any

import pytest

from tests.contexts.identity import people
from tests.contexts.identity.browsers import VERIFIER, Browser, authorize_path, told_back
from tests.contexts.identity.programs import BACK, claims_of, post, program
from tradewind.kernel.ids import new_id
from tradewind.platform.security.issuing import at_hash
from tradewind.testing.shop import Reply, Shop

CODE = "authorization_code"
REFRESH = "refresh_token"
DEVICE = "urn:ietf:params:oauth:grant-type:device_code"
ALL = ["openid", "profile", "email", "account", "offline_access", "orders:read"]


async def somebody(shop: Shop, **more: Any) -> tuple[str, str]:
    """The address and the id of a new account."""
    email = f"{new_id('cus')}@example.com"
    return email, await people.account(shop, email, **more)


async def signed_in(shop: Shop, email: str, path: str) -> Browser:
    """A browser at `path`, behind the sign-in."""
    browser = Browser(shop)
    await browser.go(path)
    reply = await browser.sign_in(email, people.PASSWORD)
    assert reply.status == 303, browser.text
    await browser.follow()
    return browser


async def exchange(shop: Shop, client: dict[str, Any], code: str, **more: str) -> Reply:
    """The code for tokens."""
    fields = {
        "grant_type": CODE,
        "code": code,
        "redirect_uri": BACK,
        "code_verifier": VERIFIER,
        **more,
    }
    return await post(shop, "/oauth/token", fields, client)


async def refresh(shop: Shop, client: dict[str, Any], token: str, **more: str) -> Reply:
    """A refresh token for the next ones."""
    fields = {"grant_type": REFRESH, "refresh_token": token, **more}
    return await post(shop, "/oauth/token", fields, client)


async def agreed(shop: Shop, client: dict[str, Any], email: str, scope: str) -> dict[str, Any]:
    """The tokens that a program has once somebody signed in and agreed."""
    browser = await signed_in(shop, email, authorize_path(client, scope))
    reply = await browser.send({"step": "allow"})
    tokens = await exchange(shop, client, told_back(reply)["code"])
    assert tokens.status == 200, tokens.raw
    found: dict[str, Any] = tokens.json
    return found


async def test_somebody_signs_in_agrees_and_the_program_has_tokens(shop: Shop) -> None:
    email, account_id = await somebody(shop, name="Ada Lovelace")
    app = await program(shop, CODE, REFRESH, scopes=ALL)
    browser = Browser(shop)
    path = authorize_path(app, "openid profile email offline_access", nonce="n-1")
    page = await browser.go(path)
    assert page.status == 200
    assert "Till &amp; Co" in browser.text
    assert page.headers["Cache-Control"] == "no-store"
    assert "frame-ancestors 'none'" in page.headers["Content-Security-Policy"]
    visit = dict(browser.cookies)
    reply = await browser.sign_in(email, people.PASSWORD)
    assert reply.status == 303
    assert "HttpOnly" in reply.headers["Set-Cookie"]
    assert "SameSite=Lax" in reply.headers["Set-Cookie"]
    assert set(browser.cookies) > set(visit)
    consent = await browser.follow()
    assert email in browser.text
    assert "see your e-mail address" in browser.text
    assert "https://app.example" in consent.headers["Content-Security-Policy"]
    told = told_back(await browser.send({"step": "allow"}))
    assert (told["state"], told["iss"]) == ("st-1", shop.url)
    reply = await exchange(shop, app, told["code"])
    assert reply.status == 200, reply.raw
    tokens = reply.json
    id_claims = claims_of(tokens["id_token"])
    assert id_claims["sub"] == account_id
    assert id_claims["aud"] == app["id"]
    assert id_claims["nonce"] == "n-1"
    assert id_claims["at_hash"] == at_hash(tokens["access_token"])
    assert id_claims["amr"] == ["pwd"]
    access = claims_of(tokens["access_token"])
    assert (access["sub"], access["client_id"]) == (account_id, app["id"])
    info = await shop.request("GET", "/oauth/userinfo", bearer=tokens["access_token"])
    assert info.json == {
        "sub": account_id,
        "name": "Ada Lovelace",
        "email": email,
        "email_verified": True,
    }
    # An ID token is no access token, and a program does not manage the account.
    wrong = await shop.request("GET", "/oauth/userinfo", bearer=tokens["id_token"])
    assert wrong.status == 401
    mine = await shop.request("GET", "/v1/sessions", bearer=tokens["access_token"])
    assert mine.status == 403
    # The second time nobody is asked; with prompt=consent they are; with another scope, too.
    again = told_back(await browser.go(path))
    assert "code" in again
    assert (await browser.go(authorize_path(app, "openid", prompt="consent"))).status == 200
    assert (await browser.go(authorize_path(app, "openid account"))).status == 200


async def test_a_program_gets_no_right_that_the_person_lacks(shop: Shop) -> None:
    email, account_id = await somebody(shop)
    app = await program(shop, CODE, REFRESH, scopes=ALL)
    tokens = await agreed(shop, app, email, "openid orders:read")
    assert tokens["scope"] == "openid"
    listed = await shop.request("GET", "/v1/orders", bearer=tokens["access_token"])
    assert listed.status == 403
    given = await shop.admin(
        "PUT", f"/v1/accounts/{account_id}/roles", {"roles": ["customer", "support"]}
    )
    assert given.status == 200, given.raw
    # What a token was made of has changed: a new one is made of what is.
    await asyncio.sleep(1.05)
    old = await shop.request("GET", "/oauth/userinfo", bearer=tokens["access_token"])
    assert old.status == 401
    newer = (await refresh(shop, app, tokens["refresh_token"])).json
    assert newer["scope"] == "openid orders:read"


async def test_a_code_counts_once_and_only_for_who_asked(shop: Shop) -> None:
    email, _ = await somebody(shop)
    app = await program(shop, CODE, REFRESH, scopes=ALL)
    other = await program(shop, CODE, REFRESH, scopes=ALL)
    browser = await signed_in(shop, email, authorize_path(app, "openid"))
    code = told_back(await browser.send({"step": "allow"}))["code"]
    for client, fields in (
        (other, {}),
        (app, {"code_verifier": VERIFIER[:-1] + "x"}),
        (app, {"redirect_uri": BACK + "/"}),
        (app, {"code": code[:-1] + ("A" if code[-1] != "A" else "B")}),
    ):
        reply = await exchange(shop, client, **{"code": code, **fields})
        assert (reply.status, reply.json["error"]) == (400, "invalid_grant"), fields
    tokens = (await exchange(shop, app, code)).json
    assert (await exchange(shop, app, code)).json["error"] == "invalid_grant"
    # A code that comes back may have been somebody else's: everything of it is void.
    assert (await refresh(shop, app, tokens["refresh_token"])).json["error"] == "invalid_grant"
    await asyncio.sleep(1.05)
    info = await shop.request("GET", "/oauth/userinfo", bearer=tokens["access_token"])
    assert info.status == 401


async def test_of_a_code_sent_twice_at_once_at_most_one_counts(shop: Shop) -> None:
    email, _ = await somebody(shop)
    app = await program(shop, CODE, scopes=ALL)
    browser = await signed_in(shop, email, authorize_path(app, "openid"))
    code = told_back(await browser.send({"step": "allow"}))["code"]
    replies = await asyncio.gather(*(exchange(shop, app, code) for _ in range(8)))
    assert sum(reply.status == 200 for reply in replies) <= 1
    assert (await exchange(shop, app, code)).status == 400


async def test_a_refresh_token_that_comes_back_ends_its_family(shop: Shop) -> None:
    email, _ = await somebody(shop)
    app = await program(shop, CODE, REFRESH, scopes=ALL, authentication="none")
    first = await agreed(shop, app, email, "openid offline_access")
    second = (await refresh(shop, app, first["refresh_token"])).json
    third = (await refresh(shop, app, second["refresh_token"], scope="openid")).json
    assert third["scope"] == "openid"
    assert len({t["refresh_token"] for t in (first, second, third)}) == 3
    more = await refresh(shop, app, third["refresh_token"], scope="openid email")
    assert more.json["error"] == "invalid_scope"
    stolen = await refresh(shop, app, first["refresh_token"])
    assert (stolen.status, stolen.json["error"]) == (400, "invalid_grant")
    newest = await refresh(shop, app, third["refresh_token"])
    assert newest.json["error"] == "invalid_grant"
    await asyncio.sleep(1.05)
    info = await shop.request("GET", "/oauth/userinfo", bearer=third["access_token"])
    assert info.status == 401


async def test_of_two_that_refresh_at_once_the_family_ends(shop: Shop) -> None:
    email, _ = await somebody(shop)
    app = await program(shop, CODE, REFRESH, scopes=ALL)
    tokens = await agreed(shop, app, email, "openid offline_access")
    replies = await asyncio.gather(*(refresh(shop, app, tokens["refresh_token"]) for _ in range(4)))
    good = [reply.json for reply in replies if reply.status == 200]
    assert len(good) <= 1
    for each in good:
        assert (await refresh(shop, app, each["refresh_token"])).json["error"] == "invalid_grant"


async def test_revoking_a_refresh_token_ends_what_was_agreed(shop: Shop) -> None:
    email, _ = await somebody(shop)
    app = await program(shop, CODE, REFRESH, scopes=ALL)
    tokens = await agreed(shop, app, email, "openid offline_access")
    assert (await post(shop, "/oauth/introspect", {"token": tokens["refresh_token"]}, app)).json[
        "active"
    ]
    await post(shop, "/oauth/revoke", {"token": tokens["refresh_token"]}, app)
    assert (await refresh(shop, app, tokens["refresh_token"])).json["error"] == "invalid_grant"
    await asyncio.sleep(1.05)
    info = await shop.request("GET", "/oauth/userinfo", bearer=tokens["access_token"])
    assert info.status == 401


async def test_a_new_password_ends_what_programs_were_given(shop: Shop) -> None:
    email, _ = await somebody(shop)
    app = await program(shop, CODE, REFRESH, scopes=ALL)
    tokens = await agreed(shop, app, email, "openid offline_access")
    session = await people.signed_in(shop, email)
    changed = await shop.request(
        "PUT",
        "/v1/me/password",
        {"current_password": people.PASSWORD, "new_password": "three other plain words"},
        bearer=session,
    )
    assert changed.status in (200, 204), changed.raw
    assert (await refresh(shop, app, tokens["refresh_token"])).json["error"] == "invalid_grant"


@pytest.mark.parametrize(
    ("more", "error"),
    [
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"code_challenge": None}, "invalid_request"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"code_challenge_method": None}, "invalid_request"),
        ({"scope": "keys:write"}, "invalid_scope"),
        ({"scope": ""}, "invalid_scope"),
        ({"prompt": "none login"}, "invalid_request"),
        ({"prompt": "none"}, "login_required"),
        ({"max_age": "soon"}, "invalid_request"),
        ({"request": "e30."}, "request_not_supported"),
        ({"resource": "https://elsewhere.example"}, "invalid_target"),
    ],
)
async def test_a_wrong_request_goes_back_with_an_error(
    shop: Shop, more: dict[str, Any], error: str
) -> None:
    app = await program(shop, CODE, scopes=["openid"])
    told = told_back(await Browser(shop).go(authorize_path(app, **more)))
    assert (told["error"], told["state"]) == (error, "st-1")


@pytest.mark.parametrize(
    "target",
    [
        "https://evil.example/",
        BACK + "/",
        BACK + "?x=1",
        BACK.upper(),
        BACK + "#a",
        "https://app.example@evil.example/back",
        "https://app.example\\@evil.example/back",
        "https://app.example/back/../../x",
        "https://app.example:443/back",
        "//app.example/back",
        "javascript:alert(1)",
        "",
    ],
)
async def test_nobody_is_sent_to_an_address_that_is_not_registered(shop: Shop, target: str) -> None:
    app = await program(shop, CODE, scopes=["openid"])
    for more in ({}, {"prompt": "none"}, {"response_type": "token"}):
        reply = await Browser(shop).go(authorize_path(app, redirect_uri=target, **more))
        assert reply.status == 400
        assert "Location" not in reply.headers
        assert b"evil.example" not in reply.raw
    unknown = await Browser(shop).go(authorize_path({"id": new_id("cli")}))
    assert (unknown.status, "Location" in unknown.headers) == (400, False)


async def test_a_form_counts_only_from_its_own_page_and_browser(shop: Shop) -> None:
    email, _ = await somebody(shop)
    app = await program(shop, CODE, scopes=["openid", "email"])
    path = authorize_path(app, "openid")
    # Signing somebody else's browser in, without its page.
    stranger = Browser(shop)
    await stranger.go(path)
    victim = Browser(shop)
    await victim.go(path)
    victim.reply = stranger.reply
    forged = await victim.sign_in(email, people.PASSWORD)
    assert forged.status == 403
    assert "tradewind_session" not in victim.cookies
    # Agreeing without the page, from another site, for another request, for another person.
    browser = await signed_in(shop, email, path)
    consent = browser.reply
    for fields, headers in (
        ({"form_code": ""}, {}),
        ({"form_code": "A" * 32}, {}),
        ({}, {"Sec-Fetch-Site": "cross-site"}),
    ):
        browser.reply = consent
        reply = await browser.send({"step": "allow", **fields}, headers=headers)
        assert reply.status == 403, fields
    await browser.go(authorize_path(app, "openid email"))
    code = dict(browser.fields())["form_code"]
    browser.reply = consent
    assert (await browser.send({"step": "allow", "form_code": code})).status == 403
    browser.reply = consent
    assert "code" in told_back(await browser.send({"step": "allow"}))


async def test_the_session_is_new_with_each_sign_in(shop: Shop) -> None:
    """Who planted a cookie beforehand, or had one, has nothing afterwards."""
    email, _ = await somebody(shop)
    other, _ = await somebody(shop)
    app = await program(shop, CODE, scopes=["openid"])
    path = authorize_path(app, "openid", prompt="login")
    attacker = await signed_in(shop, other, path)
    planted = attacker.cookies["tradewind_session"]
    victim = Browser(shop)
    victim.cookies = dict(attacker.cookies)
    await victim.go(path)
    assert (await victim.sign_in(email, people.PASSWORD)).status == 303
    assert victim.cookies["tradewind_session"] != planted
    await victim.go(authorize_path(app, "openid", prompt="consent"))
    assert email in victim.text
    # The planted one has ended, and was never the victim's.
    attacker.reply = await attacker.go(authorize_path(app, "openid"))
    assert "Sign in" in attacker.text


async def test_wrong_passwords_are_told_on_the_page_and_never_more(shop: Shop) -> None:
    email, _ = await somebody(shop)
    app = await program(shop, CODE, scopes=["openid"])
    texts = set()
    for address in (email, f"{new_id('cus')}@example.com"):
        browser = Browser(shop)
        await browser.go(authorize_path(app))
        reply = await browser.sign_in(address, "wrong wrong wrong")
        assert reply.status == 401
        assert address in browser.text
        code = dict(browser.fields())["form_code"]
        texts.add(browser.text.replace(address, "").replace(code, ""))
    assert len(texts) == 1
    hostile = '"><script>alert(1)</script>'
    browser = Browser(shop)
    await browser.go(authorize_path(app))
    await browser.sign_in(hostile, "x")
    assert "<script>" not in browser.text


async def test_somebody_may_say_no_or_be_somebody_else(shop: Shop) -> None:
    email, _ = await somebody(shop)
    app = await program(shop, CODE, scopes=["openid"])
    browser = await signed_in(shop, email, authorize_path(app))
    consent = browser.reply
    assert told_back(await browser.send({"step": "deny"}))["error"] == "access_denied"
    browser.reply = consent
    session = browser.cookies["tradewind_session"]
    await browser.send({"step": "switch"})
    await browser.follow()
    assert "Sign in" in browser.text
    ended = await shop.request("GET", "/v1/sessions", bearer=session)
    assert ended.status == 401


async def test_a_device_goes_on_when_somebody_agreed(shop: Shop) -> None:
    email, account_id = await somebody(shop)
    tv = await program(
        shop, DEVICE, REFRESH, scopes=["openid", "email"], authentication="none", name="Shop TV"
    )
    begun = (await post(shop, "/oauth/device_authorization", {"scope": "openid"}, tv)).json
    poll = {"grant_type": DEVICE, "device_code": begun["device_code"]}
    waiting = await post(shop, "/oauth/token", poll, tv)
    assert (waiting.status, waiting.json["error"]) == (400, "authorization_pending")
    hasty = await post(shop, "/oauth/token", poll, tv)
    assert hasty.json["error"] == "slow_down"
    path = begun["verification_uri_complete"].removeprefix(shop.url)
    browser = await signed_in(shop, email, path)
    assert "Shop TV" in browser.text
    assert f"The device shows <b>{begun['user_code']}</b>" in browser.text, "to be compared"
    await browser.send({"step": "allow"})
    assert "Connected" in browser.text
    tokens = (await post(shop, "/oauth/token", poll, tv)).json
    assert claims_of(tokens["id_token"])["sub"] == account_id
    assert (await post(shop, "/oauth/token", poll, tv)).json["error"] == "invalid_grant"
    # Typed as people type.
    typed = begun["user_code"].lower().replace("-", " ")
    again = await browser.go(f"/oauth/device?user_code={typed.replace(' ', '+')}")
    assert again.status == 400  # nobody waits under it any more
    denied = (await post(shop, "/oauth/device_authorization", {"scope": "openid"}, tv)).json
    await browser.go(f"/oauth/device?user_code={denied['user_code'].lower().replace('-', '+')}")
    assert f"The device shows <b>{denied['user_code']}</b>" in browser.text
    await browser.send({"step": "deny"})
    poll = {"grant_type": DEVICE, "device_code": denied["device_code"]}
    assert (await post(shop, "/oauth/token", poll, tv)).json["error"] == "access_denied"


async def test_signing_out_needs_a_hint_or_a_question(shop: Shop) -> None:
    email, _ = await somebody(shop)
    out = "https://app.example/bye"
    app = await program(shop, CODE, REFRESH, scopes=ALL, logout_uris=[out])
    browser = await signed_in(shop, email, authorize_path(app, "openid"))
    code = told_back(await browser.send({"step": "allow"}))["code"]
    tokens = (await exchange(shop, app, code)).json
    asked = await browser.go(f"/oauth/logout?client_id={app['id']}&post_logout_redirect_uri={out}")
    assert (asked.status, "Sign out?" in browser.text) == (200, True)
    wrong = await browser.go(
        f"/oauth/logout?id_token_hint={tokens['id_token']}"
        "&post_logout_redirect_uri=https://evil.example"
    )
    assert (wrong.status, "Location" in wrong.headers) == (400, False)
    assert (await browser.go(f"/oauth/logout?id_token_hint={tokens['access_token']}")).status == 400
    session = browser.cookies["tradewind_session"]
    gone = await browser.go(
        f"/oauth/logout?id_token_hint={tokens['id_token']}&post_logout_redirect_uri={out}&state=s"
    )
    assert gone.headers["Location"] == f"{out}?state=s"
    assert "tradewind_session" not in browser.cookies
    await asyncio.sleep(1.05)
    assert (await shop.request("GET", "/v1/sessions", bearer=session)).status == 401
    # What was agreed to in that session only has ended with it.
    info = await shop.request("GET", "/oauth/userinfo", bearer=tokens["access_token"])
    assert info.status == 401
    assert (await refresh(shop, app, tokens["refresh_token"])).json["error"] == "invalid_grant"
