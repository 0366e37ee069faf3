"""The pages on which people sign in and agree: what is common to them, and their forms.

Invariants: a page runs no script, loads nothing, is in no frame and in no cache; a form counts only
with the code that was put into it for this browser and this very purpose; nobody is sent anywhere
that the caller of these functions has not checked.
"""

import base64
import hmac
import os
from collections.abc import Mapping, Sequence
from functools import lru_cache
from http.cookies import CookieError, SimpleCookie
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import jinja2

from tradewind.contexts.identity.queries import oauth as queries
from tradewind.contexts.identity.tables.oauth import SignedInRow
from tradewind.kernel.answers import Answer
from tradewind.platform.gateway.request import Request
from tradewind.platform.security.authentication import hash_of_key, key_id_of_bearer

TEMPLATES = Path(__file__).parent
HTML = "text/html; charset=utf-8"
VISIT_BYTES = 24
VISIT_CHARACTERS_MAX = 64
VISIT_S = 24 * 3_600
POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; "
    "form-action {targets}; frame-ancestors 'none'"
)


@lru_cache(maxsize=1)
def environment() -> jinja2.Environment:
    """Where the pages are; everything put into them is escaped."""
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


class Browser:
    """Who looks at a page: its cookies, and the session behind them."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self._secure = (request.node.settings.public_url or "").startswith("https://")
        cookies: SimpleCookie = SimpleCookie()
        try:
            cookies.load(request.headers.get("cookie", ""))
        except CookieError:
            cookies.clear()
        self._cookies = {name: morsel.value for name, morsel in cookies.items()}
        visit = self._cookies.get(self.name_of("visit"), "")
        self.is_new = not 16 <= len(visit) <= VISIT_CHARACTERS_MAX or not visit.isascii()
        self._visit = new_visit() if self.is_new else visit
        self._session = self._cookies.get(self.name_of("session"), "")
        self.who: SignedInRow | None = None

    @classmethod
    async def of(cls, request: Request) -> "Browser":
        """The browser, with whoever is signed in there."""
        browser = cls(request)
        session_id = key_id_of_bearer(browser._session)
        if session_id is not None:
            async with request.reading() as snapshot:
                row = await queries.signed_in(snapshot, session_id)
            digest = hash_of_key(browser._session)
            if row is not None and hmac.compare_digest(row.secret_hash, digest):
                browser.who = row
        return browser

    def name_of(self, cookie: str) -> str:
        """A cookie's name. ``__Host-`` lets no other host or path set it, where there is TLS."""
        return f"__Host-tradewind_{cookie}" if self._secure else f"tradewind_{cookie}"

    def form_code(self, purpose: str) -> str:
        """What a form of this browser must bring along, for one purpose (page, request, person)."""
        holder = self._session if self.who is not None else self._visit
        key = self._request.node.secrets.purpose_key("page forms")
        text = f"{holder}\n{purpose}".encode("utf-8", "surrogatepass")
        return base64.urlsafe_b64encode(hmac.digest(key, text, "sha256")[:24]).decode()

    def is_own_form(self, purpose: str, code: str | None) -> bool:
        """Whether a form comes from the page that this browser was shown."""
        if code is None or not code.isascii() or (self.who is None and self.is_new):
            return False
        if self._request.headers.get("sec-fetch-site", "same-origin") not in (
            "same-origin",
            "none",
        ):
            return False
        return hmac.compare_digest(self.form_code(purpose), code)

    def visit_cookie(self) -> dict[str, str]:
        """The header that makes this browser known, where it is new."""
        return self._set("visit", self._visit, VISIT_S) if self.is_new else {}

    def session_cookie(self, token: str) -> dict[str, str]:
        """The header that signs this browser in, until it is closed."""
        return self._set("session", token, None)

    def no_session_cookie(self) -> dict[str, str]:
        """The header that signs this browser out."""
        return self._set("session", "", 0)

    def _set(self, cookie: str, value: str, age_s: int | None) -> dict[str, str]:
        parts = [f"{self.name_of(cookie)}={value}", "Path=/", "HttpOnly", "SameSite=Lax"]
        if age_s is not None:
            parts.append(f"Max-Age={age_s}")
        if self._secure:
            parts.append("Secure")
        return {"set-cookie": "; ".join(parts)}


def new_visit() -> str:
    """A name for a browser that nobody guesses."""
    return base64.urlsafe_b64encode(os.urandom(VISIT_BYTES)).decode()


def page(
    template: str,
    facts: Mapping[str, Any],
    *,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    targets: Sequence[str] = (),
) -> Answer:
    """A page. `targets`: addresses to which what follows a form may lead."""
    sources = " ".join(["'self'", *dict.fromkeys(source_of(target) for target in targets)])
    body = environment().get_template(f"{template}.html.jinja").render(**facts).encode()
    return Answer(
        status=status,
        body=body,
        media_type=HTML,
        headers={
            "content-security-policy": POLICY.format(targets=sources),
            "cache-control": "no-store",
            "x-frame-options": "DENY",
            **(headers or {}),
        },
    )


def source_of(uri: str) -> str:
    """A registered address as a Content-Security-Policy writes its origin, or its scheme."""
    parts = urlsplit(uri)
    if parts.scheme in ("https", "http"):
        return f"{parts.scheme}://{parts.netloc}"
    return f"{parts.scheme}:"


def message(title: str, text: str, *, status: int = 400, **more: Any) -> Answer:
    """A page that only says something."""
    return page("message", {"title": title, "text": text, "good": False, **more}, status=status)


def moved(location: str, headers: Mapping[str, str] | None = None) -> Answer:
    """Go on elsewhere, with GET."""
    return Answer(
        status=303,
        headers={"location": location, "cache-control": "no-store", **(headers or {})},
    )
