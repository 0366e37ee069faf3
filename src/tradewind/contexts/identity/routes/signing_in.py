"""Whether somebody is who they say: address, password and code, checked alike for everybody.

A guess is counted and committed before it is looked at; then one argon2 run follows, whether the
address has an account or not. Whatever lets people in - sessions, the pages of the OAuth provider,
a change that asks for the password - asks here.
"""

import time
from collections.abc import Sequence
from hashlib import sha256

from msgspec import Struct

from tradewind.contexts.identity import queries
from tradewind.contexts.identity.commands import BeginSignIn, ForgiveGuesses
from tradewind.contexts.identity.problems import (
    InvalidCredentials,
    SecondFactorRequired,
    WeakPassword,
)
from tradewind.contexts.identity.tables.accounts import AccountRow
from tradewind.kernel.problems import FieldError
from tradewind.platform.gateway.request import Request
from tradewind.platform.security import totp
from tradewind.platform.security.passwords import PASSWORDS, is_outdated, weakness
from tradewind.platform.security.sealed import is_sealed_anew, open_secret, seal_secret
from tradewind.platform.security.secrets import Secrets
from tradewind.platform.vault.addresses import normalise_email

TOTP = "totp"
WRONG = "Check both. An address counts once it was verified: look for the mail, or sign up again."


class Proven(Struct, frozen=True):
    """What somebody proved, and what it was compared with: `OpenSession` compares it again."""

    account: AccountRow
    address: bytes
    password_hash: str
    rehashed: str | None = None
    resealed: bytes | None = None
    totp_step: int | None = None
    recovery_hash: bytes | None = None


def address_of(secrets: Secrets, email: str) -> bytes:
    """What stands for an address where guesses and mails are counted. Letter case makes no other
    one: nobody gets five more guesses by writing it differently.
    """
    return secrets.keyed_hash("sign in", normalise_email(email).casefold().encode())


async def check_credentials(
    request: Request, email: str, password: str, code: str | None
) -> Proven:
    """Who has this address and this password; the guess is forgiven by `OpenSession`, or has to be
    by `ForgiveGuesses`. Raises `TooManyAttempts`, `InvalidCredentials`,
    `SecondFactorRequired`, and `TooManyPasswords` while too many are checked.
    """
    node = request.node
    address = address_of(node.secrets, email)
    guess = request.guess(address.hex())
    await request.submit(BeginSignIn(address=address))
    contact = await node.vault.find_contact(email)
    async with node.reading("identity") as snapshot:
        account = await queries.account_of(snapshot, contact or "")
    kept = None if account is None or account.status != "active" else account.password_hash
    right = await PASSWORDS.is_right(kept, password)
    if not right or account is None or kept is None:
        raise InvalidCredentials(WRONG)
    rehashed = await PASSWORDS.hash(password) if is_outdated(kept) else None
    proven = Proven(account, address, kept, rehashed)
    if account.totp_sealed is not None:
        if code is None:
            guess.was_none()
        proven = with_code(node.secrets, proven, code)
    guess.was_right()
    return proven


async def check_own_password(request: Request, password: str) -> Proven:
    """That whoever uses a session knows its password. Counted like any other guess."""
    account = await own_account(request)
    assert account.contact is not None, "a session belongs to an account in use"
    opened = (await request.node.vault.open([account.record]))[account.record]
    email = "" if opened is None else opened.get("email", "")
    address = address_of(request.node.secrets, email)
    guess = request.guess(address.hex())
    await request.submit(BeginSignIn(address=address))
    if not await PASSWORDS.is_right(account.password_hash, password):
        raise InvalidCredentials("The password is wrong.")
    assert account.password_hash is not None, "an account in use has a password"
    guess.was_right()
    await request.submit(ForgiveGuesses(address=address))
    return Proven(account, address, account.password_hash)


async def own_account(request: Request) -> AccountRow:
    """The account of whoever is signed in."""
    credential = request.credential
    assert credential is not None, "the route needs somebody who is signed in"
    assert credential.account_id is not None, "the route needs an account"
    async with request.node.reading("identity") as snapshot:
        account = await queries.account(snapshot, credential.account_id)
    if account is None or account.status != "active" or account.password_hash is None:
        raise InvalidCredentials("The account is not in use any more.")
    return account


def with_code(secrets: Secrets, proven: Proven, code: str | None) -> Proven:
    """What was proven, with the code of the app or a recovery code on top."""
    account = proven.account
    sealed = account.totp_sealed
    assert sealed is not None, "only an account with an app is asked for a code"
    if code is None:
        raise SecondFactorRequired("Send the code that the app shows as totp.")
    secret = open_secret(secrets, TOTP, account.account_id, sealed)
    again = None
    if not is_sealed_anew(secrets, sealed):
        again = seal_secret(secrets, TOTP, account.account_id, secret)
    step = totp.step_of(secret, code.replace(" ", ""), time.time())
    if step is not None and step > account.totp_step:
        return replaced(proven, resealed=again, totp_step=step)
    recovery = hash_of_recovery(code)
    if recovery in account.recovery:
        return replaced(proven, resealed=again, recovery_hash=recovery)
    raise InvalidCredentials("The code is wrong, or was used already: wait for the next one.")


def replaced(
    proven: Proven,
    *,
    resealed: bytes | None,
    totp_step: int | None = None,
    recovery_hash: bytes | None = None,
) -> Proven:
    """What was proven, with the second factor."""
    return Proven(
        proven.account,
        proven.address,
        proven.password_hash,
        proven.rehashed,
        resealed,
        totp_step,
        recovery_hash,
    )


def check_password(password: str, pointer: str, *, about: Sequence[str] = ()) -> None:
    """Raise `WeakPassword` for one that would be guessed; `about` is known of its holder."""
    wrong = weakness(password, about=about)
    if wrong is not None:
        raise WeakPassword(
            "Several words that have nothing to do with each other are easy to remember.",
            errors=(FieldError(pointer, wrong),),
        )


def hash_of_recovery(code: str) -> bytes:
    """What is kept of a recovery code: it is chance enough for a fast hash."""
    plain = "".join(code.split()).replace("-", "").casefold()
    return sha256(plain.encode("utf-8", "surrogatepass")).digest()
