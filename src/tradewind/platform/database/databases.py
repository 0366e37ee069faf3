"""The databases of an installation, as one process uses them.

A process works on one database: its log, its offsets and the rows of its contexts stand there. Each
schema of a context, and the vault, may have a database of its own; what a process has to read of
another's, or keep in the vault, it asks over there, as the same role.
"""

from tradewind.platform.database.pool import Pool
from tradewind.platform.settings import Settings

# Reading elsewhere is for what people ask now and then: exports, credentials, the record.
ELSEWHERE_CONNECTIONS_MAX = 3
# What every database has for itself.
EVERYWHERE = frozenset({"audit", "bus", "gateway"})


class Databases:
    """Where each schema is. `home` is the database that this process works on."""

    def __init__(self, settings: Settings, home: str, *, connections_max: int) -> None:
        self._settings = settings
        self._connections_max = connections_max
        self.home = Pool(home, connections_max=connections_max, application="tradewind")
        self._elsewhere: dict[str, Pool] = {}

    def of(self, schema: str) -> Pool:
        """The connections to the database of a schema."""
        url = self.url_of(schema)
        if url == self.home.dsn:
            return self.home
        pool = self._elsewhere.get(url)
        if pool is None:
            most = self._connections_max if schema == "vault" else ELSEWHERE_CONNECTIONS_MAX
            pool = Pool(url, connections_max=most, application="tradewind elsewhere")
            self._elsewhere[url] = pool
        return pool

    def url_of(self, schema: str) -> str:
        """The address of the database of a schema."""
        if not self._settings.databases or schema in EVERYWHERE:
            return self.home.dsn
        return url_of(self._settings, schema, otherwise=self.home.dsn)

    async def close(self) -> None:
        """Close every connection."""
        for pool in (self.home, *self._elsewhere.values()):
            await pool.close()


def url_of(settings: Settings, schema: str, *, otherwise: str) -> str:
    """The address of the database of a schema: its own, that of the settings, or `otherwise`."""
    return settings.database_urls.get(schema) or settings.database_url or otherwise
