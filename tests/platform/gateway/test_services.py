"""A gateway and its services: what passes between them, and what a service's port refuses."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from tradewind import services
from tradewind.platform.security.credentials import Credential
from tradewind.platform.security.jose import TokenRefused
from tradewind.platform.security.service_tokens import (
    LIFE_S,
    OutOfTime,
    Passed,
    ServiceSigner,
    ServiceVerifier,
    read_public_keys,
    read_signer,
)
from tradewind.testing.database import TestServer
from tradewind.testing.shop import Shop, SimulatorProcess

OPERATION = "POST /v1/orders"
TRACE = "00-bfc4160c46a25d690cac87067bd32089-09d029ba15f15823-00"
STAFF = Credential("key_1", frozenset({"orders:read"}), limits="partner")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def shop(
    server: TestServer, simulator: SimulatorProcess, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Shop]:
    """A shop of services, whichever topology the others are tested in."""
    dsn = await server.create_database()
    folder = tmp_path_factory.mktemp("services")
    shop = Shop(dsn, folder, simulator.url, topology="services")
    await shop.start()
    yield shop
    await shop.stop()
    await server.drop_database(dsn)


def signer(home: Path, *, ahead_s: float = 0) -> ServiceSigner:
    """A gateway's, whose clock is ahead."""
    return ServiceSigner(read_signer(home, None), clock=lambda: time.time() + ahead_s)


def verifier(home: Path, *names: str, ahead_s: float = 0) -> ServiceVerifier:
    """A service's, whose clock is ahead."""
    keys = read_public_keys(home, None)
    return ServiceVerifier(keys, names, clock=lambda: time.time() + ahead_s)


def port_of(shop: Shop, name: str) -> int:
    return int(shop.served[name].application.node.settings.port)


async def ask(shop: Shop, name: str, path: str, headers: Mapping[str, str]) -> tuple[int, Any]:
    """Ask a service at its own port."""
    url = f"http://127.0.0.1:{port_of(shop, name)}{path}"
    async with aiohttp.ClientSession() as session, session.get(url, headers=headers) as reply:
        return reply.status, await reply.json()


# -- tokens


def test_a_service_reads_what_the_gateway_found_out(tmp_path: Path) -> None:
    passed = Passed(STAFF, "203.0.113.7", "thumbprint")
    token = signer(tmp_path).token("orders", OPERATION, passed, TRACE)
    claims = verifier(tmp_path, "orders", "payments").read(token, OPERATION)
    assert claims.passed == passed
    assert (claims.sub, claims.aud, claims.trace) == ("key_1", "orders", TRACE)
    assert claims.exp - claims.iat == LIFE_S
    nobody = signer(tmp_path).token("orders", OPERATION, Passed(), TRACE)
    assert verifier(tmp_path, "orders").read(nobody, OPERATION).passed == Passed()


@pytest.mark.parametrize(
    ("service", "operation"), [("payments", OPERATION), ("orders", "GET /v1/orders")]
)
def test_a_token_is_for_one_service_and_one_operation(
    tmp_path: Path, service: str, operation: str
) -> None:
    token = signer(tmp_path).token("orders", OPERATION, Passed(STAFF), TRACE)
    with pytest.raises(TokenRefused, match="meant for"):
        verifier(tmp_path, service).read(token, operation)


def test_only_the_gateways_key_signs(tmp_path: Path) -> None:
    read_signer(tmp_path / "ours", None)
    token = signer(tmp_path / "theirs").token("orders", OPERATION, Passed(STAFF), TRACE)
    for wrong in (token, token[:-4] + "AAAA", "", "a.b.c", token.rpartition(".")[0] + "."):
        with pytest.raises(TokenRefused):
            verifier(tmp_path / "ours", "orders").read(wrong, OPERATION)


@pytest.mark.parametrize("skew_s", [-600, -70, 70, 600])
def test_clocks_ten_minutes_apart_find_together(tmp_path: Path, skew_s: float) -> None:
    gateway, service = signer(tmp_path), verifier(tmp_path, "orders", ahead_s=skew_s)
    token = gateway.token("orders", OPERATION, Passed(STAFF), TRACE)
    with pytest.raises(OutOfTime):
        service.read(token, OPERATION)
    assert gateway.learn_time("orders", service.clock())
    token = gateway.token("orders", OPERATION, Passed(STAFF), TRACE)
    assert service.read(token, OPERATION).passed.credential == STAFF
    right = gateway.token("payments", OPERATION, Passed(STAFF), TRACE)
    assert verifier(tmp_path, "payments").read(right, OPERATION), "others are dated as before"
    assert not gateway.learn_time("orders", service.clock()), "nothing new"
    assert not gateway.learn_time("orders", service.clock() + 40_000), "broken, and not believed"


# -- the ports of services


@pytest.mark.parametrize("name", services.SERVICES)
async def test_each_service_refuses_who_is_not_the_gateway(shop: Shop, name: str) -> None:
    """Each of its routes, with the administrator's key, and with a token for another service."""
    application = shop.served[name].application
    wrong = signer(shop.settings.home).token("nobody", OPERATION, Passed(STAFF), TRACE)
    assert application.endpoints
    async with aiohttp.ClientSession() as session:
        for endpoint in application.endpoints:
            path = endpoint.route.path.replace("{", "").replace("}", "").replace(":path", "")
            url = f"http://127.0.0.1:{port_of(shop, name)}{path}"
            for headers in (
                {},
                {"Authorization": f"Bearer {shop.admin_key}"},
                {"Tradewind-Service-Token": wrong},
                {"Tradewind-Service-Token": shop.admin_key},
            ):
                async with session.request(endpoint.route.method, url, headers=headers) as reply:
                    said = await reply.json() if endpoint.route.method != "HEAD" else {}
                    assert (reply.status, said["code"]) == (401, "service_token_refused"), url


async def test_together_the_services_answer_every_route(shop: Shop) -> None:
    operations = [
        endpoint.route.operation
        for name in services.SERVICES
        for endpoint in shop.served[name].application.endpoints
    ]
    assert sorted(operations) == sorted(e.route.operation for e in shop.application.endpoints)


async def test_a_service_looks_at_permissions_itself(shop: Shop) -> None:
    """A gateway that let somebody in by mistake changes nothing."""
    token = signer(shop.settings.home).token(
        "orders", "GET /v1/orders", Passed(Credential("key_2", frozenset({"products:read"}))), TRACE
    )
    status, said = await ask(shop, "orders", "/v1/orders", {"Tradewind-Service-Token": token})
    assert (status, said["code"]) == (403, "forbidden")
    token = signer(shop.settings.home).token("orders", "GET /v1/orders", Passed(STAFF), TRACE)
    status, said = await ask(shop, "orders", "/v1/orders", {"Tradewind-Service-Token": token})
    assert status == 200, said


async def test_what_a_caller_calls_a_service_token_goes_no_further(shop: Shop) -> None:
    token = signer(shop.settings.home).token("orders", "GET /v1/orders", Passed(STAFF), TRACE)
    for headers in ({"Tradewind-Service-Token": token}, {"tradewind-service-token": "x"}):
        answer = await shop.request("GET", "/v1/orders", headers=headers)
        assert (answer.status, answer.json["code"]) == (401, "unauthenticated")
        answer = await shop.admin("GET", "/v1/orders", headers=headers)
        assert answer.status == 200


async def test_a_service_whose_clock_is_off_is_still_asked(shop: Shop) -> None:
    door = shop.served["orders"].application._door
    right = door._verifier.clock  # type: ignore[attr-defined]
    try:
        for skew_s in (600, -600):
            door._verifier.clock = lambda s=skew_s: time.time() + s  # type: ignore[attr-defined]
            answer = await shop.admin("GET", "/v1/orders")
            assert answer.status == 200, answer.raw
    finally:
        door._verifier.clock = right  # type: ignore[attr-defined]
    assert (await shop.admin("GET", "/v1/orders")).status == 200


async def test_a_service_that_is_gone_is_a_503_and_comes_back(shop: Shop) -> None:
    before = shop.served["payments"]
    settings = before.application.node.settings
    await before.stop()
    answer = await shop.admin("GET", "/v1/payments/pay_01kx8cg4w0e03bt6nyz0aa7f4r")
    assert (answer.status, answer.json["code"]) == (503, "service_unavailable")
    assert answer.headers["Retry-After"] == "1"
    assert (await shop.admin("GET", "/v1/orders")).status == 200, "others go on"
    until = time.monotonic() + 20
    while (ready := await shop.request("GET", "/readyz")).status == 200:
        assert time.monotonic() < until, "nobody noticed"
        await asyncio.sleep(0.05)
    assert "payments" in ready.json["reasons"][0]
    from tradewind.testing.shop import Serving

    shop.served["payments"] = Serving(services.create(settings, ["payments"]), settings)
    await shop.served["payments"].until_started()
    answer = await shop.admin("GET", "/v1/payments/pay_01kx8cg4w0e03bt6nyz0aa7f4r")
    assert answer.status == 404
