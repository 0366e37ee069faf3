"""``tradewind events tail`` and ``tradewind dead-letters``: what happens, and what could not."""

import json
import time
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlencode

import typer

from tradewind.cli.address import api_url, read_key
from tradewind.cli.asking import Shop

FOLLOW_PAUSE_S = 0.5
PAGE_ITEMS = 100

events = typer.Typer(
    name="events",
    help="""Read the public event feed: every fact, in order, once.

    tradewind events tail

    tradewind events tail --topic order-events --json | jq .subject
""",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)
letters = typer.Typer(
    name="dead-letters",
    help="""See what a consumer could not handle, try it again, or give it up.

A message that fails alone three times becomes a dead letter. It blocks its own key only: later
messages of the same key wait behind it, in order, and all others go on.

**What to do**

    tradewind dead-letters list                    what, whose, and why

    tradewind dead-letters retry --consumer payments.payments      after mending the cause

    tradewind dead-letters drop payments.payments ord_01jd8...     give this one up
""",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)

Url = Annotated[
    str, typer.Option(help="Address of the platform; default: where `tradewind up` listens.")
]
KeyFile = Annotated[
    Path | None,
    typer.Option(help="File with the API key to ask with; default: this installation's admin key."),
]


@events.command("tail")
def tail(
    topic: Annotated[
        str, typer.Option(help="Only this topic: order-events, payment-events, ...")
    ] = "",
    after: Annotated[
        str, typer.Option(help="Begin behind this cursor; `start` begins with the first event.")
    ] = "",
    *,
    follow: Annotated[bool, typer.Option(help="Wait for more; --no-follow ends instead.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="One CloudEvent a line.")] = False,
    url: Url = "",
    key_file: KeyFile = None,
) -> None:
    """Follow the feed: one line an event.

    Without --after it begins at the end, with what happens from now on. The last line of
    --no-follow is the cursor to go on from.

    **Examples**

        tradewind events tail

        tradewind events tail --after start --no-follow --json > everything.ndjson
    """
    shop = Shop(api_url(url), read_key(key_file))
    cursor = "" if after == "start" else after or end_of_feed(shop, topic)
    while True:
        page = read_page(shop, topic, cursor)
        for item in page["items"]:
            print(json.dumps(item) if as_json else line_of(item), flush=True)
        at_end = page["next"] == cursor
        cursor = page["next"]
        if at_end and not follow:
            if not as_json:
                print(f"--after {cursor}")
            return
        if at_end:
            time.sleep(FOLLOW_PAUSE_S)


def read_page(shop: Shop, topic: str, cursor: str) -> Any:
    """A page of the feed."""
    query = {"limit": str(PAGE_ITEMS)}
    if topic:
        query["topic"] = topic
    if cursor:
        query["after"] = cursor
    return shop.ask("GET", f"/v1/events?{urlencode(query)}")


def end_of_feed(shop: Shop, topic: str) -> str:
    """The cursor behind the last event."""
    return str(shop.ask("GET", "/v1/events/end")["next"])


def line_of(item: dict[str, Any]) -> str:
    """An event for a person's eyes."""
    at = item["time"][11:23]
    name = item["type"].split(".")[1]
    source = item["source"].rsplit("/", 1)[-1]
    return f"{at}  {source:<14} {name:<22} {item['subject']}  #{item['sequence']}"


@letters.command("list")
def list_letters(
    consumer: Annotated[str, typer.Option(help="Only this consumer's.")] = "",
    *,
    parked: Annotated[
        bool, typer.Option("--parked", help="Show what waits behind them too.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False,
    url: Url = "",
    key_file: KeyFile = None,
) -> None:
    """List what could not be handled, oldest first, with the last line of the error."""
    query = {"limit": "100", "parked": "true" if parked else "false"}
    if consumer:
        query["consumer"] = consumer
    shop = Shop(api_url(url), read_key(key_file))
    items = shop.ask("GET", f"/v1/dead-letters?{urlencode(query)}")["items"]
    if as_json:
        print(json.dumps(items, indent=2))
        return
    if not items:
        print("No dead letters.")
    for item in items:
        error = (item["error"].strip().splitlines() or ["(waits behind another)"])[-1]
        print(f"{item['at'][:19]}  {item['consumer']}  {item['key']}  {item['type']}")
        print(f"    {item['state']} after {item['attempts']} rounds: {error}")


@letters.command("retry")
def retry(
    consumer: Annotated[str, typer.Option(help="Only this consumer's.")] = "",
    key: Annotated[str, typer.Option(help="Only of this key.")] = "",
    *,
    url: Url = "",
    key_file: KeyFile = None,
) -> None:
    """Try dead letters again, and then what waits behind them. Within a second or two."""
    body = {name: value for name, value in (("consumer", consumer), ("key", key)) if value}
    shop = Shop(api_url(url), read_key(key_file))
    count = shop.ask("POST", "/v1/dead-letters/retry", body)["count"]
    print(f"{count} dead letters are tried again; `tradewind dead-letters list` shows the rest.")


@letters.command("drop")
def drop(
    consumer: Annotated[str, typer.Argument(help="Whose: context.consumer.")],
    key: Annotated[str, typer.Argument(help="Of which key, such as an order's id.")],
    *,
    url: Url = "",
    key_file: KeyFile = None,
) -> None:
    """Give a dead letter up for good; what waits behind it is handled."""
    shop = Shop(api_url(url), read_key(key_file))
    shop.ask("POST", "/v1/dead-letters/drop", {"consumer": consumer, "key": key})
    print(f"The dead letter of {consumer} for {key} is given up.")
