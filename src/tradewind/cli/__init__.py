"""The command line: ``tradewind --help``. Each module here holds one group of commands.

Their modules import the platform inside the functions that need it, so that ``tradewind --help``
does not pay for loading it.
"""

import sys

from tradewind.cli import start
from tradewind.cli.refusals import is_refusal

EXIT_INTERRUPTED = 130


def main() -> None:
    """Run the command line. What a person can repair is one sentence, never a traceback."""
    try:
        if sys.argv[1:] == ["up"]:
            start.up()  # without the parser of options it does not have: 0.15 s of every start
        else:
            from tradewind.cli import commands

            commands.app(prog_name="tradewind")
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)
    except Exception as error:
        if not is_refusal(error):
            raise
        print(error, file=sys.stderr)
        sys.exit(1)
