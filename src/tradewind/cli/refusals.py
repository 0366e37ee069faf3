"""Errors whose text is written for the person at the terminal: printed as they are."""

import os

from tradewind.platform.settings import (
    Settings,
    SettingsError,
    read_settings,
    unknown_variables,
)


def is_refusal(error: Exception) -> bool:
    """Whether an error explains itself. Imports what it compares with only now: it is rare."""
    if isinstance(error, SettingsError):
        return True

    from tradewind.platform.database.embedded import EmbeddedDatabaseError, NotRunning
    from tradewind.platform.database.migrate import MigrationError
    from tradewind.platform.database.reach import DatabaseUnreachable
    from tradewind.platform.security.secrets import SecretsError
    from tradewind.platform.security.service_tokens import ServiceKeyError
    from tradewind.services import ServicesError
    from tradewind.supervisor.children import StartError

    return isinstance(
        error,
        EmbeddedDatabaseError
        | NotRunning
        | MigrationError
        | DatabaseUnreachable
        | SecretsError
        | ServiceKeyError
        | ServicesError
        | StartError,
    )


def settings_in_force() -> Settings:
    """The settings of the environment. Raises `SettingsError`."""
    return read_settings(os.environ)


def misspelt() -> list[str]:
    """Sentences about ``TRADEWIND_`` variables that nothing reads."""
    return unknown_variables(os.environ)
