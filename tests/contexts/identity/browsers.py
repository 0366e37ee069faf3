"""A browser, as far as the pages need one: cookies, forms, redirects that are not followed."""

import html
import re
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from tests.contexts.identity.programs import BACK, FORM
from tradewind.testing.shop import Reply, Shop

VALUE = re.compile(r'\bvalue="([^"]*)"')
ACTION = re.compile(r'<form method="(get|post)" action="([^"]*)"')
# The example of RFC 7636, appendix B.
VERIFIER = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
CHALLENGE = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"


class Browser:
    """Cookies, and what stands on the page."""

    def __init__(self, shop: Shop) -> None:
        self.shop = shop
        self.cookies: dict[str, str] = {}
        self.reply: Reply

    async def go(self, path: str, *, headers: dict[str, str] | None = None) -> Reply:
        """Open an address of the shop."""
        return await self._ask("GET", path, None, headers or {})

    async def send(self, fields: dict[str, str], *, headers: dict[str, str] | None = None) -> Reply:
        """Send the form on the page, with its hidden fields and these."""
        method, action = ACTION.findall(self.text)[0]
        hidden = dict(self.fields())
        hidden.pop("step", None)
        data = {**hidden, **fields}
        assert method == "post"
        told = {**FORM, **(headers or {})}
        return await self._ask("POST", html.unescape(action), urlencode(data).encode(), told)

    async def sign_in(self, email: str, password: str, **more: str) -> Reply:
        """Fill in the form to sign in."""
        fields = {"step": "sign_in", "email": email, "password": password, **more}
        return await self.send(fields)

    async def follow(self) -> Reply:
        """Go where the last answer leads, if that is here."""
        location = self.reply.headers["Location"]
        assert location.startswith("/"), location
        return await self.go(location)

    @property
    def text(self) -> str:
        """The page."""
        return self.reply.raw.decode()

    def fields(self) -> list[tuple[str, str]]:
        """The hidden fields of the page."""
        found = []
        for tag in re.findall(r"<input[^>]*type=\"hidden\"[^>]*>", self.text):
            name = re.search(r'\bname="([^"]*)"', tag)
            value = VALUE.search(tag)
            assert name is not None
            assert value is not None
            found.append((name[1], html.unescape(value[1])))
        return found

    async def _ask(
        self, method: str, path: str, data: bytes | None, headers: dict[str, str]
    ) -> Reply:
        told = dict(headers)
        if self.cookies:
            told["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        self.reply = await self.shop.request(method, path, data, headers=told, follow=False)
        jar: SimpleCookie = SimpleCookie()
        for line in self.reply.headers.getall("Set-Cookie", []):  # type: ignore[attr-defined]
            jar.load(line)
        for name, morsel in jar.items():
            if morsel["max-age"] == "0":
                self.cookies.pop(name, None)
            else:
                self.cookies[name] = morsel.value
        return self.reply


def authorize_path(client: dict[str, Any], scope: str = "openid", **more: str | None) -> str:
    """The address to which a program sends somebody."""
    query = {
        "response_type": "code",
        "client_id": client["id"],
        "redirect_uri": BACK,
        "scope": scope,
        "state": "st-1",
        "code_challenge": CHALLENGE,
        "code_challenge_method": "S256",
        **more,
    }
    told = {name: value for name, value in query.items() if value is not None}
    return f"/oauth/authorize?{urlencode(told)}"


def told_back(reply: Reply, to: str = BACK) -> dict[str, str]:
    """What the program is told when somebody comes back."""
    assert reply.status == 303, reply.raw
    location = reply.headers["Location"]
    assert location.startswith(f"{to}?"), location
    return dict(parse_qsl(urlsplit(location).query))
