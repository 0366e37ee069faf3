"""All invariants, and how they are proved: one snapshot of everything, taken when all is quiet.

Contexts meet through the log, so while events are under way they do not agree with each other yet,
rightly. `prove_all` waits for a quiet moment first; what it cannot wait for is a broken invariant
too (a consumer that never catches up).
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from msgspec import Struct

from tradewind.checks import after_yes, archived, events, money, orders, stock
from tradewind.checks.archived import Names
from tradewind.checks.evidence import Charge, Evidence, Proof
from tradewind.checks.provider import read_charges
from tradewind.platform.database.pool import Pool

POLL_S = 0.25
NO_ARCHIVE = Path("archive")  # not looked at while nothing has left the database

Invariant = Callable[[Evidence], Awaitable[Proof]]

STOCK: tuple[Invariant, ...] = (
    stock.units_on_hand_are_the_sum_of_all_movements,
    stock.units_reserved_are_the_sum_of_living_reservations,
    stock.nothing_is_promised_that_is_not_there,
    stock.a_reservation_is_made_once_and_ends_once,
    stock.reservations_are_what_their_events_say,
    stock.a_hold_is_what_its_events_say_and_ends_in_time,
)
ORDERS: tuple[Invariant, ...] = (
    orders.a_confirmed_order_has_one_allocation_of_its_lines,
    orders.an_order_that_ended_holds_no_stock,
    orders.no_order_is_open_past_its_deadline,
    orders.orders_are_what_their_events_say,
    orders.order_totals_are_the_sum_of_their_lines,
    orders.a_cart_became_one_order_at_most,
    orders.an_order_and_its_payment_are_about_the_same_money,
    orders.whoever_gave_an_address_was_told_of_the_confirmation,
    orders.a_kept_answer_belongs_to_an_order,
    orders.a_kept_answer_belongs_to_a_refund,
)
MONEY: tuple[Invariant, ...] = (
    money.the_ledger_sums_to_zero_in_every_currency,
    money.nothing_is_left_receivable,
    money.what_payments_moved_is_booked_as_sales_and_refunds,
    money.refunds_add_up_to_their_payment,
    money.what_ended_was_paid_back_in_full,
)
AFTER_YES: tuple[Invariant, ...] = (
    after_yes.documents_are_numbered_without_gaps,
    after_yes.money_that_moved_has_its_paper,
    after_yes.what_is_credited_without_an_order_is_owed,
    after_yes.an_order_that_left_is_no_longer_promised,
    after_yes.what_came_back_is_the_sum_of_the_returns,
    after_yes.units_that_came_back_are_in_the_stock,
    after_yes.a_return_is_paid_back_once,
)
# These need the provider's record.
PROVIDER: tuple[Invariant, ...] = (
    money.the_providers_account_equals_its_own_record,
    money.a_confirmed_order_is_captured_once_and_no_other,
    money.payments_say_what_the_provider_did,
    money.no_order_gets_back_more_than_it_paid,
    money.no_money_stays_blocked_for_an_order_that_ended,
)
EVENTS: tuple[Invariant, ...] = (
    events.sequences_run_from_1_without_gaps,
    events.the_log_is_in_the_order_of_the_sequences,
    events.the_feed_counts_from_1_without_gaps_or_repeats,
    events.the_feed_holds_every_event,
    events.the_feed_is_in_the_order_of_the_sequences,
    events.consumers_have_read_everything,
    events.no_event_lies_in_the_dead_letters,
)
INVARIANTS: dict[str, tuple[Invariant, ...]] = {
    "stock": STOCK,
    "orders": ORDERS,
    "money": MONEY,
    "after yes": AFTER_YES,
    "provider": PROVIDER,
    "events": EVENTS,
}


class Proved(Struct, frozen=True):
    """One invariant and what was found."""

    group: str
    name: str
    proof: Proof
    took_s: float


class UnderWay(Struct, frozen=True):
    """What is still moving."""

    events: int  # behind some consumer
    orders: int  # placed, not decided
    operations: int  # at the provider

    @property
    def quiet(self) -> bool:
        """Whether nothing moves."""
        return self.events == self.orders == self.operations == 0

    def __str__(self) -> str:
        return (
            f"{self.events:,} events to be read, {self.orders:,} orders to be decided, "
            f"{self.operations:,} operations at the provider"
        )


class Report(Struct, frozen=True):
    """Everything that was proved, when, and whether it was quiet."""

    at: datetime
    under_way: UnderWay
    proved: tuple[Proved, ...]
    charges_count: int

    @property
    def holds(self) -> bool:
        """Whether every invariant holds, of a platform at rest."""
        return self.under_way.quiet and all(one.proof.holds for one in self.proved)


# Idle consumers are moved along the log once a second, so a place behind the last event that
# matters to a consumer is no backlog: it is gone a second later.
# An authorisation that was given up is looked for during a whole day; that keeps nobody waiting. If
# the provider has it after all, the proof about blocked money says so.
UNDER_WAY = """
    SELECT (SELECT count(*) FROM bus.offsets o
              JOIN bus.log l ON (l.xid, l.number) > (o.xid, o.number)
                            AND (o.partition = -1 OR l.partition = o.partition)),
           (SELECT count(*) FROM orders.orders WHERE status = 'placed'),
           (SELECT count(*) FROM payments.under_way o JOIN payments.payments p USING (payment_id)
             WHERE NOT (o.operation = 'authorise' AND p.status = 'failed'
                        AND o.requested_at < clock_timestamp() - interval '20 s'))
"""


async def under_way(connection: Any) -> UnderWay:
    """What is still moving at this moment."""
    return UnderWay(*await connection.fetchrow(UNDER_WAY))


async def prove_all(
    dsn: str, provider_url: str, *, wait_s: float, archive: Path = NO_ARCHIVE
) -> Report:
    """Wait for a quiet moment, at most `wait_s`, and prove every invariant in one snapshot.

    `archive` holds the files of events that have left the database, if any have. Raises
    `FilesWrong` where one is not what was written, and `ProviderSilent` where the provider's
    record cannot be read.
    """
    pool = Pool(dsn, connections_max=1, application="tradewind check")
    connection = await pool.connect()
    try:
        give_up_at = time.monotonic() + wait_s
        while not (await under_way(connection)).quiet and time.monotonic() < give_up_at:
            await asyncio.sleep(POLL_S)
        names = await archived.lay_out(connection, archive)
        # It writes nothing and so has no xid: however long it reads, it holds back nobody's log.
        await connection.execute(
            "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;"
            "SET LOCAL idle_in_transaction_session_timeout = 0"
        )
        at = await connection.fetchval("SELECT clock_timestamp()")
        moving = await under_way(connection)
        # Read after the snapshot was taken: what the provider did later is none of its business.
        charges = [c for c in await read_charges(provider_url) if moment(c) <= at]
        return Report(
            at=at,
            under_way=moving,
            proved=tuple(await prove(connection, charges, names)),
            charges_count=len(charges),
        )
    finally:
        await connection.close()


def moment(charge: Charge) -> datetime:
    """When the provider did it."""
    return datetime.fromisoformat(charge.at)


async def prove(
    connection: Any, charges: Sequence[Charge], names: Names | None = None
) -> list[Proved]:
    """Every invariant, one after the other, on what the connection sees."""
    evidence = Evidence(connection, charges, names)
    proved = []
    for group, invariants in INVARIANTS.items():
        for invariant in invariants:
            begun_at = time.monotonic()
            proof = await invariant(evidence)
            took_s = time.monotonic() - begun_at
            proved.append(Proved(group, plain_words(invariant), proof, took_s))
    return proved


def plain_words(invariant: Invariant) -> str:
    """The name of an invariant as a sentence reads."""
    return str(getattr(invariant, "__name__", invariant)).replace("_", " ")
