"""Programs that others wrote drive the provider, and an issuer that others wrote replaces it."""

import asyncio
import base64
import json
import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest
from authlib.integrations.requests_client import OAuth2Session
from authlib.oauth2.rfc7636 import create_s256_code_challenge

from tests.contexts.identity import people
from tests.contexts.identity.browsers import Browser
from tests.contexts.identity.programs import BACK, FORM, program
from tradewind.kernel.ids import new_id
from tradewind.testing.database import TestServer
from tradewind.testing.shop import Shop, SimulatorProcess, free_port

HERE = Path(__file__).parent
PACKAGES = {"openid-client": "6", "oidc-provider": "9", "puppeteer-core": "24"}
INSTALLED_WITHIN_S = 90
ALL = ["openid", "profile", "email", "offline_access", "orders:read"]
GRANTS = ("authorization_code", "refresh_token", "client_credentials")


async def agreed(shop: Shop, email: str, address: str) -> str:
    """Where somebody comes back to who signs in and agrees."""
    browser = Browser(shop)
    parts = urlsplit(address)
    await browser.go(f"{parts.path}?{parts.query}")
    await browser.sign_in(email, people.PASSWORD)
    await browser.follow()
    reply = await browser.send({"step": "allow"})
    location: str = reply.headers["Location"]
    return location


async def test_authlib_drives_code_with_pkce_and_everything_after(shop: Shop) -> None:
    email = f"{new_id('cus')}@example.com"
    account_id = await people.account(shop, email, name="Grace Hopper")
    app = await program(shop, *GRANTS, scopes=ALL)
    found = (await shop.request("GET", "/.well-known/openid-configuration")).json
    session = OAuth2Session(
        app["id"],
        app["secret"],
        scope="openid profile email offline_access",
        redirect_uri=BACK,
        code_challenge_method="S256",
        token_endpoint_auth_method="client_secret_basic",
    )
    verifier = "v" * 64
    address, state = session.create_authorization_url(
        found["authorization_endpoint"], code_verifier=verifier, nonce="n-7"
    )
    assert create_s256_code_challenge(verifier) in address
    came_back = await agreed(shop, email, address)

    def everything() -> dict[str, Any]:
        token = session.fetch_token(
            found["token_endpoint"],
            authorization_response=came_back,
            state=state,
            code_verifier=verifier,
        )
        person = session.get(found["userinfo_endpoint"]).json()
        before = dict(token)
        after = session.refresh_token(found["token_endpoint"], token["refresh_token"])
        told = session.introspect_token(found["introspection_endpoint"], after["access_token"])
        session.revoke_token(found["revocation_endpoint"], after["refresh_token"])
        gone = session.introspect_token(
            found["introspection_endpoint"], after["refresh_token"]
        ).json()
        return {
            "before": before,
            "after": after,
            "person": person,
            "told": told.json(),
            "gone": gone,
        }

    done = await asyncio.to_thread(everything)
    assert done["person"] == {
        "sub": account_id,
        "name": "Grace Hopper",
        "email": email,
        "email_verified": True,
    }
    assert done["after"]["refresh_token"] != done["before"]["refresh_token"]
    assert done["told"]["active"] is True
    assert done["gone"] == {"active": False}


async def test_authlib_gets_a_token_for_itself(shop: Shop) -> None:
    for method in ("client_secret_basic", "client_secret_post"):
        app = await program(shop, "client_credentials", scopes=["orders:read"])
        session = OAuth2Session(
            app["id"], app["secret"], scope="orders:read", token_endpoint_auth_method=method
        )
        fetch = session.fetch_token
        await asyncio.to_thread(fetch, f"{shop.url}/oauth/token", grant_type="client_credentials")
        listed = await asyncio.to_thread(session.get, f"{shop.url}/v1/orders")
        assert listed.status_code == 200


# -- npm


@pytest.fixture(scope="session")
def node() -> Path:
    """A folder with the packages of others; skips by name where node or they are not there."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("no node: install it to let openid-client and oidc-provider run")
    folder = HERE.parents[2] / ".tools" / "node"
    missing = [n for n in PACKAGES if not (folder / "node_modules" / n / "package.json").exists()]
    if missing:
        folder.mkdir(parents=True, exist_ok=True)
        wanted = [f"{name}@{PACKAGES[name]}" for name in PACKAGES]
        command = ["npm", "install", "--no-save", "--prefix", str(folder), *wanted]
        try:
            subprocess.run(command, check=True, capture_output=True, timeout=INSTALLED_WITHIN_S)
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
            pytest.skip(f"npm cannot install {', '.join(missing)}")
    for script in ("browser.mjs", "client.mjs", "issuer.mjs"):
        shutil.copy(HERE / "others" / script, folder / script)
    return folder


class Script:
    """A program of others, and what it says line by line."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def started(cls, folder: Path, name: str, facts: dict[str, Any]) -> "Script":
        """Run a script with these facts."""
        pipe = asyncio.subprocess.PIPE
        command = ("node", str(folder / name), json.dumps(facts))
        process = await asyncio.create_subprocess_exec(
            *command, stdin=pipe, stdout=pipe, stderr=pipe, cwd=folder
        )
        return cls(process)

    async def says(self) -> dict[str, Any]:
        """The next line that is JSON."""
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        async with asyncio.timeout(60):
            while line := await self._process.stdout.readline():
                if line.startswith(b"{"):
                    found: dict[str, Any] = json.loads(line)
                    return found
            raise AssertionError((await self._process.stderr.read()).decode())

    async def hears(self, text: str) -> None:
        """A line for it."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{text}\n".encode())
        await self._process.stdin.drain()

    async def end(self) -> None:
        """Stop it."""
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()


async def test_openid_client_drives_code_with_pkce_and_everything_after(
    shop: Shop, node: Path
) -> None:
    email = f"{new_id('cus')}@example.com"
    account_id = await people.account(shop, email, name="Alan Turing")
    app = await program(shop, *GRANTS, scopes=ALL)
    facts = {"issuer": shop.url, "id": app["id"], "secret": app["secret"], "back": BACK}
    script = await Script.started(node, "client.mjs", facts)
    try:
        address = (await script.says())["address"]
        await script.hears(await agreed(shop, email, address))
        done = await script.says()
    finally:
        await script.end()
    assert done["claims"]["sub"] == account_id
    assert done["person"]["email"] == email
    assert done["active"]["active"] is True
    assert done["refused"] == "invalid_grant"
    assert done["itself"]["scope"] == "orders:read"


async def test_somebody_signs_in_and_agrees_in_a_real_browser(
    shop: Shop, node: Path, tmp_path: Path
) -> None:
    """Authlib asks, Chromium shows the pages and sends the forms, Authlib gets its token."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no Chromium: install it to see the pages in a real browser")
    email = f"{new_id('cus')}@example.com"
    account_id = await people.account(shop, email, name="Radia Perlman")
    app = await program(shop, *GRANTS, scopes=ALL, name="Till <3>")
    session = OAuth2Session(
        app["id"],
        app["secret"],
        scope="openid profile",
        redirect_uri=BACK,
        code_challenge_method="S256",
        token_endpoint_auth_method="client_secret_basic",
    )
    verifier = "w" * 64
    address, state = session.create_authorization_url(
        f"{shop.url}/oauth/authorize", code_verifier=verifier
    )
    facts = {
        "address": address,
        "email": email,
        "password": people.PASSWORD,
        "back": BACK,
        "chromium": chromium,
        "pictures": str(tmp_path),
    }
    script = await Script.started(node, "browser.mjs", facts)
    try:
        seen = await script.says()
    finally:
        await script.end()
    assert seen["faults"] == [], "a page that its own Content-Security-Policy breaks"
    assert seen["refused"] == "Address, password or code is wrong."
    assert seen["asked"] == "Till <3> wants access"

    def token() -> Any:
        session.fetch_token(
            f"{shop.url}/oauth/token",
            authorization_response=seen["cameBack"],
            state=state,
            code_verifier=verifier,
        )
        return session.get(f"{shop.url}/oauth/userinfo").json()

    person = await asyncio.to_thread(token)
    assert (person["sub"], person["name"]) == (account_id, "Radia Perlman")


@pytest.fixture
async def issuer(node: Path) -> AsyncIterator[str]:
    """oidc-provider, running."""
    port = free_port()
    script = await Script.started(node, "issuer.mjs", {"port": port, "audience": "urn:shop"})
    try:
        found: str = (await script.says())["issuer"]
        yield found
    finally:
        await script.end()


async def theirs(shop: Shop, issuer: str, fields: dict[str, str]) -> str:
    """An access token of the other issuer."""
    pair = base64.b64encode(b"erp:a+secret+of+theirs").decode()
    headers = {**FORM, "Authorization": f"Basic {pair}"}
    async with shop.session.post(
        f"{issuer}/token", data=urlencode(fields), headers=headers
    ) as reply:
        body = await reply.json()
        assert reply.status == 200, body
    token: str = body["access_token"]
    return token


async def test_oidc_provider_takes_the_place_of_our_own(
    server: TestServer, simulator: SimulatorProcess, tmp_path: Path, issuer: str
) -> None:
    dsn = await server.create_database()
    settings = {
        "oidc_issuer": issuer,
        "oidc_audience": "urn:shop",
        "oidc_roles": "clerk=keys:write",
    }
    shop = Shop(dsn, tmp_path, simulator.url, **settings)
    await shop.start()
    try:
        ours = await shop.request("GET", "/.well-known/openid-configuration")
        assert (ours.status, ours.json["code"]) == (404, "another_issuer")
        fields = {
            "grant_type": "client_credentials",
            "scope": "orders:read",
            "resource": "urn:shop",
        }
        token = await theirs(shop, issuer, fields)
        assert (await shop.request("GET", "/v1/orders", bearer=token)).status == 200
        # By the role that the token names, mapped in the settings; and nothing else.
        assert (await shop.request("GET", "/v1/keys", bearer=token)).status == 200
        assert (await shop.request("GET", "/v1/events", bearer=token)).status == 403
        assert (await shop.request("GET", "/v1/orders", bearer=token + "A")).status == 401
        fields["resource"] = "urn:another"
        elsewhere = await theirs(shop, issuer, fields)
        assert (await shop.request("GET", "/v1/orders", bearer=elsewhere)).status == 401
    finally:
        await shop.stop()
        await server.drop_database(dsn)
