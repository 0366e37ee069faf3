"""Papers take any text that a person or a shop can have."""

import logging

import pytest

from tradewind.platform.documents import html, pdf
from tradewind.platform.documents.paper import Paper, PaperLine

NAUGHTY = '<script>alert(1)</script> & "q" \' \u202eabc \U0001f600 \u4e2d\u6587 ' + "x" * 300


def paper(text: str, *, lines_count: int = 3) -> Paper:
    line = PaperLine(text, "MUG", "1", "1.00", "1.00")
    return Paper(
        title="Invoice",
        number="INV-2026-000001",
        seller=[text],
        customer=[text, text],
        about={"Number": "INV-2026-000001", "Reason": text},
        lines=[line] * lines_count,
        totals={"Total": "3.00 GBP"},
    )


def test_text_is_text_on_a_page() -> None:
    page = html.render(paper(NAUGHTY)).decode()
    assert "<script" not in page and "&lt;script&gt;" in page


def test_a_pdf_takes_any_text_and_tells_no_log_of_it(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, logger="tradewind"):
        assert pdf.render(paper(NAUGHTY)).startswith(b"%PDF-")
    assert not [record for record in caplog.records if record.name.startswith("fpdf")]


def test_a_letter_that_the_font_lacks_leaves_a_box() -> None:
    latin = range(0x250)
    assert pdf.drawable("Caf\u00e9 \u4e2d\u6587\n", latin) == "Caf\u00e9 \u25a1\u25a1\n"


def test_many_lines_take_many_pages() -> None:
    file = pdf.render(paper("A mug", lines_count=120))
    assert file.count(b"/Type /Page\n") >= 3
