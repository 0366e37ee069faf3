"""Programs that ask for tokens, as a test registers and plays them."""

import base64
import json
from typing import Any
from urllib.parse import urlencode

from tradewind.testing.shop import Reply, Shop

FORM = {"Content-Type": "application/x-www-form-urlencoded"}
BACK = "https://app.example/back"


async def program(shop: Shop, *grants: str, **more: Any) -> dict[str, Any]:
    """A registered client, as it was answered."""
    body: dict[str, Any] = {"name": "Till & Co", "grants": grants, **more}
    if "authorization_code" in grants:
        body.setdefault("redirect_uris", [BACK])
    reply = await shop.admin("POST", "/v1/oauth/clients", body)
    assert reply.status == 201, reply.raw
    made: dict[str, Any] = reply.json
    return made


async def post(
    shop: Shop, path: str, fields: dict[str, str], client: dict[str, Any] | None = None, **more: Any
) -> Reply:
    """A form, from a client that proves itself by Basic where it has a secret."""
    headers = {**FORM, **more.pop("headers", {})}
    if client is not None and "secret" in client:
        pair = f"{client['id']}:{client['secret']}".encode()
        headers["Authorization"] = f"Basic {base64.b64encode(pair).decode()}"
    elif client is not None:
        fields = {**fields, "client_id": client["id"]}
    return await shop.request("POST", path, urlencode(fields).encode(), headers=headers, **more)


async def own_token(shop: Shop, client: dict[str, Any], **fields: str) -> str:
    """An access token of a program for itself."""
    reply = await post(shop, "/oauth/token", {"grant_type": "client_credentials", **fields}, client)
    assert reply.status == 200, reply.raw
    token: str = reply.json["access_token"]
    return token


def claims_of(token: str, part: int = 1) -> dict[str, Any]:
    """What a token says, without looking at its signature."""
    text = token.split(".")[part]
    found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    return found
