"""Whole shops in files: what comes out goes in again, however messy the world outside is."""

import asyncio
import csv
import io
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import pytest_asyncio

from tradewind.kernel.ids import new_id
from tradewind.testing.database import TestServer
from tradewind.testing.shop import Shop, SimulatorProcess

NDJSON = {"Content-Type": "application/x-ndjson"}
CSV = {"Content-Type": "text/csv"}


@pytest_asyncio.fixture(loop_scope="session")
async def empty(
    server: TestServer, simulator: SimulatorProcess, tmp_path: Path
) -> AsyncIterator[Shop]:
    """A shop with nothing in it."""
    dsn = await server.create_database()
    shop = Shop(dsn, tmp_path / "empty", simulator.url)
    await shop.start()
    yield shop
    await shop.stop()
    await server.drop_database(dsn)


def money(amount: str, currency: str = "GBP") -> dict[str, str]:
    return {"amount": amount, "currency": currency}


HOSTILE: list[Any] = [
    {
        "external_id": "hostile-1",
        "title": '=HYPERLINK("http://evil","click")',
        "description": 'Two\nlines, a "quote", a tab\t, a CR\r\nand ; | , more',
        "category": "Häuser & Gärten/=1+1",
        "attributes": {"size": "10\"", "weight": 1.0, "count": 1, "flag": True, "none": None},
        "variants": [
            {"sku": "-H1", "price": money("0.0001"), "title": "'quoted"},
            {
                "sku": "@H2",
                "price": money("12.3456"),
                "prices": [money("9", "JPY"), money("1.234", "KWD")],
                "attributes": {"ß": "東京 🗼", "+": "'=1"},
            },
            {"sku": "+H3", "price": money("1"), "archived": True},
        ],
    },
    {
        "external_id": "+archived",
        "title": "'- gone",
        "archived": True,
        "variants": [{"sku": f"GONE-{n}", "price": money("5")} for n in (2, 1)],
    },
    {
        "external_id": "options",
        "title": "Options, media and dates",
        "options": [{"title": "=Size", "values": ["-1", "M; L"]}],
        "media": [{"id": "ab" * 32 + ".png", "alt": '+"alt"'}, {"id": "cd" * 32 + ".pdf"}],
        "variants": [
            {
                "sku": "OPTS-1",
                "options": {"=Size": "M; L"},
                "prices": [
                    money("2.5"),
                    {**money("1.9999"), "valid_from": "2030-01-01T00:00:00Z"},
                    {
                        **money("1"),
                        "valid_from": "2029-01-01T00:00:00+01:00",
                        "valid_until": "2029-06-01T12:00:00Z",
                    },
                ],
            },
            {"sku": "OPTS-2", "options": {"=Size": "-1"}, "price": money("3", "EUR")},
        ],
    },
    {"external_id": "Ünï/cödé 1", "title": " \u202eright to left", "variants": [
        {"sku": "a,b", "price": money("1000000000"), "on_hand": 7}]},
]  # fmt: skip


def lines(products: list[Any]) -> bytes:
    return b"\n".join(json.dumps(product).encode() for product in products)


async def import_(shop: Shop, body: bytes, kind: dict[str, str] = NDJSON, **query: str) -> Any:
    """The report of an import."""
    what = query.pop("what", "products")
    asked = "&".join(f"{name}={quote(value)}" for name, value in query.items())
    reply = await shop.admin("POST", f"/v1/imports/{what}?{asked}", body, headers=kind)
    assert reply.status == 202, reply.raw
    return reply.json


async def export(shop: Shop, what: str, form: str) -> bytes:
    reply = await shop.admin("GET", f"/v1/exports/{what}?format={form}")
    assert reply.status == 200
    return reply.raw


async def events_count(shop: Shop) -> int:
    """How many products were announced."""
    await shop.until_idle()
    page = await shop.admin("GET", "/v1/events?limit=100&topic=catalog-events")
    return len(page.json["items"])


@pytest.mark.parametrize("form", ["ndjson", "csv"])
async def test_what_is_exported_and_imported_is_the_same_to_the_byte(
    empty: Shop, server: TestServer, simulator: SimulatorProcess, tmp_path: Path, form: str
) -> None:
    """Also where titles look like formulas, texts hold line breaks and products are archived."""
    report = await import_(empty, lines(HOSTILE))
    assert (report["accepted"], report["created"], report["rejected"]) == (4, 4, 0), report
    await empty.until_idle()
    taken = {name: await export(empty, name, form) for name in ("products", "stock")}
    dsn = await server.create_database()
    other = Shop(dsn, tmp_path / "other", simulator.url)
    await other.start()
    try:
        kind = CSV if form == "csv" else NDJSON
        for name, text in taken.items():
            report = await import_(other, text, kind, what=name)
            assert (report["rejected"], report["changed"]) == (0, 0), report
        await other.until_idle()
        for name, text in taken.items():
            assert (await export(other, name, form)) == text
        before = await events_count(other)
        for name, text in taken.items():
            report = await import_(other, text, kind, what=name)
            assert report["unchanged"] == report["accepted"], report
        assert await events_count(other) == before
    finally:
        await other.stop()
        await server.drop_database(dsn)


async def test_a_sheet_never_begins_like_a_formula(empty: Shop) -> None:
    await import_(empty, lines(HOSTILE))
    sheet = (await export(empty, "products", "csv")).decode()
    for row in csv.reader(io.StringIO(sheet, newline="")):
        assert not any(cell[:1] in ("=", "+", "-", "@") for cell in row if cell), row


async def test_importing_a_file_again_changes_nothing(shop: Shop) -> None:
    """Counts included; but a count that somebody else changed meanwhile is set again."""
    text = lines([
        {"external_id": f"again-{n}", "title": f"Again {n}",
         "variants": [{"sku": f"AGAIN-{n}", "price": money("2.5"), "on_hand": 10}]}
        for n in range(30)
    ])  # fmt: skip
    assert (await import_(shop, text))["created"] == 30
    before = await events_count(shop)
    report = await import_(shop, text)
    assert (report["unchanged"], report["changed"], report["created"]) == (30, 0, 0)
    assert await events_count(shop) == before
    await shop.admin("PUT", "/v1/stock/AGAIN-3", {"on_hand": 4})
    report = await import_(shop, text)
    assert (report["unchanged"], report["changed"]) == (29, 1)
    await shop.until_idle()
    assert (await shop.stock("AGAIN-3"))["on_hand"] == 10


async def test_a_dry_run_says_what_would_be_and_does_nothing(shop: Shop) -> None:
    known = {"external_id": "dry-1", "title": "Dry", "variants": [
        {"sku": "DRY-1", "price": money("1")}]}  # fmt: skip
    await import_(shop, lines([known]))
    before = await events_count(shop)
    text = lines(
        [
            known,
            {**known, "title": "Drier"},
            {**known, "external_id": "dry-2", "variants": [{"sku": "D2", "price": money("1")}]},
            {**known, "external_id": "dry-3"},
        ]
    )
    report = await import_(shop, text, dry_run="true")
    assert report["dry_run"] and report["status"] == "finished"
    assert [report[name] for name in ("created", "changed", "unchanged", "rejected")] == [
        1,
        1,
        1,
        1,
    ]
    assert report["errors"][0]["code"] == "sku_taken"
    assert await events_count(shop) == before
    assert (await shop.request("GET", "/v1/products/sku:D2")).status == 404
    counts = b'{"sku": "DRY-1", "on_hand": 5}\n{"sku": "DRY-1", "on_hand": 5}'
    report = await import_(shop, counts, dry_run="true", what="stock")
    assert (report["created"], report["unchanged"]) == (1, 1)
    assert (await shop.admin("GET", "/v1/stock/DRY-1")).status == 404


async def test_a_sheet_from_elsewhere_is_mapped(shop: Shop) -> None:
    """Semicolons, decimal commas, a byte order mark, CRLF, an encoding of long ago."""
    sheet = (
        "Artikel;Bezeichnung;Preis;Warengruppe;Farbe;Bestand;Egal\r\n"
        'M1;"Schrank ""groß""";1.234,50;Möbel > Schränke;grün;3;x\r\n'
        "M2;Stuhl;59,9;Möbel > Stühle;;;y\r\n"
    ).encode("windows-1252")
    mapping = {
        "sku": "Artikel",
        "title": "Bezeichnung",
        "price": {"column": "Preis", "decimal": ","},
        "currency": {"value": "EUR"},
        "category": {"column": "Warengruppe", "separator": ">"},
        "attributes.colour": "Farbe",
        "on_hand": "Bestand",
    }
    options = {"mapping": json.dumps(mapping), "encoding": "windows-1252"}
    report = await import_(shop, sheet, CSV, **options)
    assert (report["created"], report["rejected"], report["lines"]) == (2, 0, 3), report
    product = (await shop.request("GET", "/v1/products/sku:m1")).json
    assert (product["external_id"], product["title"]) == ("M1", 'Schrank "groß"')
    assert product["category"] == "Möbel/Schränke"
    assert product["attributes"] == {"colour": "grün"}
    assert product["variants"][0]["price"] == money("1234.50", "EUR")
    await shop.until_idle()
    assert (await shop.stock("M1"))["on_hand"] == 3
    marked = b"\xef\xbb\xbfsku,title,price,currency\r\nB1,Bom,1,GBP\r\n"
    assert (await import_(shop, marked, CSV))["created"] == 1


async def test_a_row_changes_what_it_says_and_nothing_else(shop: Shop) -> None:
    first = (
        b"external_id,title,description,sku,price,currency\n"
        b"shirt,Shirt,Soft,SHIRT-S,10,GBP\n"
        b"shirt,,,SHIRT-M,11,GBP\n"
        b"hat,Hat,,HAT,5,GBP\n"
        b"shirt,,,SHIRT-L,12,GBP\n"
    )
    report = await import_(shop, first, CSV)
    assert (report["created"], report["accepted"]) == (4, 4), report
    shirt = (await shop.request("GET", "/v1/products/sku:SHIRT-S")).json
    assert [v["sku"] for v in shirt["variants"]] == ["SHIRT-S", "SHIRT-M", "SHIRT-L"]
    report = await import_(
        shop, b"external_id,sku,price,currency\nshirt,SHIRT-M,9.5,GBP\nshirt,SHIRT-L,12,GBP\n", CSV
    )
    assert (report["changed"], report["unchanged"]) == (1, 1)
    after = (await shop.request("GET", "/v1/products/sku:SHIRT-S")).json
    assert (after["title"], after["description"]) == ("Shirt", "Soft")
    assert [v["price"]["amount"] for v in after["variants"]] == ["10.00", "9.50", "12.00"]
    assert after["version"] == shirt["version"] + 1


async def test_every_broken_line_of_a_sheet_says_where_and_why(shop: Shop) -> None:
    """And costs no other line."""
    rows = [
        b"external_id,title,sku,price,currency,on_hand",
        b"e1,Fine,E1,1,GBP,1",
        b"e2,Ragged,E2",
        b"e3,Price,E3,cheap,GBP,",
        b"e4,Sku,,1,GBP,",
        b"e5,NUL\x00,E5,1,GBP,",
        b"e6,\xff\xfe,E6,1,GBP,",
        b'e7,"open,E7,1,GBP,',
        b'still",E7,1,GBP,',
        b'e8,5" disc,E8,1,GBP,2',
        b"e9,Count,E9,1,GBP,many",
        b"e10,Wide,E10,1,GBP,1,,,",
        b"e11,Wider,E11,1,GBP,1,2",
        b"",
        b"e12,Currency,E12,1,pounds,",
        b"," * 5,
    ]
    report = await import_(shop, b"\r\n".join(rows), CSV)
    told = {e["line"]: (e["code"], e["column"]) for e in report["errors"]}
    assert told == {
        3: ("ragged_row", None),
        4: ("invalid_product", "price"),
        5: ("invalid_product", "sku"),
        6: ("invalid_product", "title"),
        7: ("not_utf8", None),
        8: ("invalid_product", "title"),  # a title is one line
        11: ("invalid_product", "on_hand"),
        13: ("ragged_row", None),
        15: ("invalid_product", "currency"),
    }, report
    assert report["accepted"] == 3
    assert (await shop.request("GET", "/v1/products/sku:E8")).json["title"] == '5" disc'


@pytest.mark.parametrize(
    ("text", "query", "says"),
    [
        (b"", "", "names of its columns"),
        (b"\xff\xfes\x00k\x00u\x00", "", "UTF-16"),
        (b"sku,colour\n", "", "is no field"),
        (b"sku,sku\n", "", "two columns"),
        (b"sku,title\rA,B\r", "", "line break"),
        (b"K\xe4se\n", "", "encoding"),
        (b"a,b\n", "mapping=[]", "object"),
        (b"a,b\n", 'mapping={"sku":"c"}', "not there"),
        (b"a,b\n", 'mapping={"skew":"a"}', "no field"),
        (b"a,b\n", "mapping={", "not JSON"),
    ],
)
async def test_a_sheet_that_cannot_be_read_is_refused_before_its_first_line(
    shop: Shop, text: bytes, query: str, says: str
) -> None:
    path = f"/v1/imports/products?{quote(query, safe='=')}"
    reply = await shop.admin("POST", path, text, headers=CSV)
    assert (reply.status, reply.json["code"]) == (422, "invalid_sheet"), reply.raw
    assert says in json.dumps(reply.json)


async def test_stock_comes_in_files(shop: Shop) -> None:
    await shop.admin("PUT", "/v1/locations/files-attic", {"name": "Attic", "priority": 5})
    text = b"sku;on_hand;location\nF-1;5;\nF-1;2;files-attic\nF-2;x;\nF-3;1;nowhere\n f-4 ;0;main\n"
    report = await import_(shop, text, CSV, what="stock")
    assert (report["created"], report["rejected"], report["kind"]) == (3, 2, "stock")
    assert [(e["line"], e["code"]) for e in report["errors"]] == [
        (4, "invalid_stock"),
        (5, "unknown_location"),
    ]
    again = await import_(shop, text, CSV, what="stock")
    assert (again["unchanged"], again["created"], again["changed"]) == (3, 0, 0)
    assert (await shop.stock("F-1"))["on_hand"] == 7
    read = await shop.admin("GET", f"/v1/imports/stock/{again['id']}")
    assert read.json == again
    told = await export(shop, "stock", "ndjson")
    assert b'{"sku":"F-1","location":"files-attic","on_hand":2}' in told.splitlines()


async def test_an_import_goes_on_only_with_its_own_file(shop: Shop) -> None:
    import_id = new_id("imp")
    text = lines([
        {"external_id": f"own-{n}", "title": "Own", "variants": [
            {"sku": f"OWN-{n}", "price": money("1")}]} for n in range(3)
    ])  # fmt: skip
    first = await import_(shop, text, id=import_id)
    assert first["id"] == import_id
    again = await import_(shop, text, id=import_id)
    assert {**again, "updated_at": 0} == {**first, "updated_at": 0}
    path = f"/v1/imports/products?resume={import_id}"
    for other in (text.replace(b"Own", b"Own2", 1), text.splitlines()[0], b""):
        refused = await shop.admin("POST", path, other, headers=NDJSON)
        assert (refused.status, refused.json["code"]) == (409, "import_differs"), other
    refused = await shop.admin("POST", path + "&dry_run=true", text, headers=NDJSON)
    assert refused.json["code"] == "import_differs"
    longer = text + b"\n" + lines([{"external_id": "own-9", "title": "Own", "variants": [
        {"sku": "OWN-9", "price": money("1")}]}])  # fmt: skip
    assert (await import_(shop, longer, resume=import_id))["created"] == 4


async def test_two_imports_of_one_file_at_once_are_like_one_after_the_other(shop: Shop) -> None:
    text = lines([
        {"external_id": f"twin-{n}", "title": "Twin", "variants": [
            {"sku": f"TWIN-{n}", "price": money("1"), "on_hand": 2}]} for n in range(200)
    ])  # fmt: skip
    one_id = new_id("imp")
    reports = await asyncio.gather(
        import_(shop, text),
        import_(shop, text),
        import_(shop, text, id=one_id),
        import_(shop, text, id=one_id),
    )
    assert all(r["accepted"] == 200 and not r["rejected"] for r in reports)
    assert sum(r["created"] for r in (reports[0], reports[1], reports[2])) == 200
    assert reports[2]["id"] == reports[3]["id"]
    found = await shop.request("GET", "/v1/products/sku:TWIN-7")
    assert found.json["variants"][0]["availability"] == "low"
