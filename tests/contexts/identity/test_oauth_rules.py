"""What is decided about clients, keys, codes and devices, without a database."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tradewind.contexts.identity.commands.oauth import (
    ExchangeCode,
    ProvideSigningKey,
    RegisterClient,
    UseRefreshToken,
)
from tradewind.contexts.identity.problems import (
    InvalidClientSettings,
    InvalidGrant,
    InvalidScope,
    ScopeNotHeld,
)
from tradewind.contexts.identity.rules import oauth as rules
from tradewind.contexts.identity.tables.oauth import ClientRow, CodeRow, GrantRow, SigningKeyRow
from tradewind.kernel.ids import new_id

NOW = datetime(2026, 5, 1, tzinfo=UTC)
LIFE = timedelta(days=30)


def offer(number: int, *readable: str, master: str = "m1") -> ProvideSigningKey:
    return ProvideSigningKey(
        kid=f"k{number}", public="{}", master_key_id=master, sealed=b"x", readable=readable
    )


@given(st.lists(st.integers(min_value=1, max_value=40 * 24), min_size=1, max_size=60))
def test_whenever_somebody_looks_a_key_signs_and_the_next_was_known_before(
    hours: list[int],
) -> None:
    """Keys overlap without a gap, however rarely it is looked; a key that signs was published."""
    keys: list[SigningKeyRow] = []
    now = NOW
    for number, step in enumerate(hours):
        now += timedelta(hours=step)
        made = rules.next_key(offer(number), keys, now, LIFE)
        if made is not None:
            was_current = any(k.signs_from <= now < k.signs_until for k in keys)
            assert made.signs_from > now if was_current else made.signs_from == now
            keys.append(made)
        assert any(k.signs_from <= now < k.signs_until for k in keys)
        assert rules.next_key(offer(1_000), keys, now, LIFE) is None, "one at a time"
    for key in keys:
        assert key.served_until >= key.signs_until + timedelta(hours=1)


def test_who_lacks_the_old_master_makes_a_key_without_touching_the_others() -> None:
    first = rules.next_key(offer(1), [], NOW, LIFE)
    assert first is not None
    assert rules.next_key(offer(2, "k1"), [first], NOW, LIFE) is None
    other = rules.next_key(offer(3, master="m2"), [first], NOW, LIFE)
    assert other is not None
    assert other.signs_from == NOW


GOOD = (
    "https://app.example/back",
    "https://app.example:8443/back?x=1",
    "http://127.0.0.1:49152/cb",
    "http://[::1]/cb",
    "http://localhost/cb",
    "com.example.app:/oauth",
    "com.example.app://oauth/back",
)
BAD = (
    "http://app.example/back",
    "https://app.example/back#frag",
    "https://user@app.example/back",
    "https://*.example/back",
    "https:///back",
    "https://app.example\\@evil.example",
    "https://app.example/ back",
    "https://app.example/\u202eback",
    "https://app.example:port/",
    "javascript:alert(1)",
    "data:text/html,x",
    "app:/back",
    "//app.example/back",
    "/back",
    "back",
)


@pytest.mark.parametrize("uri", GOOD)
def test_people_may_be_sent_to(uri: str) -> None:
    assert rules.refused_uri(uri) is None


@pytest.mark.parametrize("uri", BAD)
def test_nobody_may_be_sent_to(uri: str) -> None:
    assert rules.refused_uri(uri)


@given(st.text(max_size=80))
def test_whatever_is_taken_for_an_address_is_safe_in_a_header(text: str) -> None:
    if rules.refused_uri(text) is None:
        assert text.isascii()
        assert not set(text) & set(' \r\n\t\\#<>"') - {'"', "<", ">"}


def client(**more: Any) -> RegisterClient:
    made: dict[str, Any] = {
        "client_id": new_id("cli"),
        "name": "ERP",
        "authentication": "secret",
        "certificates": (),
        "redirect_uris": (),
        "logout_uris": (),
        "grants": ("client_credentials",),
        "scopes": (),
        "registered_by": "key_1",
        "held": frozenset({"orders:read"}),
        **more,
    }
    return RegisterClient(**made)


@pytest.mark.parametrize(
    ("more", "pointer"),
    [
        ({"authentication": "certificate"}, "/certificates"),
        ({"certificates": ("x" * 43,)}, "/certificates"),
        ({"authentication": "none"}, "/grants"),
        ({"grants": ("authorization_code",)}, "/redirect_uris"),
        ({"redirect_uris": ("https://a.example/",)}, "/redirect_uris"),
        ({"grants": ("refresh_token",)}, "/grants"),
        ({"scopes": ("orders:reed",)}, "/scopes/0"),
        ({"logout_uris": ("http://a.example",)}, "/logout_uris/0"),
    ],
)
def test_what_does_not_go_together_is_named(more: dict[str, Any], pointer: str) -> None:
    refused = rules.register(client(**more), NOW)
    assert isinstance(refused, InvalidClientSettings)
    assert pointer in [error.pointer for error in refused.errors]


def test_nobody_hands_on_what_they_lack() -> None:
    taken = rules.register(client(scopes=("orders:read", "openid")), NOW)
    assert isinstance(taken, ClientRow)
    refused = rules.register(client(scopes=("orders:read", "keys:write")), NOW)
    assert isinstance(refused, ScopeNotHeld)
    assert refused.members["missing"] == ["keys:write"]


CODE = CodeRow(
    code_id="cod_1",
    client_id="cli_1",
    account_id="acc_1",
    session_id="ses_1",
    redirect_uri="https://a.example/",
    scopes=("openid",),
    challenge="c" * 43,
    nonce=None,
    signed_in_at=NOW,
    second_factor=False,
    expires_at=NOW + rules.CODE_LIFE,
    grant_id=None,
)
EXCHANGE = ExchangeCode(
    code_id="cod_1",
    client_id="cli_1",
    redirect_uri="https://a.example/",
    challenge="c" * 43,
    grant_id="gra_1",
)


@pytest.mark.parametrize(
    ("row", "more", "later_s"),
    [
        (None, {}, 0),
        (CODE, {"client_id": "cli_2"}, 0),
        (CODE, {"redirect_uri": None}, 0),
        (CODE, {"redirect_uri": "https://a.example"}, 0),
        (CODE, {"challenge": "d" * 43}, 0),
        (CODE, {}, 60),
        (replace(CODE, grant_id="gra_0"), {}, 0),
    ],
)
def test_a_code_that_does_not_fit_becomes_nothing(
    row: CodeRow | None, more: dict[str, Any], later_s: int
) -> None:
    now = NOW + timedelta(seconds=later_s)
    assert isinstance(rules.exchange(replace(EXCHANGE, **more), row, now, LIFE), InvalidGrant)


def grant() -> GrantRow:
    made = rules.exchange(EXCHANGE, CODE, NOW, LIFE)
    assert isinstance(made, GrantRow)
    return rules.with_refresh(made, {"refresh_token"})


def test_only_the_newest_refresh_token_counts() -> None:
    row = grant()
    assert row.generation == 1
    use = UseRefreshToken(grant_id="gra_1", generation=1, client_id="cli_1", scopes=None)
    after = rules.refresh(use, row, NOW)
    assert isinstance(after, GrantRow)
    assert after.generation == 2
    assert isinstance(rules.refresh(use, after, NOW), InvalidGrant)
    assert rules.is_reused(use, after)
    # Another client's attempt, one after the end, or one from the future ends nothing.
    assert not rules.is_reused(replace(use, client_id="cli_2"), after)
    assert not rules.is_reused(use, rules.ended(after, "revoked", NOW))
    assert not rules.is_reused(replace(use, generation=9), after)
    assert isinstance(rules.refresh(replace(use, generation=9), after, NOW), InvalidGrant)
    assert isinstance(rules.refresh(use, row, NOW + LIFE), InvalidGrant)
    more = replace(use, scopes=("openid", "email"))
    assert isinstance(rules.refresh(more, row, NOW), InvalidScope)
