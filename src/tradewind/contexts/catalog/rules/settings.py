"""How the shop is searched, checked: language, brands, synonyms."""

from msgspec import Struct

from tradewind.contexts.catalog.commands import SearchBody
from tradewind.contexts.catalog.problems import InvalidSearchSettings
from tradewind.contexts.catalog.rules.asking import Synonyms, synonym_rule
from tradewind.contexts.catalog.rules.entries import BRAND_NAMES
from tradewind.contexts.catalog.rules.words import LANGUAGES
from tradewind.contexts.catalog.tables import SearchRow
from tradewind.kernel.problems import FieldError

ERRORS_TOLD_MAX = 50


class Searched(Struct, frozen=True):
    """How a shop is searched, as the index takes it."""

    language: str
    brands: tuple[str, ...]
    synonyms: Synonyms


def checked(body: SearchBody) -> SearchRow | InvalidSearchSettings:
    """The settings as they are kept, or everything that is wrong with them."""
    errors = []
    if body.language not in LANGUAGES:
        errors.append(FieldError("/language", f"must be one of {', '.join(LANGUAGES)}"))
    for number, line in enumerate(body.synonyms):
        rule = synonym_rule(line)
        if isinstance(rule, str):
            errors.append(FieldError(f"/synonyms/{number}", rule))
    if errors:
        told = tuple(errors[:ERRORS_TOLD_MAX])
        return InvalidSearchSettings(f"{told[0].pointer}: {told[0].message}", errors=told)
    return SearchRow(body.language, body.brand, body.synonyms)


def searched(row: SearchRow) -> Searched:
    """Settings that were kept, as the index takes them."""
    rules = [rule for rule in map(synonym_rule, row.synonyms) if not isinstance(rule, str)]
    return Searched(row.language, tuple(row.brand) or BRAND_NAMES, Synonyms(rules))
