"""``tradewind import online-retail`` and ``tradewind replay``: an old order book, over HTTP.

Clients of the public API and of nothing else: what they do, any program with a key can do.
"""

import asyncio
import json
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, TypeVar

import typer

from tradewind.cli import files
from tradewind.cli.address import api_url, read_key
from tradewind.cli.refusals import settings_in_force

if TYPE_CHECKING:
    from tradewind.samples.history import Plan

Result = TypeVar("Result")

CONCURRENCY = 32
ONLINE_RETAIL = "online-retail"
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


def import_book(
    book: Annotated[
        Path | None,
        typer.Argument(
            exists=True,
            dir_okay=False,
            metavar="BOOK",
            help="The order book; default: the one in TRADEWIND_DATA.",
        ),
    ] = None,
    url: Url = "",
    key_file: KeyFile = None,
) -> None:
    """Import the products of an order book, with as much opening stock as its history needs.

    Then it can be replayed. Do it once, before the replay: it counts the shelves. Exit code: 0 all
    products taken, 1 some rejected, 2 it could not run.

    **Examples**

        tradewind import online-retail online_retail.csv.gz
    """
    from tradewind.samples.files_in_and_out import print_report, send_book

    file = book or book_of_the_data_set()
    report = files.run(send_book(plan_of(file), file.name, api_url(url), read_key(key_file)))
    print_report(report)
    if report["rejected"]:
        raise typer.Exit(EXIT_BROKEN)


def replay(
    book: Annotated[
        str | None,
        typer.Argument(
            metavar="BOOK | online-retail",
            help="An order book in the columns of Online Retail; `online-retail`: the one in "
            "TRADEWIND_DATA; default: the sample shop's.",
        ),
    ] = None,
    *,
    products: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            help="The products that are on sale, as imported, where they are not those of the "
            "book itself.",
        ),
    ] = None,
    concurrency: Annotated[
        int, typer.Option(min=1, max=512, help="Actions under way at once.")
    ] = CONCURRENCY,
    report: Annotated[
        Path | None, typer.Option(dir_okay=False, help="Write the reconciliation here, as JSON.")
    ] = None,
    url: Url = "",
    key_file: KeyFile = None,
) -> None:
    """Replay a real shop's orders, then account for every line.

    Each old invoice goes through the public API with its own prices and times (scope
    orders:import): orders, shipments, cancellations, returns, credit notes, stock movements.
    Products must be there already: `tradewind up` loads the sample shop's, and `tradewind import
    online-retail` those of a whole order book.

    Interrupt it or restart the server as you like and run it again: everything is done once. The
    tables at the end say where each line of the source went and compare it with the totals beside
    the book, if there are any, and with what the platform reports. Exit code: 0 all equal, 1
    something differs, 2 it could not run.

    **Examples**

        tradewind replay

        tradewind replay online_retail.csv.gz --concurrency 64 --report report.json
    """
    from tradewind.samples import files as sample_files
    from tradewind.samples import history
    from tradewind.samples.reconcile import read_totals
    from tradewind.samples.terminal import Book, print_reconciliation, replay_and_reconcile

    address, key = api_url(url), read_key(key_file)
    if book is None:
        stock = sample_files.stock(products or sample_files.PRODUCTS)
        replayed = Book(plan_of(sample_files.ORDER_LINES, frozenset(stock)), stock, None)
    else:
        file = book_of_the_data_set() if book == ONLINE_RETAIL else existing(book)
        stock = sample_files.stock(products) if products else {}
        plan = plan_of(file, frozenset(stock) if products else None)
        opening = stock if products else history.opening_stock(plan)
        replayed = Book(plan, opening, read_totals(file))
    result = run(replay_and_reconcile(replayed, address, key, concurrency=concurrency))
    print_reconciliation(result)
    if report is not None:
        report.write_text(json.dumps(result.document(), indent=1) + "\n", encoding="utf-8")
    if not result.agrees:
        raise typer.Exit(EXIT_BROKEN)


def plan_of(file: Path, skus: frozenset[str] | None = None) -> "Plan":
    """The plan for an order book."""
    from tradewind.samples import history

    try:
        return history.make_plan(history.read_lines(file), skus=skus)
    except history.HistoryError as error:
        fail(str(error))


def existing(name: str) -> Path:
    """A file that is there."""
    path = Path(name)
    if not path.is_file():
        fail(f"There is no file {name}.")
    return path


def book_of_the_data_set() -> Path:
    """The one order book in the folder of the data sets."""
    folder = settings_in_force().data_folder / ONLINE_RETAIL
    found = sorted(folder.glob("*.csv*"))
    if len(found) != 1:
        fail(
            f"{folder} holds {len(found)} order books (*.csv, *.csv.gz), not one. Name the file, "
            "or set TRADEWIND_DATA to the folder of the data sets."
        )
    return found[0]


def run(work: Coroutine[Any, Any, Result]) -> Result:
    """Run to the end, or leave with a sentence instead of a traceback."""
    import aiohttp

    from tradewind.samples.client import AccessDenied, ShopIsGone, UnexpectedAnswer

    try:
        return asyncio.run(work)
    except KeyboardInterrupt:
        print("\nInterrupted. Run it again: it goes on where it was.", file=sys.stderr)
        raise typer.Exit(EXIT_INTERRUPTED) from None
    except (ShopIsGone, AccessDenied, UnexpectedAnswer) as error:
        fail(str(error))
    except (aiohttp.ClientError, OSError) as error:
        fail(f"The connection broke: {error}. Run it again.")


def fail(sentence: str) -> NoReturn:
    """Say why it could not run, and leave."""
    print(sentence, file=sys.stderr)
    raise typer.Exit(EXIT_CANNOT_RUN)
