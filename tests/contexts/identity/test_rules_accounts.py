"""What identity decides about errands, guesses, sessions and roles: plain values, no database."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tradewind.contexts.identity import problems
from tradewind.contexts.identity.commands import (
    SCOPES,
    AskNewAddress,
    AskReset,
    AskSignUp,
    OpenSession,
    SetRoles,
)
from tradewind.contexts.identity.rules import accounts as rules
from tradewind.contexts.identity.rules import roles
from tradewind.contexts.identity.tables.accounts import AccountRow, ErrandRow, GuessRow
from tradewind.kernel.ids import new_id
from tradewind.kernel.problems import Problem

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
ADDRESS = b"a" * 32
HASH = b"h" * 32


def account(**more: Any) -> AccountRow:
    row = AccountRow(
        account_id=new_id("acc"),
        version=1,
        status="active",
        contact="ctc_a",
        person="prs_a",
        record="prs_b",
        password_hash="argon",
        roles=("customer",),
        customer_group="",
        totp_sealed=None,
        totp_pending=None,
        totp_step=0,
        recovery=(),
        opened_at=NOW,
        verified_at=NOW,
        password_at=NOW,
        changed_at=NOW,
    )
    return replace(row, **more)


def sign_up(**more: Any) -> AskSignUp:
    told: dict[str, Any] = {
        "errand_id": new_id("ern"),
        "address": ADDRESS,
        "token_hash": HASH,
        "person": "prs_new",
        "contact": "ctc_a",
        "password_hash": "argon of the new one",
    }
    return AskSignUp(**{**told, **more})


def test_a_sign_up_writes_to_whoever_has_the_address() -> None:
    """With an account: to its record, and what was typed is thrown away."""
    new = rules.asked(sign_up(), None, mails=0, now=NOW)
    assert (new.row.kind, new.event.letter, new.event.person) == (
        "sign_up", "verify_address", "prs_new",
    )  # fmt: skip
    known = rules.asked(sign_up(), account(), mails=0, now=NOW)
    assert (known.row.kind, known.event.letter, known.event.person) == (
        "nothing", "known_address", "prs_b",
    )  # fmt: skip
    assert known.row.password_hash is None


def test_nobody_is_pestered() -> None:
    """More mails than a few an hour are not written, whoever asks and for whatever."""
    for command in (
        sign_up(),
        AskReset(errand_id=new_id("ern"), address=ADDRESS, token_hash=HASH, contact="ctc_a"),
    ):
        asked = rules.asked(command, account(), mails=rules.MAILS_MAX, now=NOW)
        assert (asked.row.kind, asked.event.person, asked.event.contact) == ("nothing", None, None)


def test_a_suspended_account_gets_no_new_password() -> None:
    command = AskReset(errand_id=new_id("ern"), address=ADDRESS, token_hash=HASH, contact="ctc_a")
    asked = rules.asked(command, account(status="suspended"), mails=0, now=NOW)
    assert (asked.row.kind, asked.event.person) == ("nothing", None)


def test_a_new_address_is_asked_at_that_address() -> None:
    command = AskNewAddress(
        errand_id=new_id("ern"),
        address=ADDRESS,
        token_hash=HASH,
        account_id="acc_mine",
        person="prs_new",
        contact="ctc_new",
    )
    asked = rules.asked(command, None, mails=0, now=NOW)
    assert (asked.row.account_id, asked.event.person) == ("acc_mine", "prs_new")


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "reset"},
        {"token_hash": b"x" * 32},
        {"used_at": NOW},
        {"expires_at": NOW},
    ],
    ids=["another kind", "another token", "used", "too old"],
)
def test_a_token_settles_its_errand_once_and_in_time(wrong: dict[str, Any]) -> None:
    row: ErrandRow = rules.asked(sign_up(), None, mails=0, now=NOW).row
    settled = rules.settled(row, "sign_up", HASH, NOW)
    assert isinstance(settled, ErrandRow) and settled.used_at == NOW
    refused = rules.settled(replace(row, **wrong), "sign_up", HASH, NOW)
    assert isinstance(refused, problems.TokenNotValid)
    assert isinstance(rules.settled(None, "sign_up", HASH, NOW), problems.TokenNotValid)


@given(st.lists(st.floats(min_value=0, max_value=3_600), max_size=200))
def test_however_guesses_are_timed_few_are_looked_at(gaps: list[float]) -> None:
    """Of all that come within an hour, those that are free and those the lock lets through."""
    row: GuessRow | None = None
    now, until, looked_at = NOW, NOW + timedelta(hours=1), 0
    for gap in gaps:
        now += timedelta(seconds=gap)
        if now > until:
            break
        decided = rules.guess(ADDRESS, row, now)
        if isinstance(decided, GuessRow):
            row = decided
            looked_at += 1
        else:
            assert int(decided.headers["Retry-After"]) >= 1
    # 5 are free; 1 + 2 + ... + 512 s are ten more, and then one each 15 minutes.
    assert looked_at <= rules.GUESSES_FREE + 10 + 4


def test_a_lock_grows_to_a_quarter_of_an_hour_and_a_day_forgets_it() -> None:
    waits = [rules.lock_s(n) for n in range(rules.GUESSES_FREE, 60)]
    assert waits[:4] == [1, 2, 4, 8]
    assert waits == sorted(waits) and waits[-1] == rules.LOCK_S_MAX
    row = GuessRow(address=ADDRESS, failures=50, locked_until=None, last_at=NOW)
    later = rules.guess(ADDRESS, row, NOW + rules.GUESSES_FORGOTTEN)
    assert isinstance(later, GuessRow) and later.failures == 1


def command(row: AccountRow, **more: Any) -> OpenSession:
    told: dict[str, Any] = {
        "session_id": new_id("ses"),
        "secret_hash": HASH,
        "address": ADDRESS,
        "account_id": row.account_id,
        "password_hash": row.password_hash or "",
        "rehashed": None,
        "resealed": None,
        "totp_step": None,
        "recovery_hash": None,
        "guest_cart": None,
    }
    return OpenSession(**{**told, **more})


def test_what_was_proven_must_still_be_so() -> None:
    row = account()
    assert isinstance(rules.sign_in(command(row), row, NOW), rules.SignedIn)
    for changed in (
        replace(row, password_hash="another"),
        replace(row, status="suspended"),
        replace(row, totp_sealed=b"sealed"),
        None,
    ):
        refused = rules.sign_in(command(row), changed, NOW)
        assert isinstance(refused, problems.InvalidCredentials)


def test_a_code_is_good_once_and_so_is_a_recovery_code() -> None:
    row = account(totp_sealed=b"sealed", totp_step=7, recovery=(b"r" * 32, b"s" * 32))
    assert isinstance(rules.sign_in(command(row, totp_step=7), row, NOW), Problem)
    first = rules.sign_in(command(row, totp_step=8), row, NOW)
    assert isinstance(first, rules.SignedIn) and first.session.second_factor
    again = rules.sign_in(command(row, totp_step=8), first.account, NOW)
    assert isinstance(again, problems.InvalidCredentials)
    spent = rules.sign_in(command(row, recovery_hash=b"r" * 32), row, NOW)
    assert isinstance(spent, rules.SignedIn) and spent.account.recovery == (b"s" * 32,)
    again = rules.sign_in(command(row, recovery_hash=b"r" * 32), spent.account, NOW)
    assert isinstance(again, problems.InvalidCredentials)


def test_staff_is_signed_in_for_a_day_and_customers_for_a_month() -> None:
    lives = []
    for names in (("customer",), ("customer", "support")):
        row = account(roles=names)
        signed_in = rules.sign_in(command(row), row, NOW)
        assert isinstance(signed_in, rules.SignedIn)
        lives.append(signed_in.session.expires_at - NOW)
    assert lives == [rules.SESSION_LIFE, rules.STAFF_SESSION_LIFE]


@given(
    st.sets(st.sampled_from(sorted(roles.BUILT_IN))),
    st.sets(st.sampled_from(sorted(roles.BUILT_IN))),
    st.sets(st.sampled_from(SCOPES)),
)
def test_nobody_gives_or_takes_a_right_they_lack(
    had: set[str], wanted: set[str], held: set[str]
) -> None:
    row = account(roles=tuple(sorted(had)))
    asked = SetRoles(
        account_id=row.account_id, roles=tuple(wanted), by="key_a", held=frozenset(held)
    )
    decided = roles.give(asked, row, {}, NOW)
    before, after = roles.scopes_of(had, {}), roles.scopes_of(wanted, {})
    if isinstance(decided, tuple):
        assert (before ^ after) <= held
        assert set(decided[0].roles) == wanted
        assert (decided[1] is None) == (had == wanted)
    else:
        assert isinstance(decided, problems.ScopeNotHeld)
        assert set(decided.members["missing"]) <= roles.scopes_of(had ^ wanted, {}) - held


def test_every_scope_stands_in_a_role_and_the_customer_has_none() -> None:
    assert roles.scopes_of(["administrator"], {}) == frozenset(SCOPES)
    assert roles.scopes_of(["customer"], {}) == frozenset()
    assert roles.scopes_of(["desk"], {"desk": ["orders:read"]}) == {"orders:read"}
    assert roles.scopes_of(["gone"], {}) == frozenset()
