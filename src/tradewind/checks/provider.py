"""The provider's own record, read over HTTP like a bank statement: page by page, all of it."""

from pathlib import Path

import aiohttp
import msgspec
from msgspec import Struct

from tradewind.checks.evidence import Charge

PAGE_ITEMS = 1_000
TIMEOUT_S = 30


class Page(Struct):
    """A page of charges; `next` is the number to go on after."""

    items: list[Charge]
    next: int | None = None


class Place(Struct):
    """Where the simulator of an installation answers, as the supervisor wrote it down."""

    port: int


class ProviderSilent(Exception):
    """The provider's record could not be read; the text says why."""


def simulator_url(home: Path, configured: str | None) -> str:
    """The address of the provider: the setting, or the simulator of this home."""
    if configured:
        return configured
    file = home / "simulator" / "place.json"
    try:
        place = msgspec.json.decode(file.read_bytes(), type=Place)
    except (OSError, msgspec.DecodeError) as error:
        raise ProviderSilent(f"{file} does not say where the simulator is ({error})") from None
    return f"http://127.0.0.1:{place.port}"


async def read_charges(url: str) -> list[Charge]:
    """Every operation that took effect, in the order in which it did."""
    charges: list[Charge] = []
    after: int | None = 0
    decoder = msgspec.json.Decoder(Page)
    try:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(TIMEOUT_S)) as session:
            while after is not None:
                params = {"after": str(after), "limit": str(PAGE_ITEMS)}
                async with session.get(f"{url}/v1/charges", params=params) as response:
                    if response.status != 200:
                        raise ProviderSilent(f"{url} answered {response.status}")
                    page = decoder.decode(await response.read())
                charges += page.items
                after = page.next
    except (aiohttp.ClientError, TimeoutError, OSError, msgspec.DecodeError) as error:
        raise ProviderSilent(f"{url}: {error or type(error).__name__}") from None
    return charges
