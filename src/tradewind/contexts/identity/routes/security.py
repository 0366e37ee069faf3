"""How somebody signs in: password, address, authenticator app; and what they agreed to."""

import secrets as chance
import time

from tradewind.contexts.identity import problems, queries
from tradewind.contexts.identity.commands import (
    AskNewAddress,
    BeginTotp,
    ChangePassword,
    ConfirmTotp,
    DropTotp,
    RecordConsent,
)
from tradewind.contexts.identity.routes.accounts import ON_ITS_WAY
from tradewind.contexts.identity.routes.signing_in import (
    TOTP,
    address_of,
    check_own_password,
    check_password,
    hash_of_recovery,
    own_account,
)
from tradewind.contexts.identity.tables.accounts import MailOnItsWay, NewAddress, NewPassword
from tradewind.contexts.identity.tables.people import (
    ConsentBody,
    Consents,
    ConsentShown,
    OwnPassword,
    RecoveryCodes,
    TotpCode,
    TotpSecret,
)
from tradewind.kernel.answers import Answer, Settled
from tradewind.kernel.ids import new_id
from tradewind.kernel.problems import FieldError, Problem
from tradewind.platform.gateway.problems import InvalidBody
from tradewind.platform.gateway.request import Request
from tradewind.platform.gateway.routing import Recorded, Route, SignedIn, Whose
from tradewind.platform.security import totp
from tradewind.platform.security.authentication import hash_of_key
from tradewind.platform.security.passwords import PASSWORDS, TooManyPasswords
from tradewind.platform.security.sealed import open_secret, seal_secret

HOLDER = "identity"
ISSUER = "Tradewind"
# Ten codes of 50 bits each: typed by hand from a sheet of paper, and beyond guessing.
RECOVERY_CODES = 10
RECOVERY_ALPHABET = "abcdefghjkmnpqrstvwxyz0123456789"
RECOVERY_LETTERS = 10
PURPOSE_LENGTH_MAX = 40


async def put_password(request: Request) -> Answer | Settled:
    """Change your password. You stay signed in here, and are signed out everywhere else."""
    body: NewPassword = request.body
    credential = request.credential
    assert credential is not None, "the route needs somebody who is signed in"
    proven = await check_own_password(request, body.current_password)
    check_password(body.new_password, "/new_password")
    hashed = await PASSWORDS.hash(body.new_password)
    outcome: Answer | Settled = await request.submit(
        ChangePassword(
            account_id=proven.account.account_id,
            before=proven.password_hash,
            password_hash=hashed,
            session_id=credential.session_id,
            errand_id=new_id("ern"),
        )
    )
    return outcome


async def post_email(request: Request) -> Answer:
    """Have another address. It counts once the token of the mail to it was sent to
    `/v1/accounts/email`; the address until now is told.
    """
    body: NewAddress = request.body
    node = request.node
    proven = await check_own_password(request, body.password)
    kept = await node.vault.keep({"email": body.email}, holder=HOLDER)
    assert kept.contact is not None, "the record has an address"
    errand_id = new_id("ern")
    await request.submit(
        AskNewAddress(
            errand_id=errand_id,
            address=address_of(node.secrets, body.email),
            token_hash=hash_of_key(node.secrets.errand_token(errand_id)),
            account_id=proven.account.account_id,
            person=kept.person,
            contact=kept.contact,
        )
    )
    return ON_ITS_WAY


# -- an authenticator app


async def post_totp(request: Request) -> Answer:
    """Begin with an authenticator app: the secret for it, shown here and nowhere else.

    It counts once a code of it was sent to `/v1/me/totp/confirm`.
    """
    body: OwnPassword = request.body
    proven = await check_own_password(request, body.password)
    account, node = proven.account, request.node
    secret = totp.new_secret()
    sealed = seal_secret(node.secrets, TOTP, account.account_id, secret)
    await request.submit(BeginTotp(account_id=account.account_id, sealed=sealed))
    opened = (await node.vault.open([account.record]))[account.record] or {}
    uri = totp.uri(secret, issuer=ISSUER, account=opened.get("email", account.account_id))
    return Answer(body=TotpSecret(secret=totp.shown(secret), uri=uri))


async def post_totp_confirm(request: Request) -> Answer:
    """Show that the app works. From now on signing in wants its code, or one of these."""
    body: TotpCode = request.body
    account = await own_account(request)
    if account.totp_pending is None:
        raise problems.TotpNotBegun("POST /v1/me/totp first.")
    secret = open_secret(request.node.secrets, TOTP, account.account_id, account.totp_pending)
    step = totp.step_of(secret, body.code.replace(" ", ""), time.time())
    if step is None:
        error = FieldError("/code", "is not what the app shows now")
        raise problems.InvalidCode("Is the clock of the telephone right?", errors=(error,))
    codes = [recovery_code() for _ in range(RECOVERY_CODES)]
    await request.submit(
        ConfirmTotp(
            account_id=account.account_id,
            sealed=account.totp_pending,
            step=step,
            recovery=tuple(hash_of_recovery(code) for code in codes),
            errand_id=new_id("ern"),
        )
    )
    return Answer(body=RecoveryCodes(codes))


def recovery_code() -> str:
    """A code that stands in for the app, once."""
    letters = "".join(chance.choice(RECOVERY_ALPHABET) for _ in range(RECOVERY_LETTERS))
    return f"{letters[:5]}-{letters[5:]}"


async def delete_totp(request: Request) -> Answer | Settled:
    """Take the authenticator app away. Your password says that it is you."""
    body: OwnPassword = request.body
    proven = await check_own_password(request, body.password)
    outcome: Answer | Settled = await request.submit(
        DropTotp(
            account_id=proven.account.account_id,
            before=proven.password_hash,
            errand_id=new_id("ern"),
        )
    )
    return outcome


# -- consents


async def get_consents(request: Request) -> Answer:
    """What you agreed to: what counts today, and all that was ever said, newest first."""
    account = await own_account(request)
    async with request.reading() as snapshot:
        rows = await queries.consents(snapshot, account.account_id)
    newest: dict[str, ConsentShown] = {}
    for row in rows:
        newest.setdefault(row.purpose, row.shown)
    current = [newest[purpose] for purpose in sorted(newest)]
    return Answer(body=Consents(current=current, history=[row.shown for row in rows]))


async def put_consent(request: Request) -> Answer | Settled:
    """Agree to something, or take it back. Nothing that was said before is changed by it."""
    body: ConsentBody = request.body
    credential = request.credential
    assert credential is not None, "the route needs somebody who is signed in"
    purpose = request.params["purpose"]
    plain = purpose.isascii() and purpose.replace("_", "a").isalnum() and purpose.islower()
    if not plain or not purpose[0].isalpha() or not 2 <= len(purpose) <= PURPOSE_LENGTH_MAX:
        error = FieldError("purpose", "must be a word such as newsletter or order_mails")
        raise InvalidBody("Name a purpose in lower case.", errors=(error,))
    outcome: Answer | Settled = await request.submit(
        RecordConsent(
            account_id=credential.account_id or "",
            purpose=purpose,
            granted=body.granted,
            wording=body.wording,
            via=credential.session_id or credential.id,
        )
    )
    return outcome


GUESSED: tuple[type[Problem], ...] = (
    problems.InvalidCredentials,
    problems.TooManyAttempts,
    TooManyPasswords,
)
ROUTES = (
    Route(
        method="PUT",
        path="/v1/me/password",
        handler=put_password,
        summary="Change your password.",
        permission=SignedIn(),
        whose=Whose.CALLER,
        recorded=Recorded.EVERYBODY,
        notice="password_changed",
        body=NewPassword,
        answers={204: None},
        problems=(problems.WeakPassword, problems.AccountHasChanged, *GUESSED),
        limit="logins",
        tag="me",
    ),
    Route(
        method="POST",
        path="/v1/me/email",
        handler=post_email,
        summary="Change your e-mail address.",
        permission=SignedIn(),
        whose=Whose.CALLER,
        recorded=Recorded.EVERYBODY,
        body=NewAddress,
        answers={202: MailOnItsWay},
        problems=GUESSED,
        limit="sign_ups",
        tag="me",
    ),
    Route(
        method="POST",
        path="/v1/me/totp",
        handler=post_totp,
        summary="Begin with an authenticator app.",
        permission=SignedIn(),
        whose=Whose.CALLER,
        body=OwnPassword,
        answers={200: TotpSecret},
        problems=GUESSED,
        limit="logins",
        tag="me",
    ),
    Route(
        method="POST",
        path="/v1/me/totp/confirm",
        handler=post_totp_confirm,
        summary="Confirm an authenticator app.",
        permission=SignedIn(),
        whose=Whose.CALLER,
        recorded=Recorded.EVERYBODY,
        notice="second_factor_changed",
        body=TotpCode,
        answers={200: RecoveryCodes},
        problems=(problems.TotpNotBegun, problems.InvalidCode, problems.InvalidCredentials),
        limit="logins",
        tag="me",
    ),
    Route(
        method="POST",
        path="/v1/me/totp/remove",
        handler=delete_totp,
        summary="Take the authenticator app away.",
        permission=SignedIn(),
        whose=Whose.CALLER,
        recorded=Recorded.EVERYBODY,
        notice="second_factor_changed",
        body=OwnPassword,
        answers={204: None},
        problems=(problems.AccountHasChanged, *GUESSED),
        limit="logins",
        tag="me",
    ),
    Route(
        method="GET",
        path="/v1/me/consents",
        handler=get_consents,
        summary="Read what you agreed to.",
        permission=SignedIn(),
        whose=Whose.CALLER,
        answers={200: Consents},
        problems=(problems.InvalidCredentials,),
        tag="me",
    ),
    Route(
        method="PUT",
        path="/v1/me/consents/{purpose}",
        handler=put_consent,
        summary="Agree to something, or take it back.",
        permission=SignedIn(),
        whose=Whose.CALLER,
        body=ConsentBody,
        answers={200: ConsentShown},
        problems=(problems.AccountNotFound,),
        tag="me",
    ),
)
