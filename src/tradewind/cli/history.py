"""``tradewind import`` and ``tradewind replay``: products and an old order book, over HTTP.

Both are clients of the public API and of nothing else: what they do, any program with a key can do.
"""

import asyncio
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeVar

import typer

from tradewind.cli.address import api_url, read_key

Result = TypeVar("Result")

CONCURRENCY = 32
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


def import_products(
    file: Annotated[
        Path,
        typer.Argument(
            exists=True, dir_okay=False, help="Products, one JSON object a line; may end in .gz."
        ),
    ],
    url: Url = "",
    key_file: KeyFile = None,
) -> None:
    """Import products from a file of JSON lines, and print the report.

    Sends the file to POST /v1/imports/products as a stream, so its size does not matter. A line
    that cannot be taken is rejected alone; the report says which and why. Importing a file again
    does no harm. Exit code: 0 all lines taken, 1 some rejected, 2 it could not run.

    **Examples**

        tradewind import products.ndjson

        tradewind import products.ndjson.gz --url https://shop.example --key-file shop.key
    """
    from tradewind.samples.terminal import import_file, print_import_report

    report = run(import_file(file, api_url(url), read_key(key_file)))
    print_import_report(report)
    if report["rejected"]:
        raise typer.Exit(EXIT_BROKEN)


def replay(
    file: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            help="An order book in the columns of Online Retail; default: the sample shop's.",
        ),
    ] = None,
    products: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            help="The products that are on sale, as imported; default: the sample shop's.",
        ),
    ] = None,
    concurrency: Annotated[
        int, typer.Option(min=1, max=512, help="Orders under way at once.")
    ] = CONCURRENCY,
    url: Url = "",
    key_file: KeyFile = None,
) -> None:
    """Replay 90 days of a real shop's orders, then account for every line.

    Each old invoice goes through POST /v1/orders with its own prices and time (scope
    orders:import); cancellations become cancelled orders or refunds. Products must be there
    already: `tradewind up` loads the sample shop's.

    Interrupt it or restart the server as you like and run it again: every order is placed once.
    The tables at the end say where each line of the source went and compare orders, money and
    ledger with what the platform reports. Exit code: 0 all equal, 1 something differs, 2 it could
    not run.

    **Examples**

        tradewind replay

        tradewind replay --concurrency 64 --file online_retail.csv.gz
    """
    from tradewind.samples import files, history
    from tradewind.samples.terminal import print_reconciliation, replay_and_reconcile

    address, key = api_url(url), read_key(key_file)
    try:
        plan = history.make_plan(
            history.read_lines(file or files.ORDER_LINES),
            skus=files.skus(products or files.PRODUCTS),
        )
    except history.HistoryError as error:
        fail(str(error))
    result = run(replay_and_reconcile(plan, address, key, concurrency=concurrency))
    print_reconciliation(result)
    if not result.agrees:
        raise typer.Exit(EXIT_BROKEN)


def run(work: Coroutine[Any, Any, Result]) -> Result:
    """Run to the end, or leave with a sentence instead of a traceback."""
    import aiohttp

    from tradewind.samples.client import AccessDenied, ShopIsGone, UnexpectedAnswer
    from tradewind.samples.terminal import ImportRefused

    try:
        return asyncio.run(work)
    except KeyboardInterrupt:
        print("\nInterrupted. Run it again: it goes on where it was.", file=sys.stderr)
        raise typer.Exit(EXIT_INTERRUPTED) from None
    except (ShopIsGone, AccessDenied, UnexpectedAnswer, ImportRefused) as error:
        fail(str(error))
    except (aiohttp.ClientError, OSError) as error:
        fail(f"The connection broke: {error}. Run it again.")


def fail(sentence: str) -> NoReturn:
    """Say why it could not run, and leave."""
    print(sentence, file=sys.stderr)
    raise typer.Exit(EXIT_CANNOT_RUN)
