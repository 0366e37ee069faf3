"""The files of the sample shop, as they are shipped in the package."""

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

DATA = Path(__file__).parent / "data"
# NDJSON, one product a line, as POST /v1/imports/products takes it; `on_hand` is the opening stock.
PRODUCTS = DATA / "products.ndjson"
# CSV, every line of the 90 days in the order of the source, whether it can be replayed or not.
ORDER_LINES = DATA / "order_lines.csv.gz"
# What the two must add up to; written by scripts/extract_sample.py from the whole source.
EXTRACT = DATA / "extract.json"


def open_binary(path: Path) -> BinaryIO:
    """A file for reading, unpacked on the way if its name ends in ``.gz``."""
    if path.suffix == ".gz":
        return cast(BinaryIO, gzip.open(path, "rb"))
    return path.open("rb")


def product_lines(path: Path = PRODUCTS) -> Iterator[bytes]:
    """The products, one NDJSON line each, line feed included."""
    with open_binary(path) as file:
        yield from file


def stock(path: Path = PRODUCTS) -> dict[str, int]:
    """The opening stock of every sku of a file of products, by the sku in capitals: skus are
    compared without letter case.
    """
    return {
        variant["sku"].upper(): variant.get("on_hand") or 0
        for line in product_lines(path)
        if line.strip()
        for variant in json.loads(line)["variants"]
    }


def extract() -> dict[str, Any]:
    """What was taken from the source, and what it adds up to."""
    found: dict[str, Any] = json.loads(EXTRACT.read_text(encoding="utf-8"))
    return found
