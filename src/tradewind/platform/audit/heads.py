"""Heads of the chain, signed and kept outside the database.

A chain alone shows no truncation, and who may write everything can make it anew from the start.
What cannot be made anew is a signed head that lies elsewhere: in `audit/heads.jsonl` of the home,
and in the log line `audit.head`, which a log collector carries away. The key follows from the
server's master key and is not in the database; the public half verifies.
"""

import base64
import os
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec import Struct

from tradewind.platform.audit.entries import instant
from tradewind.platform.security.files import PRIVATE_FILE
from tradewind.platform.security.secrets import Secrets
from tradewind.platform.telemetry import logs

logger = logs.get(__name__)

PURPOSE = "audit heads"
WRITTEN_EVERY_S = 5.0


class Head(Struct, frozen=True):
    """Where the chain ended at some time."""

    position: int
    digest: str  # hex
    at: datetime

    @property
    def text(self) -> bytes:
        """What is signed."""
        return f"tradewind audit {self.position} {self.digest} {instant(self.at)}".encode()


class SignedHead(Struct, frozen=True, omit_defaults=True):
    """A head as a line of the file."""

    position: int
    digest: str
    at: datetime
    key_id: str  # the master key
    signature: str  # Ed25519, base64

    @property
    def head(self) -> Head:
        """What was signed."""
        return Head(self.position, self.digest, self.at)


def sign(secrets: Secrets, head: Head) -> SignedHead:
    """A head under the newest master key."""
    key = Ed25519PrivateKey.from_private_bytes(secrets.purpose_key(PURPOSE))
    signature = base64.b64encode(key.sign(head.text)).decode()
    return SignedHead(head.position, head.digest, head.at, secrets.key_id, signature)


def is_signed(secrets: Secrets, signed: SignedHead) -> bool:
    """Whether we signed it. Raises `SecretsError` without the master key that did."""
    key = Ed25519PrivateKey.from_private_bytes(secrets.purpose_key(PURPOSE, signed.key_id))
    try:
        key.public_key().verify(base64.b64decode(signed.signature), signed.head.text)
    except (InvalidSignature, ValueError):
        return False
    return True


def heads_file(home: Path) -> Path:
    """Where the heads of an installation lie."""
    return home / "audit" / "heads.jsonl"


class Heads:
    """The newest head that is not outside yet; `write` puts it there."""

    def __init__(self, secrets: Secrets, home: Path) -> None:
        self._secrets = secrets
        self.path = heads_file(home)
        self._pending: Head | None = None

    def note(self, head: Head) -> None:
        """A head was committed."""
        self._pending = head

    def write(self) -> None:
        """Sign the newest head and append it: one write of one line, whoever else writes."""
        head, self._pending = self._pending, None
        if head is None:
            return
        signed = sign(self._secrets, head)
        line = msgspec.json.encode(signed) + b"\n"
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, PRIVATE_FILE)
        try:
            size = os.fstat(descriptor).st_size
            if size and os.pread(descriptor, 1, size - 1) != b"\n":
                line = b"\n" + line  # a crash cut the last line: it must not swallow this one
            os.write(descriptor, line)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        logger.info("audit.head", **msgspec.to_builtins(signed))


def read_heads(path: Path) -> Iterator[tuple[int, SignedHead | None]]:
    """The heads of a file with their line numbers; None for a line that is none.

    The last line may have been cut by a crash while it was written: that one is left out.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return
    whole, _, _ = content.rpartition(b"\n")
    for number, line in enumerate(whole.split(b"\n"), 1):
        try:
            yield number, msgspec.json.decode(line, type=SignedHead)
        except (msgspec.DecodeError, msgspec.ValidationError):
            yield number, None
