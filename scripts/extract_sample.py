"""Make the sample shop out of "Online Retail": products, 90 days of order lines, their sums.

Run it from the folder of the project; it writes into src/tradewind/samples/data and always the same
bytes from the same source:

    TRADEWIND_DATA=../shared/data .venv/bin/python scripts/extract_sample.py

Products: the codes of goods that stand in most sale lines of the 90 days, and the one of the order
of 74,215 units, until they make 1,000 products. Codes with the same five digits whose names share
two words or more are variants of one product. Title: the most usual description, in lower case
with capitals; price: the most usual one of the sale lines, the later of two that are as usual;
category, colour, pattern and number of pieces: read from the title by the word lists below.

Opening stock: four times what was sold in December, and 720 more, in whole dozens: what a careful
buyer might have ordered after the first month. What sold much better in the new year runs out.
"""

import csv
import gzip
import hashlib
import io
import json
import os
import re
import sys
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

from msgspec import Struct

from tradewind.kernel.money import format_e4, parse_e4
from tradewind.samples.files import EXTRACT, ORDER_LINES, PRODUCTS, open_binary
from tradewind.samples.history import CURRENCY

SOURCE = "online-retail/online_retail_first60.csv.gz"
FIRST_DAY, LAST_DAY = "2010-12-01", "2011-02-28"
FIRST_MONTH = "2010-12"
PRODUCTS_COUNT = 1_000
ALWAYS = ("23166",)
GOODS = re.compile(r"[0-9]{5}[A-Z]{0,2}")
COLUMNS = (
    "line_no", "InvoiceNo", "StockCode", "Quantity", "InvoiceDate", "UnitPrice", "CustomerID",
    "Country",
)  # fmt: skip
STOCK_TIMES, STOCK_MORE, DOZEN = 4, 720, 12
SHARED_WORDS_MIN = 2

SMALL_WORDS = frozenset(
    "a and at by cm de des du for from in is it of on or the to with".split()  # noqa: SIM905
)
CAPITALS = frozenset(("DIY", "II", "LED", "TV", "UK", "USA", "VIP"))
COLOURS = (
    "amber", "antique", "black", "blue", "brown", "cream", "fawn", "gold", "green", "grey", "ivory",
    "lilac", "mint", "natural", "orange", "pink", "purple", "red", "silver", "turquoise", "white",
    "yellow",
)  # fmt: skip
PATTERNS = (
    "retrospot", "polkadot", "paisley", "skull", "spaceboy", "woodland", "strawberry", "union jack",
    "union flag", "vintage", "diamante", "english rose", "regency", "fairy cake", "apples",
    "feltcraft", "babushka", "dolly girl", "circus parade", "rose", "heart", "star", "butterfly",
)  # fmt: skip
PIECES = re.compile(r"\b(?:set|pack|box|s|pk)(?: of ?|/| )([0-9]{1,3})\b|\b([0-9]{1,3}) piece\b")
# The first list with a word of the title names the category; lists that say more stand first.
CATEGORIES = (
    ("Seasonal/Christmas", "christmas xmas advent bauble santa reindeer snowman snowflake nativity "
     "noel tinsel snowy sleigh rudolf"),
    ("Seasonal/Easter", "easter egg eggs chick rabbit bunny"),
    ("Bags", "bag bags shopper handbag rucksack backpack purse purses holdall sack satchel"),
    ("Garden", "garden gardening plant pot planter watering seed trowel bird birdhouse croquet"),
    ("Stationery/Cards and wrap", "card cards wrap gift tape tags ribbon ribbons tissue postcard"),
    ("Stationery/Paper and pens", "notebook pen pens pencil pencils rubber eraser erasers stickers "
     "sketchbook journal diary book chalk chalks stamp stamps clip clips calculator memo planner "
     "magnets magnet ruler folder passport sticker"),
    ("Party", "bunting party balloon balloons napkins napkin cups plates doilies candles birthday "
     "garland streamers chain"),
    ("Toys and games", "toy toys jigsaw game games puzzle doll dolls playhouse soldier skittles "
     "dominoes snap yoyo inflatable globe spinning skipping kite marbles harmonica whoopie "
     "paint craft sewing knitting canvas cards"),
    ("Home/Candles and lights", "candle candles t-light t-lights tlight lantern lanterns light "
     "lights lamp votive chandelier incense candlestick lampshade"),
    ("Kitchen/Baking", "cake cakestand baking cookie cutters mould moulds cases cupcake cupcakes "
     "whisk rolling cakecases recipe"),
    ("Kitchen/Tableware", "mug mugs cup teacup saucer plate bowl bowls tray trays teapot cutlery "
     "jug glass glasses tumbler placemats placemat coaster coasters egg spoon dish tea coffee "
     "lunch snack boxes box flask bottle bottles straws chopsticks beaker"),
    ("Kitchen/Utensils and storage", "kitchen apron oven mitt scales tin tins jar jars pan tongs "
     "ladle spice storage cabinet towel towels gloves rack herb colander cannister bin bread tidy"),
    ("Bath and beauty", "bath soap bathroom mirror manicure lip balm hand warmer warmers "
     "toothbrush hottie sponge comb compact hot"),
    ("Jewellery", "necklace earrings bracelet ring brooch bangle jewellery trinket hairclip "
     "hairslide charm pendant locket"),
    ("Home/Signs and clocks", "sign signs clock clocks doormat blackboard board letters slogan "
     "sampler thermometer"),
    ("Home/Frames and wall", "frame frames picture wall photo hook hooks hanger hangers knob knobs "
     "drawerknob peg pegs shelf"),
    ("Home/Textiles", "cushion cushions throw blanket rug quilt doorstop curtain fabric bedside "
     "slippers umbrella parasol"),
    ("Home/Decoration", "heart hearts decoration ornament figurine flower flowers wreath vase "
     "mobile hanging wicker wooden metal ceramic porcelain glass star stars"),
)  # fmt: skip
OTHER_CATEGORY = "Home"


class Goods(Struct):
    """What the sale lines of one code say about it."""

    lines: int
    titles: Counter[str]
    prices_e4: Counter[int]
    price_last_at: dict[int, int]  # price -> number of the last line with it
    sold_first_month: int


def main() -> None:
    """Write the three files and print what they hold."""
    source = Path(os.environ.get("TRADEWIND_DATA", "../shared/data")) / SOURCE
    if not source.exists():
        sys.exit(f"There is no {source}: set TRADEWIND_DATA to the folder of the data sets.")
    rows = read_days(source)
    products = choose(goods_of(rows))
    PRODUCTS.write_bytes(
        b"".join(json.dumps(p, ensure_ascii=False).encode() + b"\n" for p in products)
    )
    ORDER_LINES.write_bytes(packed(rows))
    EXTRACT.write_text(json.dumps(sums(source, rows, products), indent=2) + "\n", encoding="utf-8")
    for path in (PRODUCTS, ORDER_LINES, EXTRACT):
        print(f"{path.name:20} {path.stat().st_size:>10,} bytes")
    print(EXTRACT.read_text(encoding="utf-8"))


def read_days(source: Path) -> list[dict[str, str]]:
    """All lines of the days of the sample, in the order of the source."""
    with open_binary(source) as file, io.TextIOWrapper(file, encoding="utf-8", newline="") as text:
        return [
            row
            for row in csv.DictReader(text)
            if FIRST_DAY <= row["InvoiceDate"][: len(LAST_DAY)] <= LAST_DAY
        ]


def goods_of(rows: list[dict[str, str]]) -> dict[str, Goods]:
    """What was really sold, by code in capitals."""
    goods: dict[str, Goods] = {}
    for row in rows:
        sku = row["StockCode"].upper()
        price_e4 = price_of(row)
        units = int(row["Quantity"])
        sale = not row["InvoiceNo"].startswith(("A", "C")) and units > 0 and price_e4 > 0
        if not sale or not GOODS.fullmatch(sku):
            continue
        one = goods.setdefault(sku, Goods(0, Counter(), Counter(), {}, 0))
        one.lines += 1
        one.titles[" ".join(row["Description"].split())] += 1
        one.prices_e4[price_e4] += 1
        one.price_last_at[price_e4] = int(row["line_no"])
        one.sold_first_month += units if row["InvoiceDate"].startswith(FIRST_MONTH) else 0
    return goods


def price_of(row: dict[str, str]) -> int:
    """The unit price in ten-thousandths of a pound."""
    price_e4 = parse_e4(row["UnitPrice"])
    assert price_e4 is not None, row
    return price_e4


def choose(goods: dict[str, Goods]) -> list[dict[str, Any]]:
    """The products: as many of the codes sold most often as make `PRODUCTS_COUNT`."""
    ranked = sorted(goods, key=lambda sku: (sku not in ALWAYS, -goods[sku].lines, sku))
    count = PRODUCTS_COUNT
    while True:
        products = [product for group in grouped(ranked[:count], goods) for product in group]
        if len(products) >= PRODUCTS_COUNT:
            return sorted(products, key=lambda product: str(product["external_id"]))
        count += PRODUCTS_COUNT - len(products)


def grouped(skus: list[str], goods: dict[str, Goods]) -> list[list[dict[str, Any]]]:
    """Codes as products: one with variants where the names agree, else one for each code."""
    by_stem: dict[str, list[str]] = defaultdict(list)
    for sku in skus:
        by_stem[sku[:5]].append(sku)
    found = []
    for stem, members in sorted(by_stem.items()):
        members.sort()
        titles = [raw_title(goods[sku]) for sku in members]
        shared = [
            word
            for word in titles[0].split()
            if all(word in title.split() for title in titles) and any(map(str.isalpha, word))
        ]
        if len(members) > 1 and len(shared) >= SHARED_WORDS_MIN:
            found.append([product(stem, " ".join(shared), members, goods)])
        else:
            found.append([product(sku, raw_title(goods[sku]), [sku], goods) for sku in members])
    return found


def product(
    external_id: str, title: str, skus: list[str], goods: dict[str, Goods]
) -> dict[str, Any]:
    """One product in the shape of the importer."""
    listed = "; ".join(f"{sku}: {raw_title(goods[sku])}" for sku in skus)
    return {
        "external_id": external_id,
        "title": readable(title),
        "description": f"As the shop listed it - {listed}.",
        "category": category_of(title),
        "attributes": attributes_of(title),
        "variants": [variant(sku, goods[sku], alone=len(skus) == 1) for sku in skus],
    }


def variant(sku: str, one: Goods, *, alone: bool) -> dict[str, Any]:
    """One sku with its price and its opening stock."""
    price_e4 = max(one.prices_e4, key=lambda p: (one.prices_e4[p], one.price_last_at[p]))
    wanted = STOCK_TIMES * one.sold_first_month + STOCK_MORE
    return {
        "sku": sku,
        "title": readable(raw_title(one)),
        "price": {"amount": format_e4(price_e4, CURRENCY), "currency": CURRENCY},
        "attributes": {} if alone else attributes_of(raw_title(one)),
        "on_hand": -(-wanted // DOZEN) * DOZEN,
    }


def raw_title(one: Goods) -> str:
    """The most usual description of a code; the first in the alphabet of two that are as usual."""
    return min(one.titles, key=lambda title: (-one.titles[title], title)).rstrip(" .,")


def readable(title: str) -> str:
    """A description in capitals as a title: ``SET OF 3 CAKE TINS`` is ``Set of 3 Cake Tins``."""
    words = [capitalised(word) for word in re.sub(r"\s*,\s*", ", ", title).split()]
    return words[0][:1].upper() + words[0][1:] + "".join(" " + word for word in words[1:])


def capitalised(word: str) -> str:
    """One word of a title; both halves of ``T-LIGHT`` and of ``RED/WHITE`` get a capital."""
    if word.strip(",.'\"") in CAPITALS:
        return word
    if word.lower().strip(",.") in SMALL_WORDS:
        return word.lower()
    return re.sub(r"(^|[-/+&(\"])([a-z])", lambda m: m[1] + m[2].upper(), word.lower())


def category_of(title: str) -> str:
    """The category whose word stands in the title."""
    words = set(re.findall(r"[a-z]+(?:-[a-z]+)*", title.lower()))
    return next((name for name, has in CATEGORIES if words & set(has.split())), OTHER_CATEGORY)


def attributes_of(title: str) -> dict[str, str | int]:
    """Colour, pattern and number of pieces, where the title says so."""
    lower = title.lower()
    words = set(re.findall(r"[a-z]+", lower))
    found: dict[str, str | int] = {}
    colours = [colour for colour in COLOURS if colour in words]
    if len(colours) == 1:
        found["colour"] = colours[0]
    pattern = next((name for name in PATTERNS if name in lower), None)
    if pattern:
        found["pattern"] = pattern
    pieces = PIECES.search(lower)
    if pieces:
        found["pieces"] = int(pieces[1] or pieces[2])
    return found


def packed(rows: list[dict[str, str]]) -> bytes:
    """The order lines as gzipped CSV, without the descriptions; no time stamp in the header."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows([row[column] for column in COLUMNS] for row in rows)
    return gzip.compress(text.getvalue().encode(), compresslevel=9, mtime=0)


def sums(
    source: Path, rows: list[dict[str, str]], products: list[dict[str, Any]]
) -> dict[str, Any]:
    """What was taken from where, and what it adds up to."""
    value_e4 = sum(int(row["Quantity"]) * price_of(row) for row in rows)
    skus = [variant["sku"] for product in products for variant in product["variants"]]
    return {
        "source": f"{source.name} (see CREDITS.md)",
        "source_sha256": hashlib.sha256(source.read_bytes()).hexdigest(),
        "from": FIRST_DAY,
        "to": LAST_DAY,
        "lines": len(rows),
        "invoices": len({row["InvoiceNo"] for row in rows}),
        "units": sum(int(row["Quantity"]) for row in rows),
        "value_gbp": format_e4(value_e4, CURRENCY),
        "products": len(products),
        "skus": len(skus),
        "on_hand": sum(v["on_hand"] for product in products for v in product["variants"]),
    }


if __name__ == "__main__":
    main()
