"""Load, decide, save: OAuth clients, signing keys, and what is void before it expires.

All of it changes rarely, so decisions are made one after the other, under one lock each.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from msgspec import Struct

from tradewind.contexts.identity.commands.oauth import (
    ProvideSigningKey,
    RegisterClient,
    RenewClientSecret,
    RevokeClient,
    VoidToken,
)
from tradewind.contexts.identity.events import ClientSecretRenewed
from tradewind.contexts.identity.problems import ClientNotFound
from tradewind.contexts.identity.rules import oauth as rules
from tradewind.contexts.identity.tables.oauth import ClientRow, SigningKeyRow, client_shown
from tradewind.kernel.answers import Answer
from tradewind.kernel.messages import Decision, Event
from tradewind.kernel.problems import Problem
from tradewind.platform.database.transaction import Transaction

KEYS_LOCK = ("identity.signing_keys", ("all",))
CLIENTS_LOCK = "identity.oauth_clients"

# No index: there are two or three keys.
SERVED_KEYS = """
    SELECT kid, public, master_key_id, sealed, signs_from, signs_until, served_until
      FROM identity.signing_keys WHERE served_until > $1"""

ADD_KEY = """
    INSERT INTO identity.signing_keys
           (kid, public, master_key_id, sealed, signs_from, signs_until, served_until, made_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8)"""

DROP_KEYS = "DELETE FROM identity.signing_keys WHERE served_until <= $1"


class SigningKeyDue(Struct, frozen=True):
    """A signal: the next signing key has to be made."""


async def provide_signing_keys(tx: Transaction, commands: Sequence[ProvideSigningKey]) -> Decision:
    """Take the first key that is offered when one is due. Safe to repeat: then none is due."""
    await tx.lock(*KEYS_LOCK)
    keys = await tx.fetch(SERVED_KEYS, tx.now, into=SigningKeyRow)
    life = timedelta(days=tx.settings.signing_key_days)
    outcomes = []
    for command in commands:
        row = rules.next_key(command, keys, tx.now, life)
        outcomes.append(row is not None)
        if row is not None:
            keys.append(row)
            tx.write(
                ADD_KEY,
                row.kid,
                row.public,
                row.master_key_id,
                row.sealed,
                row.signs_from,
                row.signs_until,
                row.served_until,
                tx.now,
                expect=1,
            )
    return Decision(outcomes=outcomes)


# No index: two or three rows. Revocations by revocations_by_time.
OLD_KEYS = "SELECT count(*) FROM identity.signing_keys WHERE served_until <= $1"
DROP_REVOCATIONS = """
    DELETE FROM identity.revocations WHERE revoked_at < $1::timestamptz - interval '1 hour'"""
OLD_REVOCATIONS = """
    SELECT count(*) FROM identity.revocations
     WHERE revoked_at < $1::timestamptz - interval '1 hour'"""


async def sweep_signing_keys(tx: Transaction) -> Decision:
    """See whether the next key is due, and drop what no token can need any more.

    Only who has used keys needs the next one: the first is made when the first token is.
    """
    keys = await tx.fetch(SERVED_KEYS, tx.now, into=SigningKeyRow)
    if await tx.fetch_value(OLD_KEYS, tx.now):
        tx.write(DROP_KEYS, tx.now)
    if await tx.fetch_value(OLD_REVOCATIONS, tx.now):
        tx.write(DROP_REVOCATIONS, tx.now)
    life = timedelta(days=tx.settings.signing_key_days)
    due = bool(keys) and rules.key_due(keys, tx.now, life) is not None
    return Decision(signals=[SigningKeyDue()] if due else [])


# oauth_clients_pkey.
CLIENTS = """
    SELECT client_id, name, authentication, certificates, redirect_uris, logout_uris, grants,
           scopes, secret_generation, former_until, version, registered_at, registered_by,
           revoked_at, revoked_by
      FROM identity.oauth_clients WHERE client_id = ANY ($1::text[])"""

# Texts with spaces between them: no member of these lists has one.
ADD_CLIENTS = """
    INSERT INTO identity.oauth_clients
           (client_id, name, authentication, certificates, redirect_uris, logout_uris, grants,
            scopes, secret_generation, version, registered_at, registered_by)
    SELECT n.client_id, n.name, n.authentication, string_to_array(n.certificates, ' '),
           string_to_array(n.redirect_uris, ' '), string_to_array(n.logout_uris, ' '),
           string_to_array(n.grants, ' '), string_to_array(n.scopes, ' '), 1, 1, n.registered_at,
           n.registered_by
      FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[],
                  $7::text[], $8::text[], $9::timestamptz[], $10::text[])
        AS n (client_id, name, authentication, certificates, redirect_uris, logout_uris, grants,
              scopes, registered_at, registered_by)"""


async def register_clients(tx: Transaction, commands: Sequence[RegisterClient]) -> Decision:
    """Register programs. Safe to repeat: the id comes with the command, and is made once."""
    rows = await clients_of(tx, [command.client_id for command in commands])
    events: list[Event] = []
    outcomes: list[Any] = []
    new: list[ClientRow] = []
    for command in commands:
        row = rows.get(command.client_id)
        if row is None:
            decided = rules.register(command, tx.now)
            if isinstance(decided, Problem):
                outcomes.append(decided)
                continue
            row = rows[command.client_id] = decided
            new.append(row)
            events.append(rules.registered_event(row))
        outcomes.append(Answer(status=201, body=client_shown(row)))
    if new:
        tx.write(
            ADD_CLIENTS,
            [row.client_id for row in new],
            [row.name for row in new],
            [row.authentication for row in new],
            [" ".join(row.certificates) for row in new],
            [" ".join(row.redirect_uris) for row in new],
            [" ".join(row.logout_uris) for row in new],
            [" ".join(row.grants) for row in new],
            [" ".join(row.scopes) for row in new],
            [row.registered_at for row in new],
            [row.registered_by for row in new],
            expect=len(new),
        )
    return Decision(events=events, outcomes=outcomes)


async def clients_of(tx: Transaction, client_ids: Sequence[str]) -> dict[str, ClientRow]:
    """Clients by id, locked."""
    await tx.lock(CLIENTS_LOCK, client_ids)
    found = await tx.fetch(CLIENTS, list(client_ids), into=ClientRow)
    return {row.client_id: row for row in found}


# oauth_clients_pkey.
RENEW_CLIENT = """
    UPDATE identity.oauth_clients
       SET secret_generation = $2, former_until = $3, version = $4
     WHERE client_id = $1 AND secret_generation = $2 - 1"""


async def renew_client_secrets(tx: Transaction, commands: Sequence[RenewClientSecret]) -> Decision:
    """Give clients another secret. Safe to repeat: the generation to be replaced is named."""
    before = await clients_of(tx, [command.client_id for command in commands])
    rows = dict(before)
    events: list[Event] = []
    outcomes: list[Any] = []
    for command in commands:
        row = rows.get(command.client_id)
        if row is None or row.revoked_at is not None or row.authentication != "secret":
            outcomes.append(ClientNotFound("There is no client with a secret that has this id."))
            continue
        if row.secret_generation == command.generation and row is before[command.client_id]:
            row = rows[command.client_id] = rules.renewed(row, tx.now)
            assert row.former_until is not None
            events.append(
                ClientSecretRenewed(
                    sequence=row.version, client_id=row.client_id, former_until=row.former_until
                )
            )
            tx.write(
                RENEW_CLIENT,
                row.client_id,
                row.secret_generation,
                row.former_until,
                row.version,
                expect=1,
            )
        outcomes.append(Answer(body=client_shown(row)))
    return Decision(events=events, outcomes=outcomes)


# oauth_clients_pkey.
REVOKE = """
    UPDATE identity.oauth_clients c
       SET version = n.version, revoked_at = n.revoked_at, revoked_by = n.revoked_by
      FROM unnest($1::text[], $2::bigint[], $3::timestamptz[], $4::text[])
        AS n (client_id, version, revoked_at, revoked_by)
     WHERE c.client_id = n.client_id AND c.revoked_at IS NULL"""


async def revoke_clients(tx: Transaction, commands: Sequence[RevokeClient]) -> Decision:
    """Shut programs out. Safe to repeat: a client that is shut out is answered as it is."""
    rows = await clients_of(tx, [command.client_id for command in commands])
    changed: list[ClientRow] = []
    outcomes: list[Any] = []
    for command in commands:
        row = rows.get(command.client_id)
        if row is None:
            outcomes.append(
                ClientNotFound("There is no client with this id. GET /v1/oauth/clients lists them.")
            )
            continue
        if row.revoked_at is None:
            row = rows[row.client_id] = rules.revoked(row, command.revoked_by, tx.now)
            changed.append(row)
        outcomes.append(Answer(body=client_shown(row)))
    if changed:
        tx.write(
            REVOKE,
            [row.client_id for row in changed],
            [row.version for row in changed],
            [row.revoked_at for row in changed],
            [row.revoked_by for row in changed],
            expect=len(changed),
        )
        void(tx, [row.client_id for row in changed])
    return Decision(events=[rules.revoked_event(row) for row in changed], outcomes=outcomes)


# revocations_pkey. In its order, so that two units do not wait for each other crosswise.
VOID = """
    INSERT INTO identity.revocations AS r (what, revoked_at)
    SELECT what, $2 FROM (SELECT DISTINCT unnest($1::text[]) AS what ORDER BY 1) AS n
    ON CONFLICT (what) DO UPDATE SET revoked_at = EXCLUDED.revoked_at
     WHERE r.revoked_at < EXCLUDED.revoked_at"""


def void(tx: Transaction, what: Sequence[str]) -> None:
    """Queue that tokens of these are void from now on."""
    if what:
        tx.write(VOID, list(what), tx.now)


async def void_tokens(tx: Transaction, commands: Sequence[VoidToken]) -> Decision:
    """Make access tokens void. Safe to repeat: they stay it."""
    void(tx, [command.token_id for command in commands])
    return Decision(outcomes=[None] * len(commands))
