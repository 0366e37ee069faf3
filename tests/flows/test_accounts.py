"""Accounts over real HTTP: signed up, verified, signed in, changed, signed out."""

import asyncio
import time
from typing import Any

import pytest

from tests.contexts.identity import people
from tests.contexts.identity.people import PASSWORD
from tradewind.kernel.ids import new_id
from tradewind.platform.security import totp
from tradewind.testing.shop import Shop

pytestmark = pytest.mark.asyncio(loop_scope="session")

ADDRESS = {
    "name": "Ada Lovelace",
    "line1": "12 St James's Square",
    "city": "London",
    "postal_code": "SW1Y 4JH",
    "country": "GB",
}


def somebody() -> str:
    """An address that nobody used before."""
    return f"{new_id('cus')}@accounts.example"


async def gone_within_a_second(shop: Shop, token: str) -> None:
    """A session opens nothing any more, a second after it ended at the latest."""
    until = time.monotonic() + 1.0
    while (await shop.request("GET", "/v1/me", bearer=token)).status != 401:
        assert time.monotonic() < until, "the session still opens something"
        await asyncio.sleep(0.05)


async def test_somebody_signs_up_reads_the_mail_and_signs_in(shop: Shop) -> None:
    email = somebody()
    account_id = await people.account(shop, email, name="Ada")
    reply = await people.sign_in(shop, email)
    assert reply.status == 201
    assert reply.json["account_id"] == account_id
    token = reply.json["token"]
    me = (await shop.request("GET", "/v1/me", bearer=token)).json
    assert (me["email"], me["name"], me["roles"]) == (email, "Ada", ["customer"])
    listed = await shop.request("GET", "/v1/sessions", bearer=token)
    assert [each["current"] for each in listed.json["items"]] == [True]
    assert (await shop.request("DELETE", "/v1/sessions/current", bearer=token)).status == 204
    await gone_within_a_second(shop, token)


async def test_an_account_is_there_only_once_its_address_is_verified(shop: Shop) -> None:
    """Who cannot read the mail cannot sign in, and takes the address from nobody."""
    email = somebody()
    await people.sign_up(shop, email, "what a stranger typed")
    assert (await people.sign_in(shop, email, "what a stranger typed")).status == 401
    await people.account(shop, email)
    assert (await people.sign_in(shop, email, "what a stranger typed")).status == 401
    assert (await people.sign_in(shop, email)).status == 201


async def test_a_mail_confirms_once_and_its_repetition_is_answered_the_same(shop: Shop) -> None:
    email = somebody()
    await people.sign_up(shop, email)
    token = await people.token_in_mail(shop, email)
    body = {"token": token}
    replies = await asyncio.gather(
        *(shop.request("POST", "/v1/accounts/verify", body) for _ in range(4))
    )
    assert {reply.status for reply in replies} == {200}
    assert len({reply.json["id"] for reply in replies}) == 1
    forged = {"token": token[:-1] + ("A" if token[-1] != "A" else "B")}
    assert (await shop.request("POST", "/v1/accounts/verify", forged)).status == 410


async def test_two_sign_ups_of_one_address_become_one_account(shop: Shop) -> None:
    email = somebody()
    tokens = []
    for _ in range(2):
        await people.sign_up(shop, email)
        tokens.append(await people.token_in_mail(shop, email))
    replies = await asyncio.gather(
        *(shop.request("POST", "/v1/accounts/verify", {"token": token}) for token in tokens)
    )
    assert sorted(reply.status for reply in replies) == [200, 410]


async def test_known_and_unknown_addresses_are_answered_the_same(shop: Shop) -> None:
    """In status, body and headers; only who reads the mail learns more."""
    known, unknown = somebody(), somebody()
    await people.account(shop, known)

    def told(reply: Any) -> tuple[Any, ...]:
        headers = {k.lower(): v for k, v in reply.headers.items()}
        for name in ("x-request-id", "date"):
            headers.pop(name, None)
        body = dict(reply.json)
        body.pop("trace_id", None)
        return reply.status, body, headers

    for path, body in (
        ("/v1/accounts", {"password": PASSWORD}),
        ("/v1/accounts/password-reset", {}),
        ("/v1/sessions", {"password": "not the password"}),
    ):
        replies = [
            await shop.request("POST", path, {"email": email, **body}) for email in (known, unknown)
        ]
        assert told(replies[0]) == told(replies[1])
    subjects = [mail["subject"] for mail in await people.mails(shop, known)]
    assert subjects[:2] == ["Replace your password", "You have an account already"]


async def test_guesses_are_stopped_however_many_come_at_once(shop: Shop) -> None:
    """Each is counted before it is looked at; the right password does not pass a locked door."""
    known, unknown = somebody(), somebody()
    await people.account(shop, known)
    for email in (known, unknown):
        replies = await asyncio.gather(
            *(people.sign_in(shop, email, f"guess number {n}") for n in range(30))
        )
        looked_at = [reply for reply in replies if reply.status == 401]
        assert 5 <= len(looked_at) <= 8
        assert {reply.status for reply in replies} == {401, 429}
        late = next(reply for reply in replies if reply.status == 429)
        assert late.json["code"] == "too_many_attempts"
        assert int(late.headers["Retry-After"]) >= 1
    assert (await people.sign_in(shop, known.upper())).status in (401, 429)


async def test_a_forgotten_password_is_replaced_and_everybody_is_signed_out(shop: Shop) -> None:
    email = somebody()
    await people.account(shop, email)
    session = await people.signed_in(shop, email)
    for n in range(6):  # the door is locked by now
        await people.sign_in(shop, email, f"guess number {n}")
    await shop.request("POST", "/v1/accounts/password-reset", {"email": email})
    token = await people.token_in_mail(shop, email)
    weak = {"token": token, "password": "1234567890"}
    assert (await shop.request("POST", "/v1/accounts/password", weak)).json["code"] == (
        "weak_password"
    )
    new = {"token": token, "password": "another one entirely"}
    replies = await asyncio.gather(
        *(shop.request("POST", "/v1/accounts/password", new) for _ in range(4))
    )
    assert sorted(reply.status for reply in replies) == [204, 410, 410, 410]
    await gone_within_a_second(shop, session)
    assert (await people.sign_in(shop, email, "another one entirely")).status == 201
    assert (await people.sign_in(shop, email)).status == 401


async def test_a_changed_password_ends_the_other_sessions(shop: Shop) -> None:
    email = somebody()
    await people.account(shop, email)
    here, elsewhere = [await people.signed_in(shop, email) for _ in range(2)]
    body = {"current_password": PASSWORD, "new_password": "quite another password"}
    wrong = {**body, "current_password": "not mine"}
    assert (await shop.request("PUT", "/v1/me/password", wrong, bearer=here)).status == 401
    assert (await shop.request("PUT", "/v1/me/password", body, bearer=here)).status == 204
    await gone_within_a_second(shop, elsewhere)
    assert (await shop.request("GET", "/v1/me", bearer=here)).status == 200
    assert (await people.mails(shop, email))[0]["subject"] == "Your password was changed"


async def test_a_new_address_is_confirmed_and_the_old_one_is_told(shop: Shop) -> None:
    old, new = somebody(), somebody()
    await people.account(shop, old, name="Ada")
    session = await people.signed_in(shop, old)
    body = {"email": new, "password": PASSWORD}
    assert (await shop.request("POST", "/v1/me/email", body, bearer=session)).status == 202
    assert (await people.sign_in(shop, new)).status == 401
    token = await people.token_in_mail(shop, new)
    done = await shop.request("POST", "/v1/accounts/email", {"token": token})
    assert done.status == 204, done.raw
    assert (await shop.request("POST", "/v1/accounts/email", {"token": token})).status == 410
    told = (await people.mails(shop, old))[0]
    assert told["subject"] == "Your account has another e-mail address now"
    me = await shop.request("GET", "/v1/me", bearer=await people.signed_in(shop, new))
    assert (me.json["email"], me.json["name"]) == (new, "Ada")
    assert (await people.sign_in(shop, old)).status == 401


async def test_an_address_of_somebody_else_is_not_taken(shop: Shop) -> None:
    mine, theirs = somebody(), somebody()
    await people.account(shop, theirs)
    await people.account(shop, mine)
    session = await people.signed_in(shop, mine)
    body = {"email": theirs, "password": PASSWORD}
    assert (await shop.request("POST", "/v1/me/email", body, bearer=session)).status == 202
    assert (await people.mails(shop, theirs))[0]["subject"] == "You have an account already"


async def with_app(shop: Shop, session: str) -> tuple[bytes, list[str]]:
    """An authenticator app for whoever is signed in: its secret, and the recovery codes."""
    import base64

    begun = await shop.request("POST", "/v1/me/totp", {"password": PASSWORD}, bearer=session)
    assert begun.status == 200, begun.raw
    secret = base64.b32decode(begun.json["secret"])
    code = totp.code_at(secret, int(time.time()) // totp.STEP_S - 1)
    done = await shop.request("POST", "/v1/me/totp/confirm", {"code": code}, bearer=session)
    assert done.status == 200, done.raw
    return secret, done.json["recovery_codes"]


async def test_an_authenticator_app_is_asked_and_each_code_is_good_once(shop: Shop) -> None:
    email = somebody()
    await people.account(shop, email)
    session = await people.signed_in(shop, email)
    secret, recovery = await with_app(shop, session)
    assert (await people.sign_in(shop, email)).json["code"] == "second_factor_required"
    assert (await people.sign_in(shop, email, "wrong password")).json["code"] == (
        "invalid_credentials"
    )
    code = totp.code_at(secret, int(time.time()) // totp.STEP_S)
    replies = await asyncio.gather(*(people.sign_in(shop, email, totp=code) for _ in range(3)))
    assert [reply.status for reply in replies].count(201) == 1
    assert next(r for r in replies if r.status == 201).json["second_factor"] is True
    replies = await asyncio.gather(
        *(people.sign_in(shop, email, totp=recovery[0].upper()) for _ in range(3))
    )
    assert [reply.status for reply in replies].count(201) == 1
    assert (await people.sign_in(shop, email, totp=recovery[1])).status == 201
    gone = await shop.request("POST", "/v1/me/totp/remove", {"password": PASSWORD}, bearer=session)
    assert gone.status == 204
    assert (await people.sign_in(shop, email)).status == 201


async def test_who_is_right_is_not_locked_out_by_being_asked_often(shop: Shop) -> None:
    """The password is asked for again where much depends on it; being right costs nothing."""
    email = somebody()
    await people.account(shop, email)
    session = await people.signed_in(shop, email)
    for _ in range(8):
        reply = await shop.request("POST", "/v1/me/totp", {"password": PASSWORD}, bearer=session)
        assert reply.status == 200, reply.raw
    assert (await people.sign_in(shop, email)).status == 201


async def test_one_ends_the_session_of_a_telephone_that_was_lost(shop: Shop) -> None:
    email, other = somebody(), somebody()
    await people.account(shop, email)
    await people.account(shop, other)
    here, lost = [await people.signed_in(shop, email) for _ in range(2)]
    stranger = await people.signed_in(shop, other)
    listed = (await shop.request("GET", "/v1/sessions", bearer=here)).json["items"]
    lost_id = next(each["id"] for each in listed if not each["current"])
    path = f"/v1/sessions/{lost_id}"
    assert (await shop.request("DELETE", path, bearer=stranger)).status == 404
    assert (await shop.request("DELETE", path, bearer=here)).status == 204
    await gone_within_a_second(shop, lost)
    more = await people.signed_in(shop, email)
    assert (await shop.request("DELETE", "/v1/sessions", bearer=here)).status == 204
    await gone_within_a_second(shop, more)
    assert (await shop.request("GET", "/v1/me", bearer=here)).status == 200


async def test_profile_addresses_and_preferences_are_kept_and_none_is_lost(shop: Shop) -> None:
    """Ten changes at once, of different parts: all of them are there afterwards."""
    email = somebody()
    await people.account(shop, email, name="Ada")
    session = await people.signed_in(shop, email)

    async def ask(method: str, path: str, body: Any = None) -> Any:
        reply = await shop.request(method, path, body, bearer=session)
        assert reply.status in (200, 201, 204, 409), reply.raw
        return reply

    first = (await ask("POST", "/v1/me/addresses", ADDRESS)).json
    assert first["default"] is True
    wanted = {"document": {"theme": "dark", "sizes": {"shirt": "M"}}}
    replies = await asyncio.gather(
        ask("PATCH", "/v1/me", {"phone": "+44 20 7946 0000"}),
        ask("PUT", "/v1/me/preferences", wanted),
        ask("POST", "/v1/me/addresses", {**ADDRESS, "label": "work", "default": True}),
    )
    assert [reply.status for reply in replies] == [200, 200, 201]
    me = (await ask("GET", "/v1/me")).json
    assert (me["name"], me["phone"]) == ("Ada", "+44 20 7946 0000")
    assert (await ask("GET", "/v1/me/preferences")).json == wanted
    book = (await ask("GET", "/v1/me/addresses")).json["items"]
    assert [(each.get("label"), each["default"]) for each in book] == [
        ("work", True), (None, False),
    ]  # fmt: skip
    moved = {**ADDRESS, "city": "Ockham"}
    assert (await ask("PUT", f"/v1/me/addresses/{first['id']}", moved)).json["city"] == "Ockham"
    assert (await ask("DELETE", f"/v1/me/addresses/{first['id']}")).status == 204
    again = await shop.request("DELETE", f"/v1/me/addresses/{first['id']}", bearer=session)
    assert again.json["code"] == "address_not_found"


async def test_consents_have_a_history(shop: Shop) -> None:
    email = somebody()
    await people.account(shop, email)
    session = await people.signed_in(shop, email)
    for granted in (True, False, True):
        body = {"granted": granted, "wording": "2026-1"}
        reply = await shop.request("PUT", "/v1/me/consents/newsletter", body, bearer=session)
        assert reply.status == 200, reply.raw
    found = (await shop.request("GET", "/v1/me/consents", bearer=session)).json
    assert [each["granted"] for each in found["current"]] == [True]
    assert [each["granted"] for each in found["history"]] == [True, False, True]


async def test_what_is_for_people_is_not_for_keys(shop: Shop) -> None:
    assert (await shop.admin("GET", "/v1/me")).status == 403
    assert (await shop.request("GET", "/v1/me")).status == 401
    assert (await shop.request("GET", "/v1/me", bearer="st_" + "0" * 26 + "_x")).status == 401
