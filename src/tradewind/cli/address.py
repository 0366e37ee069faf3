"""Where the commands that speak HTTP find the platform and their key."""

import os
import sys
from pathlib import Path

import typer

from tradewind.platform.settings import Settings, SettingsError, read_settings

EXIT_CANNOT_RUN = 2
ANY_ADDRESS = frozenset(("0.0.0.0", "::"))


def settings_in_force() -> Settings:
    """The settings of the environment; leaves with a sentence where they cannot be used."""
    try:
        return read_settings(os.environ)
    except SettingsError as error:
        print(error, file=sys.stderr)
        raise typer.Exit(EXIT_CANNOT_RUN) from None


def api_url(url: str) -> str:
    """The address given, or where this installation listens."""
    if url:
        return url
    settings = settings_in_force()
    # A server that listens everywhere is reached here.
    host = "127.0.0.1" if settings.host in ANY_ADDRESS else settings.host
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
