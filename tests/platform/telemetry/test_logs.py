"""Log lines: one chain for all loggers, ids on every line, nothing personal, never in the way."""

import asyncio
import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from tradewind.platform.settings import Settings
from tradewind.platform.telemetry import logs


@pytest.fixture
def written() -> Iterator[io.BytesIO]:
    """Where the lines go; logging is as it was afterwards."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    library = {name: logging.getLogger(name).level for name in logs.CHATTY}
    out = io.BytesIO()
    yield out
    structlog.reset_defaults()
    logging.captureWarnings(False)
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, before in library.items():
        logging.getLogger(name).setLevel(before)


def configure(out: io.BytesIO, *, terminal: bool = False, **settings: Any) -> None:
    """Logging as a web process has it."""
    logs.configure(Settings(**settings), process="web-1", stream=out, terminal=terminal)


def lines(out: io.BytesIO) -> list[dict[str, Any]]:
    """What was written, as JSON."""
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_a_line_says_when_who_and_what(written: io.BytesIO) -> None:
    configure(written)
    logs.get("orders").info("order_refused", code="stock_is_short", short=3)
    (line,) = lines(written)
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "process": "web-1",
        "part": "orders",
        "level": "info",
        "event": "order_refused",
        "code": "stock_is_short",
        "short": 3,
    }


async def test_ids_follow_the_task_and_nothing_else(written: io.BytesIO) -> None:
    """Two requests at once do not see each other's ids; those that are None are left out."""
    configure(written)
    log = logs.get("gateway")

    async def request(number: str) -> None:
        with logs.bound(request_id=number, order_id=None):
            await asyncio.sleep(0)
            log.info("first")
            logs.bind(trace_id="t" + number)
            await asyncio.sleep(0)
            log.info("second")

    await asyncio.gather(request("1"), request("2"))
    log.info("outside")
    found = [(x["event"], x.get("request_id"), x.get("trace_id")) for x in lines(written)]
    assert sorted(found, key=repr) == sorted(
        [
            ("first", "1", None),
            ("first", "2", None),
            ("second", "1", "t1"),
            ("second", "2", "t2"),
            ("outside", None, None),
        ],
        key=repr,
    )
    assert not any("order_id" in line for line in lines(written))


def test_libraries_go_the_same_way(written: io.BytesIO) -> None:
    """Their chatter stays away, their warnings and tracebacks come as one line."""
    configure(written)
    logging.getLogger("uvicorn.error").info("Started server process")
    with logs.bound(request_id="r"):
        try:
            raise ValueError("no")
        except ValueError:
            logging.getLogger("asyncio").exception("Task %s failed", "x")
    (line,) = lines(written)
    assert (line["part"], line["level"], line["event"]) == ("asyncio", "error", "Task x failed")
    assert line["request_id"] == "r"
    assert line["exception"].endswith("ValueError: no")


@pytest.mark.parametrize(("level", "count"), [("debug", 3), ("info", 2), ("error", 1)])
def test_the_level_is_a_setting(written: io.BytesIO, level: str, count: int) -> None:
    configure(written, log_level=level)
    log = logs.get("x")
    log.debug("a")
    log.info("b")
    log.error("c")
    assert len(lines(written)) == count


def test_nothing_personal_is_written(written: io.BytesIO) -> None:
    """By field name, and e-mail addresses anywhere in a text, tracebacks included."""
    configure(written)
    log = logs.get("x")
    log.warning("a mail to ada@shop.example failed", email="ada@shop.example", line1="1 Quay")
    try:
        raise ValueError("key (email)=(ada@shop.example) exists")
    except ValueError:
        log.exception("insert")
    text = written.getvalue().decode()
    assert "ada" not in text
    assert "Quay" not in text
    assert text.count("[personal]") >= 4


def test_a_terminal_gets_text_a_pipe_gets_json(written: io.BytesIO) -> None:
    """Unless the setting says otherwise. Tracebacks show no local variables either way."""
    for terminal, log_format, is_json in (
        (True, "auto", False),
        (False, "auto", True),
        (True, "json", True),
        (False, "console", False),
    ):
        written.truncate(0)
        written.seek(0)
        configure(written, terminal=terminal, log_format=log_format)
        secret = "a local variable"
        try:
            raise ValueError(len(secret))
        except ValueError:
            logs.get("x").exception("boom")
        assert written.getvalue().startswith(b"{") is is_json
        assert b"boom" in written.getvalue()
        assert b"a local variable" not in written.getvalue()


def test_a_closed_stream_stops_nothing(written: io.BytesIO) -> None:
    """Whoever read the log is gone; orders go on."""
    configure(written)
    written.close()
    logs.get("x").info("nobody reads this")
    logging.getLogger("asyncio").warning("nor this")


@given(
    st.dictionaries(
        st.text(min_size=1).filter(lambda k: k not in {"event", "_", "__", "entry"}),
        st.one_of(st.text(), st.integers(), st.floats(), st.binary(), st.none(), st.just(object())),
    )
)
def test_any_value_becomes_one_line(fields: dict[str, Any]) -> None:
    """Half surrogates, NaN, bytes, objects: a log call never raises and never breaks a line."""
    entry = logs.blot(None, "info", {"event": "x\ud800", **fields})
    line = logs.as_json(None, "info", entry)
    assert b"\n" not in line
    json.loads(line)
