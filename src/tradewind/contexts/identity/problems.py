"""The ways identity says no."""

from typing import ClassVar

from tradewind.kernel.problems import Problem


class KeyNotFound(Problem):
    """There is no key with this id."""

    status = 404
    code = "key_not_found"
    title = "There is no such API key."


class ScopeNotHeld(Problem):
    """A key may give no right that it does not have. ``missing`` lists them."""

    status = 403
    code = "scope_not_held"
    notice = "permission_refused"
    title = "You cannot give a scope that you do not hold."


class InvalidExpiry(Problem):
    """A key that is to expire has to live first, and not for ever."""

    status = 422
    code = "invalid_expires_at"
    title = "The key cannot expire then."
    kept = True


class LastKey(Problem):
    """Without it nobody could create or revoke keys any more."""

    status = 409
    code = "last_key"
    title = "This is the last key that can manage keys."
    kept = True


class FirstKey(Problem):
    """Its secret follows from the master key, so that its file can be written again."""

    status = 409
    code = "first_key"
    title = "The first key is not rotated."
    kept = True


class InvalidCredentials(Problem):
    """Address and password do not belong together, or are not verified: it never says which."""

    status = 401
    code = "invalid_credentials"
    notice = "login_failed"
    title = "The address or the password is wrong."


class SecondFactorRequired(Problem):
    """The password is right, and this account asks for a code as well. ``totp`` takes it."""

    status = 401
    code = "second_factor_required"
    title = "A code of the authenticator app is needed."


class TooManyAttempts(Problem):
    """Passwords of this address were guessed too often; ``Retry-After`` says how long to wait."""

    status = 429
    code = "too_many_attempts"
    notice = "account_locked"
    title = "This address was tried too often."


class WeakPassword(Problem):
    """It would be guessed. ``errors`` says what is wrong with it."""

    status = 422
    code = "weak_password"
    title = "This password is too easy to guess."


class TokenNotValid(Problem):
    """The token of a mail is wrong, used or too old. Ask for a new mail."""

    status = 410
    code = "token_not_valid"
    title = "This link is not valid any more."


class AccountNotFound(Problem):
    """There is no account with this id."""

    status = 404
    code = "account_not_found"
    title = "There is no such account."


class AccountHasChanged(Problem):
    """Something else changed the account at the same moment."""

    status = 409
    code = "account_changed"
    title = "The account was changed meanwhile."


class SessionNotFound(Problem):
    """You have no session with this id."""

    status = 404
    code = "session_not_found"
    title = "There is no such session."


class UnknownRole(Problem):
    """One of the roles does not exist. ``GET /v1/roles`` lists them."""

    status = 422
    code = "unknown_role"
    title = "There is no such role."


class RoleIsBuiltIn(Problem):
    """The roles that every installation has cannot be changed or removed."""

    status = 409
    code = "role_is_built_in"
    title = "This role comes with the platform."


class RoleNotFound(Problem):
    """The shop has made no role of this name."""

    status = 404
    code = "role_not_found"
    title = "There is no such role."


class TotpNotBegun(Problem):
    """There is no secret to confirm, or it was replaced. POST /v1/me/totp begins."""

    status = 409
    code = "totp_not_begun"
    title = "There is nothing to confirm."


class InvalidCode(Problem):
    """The code is not the one that the app shows now, or was used already."""

    status = 422
    code = "invalid_code"
    title = "The code is wrong."


class InvalidProfile(Problem):
    """The profile, address book or preferences would be too large, or name nothing."""

    status = 422
    code = "invalid_profile"
    title = "This cannot be kept of a person."


class AddressNotFound(Problem):
    """The address book has no entry with this id."""

    status = 404
    code = "address_not_found"
    title = "There is no such address."


class ClientNotFound(Problem):
    """There is no OAuth client with this id."""

    status = 404
    code = "client_not_found"
    title = "There is no such OAuth client."


class InvalidClientSettings(Problem):
    """A client cannot be registered like that; ``errors`` says what does not go together."""

    status = 422
    code = "invalid_client_settings"
    title = "The client cannot be registered like that."
    kept = True


class OAuthProblem(Problem):
    """A refusal as OAuth's clients read it (RFC 6749, 5.2): ``error`` beside the usual members."""

    status = 400
    media_type = "application/json"
    error: ClassVar[str] = "invalid_request"

    def __init__(self, detail: str = "", *, headers: dict[str, str] | None = None) -> None:
        told = detail or self.title
        super().__init__(told, headers=headers, error=self.error, error_description=told)


class InvalidClient(OAuthProblem):
    """The program did not prove who it is: unknown, revoked, or with a wrong secret."""

    status = 401
    code = error = "invalid_client"
    title = "The client is not known, or did not prove to be it."


class InvalidGrant(OAuthProblem):
    """A code, refresh token or device code that is used up, expired, or another client's."""

    code = error = "invalid_grant"
    title = "This code or refresh token does not count (any more)."


class InvalidScope(OAuthProblem):
    """More was asked for than the client, or the person, has."""

    code = error = "invalid_scope"
    title = "The client may not ask for that scope."


class InvalidTarget(OAuthProblem):
    """Tokens are for this API only."""

    code = error = "invalid_target"
    title = "There are no tokens for that resource here."


class UnauthorizedClient(OAuthProblem):
    """The client was not registered for this way to tokens."""

    code = error = "unauthorized_client"
    title = "The client may not come to tokens this way."


class UnsupportedGrantType(OAuthProblem):
    """The ``grant_type`` is none of those in the discovery document."""

    code = error = "unsupported_grant_type"
    title = "There is no such grant type here."


class InvalidOAuthRequest(OAuthProblem):
    """A parameter is missing, or two of them contradict each other."""

    code, error = "invalid_oauth_request", "invalid_request"
    title = "The request is not right."


class AuthorizationPending(OAuthProblem):
    """Nobody has agreed to the device yet: ask again after the interval."""

    code = error = "authorization_pending"
    title = "Nobody has agreed yet."


class SlowDown(OAuthProblem):
    """The device asks too often: from now on five seconds longer between two questions."""

    code = error = "slow_down"
    title = "Ask less often."


class AccessDenied(OAuthProblem):
    """Somebody looked at the device's request and said no."""

    code = error = "access_denied"
    title = "It was not agreed to."


class ExpiredToken(OAuthProblem):
    """The device's code has expired: begin again."""

    code = error = "expired_token"
    title = "The code has expired."


class AnotherIssuer(Problem):
    """Tokens come from the issuer that is named in the settings; this one issues none."""

    status = 404
    code = "another_issuer"
    title = "Tokens are issued elsewhere."
