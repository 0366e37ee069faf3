"""Whether the database of this home was prepared by this very version before.

Preparing a database means loading the whole application only to find that nothing is to be done.
What was prepared is remembered in the home, under a fingerprint of everything that preparing
depends on; if any of it changed, or the database was made anew, it is prepared again.
"""

import hashlib
from pathlib import Path

import tradewind
from tradewind.platform.settings import Settings

STAMP = "prepared"


def fingerprint(settings: Settings) -> str:
    """Everything that preparing depends on: version, migrations, sample shop, master key."""
    digest = hashlib.blake2b(digest_size=20)
    digest.update(f"{tradewind.__version__} {settings.sample}\n".encode())
    package = Path(tradewind.__file__).parent
    for path in sorted(package.rglob("migrations/*.sql")):
        digest.update(f"{path.relative_to(package)}\n".encode() + path.read_bytes())
    for name in ("server.key", "admin.key"):
        path = settings.home / name
        digest.update(path.read_bytes() if path.exists() else b"(none)")
    return digest.hexdigest()


def is_current(settings: Settings) -> bool:
    """Whether nothing changed since `remember`. Never so for a database that is not ours alone."""
    if settings.database_url is not None:
        return False
    try:
        return (settings.home / STAMP).read_text() == fingerprint(settings)
    except OSError:
        return False


def remember(settings: Settings) -> None:
    """Note that the database of this home has just been prepared."""
    (settings.home / STAMP).write_text(fingerprint(settings))
