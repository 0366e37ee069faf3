"""How the shop is searched."""

from collections.abc import Sequence

from tradewind.contexts.catalog.commands import SetSearch
from tradewind.contexts.catalog.rules import settings
from tradewind.contexts.catalog.tables import SearchRow, SearchSettings
from tradewind.kernel.answers import Answer
from tradewind.kernel.messages import Decision
from tradewind.kernel.problems import Problem
from tradewind.platform.database.transaction import Transaction

# `touched` says which transaction did it: see catalog.products.
SAVE = """
    INSERT INTO catalog.search_settings (one, language, brand, synonyms)
    VALUES (true, $1, $2::text[], $3::text[])
        ON CONFLICT (one) DO UPDATE
           SET language = excluded.language, brand = excluded.brand,
               synonyms = excluded.synonyms, touched = pg_current_xact_id()
"""


async def set_search(tx: Transaction, messages: Sequence[SetSearch]) -> Decision:
    """Keep the last of these settings. Safe to repeat."""
    outcomes: list[Answer | Problem] = []
    last: SearchRow | None = None
    for message in messages:
        row = settings.checked(message.body)
        if isinstance(row, Problem):
            outcomes.append(row)
            continue
        last = row
        body = SearchSettings(
            language=row.language, brand=list(row.brand), synonyms=list(row.synonyms)
        )
        outcomes.append(Answer(status=200, body=body))
    if last is not None:
        tx.write(SAVE, last.language, list(last.brand), list(last.synonyms))
    return Decision(outcomes=outcomes)
