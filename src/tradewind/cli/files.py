"""``tradewind import`` and ``tradewind export``: whole shops in files, over HTTP.

Clients of the public API and of nothing else: what they do, any program with a key can do.
"""

import asyncio
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, NoReturn, TypeVar

import typer

from tradewind.cli.address import api_url, read_key

Result = TypeVar("Result")
EXIT_BROKEN = 1
EXIT_CANNOT_RUN = 2
EXIT_INTERRUPTED = 130

Url = Annotated[
    str, typer.Option(help="Address of the platform; default: where `tradewind up` listens.")
]
KeyFile = Annotated[
    Path | None,
    typer.Option(help="File with an API key; default: admin.key of this installation."),
]
Source = Annotated[
    str, typer.Argument(help="NDJSON or CSV, also as .gz; `-` reads from standard input.")
]
Format = Annotated[
    Literal["ndjson", "csv"] | None,
    typer.Option("--format", help="What the file is; default: by its name, else ndjson."),
]
Mapping = Annotated[
    Path | None,
    typer.Option(exists=True, dir_okay=False, help="JSON: which column of a CSV is which field."),
]
Encoding = Annotated[
    Literal["utf-8", "windows-1252", "iso-8859-1"], typer.Option(help="How a CSV is encoded.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Check every line and change nothing.")]
Resume = Annotated[str, typer.Option(help="Go on with this import (imp_...), from the same file.")]
Output = Annotated[
    Path | None, typer.Option("--output", "-o", help="File; default: standard output.")
]

imports = typer.Typer(no_args_is_help=True, help="Import products, stock or an old order book.")
exports = typer.Typer(no_args_is_help=True, help="Export what can be imported.")


@imports.command("products")
def import_products(
    file: Source,
    *,
    form: Format = None,
    mapping: Mapping = None,
    encoding: Encoding = "utf-8",
    dry_run: DryRun = False,
    resume: Resume = "",
    url: Url = "",
    key_file: KeyFile = None,
) -> None:
    """Import products from a file, and print the report.

    Sends the file as a stream, so its size does not matter. A line that cannot be taken is
    rejected alone; the report says which and why. If the connection breaks the file is sent again
    by itself and goes on where it was; `--resume` does so later. Importing a file again changes
    nothing. Exit code: 0 all lines taken, 1 some rejected, 2 it could not run.

    **Examples**

        tradewind import products products.ndjson.gz

        tradewind import products export.csv --mapping columns.json --dry-run
    """
    told = Told(file, form, mapping, encoding, dry_run, resume, url, key_file)
    import_file("products", told)


@imports.command("stock")
def import_stock(
    file: Source,
    *,
    form: Format = None,
    mapping: Mapping = None,
    encoding: Encoding = "utf-8",
    dry_run: DryRun = False,
    resume: Resume = "",
    url: Url = "",
    key_file: KeyFile = None,
) -> None:
    """Import counts from a file: columns or keys `sku`, `on_hand` and, if not main, `location`.

    Everything else is as for products. Exit code: 0 all lines taken, 1 some rejected, 2 it could
    not run.

    **Examples**

        tradewind import stock counts.csv

        cat counts.ndjson | tradewind import stock -
    """
    import_file("stock", Told(file, form, mapping, encoding, dry_run, resume, url, key_file))


class Told(NamedTuple):
    """The options of an import."""

    file: str
    form: str | None
    mapping: Path | None
    encoding: str
    dry_run: bool
    resume: str
    url: str
    key_file: Path | None


def import_file(kind: str, told: Told) -> None:
    """Send a file and print what came of it."""
    from tradewind.samples.files_in_and_out import Wanted, print_report, send_file

    file = told.file
    if file != "-" and not Path(file).is_file():
        fail(f"There is no file {file}.")
    wanted = Wanted(
        kind=kind,
        file=None if file == "-" else Path(file),
        as_sheet=(told.form or form_of(file)) == "csv",
        mapping=told.mapping.read_text(encoding="utf-8") if told.mapping else None,
        encoding=told.encoding,
        dry_run=told.dry_run,
        resume=told.resume,
    )
    report = run(send_file(wanted, api_url(told.url), read_key(told.key_file)))
    print_report(report)
    if report["rejected"]:
        raise typer.Exit(EXIT_BROKEN)


def form_of(file: str) -> str:
    """What a file is, by its name."""
    return "csv" if Path(file.removesuffix(".gz")).suffix.lower() == ".csv" else "ndjson"


@exports.command("products")
def export_products(
    output: Output = None, form: Format = None, url: Url = "", key_file: KeyFile = None
) -> None:
    """Export all products, as `tradewind import products` takes them.

    **Examples**

        tradewind export products -o products.csv
    """
    export_to("products", output, form, url, key_file)


@exports.command("stock")
def export_stock(
    output: Output = None, form: Format = None, url: Url = "", key_file: KeyFile = None
) -> None:
    """Export all units on hand, as `tradewind import stock` takes them.

    **Examples**

        tradewind export stock --format csv > stock.csv
    """
    export_to("stock", output, form, url, key_file)


def export_to(
    kind: str, output: Path | None, form: str | None, url: str, key_file: Path | None
) -> None:
    """Write an export to a file, or to standard output."""
    from tradewind.samples.files_in_and_out import receive_file

    wanted = form or (form_of(output.name) if output else "ndjson")
    run(receive_file(kind, wanted, output, api_url(url), read_key(key_file)))


def run(work: Coroutine[Any, Any, Result]) -> Result:
    """Run to the end, or leave with a sentence instead of a traceback."""
    import aiohttp

    from tradewind.samples.client import AccessDenied, ShopIsGone, UnexpectedAnswer
    from tradewind.samples.files_in_and_out import ImportRefused

    try:
        return asyncio.run(work)
    except KeyboardInterrupt:
        print("\nInterrupted.", file=sys.stderr)
        raise typer.Exit(EXIT_INTERRUPTED) from None
    except (ShopIsGone, AccessDenied, UnexpectedAnswer, ImportRefused) as error:
        fail(str(error))
    except (aiohttp.ClientError, OSError) as error:
        fail(f"The connection broke: {error}. Run it again.")


def fail(sentence: str) -> NoReturn:
    """Say why it could not run, and leave."""
    print(sentence, file=sys.stderr)
    raise typer.Exit(EXIT_CANNOT_RUN)
