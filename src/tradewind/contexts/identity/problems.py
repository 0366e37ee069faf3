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
