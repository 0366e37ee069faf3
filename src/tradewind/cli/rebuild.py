"""``tradewind rebuild``: what follows from the events, made again from them."""

import asyncio
import sys
from typing import Annotated

import typer

from tradewind.cli.refusals import settings_in_force

EXIT_UNKNOWN = 2


def rebuild(
    name: Annotated[
        str, typer.Argument(help="What to rebuild; without it, what there is.", show_default=False)
    ] = "",
) -> None:
    """Rebuild what is copied or drawn from events, while everything goes on.

    Reads the log, makes the table a second time beside the first, compares both at one place of the
    log and puts right what differs, a few hundred rows at a time. Safe to repeat and to interrupt.

    **Examples**

        tradewind rebuild                       # what can be rebuilt

        tradewind rebuild orders.offers         # prices and titles, as orders knows them

        tradewind rebuild all
    """
    from tradewind import app
    from tradewind.platform.bus.rebuild import AlreadyRebuilding
    from tradewind.platform.database.embedded import database_url

    names = app.rebuildable()
    if not name:
        print("\n".join(names))
        return
    if name != "all" and name not in names:
        print(f"There is no {name!r}. Choose one of: {', '.join(names)}, all.", file=sys.stderr)
        raise typer.Exit(EXIT_UNKNOWN)
    settings = settings_in_force()
    url = database_url(settings)
    for each in names if name == "all" else [name]:
        try:
            print(asyncio.run(app.rebuild(settings, url, each)))
        except AlreadyRebuilding as error:
            print(error, file=sys.stderr)
            raise typer.Exit(EXIT_UNKNOWN) from None
