"""After a full run nothing that names a person stands anywhere but sealed in the vault.

A whole platform, in a home of its own: people are put into every field that takes a text, requests
fail in every way, what is old moves to files. Then every schema, every file of the home with the
database's own, the logs and the metrics are searched; and again after all of them are erased.
"""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import asyncpg
import pytest
import pytest_asyncio

from tests.flows.hostile import data_set
from tests.flows.spilled import (
    Needles,
    files_under,
    tables,
    test_a_needle_is_found_in_every_spelling,
)
from tradewind.kernel.cards import holds_card
from tradewind.kernel.ids import new_id
from tradewind.platform.bus import segments
from tradewind.platform.database.embedded import database_url
from tradewind.platform.settings import read_settings
from tradewind.testing.platform import Platform

__all__ = ["test_a_needle_is_found_in_every_spelling"]

pytestmark = [pytest.mark.alone, pytest.mark.timeout(900)]

PEOPLE = [
    {
        "email": "zebulon.quackenbush@wimplestone-mail.example",
        "name": "Zebulon Quackenbush",
        "line1": "47 Wimplestone Crescent",
        "line2": "Flat Periwinkle-Nine",
        "city": "Netherwallop-on-Sea",
        "region": "Outer Glimmershire",
        "postal_code": "ZQ97 9XQJ",
        "phone": "+44 7700 900461",
        "customer_ref": "patron Quackenbush the Elder",
        "note": "Ring Zebulon Quackenbush on +44 7700 900461, he is deaf in the left ear",
        "country": "GB",
    },
    {
        "email": "jörg.müßiggang@kräuterbücher-laden.example",
        "name": "Jörg Ignaz Müßiggang",
        "line1": "Überlinger Straße 217b",
        "line2": "Hinterhaus, bei Frau Schnörkel",
        "city": "Großwudikköln",
        "region": "Süd-Östliches Wümmeland",
        "postal_code": "Q99417-W",
        "phone": "+49 1512 3456789",
        "customer_ref": "Stammkunde Müßiggang",
        "note": "Herr Müßiggang wohnt über der Bäckerei Schnörkel",
        "country": "DE",
    },
    {
        "email": "sakurazawa.kikunosuke@hanamichi-mail.example",
        "name": "桜沢菊之助太郎衛門",
        "line1": "架空区架空町九丁目九十九番地",
        "line2": "桜荘九百九十九号室",
        "city": "架空市架空区",
        "region": "架空県北部地方",
        "postal_code": "999-9997-JQ",
        "phone": "+81 90 1234 5678",
        "customer_ref": "お得意様の桜沢さん",
        "note": "桜沢菊之助さんは夜勤なので午後に電話してください",
        "country": "JP",
    },
]
STORIES_MAX = 16
TAKEN = frozenset({200, 201, 202, 204})
# What no field of this platform needs, and somebody will send all the same.
# Stands wherever an order does: what finds this would find a name.
SKU = "plainly-visible-kettle"
CARD = "4111 1111 1111 1111"


class Full:
    """Everything that people do to a platform, with names in it wherever a text is taken."""

    def __init__(self, platform: Platform, stories: list[str]) -> None:
        self.platform = platform
        self.stories = stories  # longer texts that name people
        self.statuses: list[tuple[str, int]] = []
        self.orders: list[dict[str, Any]] = []
        self.pdfs: list[bytes] = []
        self.emails = [person["email"] for person in PEOPLE]

    def story(self, number: int) -> str:
        """One of the texts."""
        return self.stories[number % len(self.stories)][:500]

    async def say(self, method: str, path: str, body: Any = None, **options: Any) -> Any:
        """A request of the staff; what it answered is noted."""
        key = options.pop("key", None if method in ("GET", "PUT") else new_id("key"))
        answer = await self.platform.admin(method, path, body, key=key, **options)
        self.statuses.append((f"{method} {path.split('?')[0]}", answer.status))
        assert answer.status < 500, (method, path, answer.raw)
        return answer

    def body(self, person: dict[str, str], token: str = "tok_ok") -> dict[str, Any]:
        """An order of somebody, every field of it filled."""
        fields = ("name", "line1", "line2", "city", "region", "postal_code", "country", "phone")
        address = {name: person[name] for name in fields}
        return {
            "email": person["email"],
            "currency": "GBP",
            "lines": [{"sku": SKU, "quantity": 1}],
            "shipping_address": address,
            "billing_address": address,
            "payment": {"token": token},
        }

    async def place(self, person: dict[str, str], token: str = "tok_ok", **more: Any) -> Any:
        """An order, and once more under the same key."""
        key = f"order of {person['email'].encode('ascii', 'ignore').decode()[:60]} {new_id('key')}"
        body = {**self.body(person, token), **more}
        options: dict[str, Any] = {"key": key, "headers": {"Prefer": "wait=30"}}
        first = await self.platform.request("POST", "/v1/orders", body, **options)
        twin = await self.platform.request("POST", "/v1/orders", body, **options)
        assert (first.status, first.raw) == (twin.status, twin.raw)
        return first

    async def sent_back(self, person: dict[str, str], number: int) -> None:
        """Ordered, paid, sent, given back in part, refunded, with a paper for each."""
        order = (await self.place(person)).json
        self.orders.append(order)
        path = f"/v1/orders/{order['id']}"
        paid = await self.platform.until(order["id"], payment="captured", within_s=90)
        told = {"carrier": f"{person['name']}'s nephew", "tracking": f"TR {person['phone']}"}
        assert (await self.say("POST", f"{path}/fulfil", told)).status == 200
        body = {
            "reason": self.story(number),
            "lines": [{"line": 1, "quantity": 1, "reason": person["note"]}],
        }
        refused = await self.say("POST", f"{path}/returns", body)
        assert refused.status in TAKEN, refused.raw
        back = f"/v1/returns/{refused.json['id']}"
        answer = await self.say("POST", f"{back}/reject", {"reason": person["note"]})
        assert answer.json["note"] == person["note"] and answer.json["reason"] == body["reason"]
        wanted = await self.platform.request(
            "POST", f"{path}/returns", body, key=new_id("key"), bearer=order["order_token"]
        )
        back = f"/v1/returns/{wanted.json['id']}"
        assert (await self.say("POST", f"{back}/approve")).status == 200
        received = {"lines": [{"line": 1, "restock": 1}], "fees_refund": None}
        answer = await self.say("POST", f"{back}/receive", received)
        assert answer.status in TAKEN, answer.raw
        refund = {"amount": {"amount": "1.00", "currency": "GBP"}, "reason": self.story(number + 1)}
        await self.say("POST", f"/v1/payments/{paid['payment']['id']}/refunds", refund)
        await self.read(order, person)

    async def read(self, order: dict[str, Any], person: dict[str, str]) -> None:
        """Everything that shows an order, by its holder."""
        path, holder = f"/v1/orders/{order['id']}", order["order_token"]
        for part in ("", "/timeline", "/returns", "/fulfilments", "/personal-data"):
            answer = await self.platform.request("GET", path + part, bearer=holder)
            assert answer.status == 200, (part, answer.raw)
        papers = await self.platform.request("GET", f"{path}/documents", bearer=holder)
        for paper in papers.json["items"]:
            for face in ("", "/html", "/pdf"):
                place = f"{path}/documents/{paper['number']}{face}"
                self.pdfs.append((await self.platform.request("GET", place, bearer=holder)).raw)
        await self.say("GET", f"/v1/orders?email={quote(person['email'])}")
        await self.say("GET", f"/v1/mailbox?to={quote(person['email'])}")

    async def carted(self, person: dict[str, str], number: int) -> None:
        """A cart that is changed, merged and checked out, and one that is left."""
        body = self.body(person)
        address = body["shipping_address"]
        cart = await self.platform.request(
            "POST", "/v1/carts", {"currency": "GBP", "lines": body["lines"]}, key=new_id("key")
        )
        assert cart.status == 201, cart.raw
        path, holder = f"/v1/carts/{cart.json['id']}", cart.json["cart_token"]
        for change in ({"email": person["email"]}, {"shipping_address": address}):
            answer = await self.platform.request("PATCH", path, change, bearer=holder)
            assert answer.status == 200, answer.raw
        left = {**body, "lines": []}
        del left["payment"]
        await self.platform.request("POST", "/v1/carts", left, key=new_id("key"))
        out = await self.platform.request(
            "POST",
            f"{path}/checkout",
            {"payment": {"token": "tok_ok"}, "billing_address": address},
            key=new_id("key"),
            bearer=holder,
        )
        assert out.status in TAKEN, out.raw
        self.orders.append(out.json)

    async def refused(self, person: dict[str, str], number: int) -> None:
        """Requests that fail, each in its own way, with a person in them."""
        body = self.body(person)
        shown = quote(person["email"])
        for broken in (
            {**body, "lines": [{"sku": person["name"][:60], "quantity": 1}]},
            {**body, "nonsense": person["note"]},
            {**body, "currency": person["name"]},
            {**body, "shipping_address": {**body["shipping_address"], "country": person["city"]}},
            {**body, "payment": {"token": person["email"]}},
            {**body, "placed_at": person["name"]},
            {**body, "external_id": person["email"]},
            {**body, "shipping_address": {**body["shipping_address"], "line2": CARD}},
            {**body, "email": person["name"]},
        ):
            answer = await self.platform.request("POST", "/v1/orders", broken, key=new_id("key"))
            assert 400 <= answer.status < 500, answer.raw
            self.statuses.append(("refused order", answer.status))
        for method, path in (
            ("GET", f"/v1/orders/{shown}"),
            ("GET", f"/v1/nothing/{shown}"),
            ("GET", f"/v1/products?q={shown}"),
            ("GET", f"/v1/search?q={quote(person['name'])}"),
            ("GET", f"/v1/search?q={quote(person['note'])}&limit=5"),
            ("GET", f"/v1/orders?email={shown}&{shown}={shown}"),
            ("GET", f"/v1/products/sku:{quote(person['name'])}"),
            ("POST", f"/v1/{quote(person['name'])}"),
            ("DELETE", f"/v1/orders/{quote(person['name'])}/personal-data"),
        ):
            asked = {"X-Request-Id": re.sub(r"[^a-z.-]", "", person["email"])[:60], "From": "x"}
            await self.say(method, path, headers=asked)
        half = json.dumps(body).encode()[:-20]
        assert (await self.say("POST", "/v1/orders", half)).status == 400
        await self.platform.request("GET", "/v1/orders", bearer=person["email"].encode().hex())

    async def staffed(self, person: dict[str, str], number: int) -> None:
        """What staff writes down: reviews, cancellations, movements, credit notes, imports."""
        held = (await self.place(person, "tok_suspicious")).json
        review = f"/v1/reviews/{held['id']}/{'release' if number % 2 else 'refuse'}"
        assert (await self.say("POST", review, {"reason": self.story(number)})).status == 200
        gone = (await self.place(person)).json
        await self.platform.until(gone["id"], payment="captured", within_s=90)
        path = f"/v1/orders/{gone['id']}/cancel"
        assert (await self.say("POST", path, {"reason": person["note"]})).status in TAKEN
        declined = await self.place(person, "tok_declined")
        assert declined.status == 402
        self.orders += [held, gone, declined.json]
        moved = {"kind": "write_off", "quantity": -1, "reason": self.story(number + 2)}
        assert (await self.say("POST", f"/v1/stock/{SKU}/movements", moved)).status in TAKEN
        note = {
            "currency": "GBP",
            "email": person["email"],
            "customer_ref": person["customer_ref"],
            "country": person["country"],
            "reason": self.story(number + 3),
            "lines": [
                {
                    "description": f"For {person['name']}"[:200],
                    "amount": {"amount": "3.00", "currency": "GBP"},
                }
            ],
        }
        credited = await self.say("POST", "/v1/credit-notes", note)
        assert credited.status == 201, credited.raw
        assert credited.json["reason"] == note["reason"]
        number_ = credited.json["number"]
        self.pdfs.append((await self.say("GET", f"/v1/documents/{number_}/pdf")).raw)
        history = {
            **self.body(person),
            "customer_ref": person["customer_ref"],
            "placed_at": "2020-01-02T03:04:05Z",
            "channel": "import",
        }
        assert (await self.say("POST", "/v1/orders", history)).status in TAKEN
        lines = f'{{"title": "{person["note"]}", "variants": 7}}\n{person["email"]}\n'
        told = {"Content-Type": "application/x-ndjson"}
        answer = await self.say("POST", "/v1/imports/products", lines.encode(), headers=told)
        await asyncio.sleep(0.3)
        if answer.status == 202:
            await self.say("GET", f"/v1/imports/{answer.json['id']}")

    async def run(self) -> None:
        """All of it, for everybody."""
        for number, person in enumerate(PEOPLE):
            for story in (self.sent_back, self.carted, self.refused, self.staffed):
                await story(person, number)
        for number in range(len(PEOPLE), min(len(self.stories), STORIES_MAX)):
            # More than ten orders an hour by one address are held.
            person = PEOPLE[number % len(PEOPLE)]
            person = {**person, "email": f"{number}.{person['email']}"}
            self.emails.append(person["email"])
            order = (await self.place(person)).json
            await self.platform.until(order["id"], payment="captured", within_s=90)
            path = f"/v1/orders/{order['id']}/cancel"
            answer = await self.say("POST", path, {"reason": self.story(number)})
            assert answer.status in (200, 202, 422), answer.raw


def stories() -> tuple[list[str], set[str]]:
    """Published texts that name people, where the data sets are there, and the names in them."""
    texts = [person["note"] for person in PEOPLE]
    names: set[str] = set()
    try:
        published = data_set("pii_texts")
    except pytest.skip.Exception:
        return texts, names
    for case in published:
        told = case["text"]
        if (
            holds_card(told)
            or not told.isprintable()
            or len(told) > 500
            or len(texts) >= STORIES_MAX
        ):
            continue
        spans = [
            told[start:end]
            for kind, start, end in case["spans"]
            if kind in ("PERSON", "STREET_ADDRESS", "EMAIL_ADDRESS", "PHONE_NUMBER", "IBAN_CODE")
        ]
        # A text of a single ordinary word would be found in any dictionary.
        found = {span for span in spans if len(span) >= 9 and (" " in span or "@" in span)}
        if found:
            texts.append(told)
            names |= found
    return texts, names


def needles(names: set[str]) -> Needles:
    """Everything that was put in and names somebody."""
    own = {text for p in PEOPLE for name, text in p.items() if name != "country"}
    return Needles({*own, *names, CARD, CARD.replace(" ", "")})


def url_of(platform: Platform) -> str:
    """The database of a platform's home."""
    return database_url(read_settings({"TRADEWIND_HOME": str(platform.home)}))


# The segment that is written to ends here, whatever lies ready behind it.
BORDER = """
DO $$
DECLARE
  written bus.segments;
  behind bigint;
  here bigint;
BEGIN
  LOCK TABLE bus.log IN ACCESS EXCLUSIVE MODE;
  here := pg_snapshot_xmax(pg_current_snapshot())::text::bigint;
  SELECT * INTO STRICT written FROM bus.segments
   WHERE from_xid::text::bigint <= here AND (to_xid IS NULL OR to_xid::text::bigint > here);
  FOR behind IN SELECT number FROM bus.segments WHERE number > written.number LOOP
    EXECUTE format('DROP TABLE bus.log_%s', behind);
    DELETE FROM bus.segments WHERE number = behind;
  END LOOP;
  EXECUTE format('ALTER TABLE bus.log DETACH PARTITION bus.log_%s', written.number);
  EXECUTE format('ALTER TABLE bus.log ATTACH PARTITION bus.log_%s FOR VALUES FROM (%s) TO (%L)',
                 written.number, CASE written.number WHEN 1 THEN 'MINVALUE'
                                 ELSE quote_literal(written.from_xid::text) END, here);
  UPDATE bus.segments SET to_xid = here::text::xid8 WHERE number = written.number;
  PERFORM bus.add_segment(written.number + 1, here);
  PERFORM bus.roll(100000);
END $$
"""


async def move_past(platform: Platform) -> int:
    """Everything on the log that may goes to files; how many."""
    connection = await asyncpg.connect(url_of(platform))
    settings = read_settings({"TRADEWIND_HOME": str(platform.home)})
    moved = 0
    try:
        await connection.execute(BORDER)
        now = datetime.now(UTC) + timedelta(seconds=1)
        for _ in range(100):
            one = await segments.move_oldest(
                connection, segments.archive_folder(settings), older_than=timedelta(0), now=now
            )
            moved += one.events if one else 0
            if moved and one is None:
                return moved
            await asyncio.sleep(0.1)
        return moved
    finally:
        await connection.close()


async def everywhere(platform: Platform, *, but: tuple[str, ...]) -> list[tuple[str, bytes]]:
    """Rows, metrics, and after the platform has stopped every file it leaves."""
    rows = await tables(url_of(platform), but=but)
    assert len(rows) > 40
    async with platform.session.get(f"{platform.url}/metrics") as answer:
        rows.append(("/metrics", await answer.read()))
    connection = await asyncpg.connect(url_of(platform))
    await connection.execute("CHECKPOINT")
    await connection.close()
    await platform.stop()
    rows.append(("what its processes printed", platform.output.read_bytes()))
    return rows


@pytest_asyncio.fixture(loop_scope="session")
async def platform(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Platform]:
    """A home, talkative."""
    platform = Platform(tmp_path_factory.mktemp("personal"), log_level="debug", limits="on")
    try:
        await platform.start()
        yield platform
    finally:
        await platform.stop()


async def test_nothing_that_names_a_person_is_anywhere_but_in_the_vault(
    platform: Platform,
) -> None:
    """The whole story, the search, the erasure, and the search with the vault's own tables."""
    texts, names = stories()
    wanted = needles(names)
    full = Full(platform, texts)
    await platform.given_product(SKU, on_hand=1_000)
    await full.run()
    await asyncio.sleep(2)
    assert await move_past(platform) > 100
    assert any(b"Quackenbush" in content or content[:4] == b"%PDF" for content in full.pdfs)
    places = await everywhere(platform, but=("vault",))
    files = list(files_under(platform.home))
    seen = " ".join(sorted(Needles([SKU]).search([*places, *files])[SKU]))
    for kind in ("orders.baskets", ".jsonl.gz (unpacked)", "/base/", "/pg_wal/"):
        assert kind in seen, f"the search is blind for {kind}"
    found = wanted.search([*places, *files])
    assert not found, json.dumps({text: sorted(w) for text, w in found.items()}, indent=1)[:6_000]

    await platform.start()
    for number, email in enumerate(full.emails):
        body = {"email": email, "reason": f"{PEOPLE[number % 3]['name']} asked for it"}
        erased = await platform.admin("POST", "/v1/persons/erase", body)
        assert erased.status == 200 and erased.json["records"] > 0, erased.raw
        again = await platform.admin("POST", "/v1/persons/erase", body)
        assert again.json == {"records": 0, "erasure": None}
    for order in full.orders[:5]:
        read = await platform.read_order(order.get("order_id") or order["id"])
        assert read["email"] is None and read["erased"] is True
        assert read["shipping_address"] is None
    listed = (await platform.admin("GET", "/v1/orders?limit=100")).json["items"]
    assert all(order["erased"] for order in listed)
    mails = (await platform.admin("GET", "/v1/mailbox?limit=100")).json["items"]
    assert mails and all(mail["erased"] and mail["to"] is None for mail in mails)
    assert await platform.check_invariants()
    found = wanted.search(await everywhere(platform, but=()))
    for place, where in wanted.search(files_under(platform.home)).items():
        found.setdefault(place, set()).update(where)
    assert not found, json.dumps({text: sorted(w) for text, w in found.items()}, indent=1)[:6_000]
