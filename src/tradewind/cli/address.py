"""Where the commands that speak HTTP find the platform and their key."""

import sys
from pathlib import Path

import typer

from tradewind.cli.refusals import settings_in_force

EXIT_CANNOT_RUN = 2
# A server that listens on every address is reached on this machine's own.
EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}


def api_url(url: str) -> str:
    """The address given, or where this installation listens."""
    if url:
        return url
    settings = settings_in_force()
    try:
        # Written by `tradewind up` while it runs: it may listen elsewhere than this shell thinks.
        return (settings.home / "address").read_text(encoding="utf-8").strip()
    except OSError:
        pass
    host = EVERYWHERE.get(settings.host, settings.host)
    return f"http://[{host}]:{settings.port}" if ":" in host else f"http://{host}:{settings.port}"


def read_key(file: Path | None) -> str:
    """The API key in `file`, or the admin key of this installation."""
    path = file or settings_in_force().home / "admin.key"
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError as error:
        print(
            f"There is no key in {path} ({error.strerror}). Start the platform once with "
            "`tradewind up`, or name a file with --key-file.",
            file=sys.stderr,
        )
        raise typer.Exit(EXIT_CANNOT_RUN) from None
