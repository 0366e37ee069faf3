"""Passwords, one-time codes and sealed secrets: against published vectors, and under load."""

import asyncio
import os
import time

import pytest

from tradewind.platform.security import totp
from tradewind.platform.security.passwords import (
    NOBODYS,
    Passwords,
    TooManyPasswords,
    is_outdated,
    weakness,
)
from tradewind.platform.security.sealed import SecretUnreadable, open_secret, seal_secret
from tradewind.platform.security.secrets import Secrets


async def test_only_the_password_itself_is_right() -> None:
    passwords = Passwords()
    kept = await passwords.hash("correct horse battery")
    assert kept.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert await passwords.is_right(kept, "correct horse battery")
    for wrong in ("Correct horse battery", "", "correct horse battery ", "\udc80"):
        assert not await passwords.is_right(kept, wrong)
    assert not is_outdated(kept)
    assert is_outdated(kept.replace("t=2", "t=1"))


async def test_a_password_is_the_same_however_a_keyboard_composes_it() -> None:
    passwords = Passwords()
    kept = await passwords.hash("caf\u00e9 au lait")
    assert await passwords.is_right(kept, "cafe\u0301 au lait")


async def test_where_there_is_no_password_none_is_right_and_it_takes_as_long() -> None:
    """The hash that stands for nobody's has today's parameters: else time would tell."""
    passwords = Passwords()
    kept = await passwords.hash("correct horse battery")
    assert kept.rsplit("$", 2)[0] == NOBODYS.rsplit("$", 2)[0]
    assert len(kept) == len(NOBODYS)
    assert not await passwords.is_right(None, "anything")


async def test_hashing_lets_the_loop_run_and_more_than_can_wait_are_refused() -> None:
    passwords = Passwords(threads=1, waiting_max=8)
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    counting = asyncio.create_task(count())
    outcomes = await asyncio.gather(
        *(passwords.is_right(None, "x") for _ in range(20)), return_exceptions=True
    )
    counting.cancel()
    refused = [each for each in outcomes if isinstance(each, TooManyPasswords)]
    assert len(refused) == 12
    assert refused[0].headers["Retry-After"]
    assert turns > 100
    assert not await passwords.is_right(None, "x"), "there is room again"


@pytest.mark.parametrize(
    "password",
    ["short", "1234567890", "aaaaaaaaaaaa", "ada@shop.example", "Lovelace Ada", "x" * 129],
)
def test_what_is_tried_first_is_no_password(password: str) -> None:
    assert weakness(password, about=("ada@shop.example", "Lovelace Ada"))


def test_words_that_have_nothing_to_do_with_each_other_are_one() -> None:
    assert weakness("correct horse battery", about=("ada@shop.example", "Ada")) is None


# RFC 6238, appendix B: the last six digits of the codes for SHA-1.
VECTORS = [
    (59, "287082"),
    (1111111109, "081804"),
    (1111111111, "050471"),
    (1234567890, "005924"),
    (2000000000, "279037"),
    (20000000000, "353130"),
]


@pytest.mark.parametrize(("unix_s", "code"), VECTORS)
def test_codes_are_those_of_the_standard(unix_s: int, code: str) -> None:
    secret = b"12345678901234567890"
    assert totp.code_at(secret, unix_s // totp.STEP_S) == code
    assert totp.step_of(secret, code, unix_s) == unix_s // totp.STEP_S
    assert totp.step_of(secret, code, unix_s + totp.STEP_S) is not None
    assert totp.step_of(secret, code, unix_s + 3 * totp.STEP_S) is None
    assert totp.step_of(secret, "", unix_s) is None
    assert totp.step_of(secret, "\u0660" * 6, unix_s) is None


def test_a_sealed_secret_opens_for_its_owner_under_each_master_key() -> None:
    old, new = os.urandom(32), os.urandom(32)
    sealed = seal_secret(Secrets([old]), "totp", "acc_a", b"secret")
    assert open_secret(Secrets([new, old]), "totp", "acc_a", sealed) == b"secret"
    for owner, purpose in (("acc_b", "totp"), ("acc_a", "other")):
        with pytest.raises(SecretUnreadable):
            open_secret(Secrets([old]), purpose, owner, sealed)
    with pytest.raises(SecretUnreadable):
        open_secret(Secrets([old]), "totp", "acc_a", sealed[:-1] + bytes([sealed[-1] ^ 1]))


def test_the_clock_of_codes_is_half_a_minute() -> None:
    assert totp.code_at(b"k" * 20, int(time.time()) // 30).isdigit()
