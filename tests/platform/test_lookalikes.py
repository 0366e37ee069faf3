"""Addresses that only look alike are different people; nobody receives what is another's."""

import itertools
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradewind.platform.vault.addresses import blind_index, normalise_email

KEY = b"k" * 32
ADDRESS = "paul@strasse.example"
# Each is read as the address above by somebody, or by some software, and is somebody else's.
LOOKALIKES = [
    "p\u0430ul@strasse.example",  # Cyrillic a
    "\uff50aul@strasse.example",  # full-width p
    "pau\u217c@strasse.example",  # small Roman numeral fifty
    "pau1@strasse.example",
    "paul@stra\u00dfe.example",  # casefold makes ss of it
    "paul@stra\u017f\u017fe.example",  # long s
    "paul@str\u0430sse.example",
    "paul@strasse\u3002example",  # ideographic full stop
    "paul@strasse.ex\u00adample",  # soft hyphen
    "paul@strasse.ex\u200bample",  # no space at all
    "paul@strasse.e\u1e8bample",
    "paul\uff20strasse.example",
    "PAUL@strasse.example",  # whether case matters is the receiver's business
    "pa.ul@strasse.example",
    "paul+x@strasse.example",
    "paul@strasse.example.",
]


@pytest.mark.parametrize("other", LOOKALIKES)
def test_what_looks_like_an_address_is_not_taken_for_it(other: str) -> None:
    assert normalise_email(other) != normalise_email(ADDRESS)
    assert blind_index(KEY, other) != blind_index(KEY, ADDRESS)


def test_no_two_of_them_are_one() -> None:
    for one, other in itertools.combinations([*LOOKALIKES, ADDRESS], 2):
        assert blind_index(KEY, one) != blind_index(KEY, other), (one, other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("paul@STRASSE.Example", ADDRESS),
        ("  paul@strasse.example ", ADDRESS),
        ("rene\u0301@caf\u00e9.example", "ren\u00e9@cafe\u0301.example"),
        ("x@STRA\u1e9eE.example", "x@stra\u00dfe.example"),
    ],
)
def test_spellings_of_one_address(one: str, other: str) -> None:
    """What every mail server takes for the same one."""
    assert blind_index(KEY, one) == blind_index(KEY, other)


@given(st.text(min_size=1, max_size=20), st.text(min_size=1, max_size=20))
def test_the_part_before_the_at_is_never_another_one(one: str, other: str) -> None:
    """But for its canonical form: only what Unicode calls the same is the same."""
    same = unicodedata.normalize("NFC", one.strip()) == unicodedata.normalize("NFC", other.strip())
    first, second = (normalise_email(f"x{name.strip()}@a.example") for name in (one, other))
    assert (first == second) is same or "@" in one + other


@given(st.text(max_size=40))
def test_the_one_spelling_is_its_own(text: str) -> None:
    assert normalise_email(normalise_email(text)) == normalise_email(text)
