"""Every setting of the platform: name, environment variable, unit, default, range, meaning.

This is the only place that reads the environment, and it reads it once, at the start. A value that
cannot be right stops the start with a sentence that names the variable, the value and what is
allowed. ``tradewind settings`` prints the table below with the values in force.
"""

from tradewind.platform.settings.reading import (
    SETTINGS,
    SettingsError,
    as_environment,
    as_text,
    child_environment,
    contradictions,
    describe,
    read_settings,
    unknown_variables,
    without_password,
)
from tradewind.platform.settings.services import Settings

__all__ = [
    "SETTINGS",
    "Settings",
    "SettingsError",
    "as_environment",
    "as_text",
    "child_environment",
    "contradictions",
    "describe",
    "read_settings",
    "unknown_variables",
    "without_password",
]
