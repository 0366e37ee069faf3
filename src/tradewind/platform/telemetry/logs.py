"""Log lines: JSON for machines, readable on a terminal, with the ids of what was being done.

Everything goes through one chain, the standard library's loggers (uvicorn, asyncpg, asyncio)
included. Ids of the request, the trace and the order are bound to the running task and appear on
every line it causes. Personal data does not belong into a log call at all; as a second line of
defence fields with personal names and e-mail addresses inside texts are blotted out here.

    log = logs.get("orders")
    with logs.bound(request_id=..., trace_id=..., order_id=...):
        log.info("order_refused", code="stock_is_short")
"""

import logging
import re
import sys
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from typing import Any, BinaryIO

import msgspec

# structlog loads rich, for tracebacks that we do not want, wherever it finds it: 0.15 s of every
# start of every process. With this it does not find it.
_rich = sys.modules.get("rich")
sys.modules["rich"] = None  # type: ignore[assignment]
try:
    import structlog
    from structlog.typing import FilteringBoundLogger, Processor
finally:
    if _rich is None:
        del sys.modules["rich"]
    else:
        sys.modules["rich"] = _rich

from tradewind.platform.settings import Settings  # noqa: E402 - after the lines above

LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}
# Loggers that say at "info" what only their authors want to know.
CHATTY = ("asyncio", "uvicorn", "uvicorn.error", "asyncpg", "aiohttp")
PERSONAL_FIELDS = frozenset(
    {
        "email",
        "name",
        "phone",
        "address",
        "shipping_address",
        "billing_address",
        "line1",
        "line2",
        "city",
        "postal_code",
        "customer_name",
        "authorization",
        "password",
        "token",
    }
)
EMAIL = re.compile(r"[^\s@<>\"'()=,:;]+@[^\s@<>\"'()=,:;]+\.[^\s@<>\"'()=,:;]+")
BLOTTED = "[personal]"

Entry = MutableMapping[str, Any]


def configure(
    settings: Settings,
    *,
    process: str,
    stream: BinaryIO | None = None,
    terminal: bool | None = None,
) -> None:
    """Send all logging of this process through our chain, to stderr; call once, at the start.

    `process` names it on every line ("web-1", "supervisor"). `stream` and `terminal` are for tests.
    """
    out = stream or sys.stderr.buffer
    on_terminal = sys.stderr.isatty() if terminal is None else terminal
    console = settings.log_format == "console" or (settings.log_format == "auto" and on_terminal)
    level = LEVELS[settings.log_level]
    structlog.configure(
        processors=chain(process, console=console, colors=on_terminal),
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *names: LineWriter(out),
        cache_logger_on_first_use=True,
    )
    logging.captureWarnings(True)
    root = logging.getLogger()
    root.handlers[:] = [Bridge()]
    root.setLevel(level)
    for name in CHATTY:
        library = logging.getLogger(name)
        library.handlers.clear()
        library.propagate = True
        library.setLevel(max(level, logging.WARNING))


def chain(process: str, *, console: bool, colors: bool) -> list[Processor]:
    """What every entry passes through, the renderer last."""

    def stamp(_: Any, __: str, entry: Entry) -> Entry:
        entry["process"] = process
        return entry

    processors: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        stamp,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        blot,
    ]
    if not console:
        return [*processors, as_json]
    # Plain tracebacks: the pretty ones print local variables, which may hold a person's data.
    renderer = structlog.dev.ConsoleRenderer(
        colors=colors, exception_formatter=structlog.dev.plain_traceback
    )

    def as_text(logger: Any, method: str, entry: Entry) -> bytes:
        return renderer(logger, method, entry).encode(errors="backslashreplace")

    return [*processors, as_text]


def get(name: str) -> FilteringBoundLogger:
    """A logger; cheap to keep in a module, configured when it first writes."""
    logger: FilteringBoundLogger = structlog.get_logger(part=name.removeprefix("tradewind."))
    return logger


@contextmanager
def bound(**ids: str | None) -> Iterator[None]:
    """Put ids on every line written inside the block, by this task and those it starts."""
    with structlog.contextvars.bound_contextvars(
        **{name: value for name, value in ids.items() if value is not None}
    ):
        yield


def bind(**ids: str) -> None:
    """Put ids on every further line of this task, for code that learns them on its way."""
    structlog.contextvars.bind_contextvars(**ids)


def ids() -> Mapping[str, Any]:
    """The ids bound to the running task."""
    return structlog.contextvars.get_contextvars()


def blot(_: Any, __: str, entry: Entry) -> Entry:
    """Hide what looks personal. The call that brought it here is still a bug."""
    for field, value in entry.items():
        if field in PERSONAL_FIELDS:
            entry[field] = BLOTTED
        elif isinstance(value, str) and "@" in value:
            entry[field] = EMAIL.sub(BLOTTED, value)
    return entry


def as_json(_: Any, __: str, entry: Entry) -> bytes:
    """One line of JSON, whatever the values are."""
    try:
        return msgspec.json.encode(entry, enc_hook=repr)
    except (TypeError, ValueError):  # a key that is no string, half a surrogate pair
        return msgspec.json.encode({str(k): ascii(v) for k, v in entry.items()})


class LineWriter:
    """Writes rendered entries; a reader that went away must not stop the platform."""

    def __init__(self, out: BinaryIO) -> None:
        self._out = out

    def msg(self, line: bytes) -> None:
        """Write one entry and flush it: the last line before a crash is the one that counts."""
        try:
            self._out.write(line + b"\n")
            self._out.flush()
        except (OSError, ValueError):
            return

    log = debug = info = warning = warn = error = critical = fatal = exception = failure = msg


class Bridge(logging.Handler):
    """Takes what libraries log into our chain."""

    def emit(self, record: logging.LogRecord) -> None:
        """Pass a record on under its logger's name; never raises."""
        try:
            get(record.name).log(record.levelno, record.getMessage(), exc_info=record.exc_info)
        except Exception:
            self.handleError(record)
