"""The judge: proves from the history of clients, the database and the provider's own record.

It shares no line with the platform, so that it cannot repeat its mistakes: it is the standard
library, and `evidence`, which reads for it. What is here is pure and judges values; so tests can
hand it histories that no healthy platform would produce. It can be run again on an old history:

    python -m tradewind.checks.oversell.checker HISTORY DATABASE_URL PROVIDER_URL
"""

import asyncio
import json
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from .evidence import (
    NOT_YET,
    Asked,
    Evidence,
    Fact,
    History,
    Shelf,
    by_key,
    collect,
    first_decided,
    minor,
    most_on_hand,
    read_history,
    refunds_told,
)

# The platform follows the clock of the database once a second; both stand on one machine.
CLOCK_SLACK_NS = 500_000_000
# A disturbance is felt this long: attempts, pauses and the look-ups that follow it.
AFTERMATH_NS = 15_000_000_000
DOUBTFUL = frozenset({"tok_timeout", "tok_unknown", "tok_flaky", "tok_slow"})
REFUSED_BY_CARD = frozenset({"payment_timeout", "payment_failed"})
CANCELLING = frozenset({"tok_capture_declined"})  # the platform itself calls such an order off
DEAD = frozenset({"rejected", "cancelled"})


@dataclass(frozen=True)
class Anomaly:
    """Something that must not be."""

    kind: str
    about: str
    detail: str


Found = Iterator[Anomaly]


REUSED = "idempotency_key_reused"


# -- answers


def every_request_is_answered(history: History, evidence: Evidence) -> Found:
    """In the end, and never with an error of the platform's own."""
    for asked in history.asked:
        if asked.status is not None and asked.status not in asked_for(asked):
            yield Anomaly("unexpected answer", f"request {asked.id}", told(asked))
    for key, twins in by_key(history.asked).items():
        if first_decided(twins) is None:
            yield Anomaly(
                "never answered", key, f"{twins[0].op} {twins[0].path}, asked {len(twins)} times"
            )


def asked_for(asked: Asked) -> frozenset[int]:
    """The statuses that such a request may get."""
    return NOT_YET | {
        "place": {201, 402, 409, 422},
        "cancel": {200, 409},
        "refund": {201, 409},
        "count": {200, 412},
        "product": {200, 201},
    }.get(asked.op, {200})


def told(asked: Asked) -> str:
    """An answer, short."""
    return f"{asked.op} {asked.path} was answered {asked.status} {asked.text[:200]}"


def answers_to_one_key_are_alike(history: History, evidence: Evidence) -> Found:
    """To the byte: status, body, content type, location."""
    for key, twins in by_key(history.asked).items():
        own = json.dumps(twins[0].body, sort_keys=True)
        same = [a for a in twins if json.dumps(a.body, sort_keys=True) == own]
        decided = [a for a in same if a.decided]
        looks = {
            (a.status, a.text, a.headers.get("content-type"), a.headers.get("location"))
            for a in decided
        }
        if len(looks) > 1:
            texts = " | ".join(sorted(f"{s} {t[:160]}" for s, t, _, _ in looks))
            yield Anomaly("replay differs", key, texts)
        for asked in decided:
            if asked.code == REUSED:
                yield Anomaly("refused without reason", key, "the key was used for this body only")
        for asked in twins:
            if asked.decided and asked not in same and asked.code != REUSED:
                yield Anomaly("key taken twice", key, told(asked))


# -- orders


def acknowledged_orders_exist_once(history: History, evidence: Evidence) -> Found:
    """One key, one order; and no order that nobody was told of."""
    owner: dict[str, str] = {}
    open_keys = 0
    for key, twins in history.placed.items():
        ids = {a.order_id for a in twins if a.status in (201, 202, 402, 409) and a.order_id}
        if len(ids) > 1:
            yield Anomaly("order placed twice", key, f"acknowledged as {sorted(map(str, ids))}")
        for order_id in filter(None, ids):
            if owner.setdefault(order_id, key) != key:
                yield Anomaly("order told to two", order_id, f"{key} and {owner[order_id]}")
            if order_id not in evidence.orders:
                yield Anomaly("acknowledged order is gone", order_id, f"of key {key}")
        open_keys += first_decided(twins) is None
    strangers = evidence.orders.keys() - owner.keys()
    if len(strangers) > open_keys:
        yield Anomaly(
            "order placed twice",
            min(strangers),
            f"{len(strangers)} orders that no key was told of, {open_keys} keys without an answer",
        )


def orders_end_as_they_were_told(history: History, evidence: Evidence) -> Found:
    """Confirmed stays confirmed unless somebody cancels; refused stays refused."""
    for twins in history.placed.values():
        asked = first_decided(twins, REUSED)
        if asked is None or asked.order_id is None or asked.order_id not in evidence.orders:
            continue
        order_id, token = asked.order_id, asked.body["payment"]["token"]
        status, total = evidence.orders[order_id]
        cancelled = order_id in history.cancels or token in CANCELLING
        allowed = {asked.answer["status"]} if asked.status == 201 else {"rejected"}
        if asked.code == "order_cancelled":
            allowed = set()
        if cancelled:
            allowed.add("cancelled")
        if status not in allowed:
            yield Anomaly(
                "order is not as told",
                order_id,
                f"told {asked.status} {asked.answer.get('status')} {asked.code}, is {status}",
            )
        if asked.status == 201:
            asked_lines = [(line["sku"], line["quantity"]) for line in asked.body["lines"]]
            got = [(line["sku"], line["quantity"]) for line in asked.answer["lines"]]
            if asked_lines != got or minor(asked.answer["totals"]["total"]) != total:
                yield Anomaly("order is not as asked", order_id, f"{asked_lines} became {got}")
    for order_id, requests in history.cancels.items():
        done = any(a.status == 200 for a in requests)
        if done and evidence.orders.get(order_id, ("gone", 0))[0] != "cancelled":
            yield Anomaly("order is not as told", order_id, "told cancelled")
    for order_id, (status, _) in evidence.orders.items():
        if status == "placed":
            yield Anomaly("order never decided", order_id, "still placed when all was quiet")


def units_are_allocated_once(history: History, evidence: Evidence) -> Found:
    """Held once, owed once, given back once: as the end of the order demands."""
    for order_id, (status, _) in evidence.orders.items():
        said = evidence.said[order_id]
        reserved = said["inventory.stock_reserved.v1"]
        allocated = said["inventory.stock_allocated.v1"]
        released = said["inventory.stock_released.v1"]
        confirmed = said["orders.order_confirmed.v1"]
        fine = reserved <= 1 and allocated <= 1 and released <= reserved
        if status == "confirmed":
            fine = fine and (reserved, allocated, released) == (1, 1, 0)
        elif status == "held":
            fine = fine and (reserved, allocated, released) == (1, 0, 0)
        elif status in DEAD:
            fine = fine and released == reserved and allocated <= confirmed
        if not fine:
            yield Anomaly(
                "not allocated once",
                order_id,
                f"order is {status}; reserved {reserved},"
                f" allocated {allocated}, released {released} times",
            )


# -- stock


def units_never_exceed_what_is_there(history: History, evidence: Evidence) -> Found:
    """Every hold, release, count and refusal, replayed in the order of the log."""
    shelves: dict[str, Shelf] = defaultdict(Shelf)
    wanted: dict[str, Counter[str]] = {}
    placed_at: dict[str, int] = {}  # place in the log
    for place, fact in enumerate(evidence.log):
        lines = wanted.get(fact.subject, Counter())
        match fact.type:
            case "orders.order_placed.v1":
                placed_at[fact.subject] = place
                wanted[fact.subject] = Counter()
                for line in fact.data["lines"]:
                    wanted[fact.subject][line["sku"].upper()] += line["quantity"]
            case "inventory.stock_counted.v1" | "inventory.stock_adjusted.v1":
                shelf = shelves[fact.data["sku"].upper()]
                shelf.count(place, fact.data["on_hand"])
            case "inventory.stock_reserved.v1":
                for sku, quantity in lines.items():
                    shelves[sku].hold(place, fact.at, quantity, fact.subject)
            case "inventory.stock_released.v1":
                for sku, quantity in lines.items():
                    shelves[sku].give_back(place, fact.at, quantity)
            case "inventory.stock_refused.v1":
                yield from refusal_was_true(fact, lines, shelves, placed_at.get(fact.subject, 0))
    for sku in shelves.keys() | evidence.stock.keys():
        shelf, (there, promised) = shelves[sku], evidence.stock.get(sku, (0, 0))
        for order_id, detail in shelf.overdrawn:
            yield Anomaly("oversold", order_id, f"{sku}: {detail}")
        if (there, promised) != (shelf.on_hand, shelf.reserved):
            found = f"on hand {there}, reserved {promised}"
            replayed = f"replayed {shelf.on_hand}, {shelf.reserved}"
            yield Anomaly("stock is not its history", sku, f"{found}; {replayed}")


def refusal_was_true(
    fact: Fact, lines: Counter[str], shelves: dict[str, Shelf], placed_at: int
) -> Found:
    """At some moment between the placing of the order and its refusal it was as it says.

    A refusal changes no shelf, so nothing says at which of these moments the shelves were read.
    """
    said = {each["sku"].upper(): each["available"] for each in fact.data["short"]}
    for sku, quantity in lines.items():
        free = {max(0, free) for free in shelves[sku].free_since(placed_at)}
        if sku in said and not (said[sku] in free and said[sku] < quantity):
            detail = f"{sku}: said {said[sku]} free of {quantity}, was {sorted(free)}"
            yield Anomaly("refused without reason", fact.subject, detail)
        elif sku not in said and max(free) < quantity:
            detail = f"{sku}: says nothing of it, wants {quantity}, was {sorted(free)}"
            yield Anomaly("refused without reason", fact.subject, detail)
    if not said:
        yield Anomaly("refused without reason", fact.subject, "nothing was short")


def clients_never_got_more_than_was_there(history: History, evidence: Evidence) -> Found:
    """The same from outside, of answers alone: who was surely served before, and still is."""
    counts: dict[str, list[tuple[int, int, int]]] = defaultdict(list)  # value, begin, end
    for count in history.asked:
        if count.op == "count" and count.status in (200, 202) and count.end is not None:
            sku = count.path.split("/")[3].upper()
            counts[sku].append((count.body["on_hand"], count.begin, count.end))
        elif count.op == "count" and count.status != 412:
            sku = count.path.split("/")[3].upper()
            counts[sku].append((count.body["on_hand"], count.begin, count.begin + 2**62))
    served: dict[str, list[tuple[int, int, int, int, str]]] = defaultdict(list)
    for twins in history.placed.values():
        asked = first_decided(twins, REUSED)
        if asked is None or asked.status != 201 or asked.body["payment"]["token"] in CANCELLING:
            continue
        order_id = str(asked.order_id)
        until = min((c.begin for c in history.cancels.get(order_id, ())), default=2**62)
        lines: Counter[str] = Counter()
        for line in asked.body["lines"]:
            lines[line["sku"].upper()] += line["quantity"]
        for sku, quantity in lines.items():
            assert asked.end is not None
            served[sku].append((twins[0].begin, asked.end, until, quantity, order_id))
    for sku, orders in served.items():
        if not counts[sku] or sum(o[3] for o in orders) <= min(c[0] for c in counts[sku]):
            continue
        for begin, end, _, quantity, order_id in orders:
            held = sum(o[3] for o in orders if o[1] <= begin and o[2] > end)
            most = most_on_hand(counts[sku], begin, end)
            if held + quantity > most:
                yield Anomaly(
                    "oversold",
                    order_id,
                    f"{sku}: {held} units were promised all the "
                    f"while, {quantity} more accepted, and at most {most} there",
                )


def refusals_have_a_reason(history: History, evidence: Evidence) -> Found:
    """Each was true at some moment inside the request."""
    refused_at = {f.subject: f.at for f in evidence.log if f.type == "inventory.stock_refused.v1"}
    for twins in history.placed.values():
        asked = first_decided(twins, REUSED)
        if asked is None:
            continue
        token, begin, end = asked.body["payment"]["token"], twins[0].begin, asked.end or 0
        reason = ""
        if asked.code == "payment_declined" and token != "tok_declined":
            reason = f"{token} is never declined"
        elif asked.code in REFUSED_BY_CARD and token not in DOUBTFUL:
            if not disturbed(history, begin, end):
                reason = f"{token} answers at once, and nothing was disturbed"
        elif asked.code == "stock_is_short":
            at = refused_at.get(str(asked.order_id), 0)
            if not begin - CLOCK_SLACK_NS <= at <= end + CLOCK_SLACK_NS:
                reason = "units were not short within the request"
        elif asked.code == "order_cancelled":
            if str(asked.order_id) not in history.cancels:
                reason = "nobody cancelled it"
        elif asked.code not in ("", "payment_declined", "payment_timeout", "payment_failed"):
            reason = asked.text[:200]
        elif asked.status == 201 and token in ("tok_declined", "tok_timeout"):
            yield Anomaly("accepted without money", str(asked.order_id), f"paid with {token}")
        if reason:
            yield Anomaly("refused without reason", str(asked.order_id), f"{asked.code}: {reason}")
    yield from cancellations_have_a_reason(history, evidence)
    yield from refunds_have_a_reason(history, evidence)
    for count in history.asked:
        wrong = count.op == "count" and "expected_quantity" in count.body
        if wrong and count.status in (200, 202):
            yield Anomaly("condition ignored", count.path, told(count))


def disturbed(history: History, begin: int, end: int) -> bool:
    """Whether the nemesis was at work, or not long before."""
    return any(begin - AFTERMATH_NS <= act.at <= end for act in history.acts)


def cancellations_have_a_reason(history: History, evidence: Evidence) -> Found:
    """Only what is dead cannot be called off."""
    died = {
        f.subject: f.at
        for f in evidence.log
        if f.type in ("orders.order_rejected.v1", "orders.order_cancelled.v1")
    }
    for order_id, requests in history.cancels.items():
        for asked in requests:
            late = died.get(order_id, 2**62) > (asked.end or 0) + CLOCK_SLACK_NS
            if asked.code == "order_not_cancellable" and late:
                yield Anomaly("refused without reason", order_id, "was alive when not cancellable")


def refunds_have_a_reason(history: History, evidence: Evidence) -> Found:
    """Refused only if too much, or too early."""
    seen: dict[str, int] = {}  # payment -> when somebody first saw it captured
    for look in history.asked:
        if look.op == "payment" and look.status == 200 and minor(look.answer["captured"]):
            payment_id = look.path.split("/")[3]
            seen[payment_id] = min(seen.get(payment_id, 2**62), look.end or 2**62)
    for payment_id, keys in history.refunds.items():
        for twins in keys.values():
            asked = first_decided(twins)
            if asked is None or not asked.code:
                continue
            order_id, end = asked.body["reason"], asked.end or 0
            captured = sum(evidence.money[order_id]["capture"])
            others = sum(
                minor(o[0].body["amount"])
                for o in keys.values()
                if o is not twins and o[0].begin <= end
            )
            left = captured - others
            ended = any(c.begin <= end for c in history.cancels.get(order_id, ()))
            fine = {
                "refund_exceeds_capture": minor(asked.body["amount"]) > left or ended,
                "nothing_captured": seen.get(payment_id, 2**62) > twins[0].begin,
            }.get(asked.code, False)
            if not fine:
                yield Anomaly("refused without reason", order_id, told(asked))


# -- money


def money_is_taken_once(history: History, evidence: Evidence) -> Found:
    """By the provider's own record: once when confirmed, never twice, nothing kept of the dead."""
    for order_id in evidence.money.keys() - evidence.orders.keys():
        yield Anomaly("charged for no order", order_id, str(dict(evidence.money[order_id])))
    given_back = refunds_told(history)
    for order_id, (status, total) in evidence.orders.items():
        did = evidence.money[order_id]
        captured, refunded, voided = did["capture"], sum(did["refund"]), len(did["void"])
        if len(captured) > 1 or len(did["authorise"]) > 1 or voided > 1:
            yield Anomaly("charged twice", order_id, str(dict(did)))
        if status == "confirmed" and captured != [total]:
            yield Anomaly("not charged once", order_id, f"confirmed over {total}, took {captured}")
        if status in ("rejected", "held") and captured:
            yield Anomaly("charged without order", order_id, f"is {status}, took {captured}")
        if refunded > sum(captured):
            yield Anomaly("refunded too much", order_id, f"took {captured}, returned {refunded}")
        if status in DEAD and refunded != sum(captured):
            yield Anomaly("money kept", order_id, f"is {status}: {captured}, back {refunded}")
        if status in DEAD and did["authorise"] and not captured and not voided:
            yield Anomaly("money kept", order_id, f"is {status}, its authorisation stays")
        if status == "confirmed" and refunded != given_back[order_id]:
            yield Anomaly(
                "refund is not as told",
                order_id,
                f"told {given_back[order_id]}, provider returned {refunded}",
            )


def the_ledger_equals_the_providers_record(history: History, evidence: Evidence) -> Found:
    """It sums to zero in every currency, and its account of the provider is the provider's."""
    sums: Counter[str] = Counter()
    ours: Counter[str] = Counter()
    owed: Counter[str] = Counter()
    for order_id, debit, credit, amount, currency in evidence.ledger:
        for account, signed in ((debit, amount), (credit, -amount)):
            sums[currency] += signed if known(account) else 0
            ours[order_id] += signed if account.startswith("provider:") else 0
            owed[order_id] += signed if account == "receivable" else 0
    for currency, total in sums.items():
        if total:
            yield Anomaly("ledger is not zero", currency, f"sums to {total}")
    for order_id in ours.keys() | owed.keys() | evidence.money.keys():
        did = evidence.money[order_id]
        theirs = sum(did["capture"]) - sum(did["refund"])
        if ours[order_id] != theirs or owed[order_id]:
            yield Anomaly(
                "ledger is not the provider's",
                order_id,
                f"we say {ours[order_id]}, they {theirs}; still owed {owed[order_id]}",
            )


def known(account: str) -> bool:
    """Whether it is an account of ours."""
    return account.startswith("provider:") or account in {"receivable", "sales", "refunds", "fees"}


# -- the feed


def the_feed_tells_everything_once(history: History, evidence: Evidence) -> Found:
    """To who followed it all the while: per source and subject 1..n, in order, each once."""
    last: dict[tuple[str, str], int] = defaultdict(int)
    for source, subject, sequence in history.tail:
        name = source.rpartition("/")[2], subject
        if sequence <= last[name]:
            yield Anomaly("told twice", subject, f"{name[0]}: {sequence} after {last[name]}")
        elif sequence != last[name] + 1:
            yield Anomaly("feed has a gap", subject, f"{name[0]}: {sequence} after {last[name]}")
        last[name] = max(last[name], sequence)
    written: dict[tuple[str, str], int] = defaultdict(int)
    for fact in evidence.log:
        name = fact.source, fact.subject
        if fact.sequence != written[name] + 1:
            yield Anomaly(
                "log has a gap",
                fact.subject,
                f"{fact.source}: {fact.sequence} after {written[name]}",
            )
        written[name] = max(written[name], fact.sequence)
    for name, sequence in written.items():
        if last[name] < sequence:
            yield Anomaly(
                "feed has a gap", name[1], f"{name[0]}: ends at {last[name]}, the log at {sequence}"
            )


PROOFS: tuple[Callable[[History, Evidence], Found], ...] = (
    every_request_is_answered,
    answers_to_one_key_are_alike,
    acknowledged_orders_exist_once,
    orders_end_as_they_were_told,
    units_are_allocated_once,
    units_never_exceed_what_is_there,
    clients_never_got_more_than_was_there,
    refusals_have_a_reason,
    money_is_taken_once,
    the_ledger_equals_the_providers_record,
    the_feed_tells_everything_once,
)


def judge(history: History, evidence: Evidence) -> list[Anomaly]:
    """Everything that must not be and is."""
    return [anomaly for proof in PROOFS for anomaly in proof(history, evidence)]


def main(history: str, dsn: str, provider_url: str) -> int:
    """Judge, print, and say by the exit code whether anything is wrong."""
    found = judge(read_history(Path(history)), asyncio.run(collect(dsn, provider_url)))
    for anomaly in found:
        print(f"ANOMALY: {anomaly.kind}: {anomaly.about}: {anomaly.detail}")
    print(f"{len(found)} anomalies.")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
