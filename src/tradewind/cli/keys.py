"""``tradewind keys``: let programs in and shut them out, through the public API."""

import http.client
import json
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, NoReturn
from urllib.parse import quote, urlencode, urlsplit

import typer

from tradewind.cli.address import api_url, read_key

TIMEOUT_S = 30
EXIT_REFUSED = 1
EXIT_CANNOT_RUN = 2
EVERY_SCOPE = "all"
LIFE_DAYS_MAX = 3_650

app = typer.Typer(
    name="keys",
    help="""Let programs in and shut them out: API keys and their scopes.

A key opens what its scopes name and nothing else, so give each program its own. Its secret is shown
once, when it is made; the platform keeps only a hash of it.

**A key's life**

    tradewind keys create till-3 --scope orders:write --scope orders:read

    tradewind keys list

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

    **Scopes**: catalog:write, events:read, fraud:review, inventory:read, inventory:write,
    keys:write, mailbox:read, orders:import, orders:read, orders:write, payments:read,
    payments:write.
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


class Shop:
    """The API, as one key sees it. What goes wrong is a sentence and an exit code."""

    def __init__(self, url: str, key: str) -> None:
        self.url = url.rstrip("/")
        self.key = key

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """The JSON of a successful answer; leaves with the problem otherwise."""
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            leave(EXIT_CANNOT_RUN, f"{self.url} is no address: it must begin with http://.")
        # Not urllib.request: that would follow a redirect and take the key along.
        secure = parts.scheme == "https"
        kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
        headers = {"Authorization": f"Bearer {self.key}", "Accept": "application/json"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        try:
            connection = kind(parts.hostname, parts.port, timeout=TIMEOUT_S)
            try:
                raw = None if body is None else json.dumps(body)
                connection.request(method, parts.path + path, raw, headers)
                answer = connection.getresponse()
                status, text = answer.status, answer.read()
            finally:
                connection.close()
        except (OSError, ValueError, http.client.HTTPException) as error:
            leave(
                EXIT_CANNOT_RUN,
                f"{self.url} does not answer ({error}). Is the platform running? "
                "`tradewind up` starts it; --url names another address.",
            )
        try:
            document = json.loads(text)
        except ValueError:
            leave(EXIT_CANNOT_RUN, f"{self.url} answered {status}, but not as Tradewind does.")
        if status >= 300:
            leave(EXIT_REFUSED, refusal(status, document))
        return document


def refusal(status: int, problem: Any) -> str:
    """A problem document in sentences."""
    if not isinstance(problem, dict):
        return f"The platform answered {status}."
    lines = [f"{problem.get('detail') or problem.get('title')} ({problem.get('code', status)})"]
    lines += [f"  {e.get('pointer')}: {e.get('message')}" for e in problem.get("errors", ())]
    if status == 401:
        lines.append("The key this command asks with is not valid here: see --key-file and --url.")
    elif status == 403:
        lines.append("The key this command asks with has not the scope it takes.")
    return "\n".join(lines)


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


def say(text: str) -> None:
    """Tell the person, not the pipe."""
    print(text, file=sys.stderr)


def leave(code: int, why: str) -> NoReturn:
    """Stop with a sentence."""
    say(why)
    raise typer.Exit(code)
