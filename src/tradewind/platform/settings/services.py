"""Settings of an installation of several services, and with them the whole."""

from collections.abc import Mapping
from typing import Annotated

from tradewind.platform.settings.about import About
from tradewind.platform.settings.declared import ProcessSettings


class Settings(ProcessSettings, frozen=True, kw_only=True):
    """The settings in force. Tests build one by hand; programs call `read_settings`."""

    # Services
    topology: Annotated[
        str,
        About(
            text="What `tradewind up` starts: all in each web process, or a gateway and a service "
            "for each context.",
            choices=("together", "services"),
        ),
    ] = "together"
    services: Annotated[
        tuple[str, ...],
        About(
            text="Where a gateway finds the services: orders=http://orders:8080, and so on.",
            pairs=("http", "https"),
        ),
    ] = ()
    databases: Annotated[
        tuple[str, ...],
        About(
            text="Databases of their own: orders=postgresql://..., and so on; others have that of "
            "TRADEWIND_DATABASE_URL. `vault` has personal data, `events` the feed.",
            pairs=("postgresql", "postgres"),
            secret=True,
        ),
    ] = ()
    gateway_key: Annotated[
        str | None,
        About(
            text="The private key by which services know the gateway, a JWK; empty: the file "
            "gateway.key in the home, made where it is missing.",
            secret=True,
        ),
    ] = None
    gateway_public_keys: Annotated[
        str | None,
        About(
            text="The public keys of gateways that a service believes, a JWK set; empty: the file "
            "gateway.jwks in the home.",
        ),
    ] = None

    @property
    def service_urls(self) -> Mapping[str, str]:
        """Where each service is."""
        return {name: url.rstrip("/") for name, _, url in pairs(self.services)}

    @property
    def database_urls(self) -> Mapping[str, str]:
        """The databases that are not that of `database_url`, by schema."""
        return {name: url for name, _, url in pairs(self.databases)}


def pairs(texts: tuple[str, ...]) -> list[tuple[str, str, str]]:
    """Texts like name=value taken apart."""
    return [text.partition("=") for text in texts]
