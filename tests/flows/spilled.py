"""Looks for personal texts wherever a platform may have put them, in every spelling we know."""

import base64
import gzip
import json
import re
import subprocess
import tempfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import quote, quote_plus

import asyncpg

NEEDLE_BYTES_MIN = 7
PART_BYTES = 32 * 1024 * 1024
PDF_STREAM = re.compile(rb"stream\r?\n(.*?)\r?\nendstream", re.DOTALL)


def spellings(text: str) -> set[bytes]:
    """A text as it might be written: UTF-8, JSON, URL, base64 at each offset, hex, in one case."""
    found: set[bytes] = set()
    for form in {text, text.casefold(), text.upper(), text.lower()}:
        raw = form.encode()
        found |= {
            raw,
            json.dumps(form)[1:-1].encode(),
            quote(form).encode(),
            quote(form, safe="").encode(),
            quote_plus(form).encode(),
            raw.hex().encode(),
        }
        for offset in range(3):
            coded = base64.b64encode(b"\0" * offset + raw)
            # The first and the last characters depend on what stands around.
            inner = coded[4 if offset else 0 : -4 if len(raw) > NEEDLE_BYTES_MIN else None]
            found |= {inner, inner.translate(bytes.maketrans(b"+/", b"-_"))}
    return {needle.lower() for needle in found if len(needle) >= NEEDLE_BYTES_MIN}


class Needles:
    """Texts to be found nowhere. `search` gives those that are, with where."""

    def __init__(self, texts: Iterable[str]) -> None:
        self.of: dict[bytes, str] = {}
        for text in texts:
            for needle in spellings(text):
                self.of[needle] = text

    def search(self, places: Iterable[tuple[str, bytes]]) -> dict[str, set[str]]:
        """Which texts stand where. Letters of ASCII are compared without case."""
        with tempfile.TemporaryDirectory() as folder:
            patterns = Path(folder) / "patterns"
            patterns.write_bytes(b"\n".join(sorted(self.of)) + b"\n")
            found: dict[str, set[str]] = {}
            for part in parts_of(places):
                # Nearly always nothing is found: then all of them were read in one pass.
                if not self._hits(patterns, b"\n".join(content for _, content in part)):
                    continue
                for place, content in part:
                    for hit in self._hits(patterns, content):
                        found.setdefault(self.of[hit], set()).add(place)
        return found

    def _hits(self, patterns: Path, content: bytes) -> set[bytes]:
        # Thousands of needles at once: the machine's own tool reads them in one pass.
        done = subprocess.run(
            ["grep", "-a", "-o", "-h", "-F", "-f", str(patterns)],
            input=content.lower(),
            stdout=subprocess.PIPE,
            check=False,
            env={"LC_ALL": "C", "PATH": "/usr/bin:/bin"},
        )
        assert done.returncode in (0, 1), done
        return {line for line in done.stdout.split(b"\n") if line in self.of}


def parts_of(places: Iterable[tuple[str, bytes]]) -> Iterator[list[tuple[str, bytes]]]:
    """Places in parts that are read at once."""
    part: list[tuple[str, bytes]] = []
    size = 0
    for place, content in places:
        part.append((place, content))
        size += len(content)
        if size >= PART_BYTES:
            yield part
            part, size = [], 0
    yield part


def unpacked(name: str, content: bytes) -> Iterator[tuple[str, bytes]]:
    """A file, and what is compressed in it."""
    yield name, content
    if content[:2] == b"\x1f\x8b":
        yield f"{name} (unpacked)", gzip.decompress(content)
    if content[:4] == b"%PDF":
        for number, stream in enumerate(PDF_STREAM.findall(content)):
            try:
                yield f"{name} (stream {number})", zlib.decompress(stream)
            except zlib.error:
                continue


def files_under(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Every file in a folder: heap and WAL of PostgreSQL, archive, logs, whatever it is."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.is_symlink():
            yield from unpacked(str(path.relative_to(folder)), path.read_bytes())


async def tables(url: str, *, but: Iterable[str] = ()) -> list[tuple[str, bytes]]:
    """Every row of every table and view of every schema but these, as text."""
    connection = await asyncpg.connect(url)
    try:
        names = await connection.fetch(
            "SELECT schemaname, tablename FROM pg_tables"
            " WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
            " AND schemaname <> ALL ($1::text[]) ORDER BY 1, 2",
            list(but),
        )
        found = []
        for schema, table in names:
            rows = await connection.fetch(f'SELECT t::text FROM "{schema}"."{table}" t')
            found.append((f"{schema}.{table}", "\n".join(row[0] for row in rows).encode()))
            # bytea is written in hex: as it is, too
            columns = await connection.fetch(
                "SELECT column_name FROM information_schema.columns"
                " WHERE table_schema = $1 AND table_name = $2 AND data_type = 'bytea'",
                schema,
                table,
            )
            for (column,) in columns:
                raw = await connection.fetch(f'SELECT "{column}" FROM "{schema}"."{table}"')
                found.append(
                    (f"{schema}.{table}.{column}", b"\n".join(row[0] or b"" for row in raw))
                )
        return found
    finally:
        await connection.close()


def test_a_needle_is_found_in_every_spelling() -> None:
    """The search itself: what is put into a heap of noise is found, and nothing else is."""
    text = "Zoë Quackenbüsh, 47 Wimplestone Crescent"
    needles = Needles([text, "nowhere to be seen"])
    noise = bytes(range(256)) * 40
    told = {
        "utf-8": text.encode(),
        "upper": text.upper().encode(),
        "json": json.dumps({"a": text}).encode(),
        "url": f"/x?q={quote_plus(text)}".encode(),
        "path": quote(text).encode(),
        "hex": text.encode().hex().encode(),
        "gzip": gzip.compress(text.encode()),
        "pdf": b"%PDF-1.7\nstream\n" + zlib.compress(text.encode()) + b"\nendstream",
    }
    for offset in range(3):
        told[f"base64 {offset}"] = base64.b64encode(b"x" * offset + text.encode() + b"yyyy")
        told[f"base64url {offset}"] = base64.urlsafe_b64encode(b"\xff" * offset + text.encode())
    places = [
        place
        for name, content in told.items()
        for place in unpacked(name, content if name in ("gzip", "pdf") else noise + content + noise)
    ]
    assert {p.split(" (")[0] for p in needles.search(places)[text]} == set(told)
    assert list(needles.search(places)) == [text]
    assert needles.search([("noise", noise)]) == {}
