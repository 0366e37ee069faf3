"""Who is calling: what authentication finds out, and permissions are decided by."""

from msgspec import Struct


class Credential(Struct, frozen=True):
    """Who is calling, and what they may do."""

    # "key_..." of an API key, "acc_..." of whoever is signed in; of a token: the id of the order or
    # cart that it opens, or of the account or program for which it was issued.
    id: str
    scopes: frozenset[str] = frozenset()
    order_id: str | None = None  # the one order that the holder of an order token may see
    cart_id: str | None = None  # the one cart that the holder of a cart token may use
    customer_group: str = ""  # whose prices count for this caller; "": those for everybody
    account_id: str | None = None  # who is signed in: what belongs to this account is theirs
    contact: str | None = None  # the vault's token of their verified address
    session_id: str | None = None  # the session that they use
    client_id: str | None = None  # the program that calls, where it holds an access token
    certificate: str | None = None  # SHA-256 of the TLS certificate that must come with the token
    limits: str = ""  # the class of limits that counts for this key; "": those of every key

    def may(self, scope: str) -> bool:
        """Whether this caller holds `scope`."""
        return scope in self.scopes
