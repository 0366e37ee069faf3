"""Signing in and out: a session is an opaque token, and a row that any process can end."""

import msgspec

from tradewind.contexts.identity import problems, queries
from tradewind.contexts.identity.commands import EndSessions, OpenSession
from tradewind.contexts.identity.routes.signing_in import check_credentials
from tradewind.contexts.identity.tables.accounts import (
    SessionIssued,
    SessionList,
    SessionShown,
    SignIn,
    session_shown,
)
from tradewind.kernel.answers import Answer
from tradewind.kernel.ids import new_id
from tradewind.kernel.problems import FieldError
from tradewind.platform.gateway.problems import InvalidBody
from tradewind.platform.gateway.request import Request
from tradewind.platform.gateway.routing import Anyone, Recorded, Route, SignedIn, Whose
from tradewind.platform.security.authentication import hash_of_key, new_session_token
from tradewind.platform.security.passwords import TooManyPasswords

# The cart of a guest is in the account's, for whoever reads it after signing in.
MERGES_CARTS = ("orders.sign_ins",)
MERGED_WITHIN_S = 2.0


async def post_session(request: Request) -> Answer:
    """Sign in. `token` in the answer is the only place where the session's token is ever shown.

    An account with an authenticator app wants its code, or a recovery code, as `totp`. `cart_token`
    is that of the cart that was filled as a guest: its lines join the account's cart.
    """
    body: SignIn = request.body
    node = request.node
    guest_cart = None
    if body.cart_token is not None:
        guest_cart = node.secrets.cart_of_token(body.cart_token)
        if guest_cart is None:
            error = FieldError("/cart_token", "opens no cart")
            raise InvalidBody("Leave cart_token out, or send that of a cart.", errors=(error,))
    proven = await check_credentials(request, body.email, body.password, body.totp)
    session_id = new_id("ses")
    token = new_session_token(session_id)
    opened: SessionShown = await request.submit(
        OpenSession(
            session_id=session_id,
            secret_hash=hash_of_key(token),
            address=proven.address,
            account_id=proven.account.account_id,
            password_hash=proven.password_hash,
            rehashed=proven.rehashed,
            resealed=proven.resealed,
            totp_step=proven.totp_step,
            recovery_hash=proven.recovery_hash,
            guest_cart=guest_cart,
        )
    )
    if guest_cart is not None:
        await node.caught_up(MERGES_CARTS, MERGED_WITHIN_S)
    issued = SessionIssued(**msgspec.structs.asdict(opened), token=token)
    return Answer(status=201, body=issued)


async def get_sessions(request: Request) -> Answer:
    """Where you are signed in, newest first; `current` is the session that asks."""
    credential = request.credential
    assert credential is not None, "the route needs somebody who is signed in"
    assert credential.account_id is not None, "the route needs an account"
    async with request.reading() as snapshot:
        rows = await queries.sessions(snapshot, credential.account_id)
    items = [session_shown(row, credential.session_id or "") for row in rows]
    return Answer(body=SessionList(items))


async def delete_current_session(request: Request) -> Answer:
    """Sign out. Every process refuses the token within a second."""
    credential = request.credential
    assert credential is not None, "the route needs somebody who is signed in"
    await end(request, credential.session_id)
    return Answer(status=204)


async def delete_session(request: Request) -> Answer:
    """End one of your sessions: that of a telephone that was lost."""
    if not await end(request, request.params["session_id"]):
        raise problems.SessionNotFound("GET /v1/sessions lists yours.")
    return Answer(status=204)


async def delete_sessions(request: Request) -> Answer:
    """Sign out everywhere, but here."""
    credential = request.credential
    assert credential is not None, "the route needs somebody who is signed in"
    await end(request, None, kept=credential.session_id)
    return Answer(status=204)


async def end(request: Request, session_id: str | None, kept: str | None = None) -> int:
    """End sessions of whoever asks; how many there were."""
    credential = request.credential
    assert credential is not None, "the route needs somebody who is signed in"
    assert credential.account_id is not None, "the route needs an account"
    count: int = await request.submit(
        EndSessions(account_id=credential.account_id, session_id=session_id, kept=kept)
    )
    return count


ROUTES = (
    Route(
        method="POST",
        path="/v1/sessions",
        handler=post_session,
        summary="Sign in.",
        permission=Anyone(),
        whose=Whose.SECRET,
        recorded=Recorded.EVERYBODY,
        notice="login_succeeded",
        body=SignIn,
        answers={201: SessionIssued},
        problems=(
            problems.InvalidCredentials,
            problems.SecondFactorRequired,
            problems.TooManyAttempts,
            TooManyPasswords,
        ),
        limit="logins",
        tag="sessions",
    ),
    Route(
        method="GET",
        path="/v1/sessions",
        handler=get_sessions,
        summary="List where you are signed in.",
        permission=SignedIn(),
        whose=Whose.CALLER,
        answers={200: SessionList},
        tag="sessions",
    ),
    Route(
        method="DELETE",
        path="/v1/sessions/current",
        handler=delete_current_session,
        summary="Sign out.",
        permission=SignedIn(),
        whose=Whose.CALLER,
        answers={204: None},
        tag="sessions",
    ),
    Route(
        method="DELETE",
        path="/v1/sessions/{session_id}",
        handler=delete_session,
        summary="End one of your sessions.",
        permission=SignedIn(),
        whose=Whose.CALLER,
        answers={204: None},
        problems=(problems.SessionNotFound,),
        tag="sessions",
    ),
    Route(
        method="DELETE",
        path="/v1/sessions",
        handler=delete_sessions,
        summary="Sign out everywhere else.",
        permission=SignedIn(),
        whose=Whose.CALLER,
        answers={204: None},
        tag="sessions",
    ),
)
