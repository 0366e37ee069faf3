"""The ways identity says no."""

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
