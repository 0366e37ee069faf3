"""Partners that prove themselves by a TLS certificate: tokens bound to it (RFC 8705)."""

import base64
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from urllib.parse import quote

import pytest
import pytest_asyncio
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from tests.contexts.identity.programs import claims_of, post, program
from tradewind.platform.gateway.certificates import Certificates
from tradewind.platform.gateway.proxies import Proxies
from tradewind.testing.database import TestServer
from tradewind.testing.shop import Shop, SimulatorProcess

FIELDS = {"grant_type": "client_credentials"}


def certificate(name: str) -> x509.Certificate:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=1))
        .sign(key, SHA256())
    )


MINE, OTHER = certificate("erp"), certificate("thief")


def thumbprint(one: x509.Certificate) -> str:
    digest = sha256(one.public_bytes(Encoding.DER)).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def in_colons(one: x509.Certificate) -> dict[str, str]:
    """As RFC 9440 writes it."""
    return {"Client-Cert": f":{base64.b64encode(one.public_bytes(Encoding.DER)).decode()}:"}


def escaped(one: x509.Certificate) -> dict[str, str]:
    """As nginx writes it."""
    return {"Client-Cert": quote(one.public_bytes(Encoding.PEM).decode())}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def behind_proxy(
    server: TestServer, simulator: SimulatorProcess, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Shop]:
    """A shop that trusts the proxy on its own machine."""
    dsn = await server.create_database()
    home: Path = tmp_path_factory.mktemp("proxied")
    settings = {"client_certificate_header": "Client-Cert", "trusted_proxies": ("127.0.0.1",)}
    shop = Shop(dsn, home, simulator.url, **settings)
    await shop.start()
    yield shop
    await shop.stop()
    await server.drop_database(dsn)


async def test_a_token_opens_nothing_without_its_certificate(behind_proxy: Shop) -> None:
    shop = behind_proxy
    erp = await program(
        shop,
        "client_credentials",
        scopes=["orders:read"],
        authentication="certificate",
        certificates=[thumbprint(MINE)],
    )
    assert "secret" not in erp
    for headers in ({}, in_colons(OTHER)):
        reply = await post(shop, "/oauth/token", FIELDS, erp, headers=headers)
        assert (reply.status, reply.json["error"]) == (401, "invalid_client")
    reply = await post(shop, "/oauth/token", FIELDS, erp, headers=in_colons(MINE))
    assert reply.status == 200, reply.raw
    token = reply.json["access_token"]
    assert claims_of(token)["cnf"] == {"x5t#S256": thumbprint(MINE)}
    for headers, status in (
        (in_colons(MINE), 200),
        (escaped(MINE), 200),
        ({}, 401),
        (in_colons(OTHER), 401),
        ({"Client-Cert": "nonsense"}, 401),
        (in_colons(MINE), 200),
    ):
        listed = await shop.request("GET", "/v1/orders", bearer=token, headers=headers)
        assert listed.status == status, headers
    found = (await shop.request("GET", "/.well-known/openid-configuration")).json
    assert found["tls_client_certificate_bound_access_tokens"] is True


async def test_the_header_is_nothing_unless_it_is_set_up(shop: Shop) -> None:
    erp = await program(
        shop,
        "client_credentials",
        authentication="certificate",
        certificates=[thumbprint(MINE)],
    )
    reply = await post(shop, "/oauth/token", FIELDS, erp, headers=in_colons(MINE))
    assert reply.status == 401


def test_a_header_counts_only_from_a_trusted_proxy_and_once() -> None:
    reader = Certificates("Client-Cert", Proxies(("10.0.0.0/8", "::1"), "forwarded").trusts)
    value = in_colons(MINE)["Client-Cert"].encode()
    for client, found in (
        ("10.1.2.3", thumbprint(MINE)),
        ("::1", thumbprint(MINE)),
        ("11.0.0.1", None),
        ("", None),
    ):
        assert reader.thumbprint({b"client-cert": value}, client) == found
    twice = value + b", " + in_colons(OTHER)["Client-Cert"].encode()
    for broken in (twice, b"", b"::", b":AAAA:", escaped(MINE)["Client-Cert"].encode() * 2):
        assert reader.thumbprint({b"client-cert": broken}, "10.1.2.3") is None
