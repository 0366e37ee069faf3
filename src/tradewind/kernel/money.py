"""Money is exact: integers of the minor unit inside, decimal strings on the wire.

A *unit price* may be finer than the minor unit (a real shop sells at 0.001): it is an integer of
ten-thousandths of the major unit, named ``..._e4``. A line's total is rounded once, half to even;
an order's total is the sum of its rounded lines, so it always equals what a reader adds up.
"""

import re
from collections.abc import Sequence
from functools import lru_cache

from msgspec import Struct

# Minor digits by ISO 4217 code, for those that have not two (iso.org/iso-4217-currency-codes.html).
NO_MINOR_DIGITS = frozenset(
    (
        *("BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG"),
        *("RWF", "UGX", "UYI", "VND", "VUV", "XAF", "XOF", "XPF"),
    )
)
THREE_MINOR_DIGITS = frozenset(["BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"])
CURRENCY = re.compile(r"[A-Z]{3}")
AMOUNT = re.compile(r"-?(0|[1-9][0-9]{0,14})(\.[0-9]{1,4})?")
E4_DIGITS = 4
# 10^15 minor units: far above any order, far below a bigint and a client that reads floats.
AMOUNT_MINOR_MAX = 10**15
# What a text may say, at any scale: below a bigint, also in ten-thousandths.
SCALED_MAX = 10**18


# Prices, and sums of nothing, come again and again.
AMOUNTS_REMEMBERED = 4_096


class Amount(Struct, frozen=True, forbid_unknown_fields=True):
    """Money as it stands on the wire: ``{"amount": "12.75", "currency": "GBP"}``."""

    amount: str
    currency: str


def minor_digits(currency: str) -> int:
    """How many digits the minor unit of `currency` has: 2 for GBP, 0 for JPY."""
    if currency in NO_MINOR_DIGITS:
        return 0
    return 3 if currency in THREE_MINOR_DIGITS else 2


def parse_scaled(text: str, digits: int) -> int | None:
    """`text` as an integer of 10^-digits, or None where it is no amount or is finer than that."""
    if AMOUNT.fullmatch(text) is None:
        return None
    whole, _, fraction = text.partition(".")
    fraction = fraction.rstrip("0")
    if len(fraction) > digits:
        return None
    sign = -1 if whole.startswith("-") else 1
    scale: int = 10**digits
    value = abs(int(whole)) * scale + int(fraction.ljust(digits, "0") or "0")
    return sign * value if value <= SCALED_MAX else None


def parse_minor(amount: str, currency: str) -> int | None:
    """A wire amount in minor units, or None where it is no amount of this currency."""
    return parse_scaled(amount, minor_digits(currency))


def parse_e4(amount: str) -> int | None:
    """A wire unit price in ten-thousandths of the major unit, or None."""
    return parse_scaled(amount, E4_DIGITS)


def format_minor(amount_minor: int, currency: str) -> str:
    """Minor units as a decimal string: 1275 GBP is ``12.75``, 1275 JPY is ``1275``."""
    digits = minor_digits(currency)
    if digits == 0:
        return str(amount_minor)
    sign = "-" if amount_minor < 0 else ""
    text = str(abs(amount_minor)).rjust(digits + 1, "0")
    return f"{sign}{text[:-digits]}.{text[-digits:]}"


def format_e4(unit_price_e4: int, currency: str) -> str:
    """A unit price as a decimal string: at least the currency's digits, no idle zeros after."""
    text = f"{unit_price_e4 // 10_000}.{unit_price_e4 % 10_000:04d}"
    whole, fraction = text.split(".")
    fraction = fraction.rstrip("0").ljust(minor_digits(currency), "0")
    return f"{whole}.{fraction}" if fraction else whole


@lru_cache(maxsize=AMOUNTS_REMEMBERED)
def wire(amount_minor: int, currency: str) -> Amount:
    """Minor units as they go on the wire."""
    return Amount(amount=format_minor(amount_minor, currency), currency=currency)


@lru_cache(maxsize=AMOUNTS_REMEMBERED)
def wire_e4(unit_price_e4: int, currency: str) -> Amount:
    """A unit price as it goes on the wire."""
    return Amount(amount=format_e4(unit_price_e4, currency), currency=currency)


def line_total_minor(unit_price_e4: int, quantity: int, currency: str) -> int:
    """Unit price times quantity in minor units, rounded half to even."""
    return divide_half_even(unit_price_e4 * quantity, 10 ** (E4_DIGITS - minor_digits(currency)))


def divide_half_even(numerator: int, denominator: int) -> int:
    """Exact integer division, rounded half to even; also for negative numerators."""
    quotient, remainder = divmod(numerator, denominator)
    if remainder * 2 > denominator or (remainder * 2 == denominator and quotient % 2 == 1):
        quotient += 1
    return quotient


def allocate(amount_minor: int, weights: Sequence[int]) -> list[int]:
    """Split an amount by weights so that the parts sum to it exactly.

    The cents left over by rounding down go to the largest remainders, earlier parts first.
    """
    total = sum(weights)
    assert total > 0, "something must have weight"
    shares = [divmod(amount_minor * weight, total) for weight in weights]
    parts = [quotient for quotient, _ in shares]
    left = amount_minor - sum(parts)
    for index in sorted(range(len(weights)), key=lambda i: (-shares[i][1], i))[:left]:
        parts[index] += 1
    return parts
