"""Opaque secrets that are derived and kept nowhere: of clients, codes, refresh tokens, devices.

``<kind>_<id>_<generation>_<code>``: who has the master key can tell whether we gave it out, and
which it was; the row says whether it still counts. A database that was read opens nothing.
"""

import hmac

from msgspec import Struct

from tradewind.kernel.ids import is_id
from tradewind.platform.security.secrets import Secrets, mac_of

# By kind: the prefix of the id inside.
KINDS = {"cs": "cli", "ac": "cod", "rt": "gra", "dc": "dev", "lo": "cli"}
LONGEST = 128


class Handle(Struct, frozen=True):
    """What an authentic handle names."""

    id: str
    generation: int


def handle(secrets: Secrets, kind: str, resource: str, generation: int = 1) -> str:
    """The handle of a generation of something. The same each time, under the same master."""
    assert is_id(resource, KINDS[kind]), resource
    return f"tw{kind}_{code_of(secrets, kind, resource, generation, secrets.key_id)}"


def code_of(secrets: Secrets, kind: str, resource: str, generation: int, key_id: str) -> str:
    """The part behind the kind."""
    key = secrets.purpose_key(f"handle {kind}", key_id)
    mac = mac_of(key, f"{resource}.{generation}").decode()
    return f"{resource[4:]}_{generation}_{mac}"


def opened(secrets: Secrets, kind: str, text: str) -> Handle | None:
    """What a handle of this kind names; None for a forged or broken one."""
    begins = f"tw{kind}_"
    if not text.startswith(begins) or len(text) > LONGEST or not text.isascii():
        return None
    part, _, rest = text[len(begins) :].partition("_")
    number = rest.partition("_")[0]
    resource = f"{KINDS[kind]}_{part}"
    if not is_id(resource, KINDS[kind]) or not number.isdigit() or len(number) > 9:
        return None
    generation = int(number)
    for key_id in secrets.key_ids:
        good = begins + code_of(secrets, kind, resource, generation, key_id)
        if hmac.compare_digest(good.encode(), text.encode()):
            return Handle(resource, generation)
    return None
