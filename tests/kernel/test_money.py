"""Money is exact: parsing, formatting, rounding, splitting."""

from decimal import ROUND_HALF_EVEN, Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradewind.kernel import money

CURRENCIES = st.sampled_from(["GBP", "EUR", "JPY", "KWD"])


@given(st.integers(-(10**14), 10**14), CURRENCIES)
def test_what_is_shown_is_read_back(amount_minor: int, currency: str) -> None:
    """Through the wire and back, for every currency's digits."""
    assert money.parse_minor(money.format_minor(amount_minor, currency), currency) == amount_minor


@given(st.integers(0, 10**12), CURRENCIES)
def test_unit_prices_survive_the_wire(price_e4: int, currency: str) -> None:
    """With up to four digits, whatever the currency."""
    assert money.parse_e4(money.format_e4(price_e4, currency)) == price_e4


@given(st.integers(0, 10**10), st.integers(1, 10**6), CURRENCIES)
def test_a_line_rounds_half_to_even(price_e4: int, quantity: int, currency: str) -> None:
    """As decimal arithmetic does."""
    exact = Decimal(price_e4) * quantity / 10_000
    unit = Decimal(1).scaleb(-money.minor_digits(currency))
    expected = exact.quantize(unit, ROUND_HALF_EVEN).scaleb(money.minor_digits(currency))
    assert money.line_total_minor(price_e4, quantity, currency) == int(expected)


@given(st.integers(0, 10**12), st.lists(st.integers(0, 1000), min_size=1).filter(any))
def test_no_cent_is_lost_in_a_split(amount_minor: int, weights: list[int]) -> None:
    """The parts sum to the whole, none is a cent away from its share, no weight gets nothing's."""
    parts = money.allocate(amount_minor, weights)
    assert sum(parts) == amount_minor
    for part, weight in zip(parts, weights, strict=True):
        assert abs(part - Decimal(amount_minor) * weight / sum(weights)) < 1
        if weight == 0:
            assert part == 0


@pytest.mark.parametrize(
    "text", ["", "1.", ".5", "1e3", "NaN", "1,5", "٣", "01", "+1", "1.00001", "1" * 16, " 1", "1\n"]
)
def test_what_is_no_amount(text: str) -> None:
    """Refused, not guessed at."""
    assert money.parse_minor(text, "GBP") is None


def test_no_finer_than_the_currency() -> None:
    """A tenth of a penny is a price, not an amount; idle zeros are fine."""
    assert money.parse_minor("0.001", "GBP") is None
    assert money.parse_minor("0.100", "GBP") == 10
    assert money.parse_e4("0.001") == 10
    assert money.parse_minor("1.5", "JPY") is None
