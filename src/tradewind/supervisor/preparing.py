"""The program that prepares the database: ``python -m tradewind.supervisor.preparing``.

It loads the whole application, so it is a process of its own that ends when it is done: what it
loaded would else stay with the supervisor for as long as the platform runs, 50 MB for nothing. It
loads while PostgreSQL starts, waits at its gate for the settings in force, and tells on its
standard output what it did, or why it could not.
"""

import argparse
import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress

import msgspec
from msgspec import Struct

from tradewind.platform.settings import Settings, as_environment, child_environment, read_settings
from tradewind.supervisor.children import StartError

PREPARE = (sys.executable, "-m", "tradewind.supervisor.preparing")


class Prepared(Struct, frozen=True):
    """What preparing came to, in sentences. `refused`: why it could not be done."""

    lines: Sequence[str] = ()
    refused: str = ""


class Preparation:
    """Preparing, in a process that loads from the moment this is made."""

    def __init__(self, settings: Settings, command: Sequence[str] = PREPARE) -> None:
        gate, self._gate = os.pipe()
        self._process = subprocess.Popen(
            [*command, "--gate", str(gate)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            env=child_environment(settings),
            pass_fds=(gate,),
            start_new_session=True,  # Ctrl-C is for the supervisor
        )
        os.close(gate)

    async def __call__(self, settings: Settings, dsn: str) -> Prepared:
        """Prepare this database. Raises `StartError` with the reason where that cannot be done."""
        try:
            with suppress(BrokenPipeError):
                os.write(self._gate, msgspec.json.encode((as_environment(settings), dsn)))
            os.close(self._gate)
            output, _ = await asyncio.to_thread(self._process.communicate)
        finally:
            if self._process.poll() is None:  # the supervisor was told to stop
                self._process.send_signal(signal.SIGTERM)
        try:
            prepared = msgspec.json.decode(output, type=Prepared)
        except msgspec.DecodeError:
            raise StartError(
                "The database could not be prepared: the lines above say why."
            ) from None
        if prepared.refused:
            raise StartError(prepared.refused)
        return prepared


def main(arguments: Sequence[str] | None = None) -> None:
    """Prepare one database."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gate", type=int, required=True, help="a pipe that brings the settings")
    given = parser.parse_args(arguments)

    from tradewind import app  # the long part
    from tradewind.platform.database.migrate import MigrationError
    from tradewind.platform.database.reach import DatabaseUnreachable
    from tradewind.platform.security.secrets import SecretsError
    from tradewind.platform.telemetry import logs

    app.load_contexts()
    with os.fdopen(given.gate, "rb") as pipe:
        sent = pipe.read()
    if not sent:
        sys.exit(1)  # the supervisor is gone, or stopping
    environment, dsn = msgspec.json.decode(sent, type=tuple[dict[str, str], str])
    settings = read_settings(environment)
    logs.configure(settings, process="preparing")
    try:
        prepared = Prepared(lines=asyncio.run(app.prepare(settings, dsn)).lines)
    except (MigrationError, DatabaseUnreachable, SecretsError) as error:
        prepared = Prepared(refused=str(error))
    sys.stdout.buffer.write(msgspec.json.encode(prepared))


if __name__ == "__main__":
    main()
