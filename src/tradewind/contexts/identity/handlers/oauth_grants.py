"""Load, decide, save: authorization codes, grants with their refresh tokens, devices."""

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any

from tradewind.contexts.identity.commands.oauth import (
    AskForDevice,
    DecideDevice,
    EndGrant,
    ExchangeCode,
    GiveCode,
    PollDevice,
    UseRefreshToken,
)
from tradewind.contexts.identity.handlers.oauth_clients import CLIENTS, void
from tradewind.contexts.identity.problems import InvalidClient, InvalidGrant
from tradewind.contexts.identity.rules import oauth as rules
from tradewind.contexts.identity.tables.oauth import (
    AgreementRow,
    ClientRow,
    CodeRow,
    DeviceRow,
    Granted,
    GrantRow,
)
from tradewind.kernel.messages import Decision, Event
from tradewind.kernel.problems import Problem
from tradewind.platform.database.transaction import Transaction

CODES_LOCK = "identity.oauth_codes"
GRANTS_LOCK = "identity.oauth_grants"
DEVICES_LOCK = "identity.oauth_devices"

# oauth_agreements_pkey.
AGREEMENTS = """
    SELECT a.account_id, a.client_id, a.scopes FROM identity.oauth_agreements a
      JOIN unnest($1::text[], $2::text[]) AS n (account_id, client_id)
        ON a.account_id = n.account_id AND a.client_id = n.client_id"""
AGREE = """
    INSERT INTO identity.oauth_agreements (account_id, client_id, scopes, agreed_at)
    SELECT n.account_id, n.client_id, string_to_array(n.scopes, ' '), $4
      FROM unnest($1::text[], $2::text[], $3::text[]) AS n (account_id, client_id, scopes)
     ORDER BY 1, 2
    ON CONFLICT (account_id, client_id)
    DO UPDATE SET scopes = EXCLUDED.scopes, agreed_at = EXCLUDED.agreed_at"""

# oauth_codes_pkey: the id is new.
ADD_CODES = """
    INSERT INTO identity.oauth_codes
           (code_id, client_id, account_id, session_id, redirect_uri, scopes, challenge, nonce,
            signed_in_at, second_factor, expires_at)
    SELECT n.code_id, n.client_id, n.account_id, n.session_id, n.redirect_uri,
           string_to_array(n.scopes, ' '), n.challenge, n.nonce, n.signed_in_at, n.second_factor,
           $11
      FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[],
                  $7::text[], $8::text[], $9::timestamptz[], $10::boolean[])
        AS n (code_id, client_id, account_id, session_id, redirect_uri, scopes, challenge, nonce,
              signed_in_at, second_factor)
    ON CONFLICT (code_id) DO NOTHING"""


async def give_codes(tx: Transaction, commands: Sequence[GiveCode]) -> Decision:
    """Give codes, and remember what was agreed to. Safe to repeat: the id comes with it."""
    await tx.lock(CODES_LOCK, [command.client_id for command in commands])
    pairs = {(c.who.account_id, c.client_id): set(c.scopes) for c in commands}
    accounts, clients = [a for a, _ in pairs], [c for _, c in pairs]
    for row in await tx.fetch(AGREEMENTS, accounts, clients, into=AgreementRow):
        pairs[row.account_id, row.client_id].update(row.scopes)
    for command in commands:
        pairs[command.who.account_id, command.client_id].update(command.scopes)
    joined = [" ".join(sorted(scopes)) for scopes in pairs.values()]
    tx.write(AGREE, accounts, clients, joined, tx.now)
    tx.write(
        ADD_CODES,
        [command.code_id for command in commands],
        [command.client_id for command in commands],
        [command.who.account_id for command in commands],
        [command.who.session_id for command in commands],
        [command.redirect_uri for command in commands],
        [" ".join(command.scopes) for command in commands],
        [command.challenge for command in commands],
        [command.nonce for command in commands],
        [command.who.at for command in commands],
        [command.who.second_factor for command in commands],
        tx.now + rules.CODE_LIFE,
    )
    return Decision(outcomes=[None] * len(commands))


# oauth_codes_pkey, oauth_grants_pkey.
CODES = """
    SELECT code_id, client_id, account_id, session_id, redirect_uri, scopes, challenge, nonce,
           signed_in_at, second_factor, expires_at, grant_id
      FROM identity.oauth_codes WHERE code_id = ANY ($1::text[])"""
GRANTS = """
    SELECT grant_id, client_id, account_id, session_id, scopes, signed_in_at, second_factor,
           generation, version, given_at, expires_at, revoked_at, revoked_because
      FROM identity.oauth_grants WHERE grant_id = ANY ($1::text[])"""
USE_CODE = """
    UPDATE identity.oauth_codes SET grant_id = $2 WHERE code_id = $1 AND grant_id IS NULL"""


async def exchange_codes(tx: Transaction, commands: Sequence[ExchangeCode]) -> Decision:
    """Exchange codes for grants. A code that comes back ends its grant, also within one batch."""
    await tx.lock(CODES_LOCK, [command.code_id for command in commands])
    codes = {
        row.code_id: row
        for row in await tx.fetch(CODES, [c.code_id for c in commands], into=CodeRow)
    }
    clients = await clients_of_batch(tx, commands)
    former = [row.grant_id for row in codes.values() if row.grant_id is not None]
    grants = {row.grant_id: row for row in await tx.fetch(GRANTS, former, into=GrantRow)}
    twins = Counter(command.code_id for command in commands)
    used: set[str] = set()
    new: list[GrantRow] = []
    over: dict[str, GrantRow] = {}
    outcomes: list[Any] = []
    for command in commands:
        code = codes.get(command.code_id)
        if code is not None and code.client_id == command.client_id:
            again = grants.get(code.grant_id or "")
            if again is not None and again.revoked_at is None:
                over[again.grant_id] = rules.ended(again, "reused", tx.now)
            if twins[command.code_id] > 1:  # at the same moment: neither may have it
                if command.code_id not in used and code.grant_id is None:
                    used.add(command.code_id)
                    tx.write(USE_CODE, command.code_id, command.grant_id, expect=1)
                outcomes.append(InvalidGrant("This code was sent twice at once."))
                continue
        life = timedelta(days=tx.settings.refresh_token_days)
        decided = rules.exchange(command, code, tx.now, life)
        if isinstance(decided, Problem) or code is None:
            outcomes.append(decided)
            continue
        client = clients.get(command.client_id)
        if client is None or client.revoked_at is not None:
            outcomes.append(InvalidClient())
            continue
        grant = rules.with_refresh(decided, client.grants)
        new.append(grant)
        tx.write(USE_CODE, command.code_id, grant.grant_id, expect=1)
        outcomes.append(Granted(grant, grant.scopes, code.nonce))
    events = add_grants(tx, new)
    events += end_grants(tx, over.values())
    return Decision(events=events, outcomes=outcomes)


async def clients_of_batch(
    tx: Transaction, commands: Sequence[ExchangeCode | PollDevice]
) -> dict[str, ClientRow]:
    """The clients of these commands, by id."""
    ids = sorted({command.client_id for command in commands})
    return {row.client_id: row for row in await tx.fetch(CLIENTS, ids, into=ClientRow)}


ADD_GRANTS = """
    INSERT INTO identity.oauth_grants
           (grant_id, client_id, account_id, session_id, scopes, signed_in_at, second_factor,
            generation, version, given_at, expires_at)
    SELECT n.grant_id, n.client_id, n.account_id, n.session_id, string_to_array(n.scopes, ' '),
           n.signed_in_at, n.second_factor, n.generation, 1, n.given_at, n.expires_at
      FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::timestamptz[],
                  $7::boolean[], $8::integer[], $9::timestamptz[], $10::timestamptz[])
        AS n (grant_id, client_id, account_id, session_id, scopes, signed_in_at, second_factor,
              generation, given_at, expires_at)"""


def add_grants(tx: Transaction, rows: Sequence[GrantRow]) -> list[Event]:
    """Queue new grants; the facts about them."""
    if rows:
        tx.write(
            ADD_GRANTS,
            [row.grant_id for row in rows],
            [row.client_id for row in rows],
            [row.account_id for row in rows],
            [row.session_id for row in rows],
            [" ".join(row.scopes) for row in rows],
            [row.signed_in_at for row in rows],
            [row.second_factor for row in rows],
            [row.generation for row in rows],
            [row.given_at for row in rows],
            [row.expires_at for row in rows],
            expect=len(rows),
        )
    return [rules.given_event(row) for row in rows]


# oauth_grants_pkey.
END_GRANTS = """
    UPDATE identity.oauth_grants g
       SET version = g.version + 1, revoked_at = n.revoked_at, revoked_because = n.because
      FROM unnest($1::text[], $2::timestamptz[], $3::text[]) AS n (grant_id, revoked_at, because)
     WHERE g.grant_id = n.grant_id AND g.revoked_at IS NULL"""


def end_grants(tx: Transaction, rows: Iterable[GrantRow]) -> list[Event]:
    """Queue the end of grants and of all their access tokens; the facts about it."""
    over = list(rows)
    if over:
        tx.write(
            END_GRANTS,
            [row.grant_id for row in over],
            [row.revoked_at for row in over],
            [row.revoked_because for row in over],
            expect=len(over),
        )
        void(tx, [row.grant_id for row in over])
    return [rules.ended_event(row) for row in over]


# oauth_grants_pkey. The generation is compared: of two processes with one token, one is first.
NEXT_GENERATION = """
    UPDATE identity.oauth_grants g SET generation = n.generation, version = n.version
      FROM unnest($1::text[], $2::integer[], $3::bigint[]) AS n (grant_id, generation, version)
     WHERE g.grant_id = n.grant_id AND g.generation = n.generation - 1 AND g.revoked_at IS NULL"""


async def use_refresh_tokens(tx: Transaction, commands: Sequence[UseRefreshToken]) -> Decision:
    """Go on with grants. A token that had been replaced ends its family, also in one batch."""
    await tx.lock(GRANTS_LOCK, [command.grant_id for command in commands])
    found = await tx.fetch(GRANTS, [command.grant_id for command in commands], into=GrantRow)
    rows = {row.grant_id: row for row in found}
    outcomes: list[Any] = []
    advanced: dict[str, GrantRow] = {}
    over: dict[str, GrantRow] = {}
    for command in commands:
        row = over.get(command.grant_id) or rows.get(command.grant_id)
        decided = rules.refresh(command, row, tx.now)
        if rules.is_reused(command, row):
            assert row is not None
            over[command.grant_id] = rules.ended(row, "reused", tx.now)
            advanced.pop(command.grant_id, None)
        elif isinstance(decided, GrantRow):
            rows[command.grant_id] = advanced[command.grant_id] = decided
        if isinstance(decided, GrantRow):
            scopes = decided.scopes if command.scopes is None else command.scopes
            outcomes.append(Granted(decided, scopes))
        else:
            outcomes.append(decided)
    if advanced:
        tx.write(
            NEXT_GENERATION,
            list(advanced),
            [row.generation for row in advanced.values()],
            [row.version for row in advanced.values()],
            expect=len(advanced),
        )
    return Decision(events=end_grants(tx, over.values()), outcomes=outcomes)


async def end_asked_grants(tx: Transaction, commands: Sequence[EndGrant]) -> Decision:
    """End grants. Safe to repeat: one that has ended stays as it is."""
    await tx.lock(GRANTS_LOCK, [command.grant_id for command in commands])
    found = await tx.fetch(GRANTS, [command.grant_id for command in commands], into=GrantRow)
    rows = {row.grant_id: row for row in found}
    over: dict[str, GrantRow] = {}
    for command in commands:
        row = rows.get(command.grant_id)
        mine = row is not None and command.client_id in (None, row.client_id)
        if row is not None and mine and row.revoked_at is None:
            over[row.grant_id] = rules.ended(row, command.because, tx.now)
    events = end_grants(tx, over.values())
    return Decision(events=events, outcomes=[None] * len(commands))


# oauth_devices_pkey: the id is new, and of two equal user codes the second is asked for again.
ADD_DEVICES = """
    INSERT INTO identity.oauth_devices
           (device_id, user_code_hash, client_id, scopes, status, asked_at, expires_at, interval_s)
    SELECT n.device_id, n.user_code_hash, n.client_id, string_to_array(n.scopes, ' '), 'waiting',
           $5, $6, $7
      FROM unnest($1::text[], $2::bytea[], $3::text[], $4::text[])
        AS n (device_id, user_code_hash, client_id, scopes)"""


async def ask_for_devices(tx: Transaction, commands: Sequence[AskForDevice]) -> Decision:
    """Note that devices wait."""
    tx.write(
        ADD_DEVICES,
        [command.device_id for command in commands],
        [command.user_code_hash for command in commands],
        [command.client_id for command in commands],
        [" ".join(command.scopes) for command in commands],
        tx.now,
        tx.now + rules.DEVICE_LIFE,
        rules.DEVICE_INTERVAL_S,
        expect=len(commands),
    )
    return Decision(outcomes=[None] * len(commands))


# oauth_devices_pkey, oauth_devices_user_code_hash_key.
DEVICES = """
    SELECT device_id, user_code_hash, client_id, scopes, status, asked_at, expires_at, polled_at,
           interval_s, account_id, session_id, signed_in_at, second_factor, grant_id
      FROM identity.oauth_devices
     WHERE device_id = ANY ($1::text[]) OR user_code_hash = ANY ($2::bytea[])"""
SAVE_DEVICE = """
    UPDATE identity.oauth_devices
       SET status = $2, polled_at = $3, interval_s = $4, account_id = $5, session_id = $6,
           signed_in_at = $7, second_factor = $8, grant_id = $9
     WHERE device_id = $1 AND status IN ('waiting', 'allowed')"""


async def decide_devices(tx: Transaction, commands: Sequence[DecideDevice]) -> Decision:
    """Note what somebody decided. Safe to repeat: then nobody waits any more."""
    await tx.lock(DEVICES_LOCK, ["all"])
    codes = [command.user_code_hash for command in commands]
    rows = {row.user_code_hash: row for row in await tx.fetch(DEVICES, [], codes, into=DeviceRow)}
    outcomes: list[Any] = []
    for command in commands:
        decided = rules.decide_device(command, rows.get(command.user_code_hash), tx.now)
        outcomes.append(decided is not None)
        if decided is not None:
            rows[command.user_code_hash] = decided
            save_device(tx, decided)
    return Decision(outcomes=outcomes)


async def poll_devices(tx: Transaction, commands: Sequence[PollDevice]) -> Decision:
    """Tell devices how it stands; the first that asks after somebody agreed gets the grant."""
    await tx.lock(DEVICES_LOCK, ["all"])
    ids = [command.device_id for command in commands]
    rows = {row.device_id: row for row in await tx.fetch(DEVICES, ids, [], into=DeviceRow)}
    clients = await clients_of_batch(tx, commands)
    changed: dict[str, DeviceRow] = {}
    new: list[GrantRow] = []
    outcomes: list[Any] = []
    life = timedelta(days=tx.settings.refresh_token_days)
    for command in commands:
        row, problem = rules.poll_device(command, rows.get(command.device_id), tx.now)
        if row is not None:
            rows[row.device_id] = changed[row.device_id] = row
        if problem is not None:
            outcomes.append(problem)
            continue
        client = clients[command.client_id]
        assert row is not None
        grant = rules.with_refresh(rules.grant_of_device(row, tx.now, life), client.grants)
        new.append(grant)
        outcomes.append(Granted(grant, grant.scopes))
    for row in changed.values():
        save_device(tx, row)
    return Decision(events=add_grants(tx, new), outcomes=outcomes)


def save_device(tx: Transaction, row: DeviceRow) -> None:
    """Queue a device as it is now."""
    tx.write(
        SAVE_DEVICE,
        row.device_id,
        row.status,
        row.polled_at,
        row.interval_s,
        row.account_id,
        row.session_id,
        row.signed_in_at,
        row.second_factor,
        row.grant_id,
        expect=1,
    )


# By their indexes on the expiry. Used codes stay for an hour: one that comes back is noticed.
SWEPT = (
    "DELETE FROM identity.oauth_codes WHERE expires_at < $1::timestamptz - interval '1 hour'",
    "DELETE FROM identity.oauth_devices WHERE expires_at < $1::timestamptz - interval '1 hour'",
    "DELETE FROM identity.oauth_grants WHERE expires_at < $1::timestamptz - interval '30 days'",
)
ANYTHING_TO_SWEEP = """
    SELECT EXISTS (SELECT FROM identity.oauth_codes
                    WHERE expires_at < $1::timestamptz - interval '1 hour')
        OR EXISTS (SELECT FROM identity.oauth_devices
                    WHERE expires_at < $1::timestamptz - interval '1 hour')
        OR EXISTS (SELECT FROM identity.oauth_grants
                    WHERE expires_at < $1::timestamptz - interval '30 days')"""


async def sweep_expired(tx: Transaction) -> Decision:
    """Delete what has long expired."""
    if await tx.fetch_value(ANYTHING_TO_SWEEP, tx.now):
        for statement in SWEPT:
            tx.write(statement, tx.now)
    return Decision()
