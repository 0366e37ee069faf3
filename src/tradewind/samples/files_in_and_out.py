"""Files to the platform and back: streamed, with a progress bar where somebody watches.

A connection that breaks costs nothing: the import has an id before its first byte is sent, so the
file is sent again under it, and what was taken is skipped.
"""

import asyncio
import gzip
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any, cast

import aiohttp
from msgspec import Struct
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from tradewind.kernel.ids import new_id
from tradewind.samples.client import TRY_AGAIN, Client, Reply
from tradewind.samples.history import Plan, products

UPLOAD_CHUNK_BYTES = 64 * 1024
PLAIN_COLUMNS = 120
POLL_S = 0.5
# Sent again so often, each time a little later: a server that is started again is back by then.
TRIES_MAX = 8
BACK_OFF_S = 1.0


class ImportRefused(Exception):
    """The platform did not take the file; the text says why."""


class Wanted(Struct, frozen=True, kw_only=True):
    """What to import, and how."""

    kind: str  # "products", "stock", "price-lists"
    file: Path | None  # None: standard input, which can be read once only
    as_sheet: bool
    mapping: str | None
    encoding: str
    dry_run: bool
    resume: str

    def params(self, import_id: str) -> dict[str, str]:
        """The query of the request."""
        params = {"resume": self.resume} if self.resume else {"id": import_id}
        if self.dry_run:
            params["dry_run"] = "true"
        if self.as_sheet and self.encoding != "utf-8":
            params["encoding"] = self.encoding
        if self.mapping is not None:
            try:
                params["mapping"] = json.dumps(json.loads(self.mapping), separators=(",", ":"))
            except ValueError as error:
                raise ImportRefused(f"The mapping is not JSON: {error}") from None
        return params

    @property
    def media_type(self) -> str:
        """What the body is."""
        return "text/csv" if self.as_sheet else "application/x-ndjson"

    def place(self, import_id: str) -> str:
        """Where the report is."""
        return f"/v1/imports/{'' if self.kind == 'products' else self.kind + '/'}{import_id}"


async def send_file(wanted: Wanted, url: str, key: str) -> dict[str, Any]:
    """Stream a file up and return its report. Raises `ImportRefused`."""
    import_id = wanted.resume or new_id("imp")
    params = wanted.params(import_id)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[counts]}"),
    )
    watched = sys.stderr.isatty()
    progress = Progress(*columns, console=Console(stderr=True), disable=not watched)
    path = f"/v1/imports/{wanted.kind}"
    async with Client(url, key) as client:
        with progress:
            name = wanted.file.name if wanted.file else "standard input"
            size = wanted.file.stat().st_size if wanted.file else None
            task = progress.add_task(name, total=size, counts="")
            polling = asyncio.create_task(show_counts(client, wanted, import_id, (progress, task)))
            try:
                for try_ in range(TRIES_MAX):
                    reply = None
                    try:
                        pieces = pieces_of(wanted.file, progress, task)
                        reply = await client.upload(path, pieces, wanted.media_type, **params)
                    except (aiohttp.ClientError, OSError) as error:
                        if wanted.file is None or try_ == TRIES_MAX - 1:
                            raise ImportRefused(broken_off(error, import_id)) from None
                    if reply is not None and (reply.status not in TRY_AGAIN or wanted.file is None):
                        break
                    await asyncio.sleep(BACK_OFF_S * (try_ + 1))
            finally:
                polling.cancel()
                await asyncio.gather(polling, return_exceptions=True)
        if reply is None or not reply.ok:
            raise ImportRefused(
                f"The import was refused: {sentence_of(reply)}" if reply else "No answer came."
            )
        report: dict[str, Any] = reply.body
        return report


async def send_book(plan: Plan, name: str, url: str, key: str) -> dict[str, Any]:
    """Send the products of an order book, with their opening stock. Raises `ImportRefused`."""
    with TemporaryDirectory() as folder:
        file = Path(folder) / f"{name}.ndjson"
        file.write_bytes(b"".join(products(plan)))
        wanted = Wanted(
            kind="products",
            file=file,
            as_sheet=False,
            mapping=None,
            encoding="utf-8",
            dry_run=False,
            resume="",
        )
        return await send_file(wanted, url, key)


def broken_off(error: Exception, import_id: str) -> str:
    """What to do about a connection that broke."""
    return f"The connection broke: {error}. Go on with the same file and --resume {import_id}"


async def pieces_of(file: Path | None, progress: Progress, task: TaskID) -> AsyncIterator[bytes]:
    """The content of a file. Progress counts its bytes, also where they are unpacked on the way."""
    raw = sys.stdin.buffer if file is None else file.open("rb")
    try:
        packed = file is not None and file.suffix == ".gz"
        content = cast(IO[bytes], gzip.GzipFile(fileobj=raw)) if packed else raw
        sent = 0
        while chunk := await asyncio.to_thread(content.read, UPLOAD_CHUNK_BYTES):
            yield chunk
            sent += len(chunk)
            progress.update(task, completed=raw.tell() if file is not None else sent)
    finally:
        if file is not None:
            raw.close()


async def show_counts(
    client: Client, wanted: Wanted, import_id: str, bar: tuple[Progress, TaskID]
) -> None:
    """Show how many lines were taken so far, until cancelled."""
    progress, task = bar
    if progress.disable:
        return
    while True:
        await asyncio.sleep(POLL_S)
        try:
            report = await client.get(wanted.place(import_id))
        except Exception:
            continue  # it has not begun; whoever sends the file says what is wrong
        counts = f"{report['accepted']:,} lines"
        if report["rejected"]:
            counts += f", {report['rejected']:,} rejected"
        progress.update(task, counts=counts)


def sentence_of(reply: Reply) -> str:
    """Why the server said no."""
    detail = reply.body.get("detail", "") if isinstance(reply.body, dict) else str(reply.body)
    return f"{reply.status} {reply.code}: {detail}"


def print_report(report: dict[str, Any]) -> None:
    """The sums of an import, and each line that was rejected with its reason."""
    console = Console(width=None if sys.stdout.isatty() else PLAIN_COLUMNS)
    would = " (dry run: nothing was changed)" if report["dry_run"] else ""
    console.print(
        f"{report['lines']:,} lines: {report['accepted']:,} accepted, "
        f"{report['rejected']:,} rejected.{would}"
    )
    console.print(
        f"{report['created']:,} created, {report['changed']:,} changed, "
        f"{report['unchanged']:,} unchanged."
    )
    for error in report["errors"]:
        console.print(f"  line {error['line']}: {error['code']}: {error['message']}", markup=False)
    if report.get("errors_omitted"):
        console.print(f"  and {report['errors_omitted']:,} more")


async def receive_file(kind: str, form: str, output: Path | None, url: str, key: str) -> None:
    """Stream an export into a file, which is there once it is whole, or to standard output."""
    part = output.with_name(output.name + ".part") if output else None
    headers = {"Authorization": f"Bearer {key}"}
    timeout = aiohttp.ClientTimeout(total=None, sock_read=60)
    async with (
        aiohttp.ClientSession(headers=headers, timeout=timeout) as session,
        session.get(f"{url.rstrip('/')}/v1/exports/{kind}", params={"format": form}) as answer,
    ):
        if answer.status != 200:
            raise ImportRefused(f"The export was refused: {answer.status} {await answer.text()}")
        packed = output is not None and output.suffix == ".gz"
        opened = gzip.open if packed else open
        sink = cast(IO[bytes], opened(part, "wb")) if part else sys.stdout.buffer
        try:
            async for piece in answer.content.iter_chunked(UPLOAD_CHUNK_BYTES):
                sink.write(piece)
        finally:
            if part:
                sink.close()
            else:
                sink.flush()
    if part and output:
        part.replace(output)
