"""Card numbers, found in a text so that they can be refused: card data never enters.

A number counts as a card's when it has 13 to 19 digits, in groups or not, begins like one of a card
scheme, and its check digit is right (Luhn). Telephone numbers with their +, IBANs, and digits that
are part of a word (ids, hashes, skus) are none. Of random numbers about one in forty would pass.
"""

import re
import unicodedata

DIGITS_MIN, DIGITS_MAX = 13, 19
PHONE_DIGITS_MAX = 15  # E.164
GTIN_DIGITS_MAX = 14
SEPARATORS = r"[ .\-\u2010-\u2015_/]{0,2}"
# A run of digits in groups, not inside of a word.
RUN = re.compile(rf"(?<![A-Za-z0-9])(\+|00)?(\d(?:{SEPARATORS}\d){{12,}})(?![A-Za-z0-9])")
IBAN = re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b")
GROUP = re.compile(r"\d+")
# Visa, Mastercard, American Express, Diners, Discover, JCB, UnionPay, Maestro.
SCHEME = re.compile(
    r"4|5[1-5]|2(?:22[1-9]|2[3-9]|[3-6]|7[01]|720)|3[47]|3(?:0[0-5]|095|6|8|9)|6011|64[4-9]|65"
    r"|35(?:2[89]|[3-8])|62|5[06-9]|6[0-9]|2131|1800"
)
# What may be a card's number and is another: names of things, and what carriers count parcels by.
NOT_LOOKED_AT = frozenset(
    {"sku", "skus", "external_id", "tracking", "attributes", "gtin", "ean", "isbn", "barcode"}
)
# A cheap look before a careful one. Escapes and characters beyond ASCII could hide digits.
SUSPECT = re.compile(rb"\d(?:[ .\-_/]{0,2}\d){12}|\\u|[\x80-\xff]")


def may_hold_card(raw: bytes) -> bool:
    """Whether an encoded body is worth a careful look."""
    return SUSPECT.search(raw) is not None


def holds_card(text: str, *, phone: bool = False) -> bool:
    """Whether a text holds a card number. A field for telephone numbers may have fifteen digits."""
    if len(text) < DIGITS_MIN:
        return False
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text)
    for run in RUN.finditer(text):
        shortest = PHONE_DIGITS_MAX + 1 if phone or run[1] == "+" else DIGITS_MIN
        if has_card(GROUP.findall((run[1] or "").lstrip("+") + run[2]), shortest) and not (
            in_iban(text, run.start(), run.end())
        ):
            return True
    return False


def has_card(groups: list[str], shortest: int) -> bool:
    """Whether neighbouring groups of digits are a card number."""
    for first in range(len(groups)):
        digits = ""
        for group in groups[first:]:
            digits += group
            if len(digits) > DIGITS_MAX:
                break
            if len(digits) < shortest or SCHEME.match(digits) is None or not luhn(digits):
                continue
            if len(digits) > GTIN_DIGITS_MAX or not is_gtin(digits):
                return True
    return False


def luhn(digits: str) -> bool:
    """Whether the last digit is the right one (ISO/IEC 7812). Zeros alone are no number."""
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) * (2 if place % 2 else 1)
        total += value - 9 if value > 9 else value
    return total % 10 == 0 and total > 0


def is_gtin(digits: str) -> bool:
    """Whether it is the number of an article (EAN, GTIN): its last digit is reckoned otherwise."""
    weighed = [int(d) * (3 if n % 2 else 1) for n, d in enumerate(reversed(digits))]
    return sum(weighed) % 10 == 0


def in_iban(text: str, start: int, end: int) -> bool:
    """Whether digits are part of a bank account's number."""
    for found in IBAN.finditer(text):
        if found.start() < end and start < found.end():
            plain = found[0].replace(" ", "")
            turned = plain[4:] + plain[:4]
            if int("".join(str(int(c, 36)) for c in turned)) % 97 == 1:
                return True
    return False
