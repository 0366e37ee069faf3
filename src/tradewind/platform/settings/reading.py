"""From the environment to `Settings`, and from settings to a table for people."""

import difflib
import ipaddress
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints
from urllib.parse import urlsplit

from msgspec import Struct

from tradewind.platform.settings.about import About
from tradewind.platform.settings.services import Settings

PREFIX = "TRADEWIND_"
YES = frozenset({"1", "on", "true", "yes"})
NO = frozenset({"0", "off", "false", "no", ""})


class SettingsError(Exception):
    """The environment holds values that cannot be used; the text is for the person who set them."""


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
        if about.networks:
            return "networks such as 10.0.0.0/8, fd00::/8"
        if about.pairs:
            return f"a list like orders={about.pairs[0]}://..., payments={about.pairs[0]}://..."
        return f"text like {about.like}" if about.like else "text"


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
        parts = tuple(part.strip() for part in text.split(",") if part.strip())
        if about.networks:
            return tuple(str(ipaddress.ip_network(part)) for part in parts)
        if about.pairs and not all(is_pair(part, about.pairs) for part in parts):
            raise ValueError(text)
        return parts
    if about.choices:
        if text.lower() not in about.choices:
            raise ValueError(text)
        return text.lower()
    if about.schemes:
        if urlsplit(text).scheme not in about.schemes:
            raise ValueError(text)
        return text.rstrip("/") if setting.name == "simulator_url" else text
    if about.pattern and re.fullmatch(about.pattern, text) is None:
        raise ValueError(text)
    return text


def is_pair(text: str, schemes: Sequence[str]) -> bool:
    """Whether a text is name=URL."""
    name, separator, url = text.partition("=")
    return bool(name.isidentifier() and separator and urlsplit(url).scheme in schemes)


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
    if settings.invoice_series == settings.credit_note_series:
        wrong.append(
            f"TRADEWIND_INVOICE_SERIES and TRADEWIND_CREDIT_NOTE_SERIES are both "
            f"{settings.invoice_series}, but each kind of document counts for itself."
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
