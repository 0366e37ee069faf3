"""Accounts over real HTTP: signed up, verified, signed in, signed out."""

import pytest

from tests.contexts.identity import people
from tradewind.testing.shop import Shop

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_somebody_signs_up_reads_the_mail_and_signs_in(shop: Shop) -> None:
    email = "ada@accounts.example"
    account_id = await people.account(shop, email, name="Ada")
    reply = await people.sign_in(shop, email)
    assert reply.status == 201
    assert reply.json["account_id"] == account_id
    token = reply.json["token"]
    listed = await shop.request("GET", "/v1/sessions", bearer=token)
    assert [each["current"] for each in listed.json["items"]] == [True]
    assert (await shop.request("DELETE", "/v1/sessions/current", bearer=token)).status == 204
