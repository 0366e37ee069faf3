"""How commands ask the running platform: its public API, one request at a time."""

import http.client
import json
import sys
from typing import Any, NoReturn
from urllib.parse import urlsplit

import typer

TIMEOUT_S = 30
EXIT_REFUSED = 1
EXIT_CANNOT_RUN = 2


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
        if status == 204:
            return None
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
    # Where one thing is wrong the detail says it; where several are, each has its line.
    errors = problem.get("errors", ())
    if len(errors) > 1:
        lines += [f"  {e.get('pointer')}: {e.get('message')}" for e in errors]
    if status == 401:
        lines.append("The key this command asks with is not valid here: see --key-file and --url.")
    elif status == 403:
        lines.append("The key this command asks with has not the scope it takes.")
    return "\n".join(lines)


def leave(code: int, why: str) -> NoReturn:
    """Stop with a sentence."""
    say(why)
    raise typer.Exit(code)


def say(text: str) -> None:
    """Tell the person, not the pipe."""
    print(text, file=sys.stderr)
