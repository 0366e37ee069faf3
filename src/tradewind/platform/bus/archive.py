"""Archive files: segments of the log as compressed lines of JSON, chained by their hashes.

A file is a row of gzip members, so `zcat` reads it whole and a reader begins at any block. Its
first line names the segment and the chain up to the file before it, its last line counts and hashes
all lines before. The chain of a file is the hash of the chain before it and of its own content:
whoever changes, leaves out or exchanges a file changes every chain from there on, and the database
keeps each beside the segment. Writing is the same bytes every time, so a writer that was killed is
simply followed by another.
"""

import gzip
import hashlib
import mmap
import os
import struct
import zlib
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from pathlib import Path

import msgspec
from msgspec import Struct

from tradewind.platform.bus.log import LogRow

FORMAT = "tradewind.log.v1"
# A page of the feed unpacks one block: 2,000 events are about 1 MB and 10 ms.
BLOCK_EVENTS = 2_000
# The first levels are three times as fast as the usual one and a tenth larger.
LEVEL = 3
NO_CHAIN = bytes(32)
UNREADABLE = (OSError, EOFError, zlib.error)


class ArchiveBroken(Exception):
    """A file is missing, was changed, or is not the one that belongs there; the text says which."""


class Header(Struct, frozen=True, kw_only=True):
    """The first line of a file."""

    format: str
    segment: int
    from_xid: int
    to_xid: int
    previous: str  # chain of the file before, hexadecimal


class Line(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An event, or a timer that fired: that one has no position in the feed."""

    position: int | None = None
    xid: int
    number: int
    partition: int
    source: str
    type: str
    subject: str
    sequence: int
    at: str
    body: str


class Footer(Struct, frozen=True, kw_only=True):
    """The last line of a file."""

    events: int
    first_position: int
    last_position: int
    content_sha256: str


class Written(Struct, frozen=True, kw_only=True):
    """What the database keeps about a file."""

    segment: int
    file: str
    events: int
    first_position: int
    last_position: int
    size_bytes: int
    last_at: datetime | None
    content_sha256: bytes
    chain_sha256: bytes
    blocks: Sequence[int]
    block_positions: Sequence[int]


encode = msgspec.json.Encoder().encode
decode_line = msgspec.json.Decoder(Line).decode
decode_header = msgspec.json.Decoder(Header).decode
decode_footer = msgspec.json.Decoder(Footer).decode


def file_name(segment: int) -> str:
    """The name of a segment's file; names sort like segments."""
    return f"log-{segment:08d}.jsonl.gz"


def chained(previous: bytes, content: bytes) -> bytes:
    """The chain that ends with this content."""
    return hashlib.sha256(previous + content).digest()


def index_name(segment: int) -> str:
    """The name of the file that says in which blocks of a segment a subject is."""
    return f"log-{segment:08d}.subjects"


def hashed(subject: str) -> int:
    """A subject as eight bytes."""
    return int.from_bytes(hashlib.blake2b(subject.encode(), digest_size=8).digest(), "little")


class SubjectIndex:
    """In which blocks a subject is: per block the sorted hashes of its subjects, then where each
    block's begin and how many blocks there are, all as eight bytes.

    It only says where to look. Without it every block is looked through.
    """

    def __init__(self, folder: Path, segment: int) -> None:
        self._path = folder / index_name(segment)
        self._half = self._path.with_suffix(".half-subjects")
        self._file = self._half.open("wb")
        self._begins = [0]

    def add(self, subjects: Iterable[str]) -> None:
        """The subjects of the next block."""
        hashes = sorted(map(hashed, subjects))
        self._file.write(struct.pack(f"<{len(hashes)}Q", *hashes))
        self._begins.append(self._begins[-1] + len(hashes))

    def finish(self) -> None:
        """Give the file its name."""
        tail = [*self._begins, len(self._begins) - 1]
        self._file.write(struct.pack(f"<{len(tail)}Q", *tail))
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self._half.rename(self._path)

    def abandon(self) -> None:
        """Leave no half file behind."""
        self._file.close()
        self._half.unlink(missing_ok=True)


def blocks_with(folder: Path, written: "Written", subject: str) -> list[int]:
    """The blocks of a file in which a subject may be."""
    everywhere = list(range(len(written.blocks)))
    path = folder / index_name(written.segment)
    if not path.exists() or not everywhere:
        return everywhere
    wanted = hashed(subject)
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        [count] = struct.unpack_from("<Q", data, len(data) - 8)
        if count != len(everywhere):
            return everywhere
        begins = struct.unpack_from(f"<{count + 1}Q", data, len(data) - 8 * (count + 2))

        def at(place: int) -> int:
            return int(struct.unpack_from("<Q", data, 8 * place)[0])

        found = []
        for block in everywhere:
            low, high = begins[block], begins[block + 1]
            place = bisect_left(range(low, high), wanted, key=at) + low
            if place < high and at(place) == wanted:
                found.append(block)
        return found


def lines_about(folder: Path, written: "Written", subject: str) -> Iterator[Line]:
    """The lines of a file about a subject, in the order of the log. Raises `ArchiveBroken`."""
    for block in blocks_with(folder, written, subject):
        text = next(blocks_from(folder, written, block))
        for line in text.splitlines():
            one = decode_line(line)
            if one.subject == subject:
                yield one


class Writer:
    """Writes one file: give it blocks of rows in the order of the log, then `finish`.

    The file has its name only once it is whole and on the disk.
    """

    def __init__(
        self,
        folder: Path,
        *,
        segment: int,
        from_xid: int,
        to_xid: int,
        previous: bytes,
        after_position: int,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.segment = segment
        self.previous = previous
        self.position = self.after_position = after_position
        self.events = 0
        self.last_at: datetime | None = None
        self._subjects = SubjectIndex(folder, segment)
        self._blocks: list[int] = []
        self._positions: list[int] = []
        self._path = folder / file_name(segment)
        self._half = self._path.with_suffix(".half")
        self._file = self._half.open("wb")
        self._content = hashlib.sha256()
        header = Header(
            format=FORMAT,
            segment=segment,
            from_xid=from_xid,
            to_xid=to_xid,
            previous=previous.hex(),
        )
        self._put(encode(header) + b"\n")

    def _put(self, text: bytes) -> None:
        self._content.update(text)
        self._file.write(gzip.compress(text, LEVEL, mtime=0))

    def add(self, rows: Sequence[LogRow]) -> None:
        """One block."""
        self._blocks.append(self._file.tell())
        self._positions.append(self.position)
        self._put(b"".join([encode(self._line(row)) + b"\n" for row in rows]))
        self._subjects.add({row.subject for row in rows})
        self.events += len(rows)
        self.last_at = rows[-1].at

    def _line(self, row: LogRow) -> Line:
        position: int | None = None
        if not row.subject.startswith("timer:"):
            position = self.position = self.position + 1
        assert row.xid is not None and row.at is not None, "a row that was read"
        return Line(
            position=position,
            xid=row.xid,
            number=row.number,
            partition=row.partition,
            source=row.source,
            type=row.type,
            subject=row.subject,
            sequence=row.sequence,
            at=row.at.isoformat(),
            body=row.body,
        )

    def finish(self) -> Written:
        """Close the file and give it its name."""
        content = self._content.digest()
        footer = Footer(
            events=self.events,
            first_position=self.after_position + 1,
            last_position=self.position,
            content_sha256=content.hex(),
        )
        self._subjects.finish()
        self._file.write(gzip.compress(encode(footer) + b"\n", LEVEL, mtime=0))
        size = self._file.tell()
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self._half.rename(self._path)
        descriptor = os.open(self._path.parent, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        return Written(
            segment=self.segment,
            file=self._path.name,
            events=self.events,
            first_position=self.after_position + 1,
            last_position=self.position,
            size_bytes=size,
            last_at=self.last_at,
            content_sha256=content,
            chain_sha256=chained(self.previous, content),
            blocks=self._blocks,
            block_positions=self._positions,
        )

    def abandon(self) -> None:
        """Leave no half file behind."""
        self._file.close()
        self._half.unlink(missing_ok=True)
        self._subjects.abandon()


def verify(folder: Path, written: Written, previous: bytes) -> None:
    """Read a file whole and compare it with what the database keeps. Raises `ArchiveBroken`."""
    path = folder / written.file
    content = hashlib.sha256()
    last = b""
    events = -1  # the header is no event
    try:
        with gzip.open(path) as lines:
            header = decode_header(lines.readline())
            content.update(encode(header) + b"\n")
            for line in lines:
                if last:
                    content.update(last)
                last = line
                events += 1
        footer = decode_footer(last)
    except (*UNREADABLE, msgspec.DecodeError) as error:
        raise ArchiveBroken(f"{written.file} cannot be read: {error}") from None
    found = content.digest()
    if (header.segment, header.previous) != (written.segment, previous.hex()):
        raise ArchiveBroken(f"{written.file} does not follow the file before it.")
    if found != written.content_sha256 or found.hex() != footer.content_sha256:
        raise ArchiveBroken(f"{written.file} was changed: its content has another hash.")
    if chained(previous, found) != written.chain_sha256 or events != written.events:
        raise ArchiveBroken(f"{written.file} is not the file that was archived.")


def lines_from(folder: Path, written: Written, after_position: int) -> Iterator[Line]:
    """The lines of a file behind a position of the feed; blocks before it are passed over.

    Raises `ArchiveBroken` where the file cannot be read.
    """
    block = 0
    while block + 1 < len(written.blocks) and written.block_positions[block + 1] <= after_position:
        block += 1
    for text in blocks_from(folder, written, block):
        for line in text.splitlines():
            one = decode_line(line)
            if one.position is None or one.position > after_position:
                yield one


def blocks_from(folder: Path, written: Written, block: int) -> Iterator[bytes]:
    """The blocks of a file, unpacked, from one on."""
    ends = [*written.blocks[1:], None][: len(written.blocks)]
    try:
        with (folder / written.file).open("rb") as file:
            for begin, end in list(zip(written.blocks, ends, strict=True))[block:]:
                file.seek(begin)
                packed = file.read() if end is None else file.read(end - begin)
                text = gzip.decompress(packed)
                # The last block is followed by the footer.
                yield text if end is not None else text[: text.rstrip(b"\n").rindex(b"\n") + 1]
    except (*UNREADABLE, ValueError) as error:
        raise ArchiveBroken(f"{written.file} cannot be read: {error}") from None


def all_lines(folder: Path, files: Iterable[Written]) -> Iterator[Line]:
    """Everything that was archived in these files, in the order of the log."""
    for written in files:
        yield from lines_from(folder, written, written.first_position - 1)
