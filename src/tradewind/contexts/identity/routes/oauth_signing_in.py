"""The step that every page begins with: somebody signs in, and gets a session of their own.

The session is new with each sign-in: whatever cookie a browser had before opens nothing. One that
was used before and is replaced by somebody else's ends.
"""

from typing import Annotated

from msgspec import Meta, Struct

from tradewind.contexts.identity.commands import EndSessions, OpenSession
from tradewind.contexts.identity.problems import (
    InvalidCredentials,
    SecondFactorRequired,
    TooManyAttempts,
)
from tradewind.contexts.identity.routes.pages import Browser, moved, page
from tradewind.contexts.identity.routes.signing_in import check_credentials
from tradewind.kernel.answers import Answer
from tradewind.kernel.ids import new_id
from tradewind.kernel.problems import Problem
from tradewind.platform.gateway.problems import TooManyRequests
from tradewind.platform.gateway.request import Request
from tradewind.platform.security.authentication import hash_of_key, new_session_token
from tradewind.platform.security.passwords import TooManyPasswords

# Sign-in forms of all pages are for one purpose: the address that follows is in the form's action.
SIGN_IN = "sign in"
TOO_OLD = "This page was open for too long, or belongs to another window. Please try again."


class PageForm(Struct, frozen=True, kw_only=True):
    """What a form on a page sends; which fields there are depends on the step."""

    step: Annotated[str, Meta(max_length=20)] = ""
    form_code: Annotated[str, Meta(max_length=64)] | None = None
    email: Annotated[str, Meta(max_length=254)] = ""
    password: Annotated[str, Meta(max_length=256)] = ""
    totp: Annotated[str, Meta(max_length=40)] | None = None
    user_code: Annotated[str, Meta(max_length=20)] = ""


def sign_in_page(
    browser: Browser,
    *,
    action: str,
    purpose: str,
    email: str = "",
    problem: str = "",
    status: int = 200,
) -> Answer:
    """The form to sign in with."""
    facts = {
        "title": "Sign in",
        "purpose": purpose,
        "error": problem,
        "action": action,
        "email": email,
        "form_code": browser.form_code(SIGN_IN),
    }
    return page("sign_in", facts, status=status, headers=browser.visit_cookie())


async def sign_in(
    request: Request, browser: Browser, form: PageForm, *, action: str, then: str, purpose: str
) -> Answer:
    """Sign in, and go on to `then`; or the form again, with what was wrong."""

    def again(text: str, status: int) -> Answer:
        return sign_in_page(
            browser, action=action, purpose=purpose, email=form.email, problem=text, status=status
        )

    # Signed in already: the page is older than that, in another window.
    if browser.who is None and not browser.is_own_form(SIGN_IN, form.form_code):
        return again(TOO_OLD, 403)
    try:
        proven = await check_credentials(request, form.email, form.password, form.totp)
        session_id = new_id("ses")
        token = new_session_token(session_id)
        await request.submit(
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
                guest_cart=None,
            )
        )
    except SecondFactorRequired:
        return again("Type your password again, with the code that your app shows now.", 401)
    except InvalidCredentials:
        return again("Address, password or code is wrong.", 401)
    except (TooManyAttempts, TooManyRequests) as problem:
        return again(told(problem, "Too many attempts. Please wait a while."), 429)
    except TooManyPasswords as problem:
        return again(told(problem, "Too many people sign in right now. Try again."), 503)
    await end_session(request, browser)
    return moved(then, browser.session_cookie(token))


def told(problem: Problem, text: str) -> str:
    """What is wrong, with the time to wait where it is known."""
    wait_s = {name.lower(): value for name, value in problem.headers.items()}.get("retry-after")
    return f"{text} (Again in {wait_s} s.)" if wait_s else text


async def end_session(request: Request, browser: Browser) -> None:
    """End the session that this browser had."""
    if browser.who is not None:
        ending = EndSessions(account_id=browser.who.account_id, session_id=browser.who.session_id)
        await request.submit(ending)


async def email_of(request: Request, browser: Browser) -> str:
    """The address of whoever is signed in, for them to see."""
    assert browser.who is not None, "somebody is signed in"
    person = browser.who.person
    opened = (await request.node.vault.open([person]))[person]
    return "" if opened is None else opened.get("email", "")
