"""Somebody who signs up, reads the mail, and signs in."""

import re
from typing import Any

from tradewind.testing.shop import Reply, Shop

PASSWORD = "correct horse battery"
TOKEN = re.compile(r"et_[0-9a-z]{26}_[A-Za-z0-9_-]{32}")


async def sign_up(shop: Shop, email: str, password: str = PASSWORD, **more: Any) -> Reply:
    """Ask for an account."""
    body = {"email": email, "password": password, **more}
    return await shop.request("POST", "/v1/accounts", body)


async def mails(shop: Shop, email: str) -> list[dict[str, Any]]:
    """The mails to an address, newest first."""
    await shop.until_idle()
    found = await shop.admin("GET", f"/v1/mailbox?to={email.replace('+', '%2B')}")
    items: list[dict[str, Any]] = found.json["items"]
    return items


async def token_in_mail(shop: Shop, email: str) -> str:
    """The token in the newest mail to an address."""
    text = (await mails(shop, email))[0]["text"]
    found = TOKEN.search(text)
    assert found, text
    return found[0]


async def account(shop: Shop, email: str, password: str = PASSWORD, **more: Any) -> str:
    """A verified account; its id."""
    assert (await sign_up(shop, email, password, **more)).status == 202
    token = await token_in_mail(shop, email)
    verified = await shop.request("POST", "/v1/accounts/verify", {"token": token})
    assert verified.status == 200, verified.raw
    account_id: str = verified.json["id"]
    return account_id


async def sign_in(shop: Shop, email: str, password: str = PASSWORD, **more: Any) -> Reply:
    """Sign in."""
    body = {"email": email, "password": password, **more}
    return await shop.request("POST", "/v1/sessions", body)


async def signed_in(shop: Shop, email: str, password: str = PASSWORD, **more: Any) -> str:
    """The token of a new session."""
    reply = await sign_in(shop, email, password, **more)
    assert reply.status == 201, reply.raw
    token: str = reply.json["token"]
    return token
