"""Documents get their numbers: without gaps, in the unit that they are about."""

from collections.abc import Sequence

from tradewind.contexts.orders import problems
from tradewind.contexts.orders.commands import IssueCreditNote
from tradewind.contexts.orders.rules import documents as rules
from tradewind.contexts.orders.rules.documents import Draft, Numbered
from tradewind.contexts.orders.tables import DOCUMENT_COLUMNS, DocumentRow, SeriesRow, document_view
from tradewind.kernel.answers import Answer
from tradewind.kernel.audit import Change
from tradewind.kernel.messages import Decision
from tradewind.kernel.problems import Problem
from tradewind.platform.database.literals import columns
from tradewind.platform.database.transaction import Transaction

SERIES = "orders.document_series"  # what a `SeriesRow` is remembered as

# Served by the primary key.
READ_SERIES = """
    SELECT s.series, s.year, s.last FROM orders.document_series s
      JOIN unnest($1::text[], $2::int[]) AS w (series, year) USING (series, year)
"""
# Only from where it was seen: who comes second reads it again, and no number is given twice.
MOVE_SERIES = """
    INSERT INTO orders.document_series AS s (series, year, last)
    SELECT m.series, m.year, m.last
      FROM unnest($1::text[], $2::int[], $3::int[], $4::int[]) AS m (series, year, before, last)
    ON CONFLICT (series, year) DO UPDATE SET last = excluded.last
     WHERE s.last = (SELECT m.before FROM unnest($1::text[], $2::int[], $3::int[])
                         AS m (series, year, before)
                      WHERE m.series = s.series AND m.year = s.year)
"""
INSERT_DOCUMENTS = f"""
    INSERT INTO orders.documents ({DOCUMENT_COLUMNS}, issued_at, seller)
    SELECT d.*, $19::timestamptz, $20::text
      FROM unnest($1::text[], $2::int[], $3::int[], $4::text[], $5::text[], $6::text[], $7::text[],
                  $8::text[], $9::text[], $10::text[], $11::text[], $12::text[], $13::bigint[],
                  $14::bigint[], $15::int[], $16::text[], $17::text[], $18::date[]) AS d
"""


async def issue(tx: Transaction, drafts: Sequence[Draft]) -> Numbered:
    """Number documents and queue them, with the step of their series."""
    series_of = {
        "invoice": tx.settings.invoice_series,
        "credit_note": tx.settings.credit_note_series,
    }
    wanted = {f"{s} {y}": (s, y) for s, y in ((series_of[d.kind], d.dated.year) for d in drafts)}
    known: dict[str, SeriesRow] = tx.recall(SERIES, wanted)
    unknown = [place for name, place in wanted.items() if name not in known]
    rows = list(known.values())
    if unknown:
        rows += await tx.fetch(READ_SERIES, *columns(unknown), into=SeriesRow)
    before = dict.fromkeys(wanted.values(), 0) | {(r.series, r.year): r.last for r in rows}
    numbered = rules.number(drafts, before, series_of)
    moved = [(s, y, before[s, y], last) for (s, y), last in sorted(numbered.last.items())]
    tx.write(MOVE_SERIES, *columns(moved), expect=len(moved))
    tx.vouch(SERIES, wanted)
    tx.remember(
        SERIES,
        {name: SeriesRow(*place, numbered.last[place]) for name, place in wanted.items()},
    )
    fields = DocumentRow.__struct_fields__
    tx.write(
        INSERT_DOCUMENTS,
        *([getattr(row, name) for row in numbered.rows] for name in fields),
        tx.now,
        tx.settings.seller,
    )
    return numbered


# Served by documents_source.
ISSUED = "SELECT source FROM orders.documents WHERE source = ANY($1::text[])"
# Served by documents_by_external_id.
EXTERNAL_IDS = """
    SELECT d.credential || ' ' || d.external_id FROM orders.documents d
      JOIN unnest($1::text[], $2::text[]) AS w (credential, external_id)
        ON d.credential = w.credential AND d.external_id = w.external_id
"""


async def issued_already(tx: Transaction, sources: Sequence[str]) -> set[str]:
    """What of this has a document: news that is heard again changes nothing."""
    return set(await tx.fetch_values(ISSUED, list(sources)))


async def issue_credit_notes(tx: Transaction, commands: Sequence[IssueCreditNote]) -> Decision:
    """Credit what no order here answers for. Outcome: 201 with the document."""
    named = [(c.credential, c.external_id) for c in commands if c.external_id is not None]
    taken = set(await tx.fetch_values(EXTERNAL_IDS, *columns(named))) if named else set()
    outcomes: list[Answer | Problem | None] = []
    drafts: list[Draft] = []
    for command in commands:
        name = f"{command.credential} {command.external_id}"
        if command.external_id is not None and name in taken:
            outcomes.append(
                problems.ExternalIdTaken(
                    f"You have issued a credit note with external_id {command.external_id!r}.",
                    external_id=command.external_id,
                )
            )
            continue
        taken.add(name)
        outcomes.append(None)
        drafts.append(draft_of(tx, command))
    if not drafts:
        return Decision(outcomes=outcomes)
    numbered = await issue(tx, drafts)
    answers = iter(numbered.rows)
    causes = {event.key: "request of a credential" for event in numbered.events}
    return Decision(
        events=numbered.events,
        outcomes=[answer_of(tx, next(answers)) if o is None else o for o in outcomes],
        causes=causes,
        changes={index: credited(command) for index, command in enumerate(commands)},
    )


def credited(command: IssueCreditNote) -> Change:
    """What the record holds of a credit note."""
    total_minor = sum(line.amount_minor for line in command.lines)
    after = {"amount_minor": total_minor, "currency": command.currency}
    return Change(command.credit_note_id, None, after)


def draft_of(tx: Transaction, command: IssueCreditNote) -> Draft:
    """A credit note that stands alone."""
    total_minor = sum(line.amount_minor for line in command.lines)
    rate_bp = rules.tax_rates(tx.settings.tax_rates).of(command.country)
    return Draft(
        kind="credit_note",
        source=command.credit_note_id,
        order_id=None,
        customer=command.customer,
        country=command.country,
        currency=command.currency,
        total_minor=total_minor,
        tax_minor=rules.tax_in(total_minor, rate_bp),
        tax_rate_bp=rate_bp,
        dated=(command.at or tx.now).date(),
        reason=command.reason,
        credential=command.credential,
        external_id=command.external_id,
        location=command.location,
        lines=command.lines,
    )


def answer_of(tx: Transaction, row: DocumentRow) -> Answer:
    """201 with the document."""
    shown = document_view(row, tx.now)
    return Answer(status=201, body=shown, headers={"location": f"/v1/documents/{shown.number}"})
