"""Every setting of the platform: name, environment variable, unit, default, range, meaning.

This is the only place that reads the environment, and it reads it once, at the start. A value that
cannot be right stops the start with a sentence that names the variable, the value and what is
allowed. ``tradewind settings`` prints the table below with the values in force.
"""

import difflib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin, get_type_hints
from urllib.parse import urlsplit

from msgspec import Struct

PREFIX = "TRADEWIND_"
YES = frozenset({"1", "on", "true", "yes"})
NO = frozenset({"0", "off", "false", "no", ""})


class SettingsError(Exception):
    """The environment holds values that cannot be used; the text is for the person who set them."""


class About(Struct, frozen=True, kw_only=True):
    """What the type of a setting cannot say."""

    text: str  # one sentence
    unit: str = ""
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    schemes: tuple[str, ...] = ()  # of a URL
    secret: bool = False  # never printed
    variable: str = ""  # where it is not TRADEWIND_ + the name


class Settings(Struct, frozen=True, kw_only=True):
    """The settings in force. Tests build one by hand; programs call `read_settings`."""

    # Where it runs
    home: Annotated[
        Path, About(text="The folder that holds the database, the admin key and the logs.")
    ] = Path(".tradewind")
    host: Annotated[str, About(text="The address the HTTP server listens on.")] = "127.0.0.1"
    port: Annotated[
        int, About(text="The port of the HTTP server; 0 takes a free one.", low=0, high=65_535)
    ] = 8080
    workers: Annotated[
        int, About(text="Web processes; one per core is the most that helps.", low=1, high=64)
    ] = 1
    sample: Annotated[
        bool, About(text="Load the sample shop when the platform starts for the first time.")
    ] = True
    database_url: Annotated[
        str | None,
        About(
            text="A PostgreSQL server (15 or newer) to use in place of the embedded one.",
            schemes=("postgresql", "postgres"),
        ),
    ] = None
    secret_key: Annotated[
        str | None,
        About(
            text="Master keys of the server, base64, newest first; empty: the file server.key.",
            secret=True,
        ),
    ] = None
    data_folder: Annotated[
        Path,
        About(
            text="Where tests and benchmarks look for the large data sets; may be missing.",
            variable="TRADEWIND_DATA",
        ),
    ] = Path("../shared/data")
    connections_max: Annotated[
        int,
        About(
            text="Database connections of one web process; more than 16 in all lose throughput.",
            low=4,
            high=64,
        ),
    ] = 12
    disk_reserve_mb: Annotated[
        int,
        About(
            text="With less room on the disk of the embedded database nothing is written.",
            unit="MiB",
            low=0,
            high=1_000_000,
        ),
    ] = 128
    memory_mb: Annotated[
        int,
        About(
            text="What one web process may remember of answers; 0: every read asks the database.",
            unit="MiB",
            low=0,
            high=1_000_000,
        ),
    ] = 64
    archive_days: Annotated[
        int, About(text="Older events move to files; 0: none do.", unit="days", low=0, high=36_500)
    ] = 30
    gc_freeze: Annotated[
        bool,
        About(text="Move everything loaded at the start out of the garbage collector's sight."),
    ] = True

    # Logs and traces
    log_level: Annotated[
        str,
        About(
            text="The least important log line that is written.",
            choices=("debug", "info", "warning", "error"),
        ),
    ] = "info"
    log_format: Annotated[
        str,
        About(
            text="How log lines look; auto is console on a terminal and json elsewhere.",
            choices=("auto", "json", "console"),
        ),
    ] = "auto"
    trace_sample: Annotated[
        float, About(text="The share of requests that are traced.", low=0, high=1)
    ] = 0.01

    # The edge
    limits: Annotated[
        bool, About(text="Limit the rate of requests per caller; off for load tests.")
    ] = True
    cors_origins: Annotated[
        tuple[str, ...],
        About(text="Web origins that may call the API from a browser, separated by commas."),
    ] = ()
    header_bytes_max: Annotated[
        int,
        About(text="The largest request head accepted.", unit="bytes", low=1_024, high=1_048_576),
    ] = 16_384
    body_timeout_s: Annotated[
        float,
        About(text="How long a client may take to send a body.", unit="s", low=0.1, high=3_600),
    ] = 15
    wait_default_s: Annotated[
        float,
        About(
            text="How long an order request waits for its decision without a Prefer header.",
            unit="s",
            low=0,
            high=300,
        ),
    ] = 10
    wait_max_s: Annotated[
        float,
        About(
            text="The longest wait a Prefer header may ask for, and keeps a connection open.",
            unit="s",
            low=0,
            high=300,
        ),
    ] = 30
    waiting_max: Annotated[
        int,
        About(
            text="Requests waiting for a decision in one process; more are answered 202 at once.",
            low=0,
            high=1_000_000,
        ),
    ] = 1_000
    batch_queue_max: Annotated[
        int,
        About(
            text="Commands queued for one kind of work; more are answered 503 busy.",
            low=1,
            high=1_000_000,
        ),
    ] = 1_024
    drain_timeout_s: Annotated[
        float,
        About(
            text="How long a stopping web process finishes what it began.", unit="s", low=0, high=60
        ),
    ] = 6

    # The bus
    lease_s: Annotated[
        float,
        About(text="How long a process keeps unrenewed partitions.", unit="s", low=1, high=300),
    ] = 5
    poll_floor_ms: Annotated[
        float,
        About(
            text="How often the log is looked at when no doorbell rings.",
            unit="ms",
            low=1,
            high=10_000,
        ),
    ] = 50

    # An order in time
    authorise_attempt_timeout_s: Annotated[
        float,
        About(text="How long one authorisation may take.", unit="s", low=0.05, high=120),
    ] = 3
    authorise_attempts_max: Annotated[
        int, About(text="How often an authorisation is tried.", low=1, high=20)
    ] = 3
    authorise_total_timeout_s: Annotated[
        float,
        About(
            text="How long all attempts together may take; then the order is refused.",
            unit="s",
            low=0.05,
            high=600,
        ),
    ] = 8
    decide_within_s: Annotated[
        float,
        About(
            text="An order that is not decided by then is rejected.", unit="s", low=1, high=604_800
        ),
    ] = 900
    review_within_s: Annotated[
        float,
        About(
            text="A held order that nobody reviewed by then is rejected.",
            unit="s",
            low=1,
            high=31_536_000,
        ),
    ] = 172_800
    low_stock_quantity: Annotated[
        int,
        About(
            text="A product with at most this many available is shown as low.",
            unit="units",
            low=0,
            high=1_000_000_000,
        ),
    ] = 5
    faults: Annotated[
        str | None,
        About(text="A folder of traps that kill web processes; only for a check."),
    ] = None

    # The outside world
    simulator_url: Annotated[
        str | None,
        About(
            text="Where the payment simulator answers; empty: make up starts one and fills it in.",
            schemes=("http", "https"),
        ),
    ] = None
    simulator_port: Annotated[
        int,
        About(
            text="The port of the payment simulator that make up starts; 0 takes a free one.",
            low=0,
            high=65_535,
        ),
    ] = 0
    smtp_url: Annotated[
        str | None,
        About(
            text="A mail server; empty: messages go to the embedded mailbox.",
            schemes=("smtp", "smtps"),
        ),
    ] = None
    mail_from: Annotated[str, About(text="The sender of the mails to customers.")] = (
        "Tradewind <orders@tradewind.example>"
    )
    public_url: Annotated[
        str | None,
        About(
            text="Where customers reach the platform, for links in mails; empty: host and port.",
            schemes=("http", "https"),
        ),
    ] = None

    @property
    def shop_url(self) -> str:
        """The address that links to the platform begin with, without a slash at its end."""
        return (self.public_url or f"http://{self.host}:{self.port}").rstrip("/")


class Declared(Struct, frozen=True):
    """One setting as declared above."""

    name: str
    type: Any
    default: Any
    about: About

    @property
    def variable(self) -> str:
        """The environment variable that changes it."""
        return self.about.variable or PREFIX + self.name.upper()

    @property
    def allowed(self) -> str:
        """The range in words."""
        about = self.about
        if about.choices:
            return ", ".join(about.choices[:-1]) + " or " + about.choices[-1]
        if self.type is bool:
            return "on or off"
        if about.schemes:
            begins = " or ".join(f"{scheme}://" for scheme in about.schemes)
            return f"a URL that starts with {begins}"
        if about.low is not None and about.high is not None:
            kind = "a whole number" if self.type is int else "a number"
            unit = f" ({about.unit})" if about.unit else ""
            return f"{kind} from {shown(about.low)} to {shown(about.high)}{unit}"
        if self.type is Path:
            return "a folder"
        return "text"


class Description(Struct, frozen=True):
    """One row of ``tradewind settings``."""

    name: str
    variable: str
    value: str
    default: str
    unit: str
    allowed: str
    text: str
    changed: bool


def declared() -> tuple[Declared, ...]:
    """All settings, in the order they are declared."""
    found = []
    hints = get_type_hints(Settings, include_extras=True)
    for name, default in zip(Settings.__struct_fields__, Settings.__struct_defaults__, strict=True):
        kind, about = get_args(hints[name])
        found.append(Declared(name, kind, default, about))
    return tuple(found)


SETTINGS: tuple[Declared, ...] = declared()


def read_settings(environ: Mapping[str, str]) -> Settings:
    """The settings that `environ` asks for. Raises `SettingsError` with all that is wrong in it."""
    values: dict[str, Any] = {}
    wrong: list[str] = []
    for setting in SETTINGS:
        # Empty means "not set": that is how a variable is cleared in most shells and files.
        text = environ.get(setting.variable, "").strip()
        try:
            value = parse(setting, text) if text else setting.default
        except ValueError:
            shown_text = "set" if setting.about.secret else repr(text)
            wrong.append(
                f"{setting.variable} is {shown_text}, but must be {setting.allowed}: "
                f"change it, or unset it for {as_text(setting.default) or 'none'}."
            )
            continue
        # Relative folders are meant from where the program was started, for all its children too.
        values[setting.name] = value.expanduser().absolute() if setting.type is Path else value
    if not wrong:
        settings = Settings(**values)
        wrong = contradictions(settings)
        if not wrong:
            return settings
    raise SettingsError("\n".join(wrong))


def parse(setting: Declared, text: str) -> Any:
    """The value of a non-empty variable. Raises `ValueError` when it is not allowed."""
    about = setting.about
    if "\0" in text or not text.isprintable():
        raise ValueError(text)
    if setting.type is bool:
        if text.lower() in YES:
            return True
        if text.lower() in NO:
            return False
        raise ValueError(text)
    if setting.type in (int, float):
        number = setting.type(text)
        if about.low is not None and not about.low <= number:  # "not": nan is refused as well
            raise ValueError(text)
        if about.high is not None and not number <= about.high:
            raise ValueError(text)
        return number
    if setting.type is Path:
        return Path(text)
    if get_origin(setting.type) is tuple:
        return tuple(part.strip() for part in text.split(",") if part.strip())
    if about.choices:
        if text.lower() not in about.choices:
            raise ValueError(text)
        return text.lower()
    if about.schemes:
        if urlsplit(text).scheme not in about.schemes:
            raise ValueError(text)
        return text.rstrip("/") if setting.name == "simulator_url" else text
    return text


def contradictions(settings: Settings) -> list[str]:
    """Sentences about values that are fine alone and wrong together."""
    wrong = []
    if settings.wait_default_s > settings.wait_max_s:
        wrong.append(
            f"TRADEWIND_WAIT_DEFAULT_S is {shown(settings.wait_default_s)}, but must not be above "
            f"TRADEWIND_WAIT_MAX_S ({shown(settings.wait_max_s)}): lower one or raise the other."
        )
    if settings.authorise_attempt_timeout_s > settings.authorise_total_timeout_s:
        wrong.append(
            "TRADEWIND_AUTHORISE_ATTEMPT_TIMEOUT_S is "
            f"{shown(settings.authorise_attempt_timeout_s)}, but must not be above "
            "TRADEWIND_AUTHORISE_TOTAL_TIMEOUT_S "
            f"({shown(settings.authorise_total_timeout_s)}): lower one or raise the other."
        )
    return wrong


def as_environment(settings: Settings) -> dict[str, str]:
    """The variables that give exactly these settings: `read_settings` of them is `settings`."""
    return {setting.variable: as_text(getattr(settings, setting.name)) for setting in SETTINGS}


def child_environment(settings: Settings) -> dict[str, str]:
    """The whole environment of a program that we start and that shall have these settings."""
    return {**os.environ, **as_environment(settings)}


def unknown_variables(environ: Mapping[str, str]) -> list[str]:
    """A sentence for every ``TRADEWIND_`` variable that no setting reads: most are misspelt."""
    known = [setting.variable for setting in SETTINGS]
    sentences = []
    for variable in sorted(environ):
        if variable.startswith(PREFIX) and variable not in known:
            close = difflib.get_close_matches(variable, known, n=1)
            hint = f" Did you mean {close[0]}?" if close else ""
            sentences.append(f"{variable} is not a setting and is ignored.{hint}")
    return sentences


def describe(settings: Settings) -> Sequence[Description]:
    """A row per setting, with the value in force; passwords in URLs are hidden."""
    rows = []
    for setting in SETTINGS:
        value = getattr(settings, setting.name)
        default = setting.default
        if setting.type is Path:
            default = default.absolute()
        rows.append(
            Description(
                name=setting.name,
                variable=setting.variable,
                value=displayed(setting, value),
                default=as_text(setting.default),
                unit=setting.about.unit,
                allowed=setting.allowed,
                text=setting.about.text,
                changed=value not in (setting.default, default),
            )
        )
    return rows


def displayed(setting: Declared, value: Any) -> str:
    """A value as it may be seen over a shoulder."""
    if setting.about.secret:
        return "(set)" if value else ""
    return without_password(as_text(value)) if setting.about.schemes else as_text(value)


def without_password(url: str) -> str:
    """The URL with its password, if any, replaced by stars."""
    try:
        password = urlsplit(url).password
    except ValueError:
        return "***"
    return url.replace(f":{password}@", ":***@", 1) if password else url


def as_text(value: Any) -> str:
    """A value as one would write it into the environment."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, tuple):
        return ",".join(value)
    if isinstance(value, int | float):
        return shown(value)
    return str(value)


def shown(number: float) -> str:
    """A number without a needless ``.0``."""
    return str(int(number)) if number == int(number) else str(number)
