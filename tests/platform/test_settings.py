"""Settings: one reader, every value checked, every refusal a sentence."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradewind.platform.settings import (
    SETTINGS,
    Settings,
    SettingsError,
    as_text,
    describe,
    read_settings,
    unknown_variables,
)


def test_an_empty_environment_gives_the_defaults() -> None:
    """Also the Struct built by hand has them; only the folders are made absolute."""
    read = read_settings({})
    for setting in SETTINGS:
        if setting.type is not Path:
            assert getattr(read, setting.name) == getattr(Settings(), setting.name)
    assert read.home == Path.cwd() / ".tradewind"
    assert (read.host, read.port, read.workers) == ("127.0.0.1", 8080, 1)


def test_every_setting_says_what_it_is() -> None:
    """Name, variable, range and one sentence; times and sizes have a unit."""
    assert len({setting.variable for setting in SETTINGS}) == len(SETTINGS)
    for setting in SETTINGS:
        assert setting.variable.startswith("TRADEWIND_")
        assert setting.about.text.endswith("."), setting.name
        assert setting.allowed
        if setting.type in (int, float):
            assert setting.about.low is not None, setting.name
            assert setting.about.high is not None, setting.name
        for suffix, unit in (("_s", "s"), ("_ms", "ms"), ("_bytes_max", "bytes")):
            if setting.name.endswith(suffix):
                assert setting.about.unit == unit, setting.name


def test_values_are_read_by_their_type() -> None:
    read = read_settings(
        {
            "TRADEWIND_PORT": " 9090 ",
            "TRADEWIND_WORKERS": "2",
            "TRADEWIND_SAMPLE": "0",
            "TRADEWIND_LIMITS": "off",
            "TRADEWIND_LOG_FORMAT": "JSON",
            "TRADEWIND_TRACE_SAMPLE": "0.5",
            "TRADEWIND_CORS_ORIGINS": "https://a.example, https://b.example,",
            "TRADEWIND_HOME": "some where/é",
            "TRADEWIND_DATABASE_URL": "postgresql://u:p@db/x",
            "TRADEWIND_SIMULATOR_URL": "http://127.0.0.1:9/",
            "TRADEWIND_SMTP_URL": "",
        }
    )
    assert read.port == 9090
    assert read.workers == 2
    assert read.sample is False
    assert read.limits is False
    assert read.log_format == "json"
    assert read.trace_sample == 0.5
    assert read.cors_origins == ("https://a.example", "https://b.example")
    assert read.home == Path.cwd() / "some where/é"
    assert read.database_url == "postgresql://u:p@db/x"
    assert read.simulator_url == "http://127.0.0.1:9"
    assert read.smtp_url is None


@pytest.mark.parametrize(
    ("variable", "value", "allowed"),
    [
        ("TRADEWIND_PORT", "65536", "a whole number from 0 to 65535"),
        ("TRADEWIND_PORT", "80.5", "a whole number from 0 to 65535"),
        ("TRADEWIND_WORKERS", "0", "a whole number from 1 to 64"),
        ("TRADEWIND_LEASE_S", "nan", "a number from 1 to 300 (s)"),
        ("TRADEWIND_LEASE_S", "inf", "a number from 1 to 300 (s)"),
        ("TRADEWIND_SAMPLE", "maybe", "on or off"),
        ("TRADEWIND_LOG_LEVEL", "loud", "debug, info, warning or error"),
        (
            "TRADEWIND_DATABASE_URL",
            "mysql://x",
            "a URL that starts with postgresql:// or postgres://",
        ),
        (
            "TRADEWIND_DATABASE_URL",
            "postgresql://[",
            "a URL that starts with postgresql:// or postgres://",
        ),
        ("TRADEWIND_MAIL_FROM", "a\nBcc: b", "text"),
    ],
)
def test_a_bad_value_is_refused_with_a_sentence(variable: str, value: str, allowed: str) -> None:
    """It names the variable, the value, what is allowed and what to do."""
    with pytest.raises(SettingsError) as refusal:
        read_settings({variable: value})
    text = str(refusal.value)
    assert text.startswith(f"{variable} is {value!r}, but must be {allowed}: ")
    assert "unset it" in text


def test_all_bad_values_are_named_at_once() -> None:
    with pytest.raises(SettingsError) as refusal:
        read_settings({"TRADEWIND_PORT": "x", "TRADEWIND_WORKERS": "y"})
    assert str(refusal.value).count("\n") == 1


def test_values_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(SettingsError, match="TRADEWIND_WAIT_MAX_S"):
        read_settings({"TRADEWIND_WAIT_DEFAULT_S": "20", "TRADEWIND_WAIT_MAX_S": "10"})
    with pytest.raises(SettingsError, match="AUTHORISE_TOTAL_TIMEOUT_S"):
        read_settings({"TRADEWIND_AUTHORISE_ATTEMPT_TIMEOUT_S": "9"})


def test_a_misspelt_variable_is_pointed_out() -> None:
    known = {setting.variable: "" for setting in SETTINGS}
    assert unknown_variables({**known, "PATH": "x"}) == []
    (sentence,) = unknown_variables({"TRADEWIND_WORKER": "2"})
    assert sentence.startswith("TRADEWIND_WORKER is not a setting")
    assert sentence.endswith("Did you mean TRADEWIND_WORKERS?")


def test_the_description_shows_values_in_force_and_no_password() -> None:
    settings = read_settings(
        {"TRADEWIND_DATABASE_URL": "postgresql://u:secret@db/x", "TRADEWIND_PORT": "1"}
    )
    rows = {row.name: row for row in describe(settings)}
    assert set(rows) == set(Settings.__struct_fields__)
    assert rows["database_url"].value == "postgresql://u:***@db/x"
    assert (rows["port"].value, rows["port"].default, rows["port"].changed) == ("1", "8080", True)
    assert not rows["home"].changed
    assert rows["limits"].value == "on"


@given(
    port=st.integers(0, 65_535), lease=st.floats(1, 300), sample=st.booleans(), limits=st.booleans()
)
def test_what_is_shown_reads_back(port: int, lease: float, sample: bool, limits: bool) -> None:
    """A value printed by `tradewind settings` can be put into the environment as it is."""
    settings = Settings(port=port, lease_s=lease, sample=sample, limits=limits)
    shown = {s.variable: as_text(getattr(settings, s.name)) for s in SETTINGS}
    read = read_settings(shown)
    assert (read.port, read.lease_s, read.sample, read.limits) == (port, lease, sample, limits)
