"""What ``tradewind up`` tells the person at the terminal: steps, then where everything is."""

import shlex
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import cached_property
from typing import TYPE_CHECKING, Any

from msgspec import Struct

if TYPE_CHECKING:
    from rich.console import Console


class Step:
    """A step at work; its end may say more than its beginning."""

    def __init__(self, text: str) -> None:
        self.text = text

    def became(self, text: str) -> None:
        """What to print when it is done."""
        self.text = text


class Narrator:
    """Prints: with a spinner on a terminal, as plain lines elsewhere.

    rich is loaded with the first word, so that the web processes are on their way before it.
    """

    def __init__(self, console: "Console | None" = None) -> None:
        self._console = console

    @cached_property
    def console(self) -> "Console":
        """What is printed to."""
        from rich.console import Console

        return self._console or Console(highlight=False, soft_wrap=True)

    @contextmanager
    def step(self, text: str) -> Iterator[Step]:
        """Say what is being done, and when it is done what it was and how long it took."""
        from rich.markup import escape

        began = time.monotonic()
        step = Step(text)
        waiting: Any = nullcontext()
        if self.console.is_terminal:
            waiting = self.console.status(escape(text) + " ...")
        with waiting:
            yield step
        took = f"{time.monotonic() - began:.2f} s"
        self.console.print(f"  [green]✓[/] {escape(step.text)} [dim]({took})[/]")

    def say(self, text: str) -> None:
        """One line."""
        from rich.markup import escape

        self.console.print(escape(text))

    def warn(self, text: str) -> None:
        """One line that should not be missed."""
        from rich.markup import escape

        self.console.print(f"[yellow]{escape(text)}[/]")

    def show(self, title: str, rows: Sequence["Fact"]) -> None:
        """A title, and what is where, ready to be copied."""
        from rich.markup import escape
        from rich.text import Text

        self.console.print()
        self.console.print(f"[bold green]{escape(title)}[/]")
        width = max(len(row.label) for row in rows)
        for row in rows:
            line = Text(f"  {row.label.ljust(width)}  ", style="dim")
            line.append(row.value, style="" if row.is_long else "bold")
            self.console.print(line)
        self.console.print()


class Fact(Struct, frozen=True):
    """One line of the summary."""

    label: str
    value: str
    is_long: bool = False


def curl(address: str, path: str, *, key_file: str = "") -> str:
    """A command that can be pasted into a shell."""
    bearer = f' -H "Authorization: Bearer $(cat {shlex.quote(key_file)})"' if key_file else ""
    return f"curl{bearer} {shlex.quote(address + path)}"


def curl_order(address: str, *, sku: str, currency: str) -> str:
    """The command that places an order for one piece."""
    body = (
        f'{{"email":"ada@example.com","currency":"{currency}",'
        f'"lines":[{{"sku":"{sku}","quantity":1}}],'
        '"shipping_address":{"name":"Ada","line1":"1 Quay","city":"London",'
        '"postal_code":"E1 6AN","country":"GB"},"payment":{"token":"tok_ok"}}'
    )
    return (
        f"curl {shlex.quote(address + '/v1/orders')} "
        '-H "Idempotency-Key: first-order-$(date +%s)" '
        f"-H 'Content-Type: application/json' -d {shlex.quote(body)}"
    )
