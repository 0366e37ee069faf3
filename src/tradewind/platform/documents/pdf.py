"""A paper as a PDF: A4, fonts inside, as many pages as it takes, the table's head on each."""

import logging
from collections.abc import Container
from pathlib import Path

from fpdf import FPDF
from fpdf.enums import TableCellFillMode, VAlign, XPos, YPos
from fpdf.fonts import FontFace, TTFFont

from tradewind.platform.documents.paper import Paper

# It names every character that the font lacks, and those are of names: not for a log.
logging.getLogger("fpdf").setLevel(logging.CRITICAL)
logging.getLogger("fontTools").setLevel(logging.CRITICAL)

FONTS = Path(__file__).parent / "fonts"
FAMILY = "DejaVu"
MARGIN_MM = 20
INK = (26, 29, 33)
SOFT = (92, 101, 112)
LINE = (217, 222, 228)
LACKING = "\N{WHITE SQUARE}"
COLUMNS = (92, 20, 28, 30)  # mm: item, quantity, price, amount


class Sheet(FPDF):
    """Pages with the number of the document and of the page at the foot."""

    def __init__(self, paper: Paper) -> None:
        super().__init__(format="A4")
        self.paper = paper
        self.set_margins(MARGIN_MM, MARGIN_MM)
        self.set_auto_page_break(True, margin=MARGIN_MM)
        self.set_title(f"{paper.title} {paper.number}")
        self.set_creator("Tradewind")
        self.add_font(FAMILY, "", str(FONTS / "DejaVuSans.ttf"))
        self.add_font(FAMILY, "B", str(FONTS / "DejaVuSans-Bold.ttf"))
        self.add_page()

    def footer(self) -> None:
        """At the foot of each page."""
        self.set_y(-15)
        self.set_font(FAMILY, size=8)
        self.set_text_color(*SOFT)
        self.cell(0, 5, f"{self.paper.title} {self.paper.number}")
        self.set_x(MARGIN_MM)
        self.cell(0, 5, f"{self.page_no()} / {{nb}}", align="R")

    def normalize_text(self, text: str) -> str:
        """The text as the font can draw it."""
        font = self.fonts[FAMILY.lower()]
        assert isinstance(font, TTFFont), "it was added from a file"
        normal: str = super().normalize_text(drawable(text, font.cmap))
        return normal


def drawable(text: str, known: Container[int]) -> str:
    """A text of which every letter can be seen: one that the font lacks is a box, not nothing."""
    return "".join(c if ord(c) in known or not c.isprintable() else LACKING for c in text)


def render(paper: Paper) -> bytes:
    """The file. Takes tens of milliseconds of CPU: call it in a thread."""
    sheet = Sheet(paper)
    head(sheet, paper)
    table(sheet, paper)
    totals(sheet, paper)
    return bytes(sheet.output())


def head(sheet: Sheet, paper: Paper) -> None:
    """Title and seller, customer and what it is about."""
    right = sheet.w / 2 - 5
    sheet.set_text_color(*INK)
    sheet.set_font(FAMILY, "B", 20)
    top = sheet.get_y()
    sheet.cell(right - MARGIN_MM, 10, paper.title)
    sheet.set_xy(right, top + 1)
    for index, line in enumerate(paper.seller):
        sheet.set_font(FAMILY, "B" if index == 0 else "", 9)
        sheet.set_text_color(*(INK if index == 0 else SOFT))
        sheet.set_x(right)
        sheet.multi_cell(0, 4.6, line, align="R", new_x=XPos.LMARGIN, new_y=YPos.NEXT)
    top = max(sheet.get_y(), top + 12) + 10
    sheet.set_xy(MARGIN_MM, top)
    sheet.set_font(FAMILY, size=9.5)
    sheet.set_text_color(*INK)
    for line in paper.customer:
        sheet.multi_cell(
            right - MARGIN_MM - 8, 5, line, align="L", new_x=XPos.LMARGIN, new_y=YPos.NEXT
        )
    bottom = sheet.get_y()
    sheet.set_xy(right, top)
    for name, text in paper.about.items():
        sheet.set_x(right)
        sheet.set_text_color(*SOFT)
        sheet.cell(18, 5, name)
        sheet.set_text_color(*INK)
        sheet.multi_cell(0, 5, text, align="L", new_x=XPos.LMARGIN, new_y=YPos.NEXT)
    sheet.set_y(max(bottom, sheet.get_y()) + 10)


def table(sheet: Sheet, paper: Paper) -> None:
    """The lines, with the head of the table on every page."""
    sheet.set_font(FAMILY, size=9)
    sheet.set_text_color(*INK)
    sheet.set_draw_color(*LINE)
    with sheet.table(
        borders_layout="HORIZONTAL_LINES",
        cell_fill_mode=TableCellFillMode.NONE,
        col_widths=COLUMNS,
        text_align=("LEFT", "RIGHT", "RIGHT", "RIGHT"),
        headings_style=FontFace(emphasis="BOLD", color=SOFT, size_pt=8),
        line_height=5,
        padding=1.2,
        v_align=VAlign.T,
    ) as drawn:
        drawn.row(("Item", "Quantity", "Price", "Amount"))
        for line in paper.lines:
            item = f"{line.description}\n{line.sku}" if line.sku else line.description
            drawn.row((item, line.quantity, line.unit_price, line.amount))


def totals(sheet: Sheet, paper: Paper) -> None:
    """What it adds up to, at the right, kept together."""
    height = 7 * len(paper.totals) + 4
    if sheet.will_page_break(height):
        sheet.add_page()
    sheet.ln(4)
    for name, text in paper.totals.items():
        whole = name == "Total"
        sheet.set_font(FAMILY, "B" if whole else "", 11 if whole else 9)
        sheet.set_text_color(*(INK if whole else SOFT))
        sheet.set_x(sheet.w - MARGIN_MM - 80)
        sheet.cell(40, 7, name)
        sheet.cell(40, 7, text, align="R", new_x=XPos.LMARGIN, new_y=YPos.NEXT)
