"""Card numbers are found however they are written, and what only looks like one is left alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradewind.kernel.cards import holds_card, luhn, may_hold_card

# What the schemes publish for tests.
CARDS = [
    "4111111111111111",
    "4012888888881881",
    "4222222222222",
    "5555555555554444",
    "5105105105105100",
    "2223003122003222",
    "378282246310005",
    "371449635398431",
    "30569309025904",
    "38520000023237",
    "6011111111111117",
    "3530111333300000",
    "6200000000000005",
    "6759649826438453",
    "4000056655665556007",
]
WRITTEN = [
    "{}",
    "my card is {} thanks",
    "{} 12/27 123",
    "card:{}.",
    "({})",
    "Karte {}, bitte",
]


def grouped(number: str, separator: str) -> str:
    """In groups of four."""
    return separator.join(number[i : i + 4] for i in range(0, len(number), 4))


@pytest.mark.parametrize("card", CARDS)
@pytest.mark.parametrize("separator", ["", " ", "-", ".", "\u00a0", "\u2011", " - "[:2], "/"])
def test_a_card_number_is_found_however_it_is_written(card: str, separator: str) -> None:
    number = grouped(card, separator) if separator else card
    for form in WRITTEN:
        assert holds_card(form.format(number)), form.format(number)


def test_fullwidth_digits_are_digits() -> None:
    assert holds_card("".join(chr(0xFF10 + int(d)) for d in CARDS[0]))


@pytest.mark.parametrize(
    "text",
    [
        "4006381333931",  # an EAN
        "EAN 4056489007180, size L",
        "9780306406157",  # an ISBN
        "+49 1512 3456789",
        "+4915112345678901"[:16],
        "020 7946 0958",
        "GB29 NWBK 6016 1331 9268 19",
        "DE89 3704 0044 0532 0130 00",
        "550e8400-e29b-41d4-a716-446655440000",
        "SKU4111111111111111X",
        "4111111111111112",  # its check digit is wrong
        "0000000000000000",
        "2026-11-23 05:06:17.123456",
        "12345678901234567890123456",
        "tok_4111111111111111",
    ],
)
def test_other_numbers_are_left_alone(text: str) -> None:
    if text.startswith("tok_"):
        assert holds_card(text)  # a card in the place of a token is one
    else:
        assert not holds_card(text), text


def test_a_field_for_telephones_may_have_fifteen_digits() -> None:
    assert holds_card("378282246310005")
    assert not holds_card("378282246310005", phone=True)
    assert holds_card("4111 1111 1111 1111", phone=True)


@given(st.sampled_from(CARDS), st.integers(0, 14), st.integers(1, 9))
def test_one_wrong_digit_is_noticed(card: str, place: int, more: int) -> None:
    place %= len(card)
    changed = card[:place] + str((int(card[place]) + more) % 10) + card[place + 1 :]
    assert not luhn(changed)


@given(st.text(alphabet="0123456789 -./aé+", max_size=60))
def test_the_cheap_look_misses_nothing(text: str) -> None:
    if holds_card(text):
        assert may_hold_card(text.encode())
