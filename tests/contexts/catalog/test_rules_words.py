"""Texts become the same words however they are written."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradewind.contexts.catalog.rules.spelling import edits
from tradewind.contexts.catalog.rules.words import LANGUAGES, Analyzer, key_of, plain

READ = Analyzer()


def stems(text: str, analyzer: Analyzer = READ) -> list[str]:
    return [analyzer.stem(word) for word in analyzer.words(text)]


@pytest.mark.parametrize(
    "texts",
    [
        ("17inch", "17 inch", '17"', "17 inches", "17-inch", "17\u201d", "17''", "17 Zoll", "17in"),
        ("3.5 GB", "3,5gb", "3.5GB"),
        ("Café", "cafe", "CAFÉ", "cafe\u0301"),
        ("Straße", "STRASSE", "strasse"),
        ("Ørsted", "orsted"),
        ("lamps", "Lamp", "LAMPS"),
        ("men's", "men\u2019s", "men"),
    ],
)
def test_they_are_the_same(texts: tuple[str, ...]) -> None:
    assert len({tuple(stems(text)[:1]) for text in texts}) == 1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("dv6-6b", ["dv6", "6b", "dv66b"]),
        ("920-002.401", ["920", "002", "401", "920002401"]),
        ("Home/Lighting_set", ["home", "lighting", "set"]),
        ("2.5", ["2.5"]),
        ("17 inch", ["17inch", "17", "inch"]),
        ("in stock", ["in", "stock"]),
        ("17 in stock", ["17", "in", "stock"]),
        ("\u65e5\u672c\u8a9e", ["\u65e5\u672c\u8a9e"]),
        ("--- ... \U0001f600 !", []),
    ],
)
def test_what_is_read(text: str, words: list[str]) -> None:
    assert READ.words(text) == words


def test_html_is_no_text() -> None:
    assert READ.words(plain("<b>Red</b>&nbsp;lamp<br>5 < 6 &amp; co")) == [
        *("red", "lamp", "5", "6", "co"),
    ]


def test_keys_are_compared_by_letters_and_digits() -> None:
    assert key_of("ab-12.3/4 X") == key_of("AB1234x")


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_reads(language: str) -> None:
    assert stems("Running 12 lampes", Analyzer(language))


def test_languages_differ() -> None:
    assert stems("Lampen", Analyzer("german")) == ["lamp"]
    assert stems("Lampen", Analyzer("none")) == ["lampen"]


@given(st.text())
def test_whatever_is_written_is_read_without_an_error(text: str) -> None:
    for word in READ.words(text):
        assert word and not word.isspace()
        READ.stem(word)


@given(st.text("abcxyz", min_size=1, max_size=8), st.data())
def test_one_wrong_letter_is_an_edit(word: str, data: st.DataObject) -> None:
    """Also the first one; and two letters that changed places."""
    at = data.draw(st.integers(0, len(word) - 1))
    letter = data.draw(st.sampled_from("abcxyz"))
    wrong = {
        word[:at] + word[at + 1 :],
        word[:at] + letter + word[at:],
        word[:at] + letter + word[at + 1 :],
        word[:at] + word[at + 1 : at + 2] + word[at] + word[at + 2 :],
    }
    assert wrong - {word} <= edits(word)
    assert all(word in edits(one) for one in wrong if one and one != word)
