"""What is held of a person, told to that person; and the end of it. For guests and for staff.

Who holds an order's token may have what is held of that order's customer record, or have it
destroyed. Staff may do so for an e-mail address, with a reason, which is written down.

An erasure destroys keys, all of a person's in one transaction of the vault: from its commit on
nothing opens in any process, since none keeps what it opened. Orders, ledger and papers stay as
they are, with tokens that open nothing. It is safe to repeat, to run twice at once, and to kill.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from tradewind.kernel.answers import Answer
from tradewind.kernel.ids import new_id
from tradewind.kernel.problems import FieldError, Problem
from tradewind.kernel.subject import OpenMatter, Subject
from tradewind.platform.audit import reading
from tradewind.platform.gateway.problems import NotFound, invalid_body
from tradewind.platform.gateway.request import Request
from tradewind.platform.gateway.routing import (
    Keyed,
    OrderHolder,
    Recorded,
    Route,
    Scope,
    SignedIn,
    Whose,
)
from tradewind.platform.node import Node
from tradewind.platform.vault.erasing import Erasure

# A payment comes to its end in seconds; who asks at that moment is not sent away.
SETTLES_WITHIN_S = 10.0
LOOK_EVERY_S = 0.1
# What a paper must say of a customer. Not how to reach them.
PAPER_FIELDS = ("name", "line1", "line2", "city", "region", "postal_code", "country")
SHOWN_MATTERS_MAX = 20

Email = Annotated[str, Meta(min_length=3, max_length=254)]
Token = Annotated[str, Meta(pattern=r"^(prs|ctc)_[0-9a-z]{26}$", max_length=30)]
Reason = Annotated[str, Meta(min_length=1, max_length=500)]


class OpenMatters(Problem):
    """Orders are not decided or paid yet, or returns are under way: they need the person's data.
    Cancel them, or wait until they are through. Nothing was erased.
    """

    status = 409
    code = "open_matters"
    title = "Something is still under way for this person."


class PersonBody(Struct, frozen=True, forbid_unknown_fields=True):
    """Who: an e-mail address exactly as it was given, or a token of the vault."""

    email: Email | None = None
    token: Token | None = None


class EraseBody(PersonBody, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Who, and why. The reason is sealed and kept with the note of the erasure."""

    reason: Reason


class Erased(Struct, frozen=True):
    """What an erasure destroyed; 0: there was nothing, or nothing any more."""

    records: int
    erasure: str | None


class RecordView(Struct, frozen=True):
    """One record of the vault, opened."""

    token: str
    contact: str | None
    fields: dict[str, str] | None


class Export(Struct, frozen=True):
    """Everything that is held of a person. `sections` has what each part of the platform knows:
    accounts, consents, sessions, orders, fulfilments, returns, documents, carts, payments, refunds,
    messages, scores, reviews; and activity: what was done with these data, and when.
    """

    exported_at: datetime
    records: list[RecordView]
    sections: dict[str, Any]


async def get_personal_data(request: Request) -> Answer:
    """Everything that is held of the customer of an order, for who holds its token."""
    return Answer(body=await export_of(request.node, await customer_of(request)))


async def delete_personal_data(request: Request) -> Answer:
    """Destroy what names the customer of an order. The order itself stays, and reads `erased`.

    409 `open_matters` while the order is not through; a payment that is about to come is waited
    for. Repeating it changes nothing.
    """
    assert request.credential is not None, "the route needs a token or a scope"
    subject = await customer_of(request)
    erased = await erase(
        request.node, subject, by=request.credential.id, reason="asked for by the holder"
    )
    return Answer(body=erased)


async def post_export(request: Request) -> Answer:
    """Everything that is held of whoever has this address, for staff who answer a letter."""
    subject = await subject_of(request.node, request.body)
    request.about = name_of(subject)
    return Answer(body=await export_of(request.node, subject))


async def post_erase(request: Request) -> Answer:
    """Destroy what names whoever has this address: every record, in one step.

    409 `open_matters` names what is still under way. Repeating it changes nothing.
    """
    assert request.credential is not None, "the route needs a scope"
    body: EraseBody = request.body
    subject = await subject_of(request.node, body)
    request.about = name_of(subject)
    return Answer(
        body=await erase(request.node, subject, by=request.credential.id, reason=body.reason)
    )


async def get_my_export(request: Request) -> Answer:
    """Everything that is held of you: your account, and all that was ever ordered with it."""
    return Answer(body=await export_of(request.node, subject_of_caller(request)))


async def delete_me(request: Request) -> Answer:
    """End your account and destroy what names you, everywhere, at once. Orders stay, without you.

    409 `open_matters` while something of yours is not through; nothing was erased then.
    """
    assert request.credential is not None, "the route needs somebody who is signed in"
    erased = await erase(
        request.node,
        subject_of_caller(request),
        by=request.credential.id,
        reason="asked for by the account",
    )
    return Answer(body=erased)


# -- whom it is about


def subject_of_caller(request: Request) -> Subject:
    """Whoever is signed in."""
    assert request.credential is not None and request.credential.account_id is not None
    return Subject(persons=(), accounts=(request.credential.account_id,))


async def customer_of(request: Request) -> Subject:
    """The customer of the order in the address. Raises `NotFound`."""
    order_id = request.params["order_id"]
    person = await person_of_order(request.node, order_id)
    if person is None:
        raise NotFound(f"There is no order {order_id[:64]!r}.")
    return Subject(persons=(person,))


async def person_of_order(node: Node, order_id: str) -> str | None:
    """The record of an order's customer."""
    for context, knows in node.plan.personal.items():
        if knows.person_of_order is not None:
            async with node.reading(context) as snapshot:
                return await knows.person_of_order(snapshot, order_id)
    return None


async def subject_of(node: Node, body: PersonBody) -> Subject:
    """All records of an address, or of a token: nobody, where there is none."""
    if (body.email is None) == (body.token is None):
        raise invalid_body("/email", "or /token: exactly one of the two says who")
    if body.token is not None and body.token.startswith("prs_"):
        return Subject(persons=tuple(await node.vault.owned_by(body.token)))
    contact = body.token
    if body.email is not None:
        contact = await node.vault.find_contact(body.email)
    if contact is None:
        return Subject(persons=())
    return await subject_of_contact(node, contact)


def name_of(subject: Subject) -> str:
    """What the record calls somebody who was looked up: a token; "" for nobody."""
    return next(iter((*subject.contacts, *subject.persons)), "")


async def subject_of_contact(node: Node, contact: str) -> Subject:
    """All records of an address."""
    return Subject(persons=tuple(await node.vault.persons_of_contact(contact)), contacts=(contact,))


async def with_belongings(node: Node, subject: Subject) -> Subject:
    """The subject with its accounts, orders and payments."""
    before = None
    while subject != before:  # an account leads to orders, an order to a record
        before = subject
        found = dict.fromkeys(subject.persons)
        for contact in subject.contacts:  # a verified address: what its guests left, too
            found.update(dict.fromkeys(await node.vault.persons_of_contact(contact)))
        found = dict.fromkeys(await node.vault.owned_by(*found))
        subject = msgspec.structs.replace(subject, persons=tuple(found))
        for context, knows in node.plan.personal.items():
            if knows.belongings is not None:
                async with node.reading(context) as snapshot:
                    subject = await knows.belongings(snapshot, subject)
    return subject


# -- what is held


async def export_of(node: Node, subject: Subject) -> Export:
    """Everything that is held of a subject. Each part is read as its own role."""
    subject = await with_belongings(node, subject)
    opened = await node.vault.open(subject.persons)
    contacts = await node.vault.contacts_of(subject.persons)
    sections: dict[str, Sequence[Any]] = {}
    for context, knows in node.plan.personal.items():
        if knows.export is not None:
            async with node.reading(context) as snapshot:
                sections.update(await knows.export(snapshot, subject))
    async with node.reading("audit") as snapshot:
        ids = {*ids_of(subject), *(contact for contact in contacts.values() if contact)}
        sections["activity"] = await reading.about(snapshot, sorted(ids))
    return Export(
        exported_at=datetime.now(UTC),
        records=[
            RecordView(token=person, contact=contacts.get(person), fields=fields)
            for person, fields in opened.items()
        ],
        sections=msgspec.to_builtins(sections),
    )


def ids_of(subject: Subject) -> list[str]:
    """Everything that the record may call a subject, or what is theirs."""
    return [name for field in msgspec.structs.astuple(subject) for name in field]


# -- the end of it


async def erase(node: Node, subject: Subject, *, by: str, reason: str) -> Erased:
    """Destroy what names a subject. Raises `OpenMatters`, and then destroyed nothing."""
    subject = await with_belongings(node, subject)
    if not any((await node.vault.open(subject.persons)).values()):
        await tell_erased(node, subject.persons)  # whoever began may have been killed
        return Erased(0, None)
    await until_settled(node, subject)
    retained: dict[str, Mapping[str, str]] = {}
    years = node.settings.papers_retained_years
    if years:
        retained = await on_papers(node, subject)
    erasure = Erasure(
        id=new_id("era"), by=by, reason=reason, retain_until=datetime.now(UTC).year + years
    )
    count = await node.vault.erase_person(subject.persons, erasure, retained)
    await tell_erased(node, subject.persons)
    return Erased(count, erasure.id if count else None)


async def tell_erased(node: Node, persons: Sequence[str]) -> None:
    """Have every context end what ends with these persons. Harmless to repeat."""
    for knows in node.plan.personal.values():
        if knows.erased is not None:
            await knows.erased(node, persons)


async def until_settled(node: Node, subject: Subject) -> None:
    """Return when nothing is under way; what ends by itself is waited for. Raises `OpenMatters`."""
    until = time.monotonic() + SETTLES_WITHIN_S
    while matters := await open_matters(node, subject):
        if time.monotonic() > until or not all(matter.passing for matter in matters):
            raise OpenMatters(
                "Cancel what is named here, or wait until it is through.",
                errors=tuple(
                    FieldError(f"/{matter.kind}/{matter.id}", f"is {matter.status}")
                    for matter in matters[:SHOWN_MATTERS_MAX]
                ),
            )
        await asyncio.sleep(LOOK_EVERY_S)


async def open_matters(node: Node, subject: Subject) -> list[OpenMatter]:
    """What must come to its end first."""
    found: list[OpenMatter] = []
    for context, knows in node.plan.personal.items():
        if knows.open_matters is not None:
            async with node.reading(context) as snapshot:
                found += await knows.open_matters(snapshot, subject)
    return found


async def on_papers(node: Node, subject: Subject) -> dict[str, Mapping[str, str]]:
    """What tax papers say of a subject: name and address, of the records that stand on any."""
    persons: list[str] = []
    for context, knows in node.plan.personal.items():
        if knows.on_papers is not None:
            async with node.reading(context) as snapshot:
                persons += await knows.on_papers(snapshot, subject)
    kept: dict[str, Mapping[str, str]] = {}
    for person, fields in (await node.vault.open(persons)).items():
        if fields is not None:
            names = {*PAPER_FIELDS, *(f"billing_{name}" for name in PAPER_FIELDS)}
            kept[person] = {name: text for name, text in fields.items() if name in names}
    return kept


ROUTES = (
    Route(
        method="GET",
        path="/v1/me/export",
        handler=get_my_export,
        summary="Export what is held of you.",
        permission=SignedIn(),
        whose=Whose.CALLER,
        recorded=Recorded.EVERYBODY,
        personal=True,
        notice="data_exported",
        answers={200: Export},
        tag="me",
    ),
    Route(
        method="DELETE",
        path="/v1/me",
        handler=delete_me,
        summary="Erase yourself.",
        permission=SignedIn(),
        whose=Whose.CALLER,
        recorded=Recorded.EVERYBODY,
        notice="person_erased",
        answers={200: Erased},
        problems=(OpenMatters,),
        tag="me",
    ),
    Route(
        method="GET",
        path="/v1/orders/{order_id}/personal-data",
        handler=get_personal_data,
        summary="Export what is held of an order's customer.",
        permission=OrderHolder("order_id", "persons:export"),
        whose=Whose.HOLDER,
        recorded=Recorded.EVERYBODY,
        personal=True,
        needs_reason=True,
        notice="data_exported",
        answers={200: Export},
        tag="persons",
    ),
    Route(
        method="DELETE",
        path="/v1/orders/{order_id}/personal-data",
        handler=delete_personal_data,
        summary="Erase an order's customer.",
        permission=OrderHolder("order_id", "persons:erase"),
        whose=Whose.HOLDER,
        recorded=Recorded.EVERYBODY,
        needs_reason=True,
        notice="person_erased",
        answers={200: Erased},
        problems=(OpenMatters,),
        tag="persons",
    ),
    Route(
        method="POST",
        path="/v1/persons/export",
        handler=post_export,
        summary="Export what is held of a person.",
        permission=Scope("persons:export"),
        whose=Whose.SHOP,
        recorded=Recorded.EVERYBODY,
        personal=True,
        needs_reason=True,
        notice="data_exported",
        body=PersonBody,
        answers={200: Export},
        tag="persons",
    ),
    Route(
        method="POST",
        path="/v1/persons/erase",
        handler=post_erase,
        summary="Erase a person.",
        permission=Scope("persons:erase"),
        whose=Whose.SHOP,
        recorded=Recorded.EVERYBODY,
        needs_reason=True,
        notice="person_erased",
        body=EraseBody,
        answers={200: Erased},
        problems=(OpenMatters,),
        keyed=Keyed.NO,
        tag="persons",
    ),
)
