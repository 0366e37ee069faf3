"""``tradewind keys``: let programs in and shut them out, through the public API."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote, urlencode

import typer

from tradewind.cli.address import api_url, read_key
from tradewind.cli.asking import Shop, say

EVERY_SCOPE = "all"
LIFE_DAYS_MAX = 3_650
OVERLAP_HOURS_MAX = 720

app = typer.Typer(
    name="keys",
    help="""Let programs in and shut them out: API keys and their scopes.

A key opens what its scopes name and nothing else, so give each program its own. Its secret is shown
once, when it is made; the platform keeps only a hash of it.

**A key's life**

    tradewind keys create till-3 --scope orders:write --scope orders:read

    tradewind keys list

    tradewind keys rotate key_01jd8zq4m7e0srv2k3w9p5x6yt

    tradewind keys revoke key_01jd8zq4m7e0srv2k3w9p5x6yt

Every command asks with the admin key of this installation, unless --key-file names another one.
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
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


@app.command("list")
def list_keys(
    revoked: Annotated[
        bool, typer.Option("--revoked", help="Show revoked and expired keys too.")
    ] = False,
    as_json: AsJson = False,
    url: Url = "",
    key_file: KeyFile = None,
) -> None:
    """List the keys that work: what each is for, what it may do, when it was last used.

    A key that nobody has used for months is one to revoke. --json has the times to the minute.
    """
    shop = Shop(api_url(url), read_key(key_file))
    keys: list[dict[str, Any]] = []
    cursor: str | None = None
    while True:
        query = {"limit": "100", **({"cursor": cursor} if cursor else {})}
        page = shop.ask("GET", f"/v1/keys?{urlencode(query)}")
        keys += page["items"]
        cursor = page["next"]
        if cursor is None:
            break
    now = datetime.now(UTC)
    shown = [key for key in keys if revoked or state_of(key, now) == "works"]
    if as_json:
        print(json.dumps(shown, indent=2))
        return
    print_table(shown, now)
    if len(shown) < len(keys):
        print(f"{len(keys) - len(shown)} revoked or expired; --revoked shows them.")


@app.command("create")
def create_key(
    name: Annotated[str, typer.Argument(help="What the key is for, such as till-3 or erp.")],
    scope: Annotated[
        list[str],
        typer.Option(
            "--scope", "-s", help="What it may do; repeat it for several, `all` for everything."
        ),
    ],
    days: Annotated[
        int | None,
        typer.Option(min=1, max=LIFE_DAYS_MAX, help="Days until it expires; default: never."),
    ] = None,
    *,
    as_json: AsJson = False,
    url: Url = "",
    key_file: KeyFile = None,
) -> None:
    """Make a key and show its secret, this once.

    The key alone goes to standard output, so it can go straight to where it is needed.

    **Examples**

        tradewind keys create erp --scope catalog:write --scope inventory:write --days 365

        tradewind keys create till-3 -s orders:write > till-3.key

    **Scopes**: accounts:read, accounts:write, audit:read, carts:read, carts:write, catalog:write,
    clients:write, events:read, events:write, fraud:review, inventory:read, inventory:write,
    keys:write, mailbox:read, orders:import, orders:read, orders:write, papers:retained,
    payments:read, payments:write, persons:erase, persons:export, roles:write, tokens:read.
    """
    body: dict[str, Any] = {"name": name, "scopes": scopes_of(scope)}
    if days is not None:
        body["expires_at"] = (datetime.now(UTC) + timedelta(days=days)).isoformat()
    made = Shop(api_url(url), read_key(key_file)).ask("POST", "/v1/keys", body)
    if as_json:
        print(json.dumps(made, indent=2))
        return
    until = f"until {made['expires_at'][:10]}" if made["expires_at"] else "until it is revoked"
    say(f"{made['id']} ({made['name']}) may {', '.join(made['scopes'])}, {until}.")
    say("Keep the key now: it is not shown again.")
    print(made["key"])


@app.command("rotate")
def rotate_key(
    key_id: Annotated[str, typer.Argument(help="The id of the key: key_..., see `keys list`.")],
    hours: Annotated[
        int,
        typer.Option(min=0, max=OVERLAP_HOURS_MAX, help="How long the old secret opens beside it."),
    ] = 24,
    url: Url = "",
    key_file: KeyFile = None,
) -> None:
    """Give a key a new secret and show it, this once. The old one opens for some hours more.

    Id, scopes and limits stay: carry the new secret to where the old one is, one place after the
    other. Rotating again ends the secret before.

    **Example**

        tradewind keys rotate key_01jd8zq4m7e0srv2k3w9p5x6yt --hours 48 > erp.key
    """
    shop = Shop(api_url(url), read_key(key_file))
    path = f"/v1/keys/{quote(key_id, safe='')}/rotate"
    key = shop.ask("POST", path, {"overlap_s": hours * 3_600})
    say(f"{key['id']} ({key['name']}): the old secret opens until {moment(key['former_until'])}.")
    say("Keep the key now: it is not shown again.")
    print(key["key"])


@app.command("revoke")
def revoke_key(
    key_id: Annotated[str, typer.Argument(help="The id of the key: key_..., see `keys list`.")],
    url: Url = "",
    key_file: KeyFile = None,
) -> None:
    """Shut a key out, for ever. Every process refuses it within a second.

    Revoking a key twice does no harm. The last key that can manage keys cannot be revoked: make
    another one with the scope keys:write first.

    **Example**

        tradewind keys revoke key_01jd8zq4m7e0srv2k3w9p5x6yt
    """
    shop = Shop(api_url(url), read_key(key_file))
    key = shop.ask("POST", f"/v1/keys/{quote(key_id, safe='')}/revoke")
    say(f"{key['id']} ({key['name']}) is revoked since {moment(key['revoked_at'])}.")


def scopes_of(names: list[str]) -> list[str]:
    """The scopes meant; the API checks their names."""
    from tradewind.contexts.identity.commands import SCOPES

    return list(SCOPES) if EVERY_SCOPE in names else names


def state_of(key: dict[str, Any], now: datetime) -> str:
    """What became of a key: works, revoked or expired."""
    if key["revoked_at"]:
        return "revoked"
    if key["expires_at"] and datetime.fromisoformat(key["expires_at"]) <= now:
        return "expired"
    return "works"


def print_table(keys: list[dict[str, Any]], now: datetime) -> None:
    """Keys for a person's eyes."""
    from rich.console import Console
    from rich.table import Table

    from tradewind.contexts.identity.commands import SCOPES

    table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
    for column in ("key", "name", "may", "last used", "state"):
        # The id is what one copies: it is never cut or wrapped.
        table.add_column(column, no_wrap=column == "key", overflow="fold")
    for key in keys:
        state = state_of(key, now)
        if state == "works" and key["expires_at"]:
            state = f"until {key['expires_at'][:10]}"
        table.add_row(
            key["id"],
            plain(key["name"]),
            "everything" if set(key["scopes"]) >= set(SCOPES) else ", ".join(key["scopes"]),
            key["last_used_at"][:10] if key["last_used_at"] else "never",
            state,
        )
    Console().print(table)


def plain(text: str) -> str:
    """A text in which rich finds no markup."""
    from rich.markup import escape

    return escape(text)


def moment(text: str) -> str:
    """A wire time to the minute: 2026-03-01 12:30 UTC."""
    return f"{text[:10]} {text[11:16]} UTC"
