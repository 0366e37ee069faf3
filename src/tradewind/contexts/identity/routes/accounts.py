"""Signing up, and what a mail lets somebody do: no credential is needed, only the mail.

Each answer is the same for an address that has an account and for one that has none, in status,
body and work done: the mail alone tells.
"""

from tradewind.contexts.identity import problems, queries
from tradewind.contexts.identity.commands import (
    AskReset,
    AskSignUp,
    MoveAddress,
    ResetPassword,
    VerifyAddress,
)
from tradewind.contexts.identity.routes.signing_in import address_of, check_password
from tradewind.contexts.identity.tables.accounts import (
    AccountId,
    AskForReset,
    MailOnItsWay,
    Reset,
    SignUp,
    Verify,
)
from tradewind.kernel.answers import Answer, Settled
from tradewind.kernel.ids import new_id
from tradewind.platform.gateway.request import Request
from tradewind.platform.gateway.routing import Anyone, Recorded, Route, Whose
from tradewind.platform.security.authentication import hash_of_key
from tradewind.platform.security.passwords import PASSWORDS

ON_ITS_WAY = Answer(status=202, body=MailOnItsWay())
HOLDER = "identity"


async def post_account(request: Request) -> Answer:
    """Sign up. A mail goes to the address; what it says depends on whether it has an account.

    The account is there once the token of the mail was sent to `/v1/accounts/verify`.
    """
    body: SignUp = request.body
    check_password(body.password, "/password", about=(body.email, body.name or ""))
    node = request.node
    hashed = await PASSWORDS.hash(body.password)
    kept = await node.vault.keep({"email": body.email, "name": body.name}, holder=HOLDER)
    assert kept.contact is not None, "the record has an address"
    errand_id = new_id("ern")
    await request.submit(
        AskSignUp(
            errand_id=errand_id,
            address=address_of(node.secrets, body.email),
            token_hash=hash_of_key(node.secrets.errand_token(errand_id)),
            person=kept.person,
            contact=kept.contact,
            password_hash=hashed,
        )
    )
    return ON_ITS_WAY


def errand_of(request: Request, token: str) -> tuple[str, bytes]:
    """The errand that a token names, and the hash that its row must have."""
    errand_id = request.node.secrets.errand_of_token(token)
    if errand_id is None:
        raise problems.TokenNotValid("Copy the whole link, or ask for a new mail.")
    return errand_id, hash_of_key(token)


async def post_verify(request: Request) -> Answer | Settled:
    """Prove that an address is yours, by the token in its mail. The account can then be used."""
    body: Verify = request.body
    errand_id, token_hash = errand_of(request, body.token)
    outcome: Answer | Settled = await request.submit(
        VerifyAddress(errand_id=errand_id, token_hash=token_hash, account_id=new_id("acc"))
    )
    return outcome


async def post_password_reset(request: Request) -> Answer:
    """Have a mail sent with which a forgotten password can be replaced, if there is an account."""
    body: AskForReset = request.body
    node = request.node
    contact = await node.vault.find_contact(body.email)
    errand_id = new_id("ern")
    await request.submit(
        AskReset(
            errand_id=errand_id,
            address=address_of(node.secrets, body.email),
            token_hash=hash_of_key(node.secrets.errand_token(errand_id)),
            contact=contact,
        )
    )
    return ON_ITS_WAY


async def post_password(request: Request) -> Answer | Settled:
    """Replace a forgotten password, by the token of the mail. Everybody is signed out."""
    body: Reset = request.body
    check_password(body.password, "/password")
    errand_id, token_hash = errand_of(request, body.token)
    hashed = await PASSWORDS.hash(body.password)
    outcome: Answer | Settled = await request.submit(
        ResetPassword(errand_id=errand_id, token_hash=token_hash, password_hash=hashed)
    )
    return outcome


async def post_email(request: Request) -> Answer | Settled:
    """Take a new address, by the token in the mail to it. The old address is told."""
    body: Verify = request.body
    errand_id, token_hash = errand_of(request, body.token)
    node = request.node
    async with request.reading() as snapshot:
        errand = await queries.errand(snapshot, errand_id)
        account = None
        if errand is not None and errand.kind == "new_address" and errand.used_at is None:
            account = await queries.account(snapshot, errand.account_id or "")
    if errand is None or account is None or errand.person is None:
        raise problems.TokenNotValid("Ask for a new mail: each link is good once, and for a time.")
    opened = await node.vault.open([errand.person, account.record])
    new, old = opened[errand.person], opened[account.record]
    if new is None or old is None:
        raise problems.TokenNotValid("The account is not in use any more.")
    told = {**old, "email": new["email"]}
    kept = await node.vault.keep(told, holder=HOLDER, owner=account.person)
    outcome: Answer | Settled = await request.submit(
        MoveAddress(
            errand_id=errand_id,
            token_hash=token_hash,
            record=kept.person,
            record_before=account.record,
            letter_id=new_id("ern"),
        )
    )
    return outcome


ROUTES = (
    Route(
        method="POST",
        path="/v1/accounts",
        handler=post_account,
        summary="Sign up.",
        permission=Anyone(),
        whose=Whose.MAKER,
        body=SignUp,
        answers={202: MailOnItsWay},
        problems=(problems.WeakPassword,),
        limit="sign_ups",
        tag="accounts",
    ),
    Route(
        method="POST",
        path="/v1/accounts/verify",
        handler=post_verify,
        summary="Prove that an e-mail address is yours.",
        permission=Anyone(),
        whose=Whose.SECRET,
        body=Verify,
        answers={200: AccountId},
        problems=(problems.TokenNotValid,),
        limit="logins",
        tag="accounts",
    ),
    Route(
        method="POST",
        path="/v1/accounts/password-reset",
        handler=post_password_reset,
        summary="Ask for a mail that lets a password be replaced.",
        permission=Anyone(),
        whose=Whose.MAKER,
        body=AskForReset,
        answers={202: MailOnItsWay},
        limit="sign_ups",
        tag="accounts",
    ),
    Route(
        method="POST",
        path="/v1/accounts/password",
        handler=post_password,
        summary="Replace a forgotten password.",
        permission=Anyone(),
        whose=Whose.SECRET,
        recorded=Recorded.EVERYBODY,
        notice="password_changed",
        body=Reset,
        answers={204: None},
        problems=(problems.WeakPassword, problems.TokenNotValid),
        limit="logins",
        tag="accounts",
    ),
    Route(
        method="POST",
        path="/v1/accounts/email",
        handler=post_email,
        summary="Take a new e-mail address.",
        permission=Anyone(),
        whose=Whose.SECRET,
        recorded=Recorded.EVERYBODY,
        body=Verify,
        answers={204: None},
        problems=(problems.TokenNotValid, problems.AccountHasChanged),
        limit="logins",
        tag="accounts",
    ),
)
