"""The server's master keys, and everything that is derived from them.

One master key of 256 bits per installation. Each purpose has a key of its own (HKDF-SHA256), so
that what one part leaks says nothing about another. There may be several masters: the first makes
everything new, all of them verify and open what is old. That is how a master is replaced: put the
new one in front, `Vault.rewrap`, take the old one away.

Losing the masters is losing the personal data: back `server.key` up apart from the database.
"""

import base64
import binascii
import hmac
import os
from collections.abc import Sequence
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from tradewind.kernel.ids import is_id
from tradewind.platform.security.files import PRIVATE_FILE, folder_lock, write_private_file

MASTER_BYTES = 32
MASTERS_MAX = 8  # each one is another try for a token that does not verify
KEY_FILE = "server.key"
# Half of a SHA-256 code: 128 bits cannot be guessed, and 32 characters of base64 need no padding
# at 24 bytes, so a token has one spelling only.
MAC_BYTES = 24
ORDER_TOKEN = "ot_"
CART_TOKEN = "ct_"
ERRAND_TOKEN = "et_"
SESSION_TOKEN = "st_"
ID_CHARACTERS = 26
API_KEY = "tw_live_"


class SecretsError(Exception):
    """The master key cannot be used; the text is for the person who runs the server."""


class Secrets:
    """Keys by purpose, tokens and keyed hashes. Pure computation: microseconds, no I/O."""

    def __init__(self, masters: Sequence[bytes]) -> None:
        """Take the masters, newest first."""
        if not 1 <= len(masters) <= MASTERS_MAX:
            raise SecretsError(f"There must be 1 to {MASTERS_MAX} master keys.")
        if any(len(master) != MASTER_BYTES for master in masters):
            raise SecretsError(f"A master key must be {MASTER_BYTES} bytes long.")
        self._by_id = {key_id_of(master): master for master in masters}
        self.key_ids = tuple(self._by_id)  # newest first
        self.key_id = self.key_ids[0]

    def __repr__(self) -> str:
        return f"Secrets({self.key_id})"  # never a key: this may end in a log

    def purpose_key(self, purpose: str, key_id: str | None = None) -> bytes:
        """The 256-bit key for one purpose, under the newest master or the one that is named.

        Raises `SecretsError` for a master that this server does not have.
        """
        master = self._by_id.get(key_id or self.key_id)
        if master is None:
            raise SecretsError(
                f"The master key {key_id} is missing: this data was sealed under it. "
                "Add it to server.key (or TRADEWIND_SECRET_KEY) behind the newest one."
            )
        return derive(master, purpose)

    def keyed_hash(self, purpose: str, data: bytes) -> bytes:
        """32 bytes that stand for `data`, and tell nothing about it to who lacks the key."""
        return blake2b(data, key=self.purpose_key(purpose), digest_size=32).digest()

    def order_token(self, order_id: str) -> str:
        """The token whose holder may read this order. The same each time, under the same master."""
        return self._token(ORDER_TOKEN, "order token", order_id, "ord")

    def order_of_token(self, token: str) -> str | None:
        """The id of the order that `token` opens; None for a forged or broken one."""
        return self._opened(token, ORDER_TOKEN, "order token", "ord")

    def cart_token(self, cart_id: str) -> str:
        """The token whose holder may read, change and check out this cart. The same each time."""
        return self._token(CART_TOKEN, "cart token", cart_id, "crt")

    def cart_of_token(self, token: str) -> str | None:
        """The id of the cart that `token` opens; None for a forged or broken one."""
        return self._opened(token, CART_TOKEN, "cart token", "crt")

    def errand_token(self, errand_id: str) -> str:
        """The token in the mail about an errand of an account. The same each time.

        Derived, so that a mail can be written whenever it leaves and its secret is kept nowhere;
        what makes it good once, and for a time, is the errand's row.
        """
        return self._token(ERRAND_TOKEN, "errand token", errand_id, "ern")

    def errand_of_token(self, token: str) -> str | None:
        """The id of the errand that `token` settles; None for a forged or broken one."""
        return self._opened(token, ERRAND_TOKEN, "errand token", "ern")

    def _token(self, kind: str, purpose: str, resource: str, prefix: str) -> str:
        assert is_id(resource, prefix), resource
        mac = mac_of(self.purpose_key(purpose), resource)
        return f"{kind}{resource[4:]}_{mac.decode()}"

    def _opened(self, token: str, kind: str, purpose: str, prefix: str) -> str | None:
        part, _, claimed = token.removeprefix(kind).partition("_")
        resource = f"{prefix}_{part}"
        if not token.startswith(kind) or not is_id(resource, prefix):
            return None
        mac = claimed.encode("utf-8", "surrogatepass")
        for key_id in self.key_ids:
            if hmac.compare_digest(mac_of(self.purpose_key(purpose, key_id), resource), mac):
                return resource
        return None

    def api_key(self, key_id: str, generation: int = 1) -> str:
        """The API key with this id, as its holder writes it; each rotation is a generation.

        Its secret is derived and not random, so it is kept nowhere: a repeated request for a new
        key can be answered again, to the byte, and the first key's file can be written again.
        """
        assert is_id(key_id, "key"), key_id
        name = key_id if generation == 1 else f"{key_id} {generation}"
        secret = hmac.digest(self.purpose_key("api keys"), name.encode(), "sha256")
        return f"{API_KEY}{key_id[4:]}_{base64.urlsafe_b64encode(secret).rstrip(b'=').decode()}"


def mac_of(key: bytes, resource: str) -> bytes:
    """The message authentication code of an id, in base64."""
    return base64.urlsafe_b64encode(hmac.digest(key, resource.encode(), "sha256")[:MAC_BYTES])


@lru_cache(maxsize=256)
def derive(master: bytes, purpose: str) -> bytes:
    """One purpose's key. Version 1 stands in the label: another derivation gets another number."""
    label = b"tradewind v1 " + purpose.encode()
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=label).derive(master)


def key_id_of(master: bytes) -> str:
    """A short public name of a master key; it does not help to find the key."""
    return blake2b(derive(master, "key id"), digest_size=6).hexdigest()


def read_secrets(home: Path, secret_key: str | None = None) -> Secrets:
    """The server's secrets: from `secret_key` (base64, several separated by commas), else the file.

    The file ``server.key`` in `home` is made on the first call; of several processes that start at
    once, one makes it and all read the same. Raises `SecretsError`.
    """
    if secret_key:
        return Secrets(parse_masters(secret_key.split(","), "TRADEWIND_SECRET_KEY"))
    path = home / KEY_FILE
    if not path.exists():
        with folder_lock(home):
            if not path.exists():
                master = base64.b64encode(os.urandom(MASTER_BYTES))
                write_private_file(path, master + b"\n")
    try:
        if path.stat().st_mode & 0o077:
            path.chmod(PRIVATE_FILE)  # copied or restored with loose rights
        text = path.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError) as error:
        raise SecretsError(f"The master key in {path} cannot be read: {error}") from error
    return Secrets(parse_masters(text.split(), str(path)))


def parse_masters(texts: Sequence[str], where: str) -> list[bytes]:
    """Master keys from base64. Raises `SecretsError` naming `where`, and never the key itself."""
    masters = []
    for text in texts:
        try:
            master = base64.b64decode(text.strip(), validate=True)
        except (binascii.Error, ValueError):
            master = b""
        if len(master) != MASTER_BYTES:
            raise SecretsError(
                f"{where} must hold {MASTER_BYTES} random bytes in base64, newest first where "
                "there are several. `openssl rand -base64 32` makes one; restore a lost file from "
                "its backup, because data sealed under a lost key stays unreadable."
            )
        masters.append(master)
    if not masters:
        raise SecretsError(f"{where} is empty. Restore it from its backup.")
    return masters
