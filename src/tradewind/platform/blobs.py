"""Files by the hash of their content: written once, never changed, found by their name alone.

`Blobs` is the port; files under the platform's home are one way to keep them. A name is made here
and matched against its pattern before it becomes a path, so no request chooses where a file lies.
"""

import hashlib
import os
import re
import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Protocol

NAME = re.compile(r"[0-9a-f]{64}\.(png|jpg|gif|webp|avif|pdf)")
MEDIA_TYPES = {
    "png": "image/png",
    "jpg": "image/jpeg",
    "gif": "image/gif",
    "webp": "image/webp",
    "avif": "image/avif",
    "pdf": "application/pdf",
}
HEAD_BYTES = 32


class Blobs(Protocol):
    """Where files are kept. An object store keeps them under the same names."""

    async def keep(self, pieces: AsyncIterator[bytes]) -> str | None:
        """Keep a file; its name, or None where it is of no kind that is kept."""
        ...

    async def read(self, name: str) -> bytes | None:
        """The content of a file, or None where there is none of this name."""
        ...


class LocalBlobs:
    """Files in a folder, in 256 folders below it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    async def keep(self, pieces: AsyncIterator[bytes]) -> str | None:
        """Keep a file: it is whole and on the disk before it has its name."""
        incoming = self.folder / "incoming"
        incoming.mkdir(parents=True, exist_ok=True)
        part = incoming / secrets.token_hex(16)
        digest, head = hashlib.sha256(), b""
        try:
            with part.open("xb") as file:
                async for piece in pieces:
                    if len(head) < HEAD_BYTES:
                        head += piece[: HEAD_BYTES - len(head)]
                    digest.update(piece)
                    file.write(piece)
                file.flush()
                os.fsync(file.fileno())
            kind = kind_of(head)
            if kind is None:
                return None
            name = f"{digest.hexdigest()}.{kind}"
            path = self._path(name)
            path.parent.mkdir(parents=True, exist_ok=True)
            part.replace(path)  # the same content where it was there
            return name
        finally:
            part.unlink(missing_ok=True)

    async def read(self, name: str) -> bytes | None:
        """The content of a file."""
        if NAME.fullmatch(name) is None:
            return None
        try:
            return self._path(name).read_bytes()
        except FileNotFoundError:
            return None

    def _path(self, name: str) -> Path:
        assert NAME.fullmatch(name), "a name is made here"
        return self.folder / name[:2] / name


def blobs_of(home: Path) -> Blobs:
    """Where the files of an installation are kept."""
    return LocalBlobs(home / "media")


def media_type_of(name: str) -> str:
    """What a file is, by its name, which is made of its content."""
    return MEDIA_TYPES[name.rpartition(".")[2]]


def kind_of(head: bytes) -> str | None:
    """What a file is, by its first bytes, whatever somebody says about it; None: not kept."""
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if head.startswith(b"\xff\xd8\xff"):
        return "jpg"
    if head[:6] in (b"GIF87a", b"GIF89a"):
        return "gif"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "webp"
    if head[4:8] == b"ftyp" and head[8:12] in (b"avif", b"avis"):
        return "avif"
    if head.startswith(b"%PDF-"):
        return "pdf"
    return None
