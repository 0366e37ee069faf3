"""An old order book in the columns of "Online Retail", read and made into a plan. Pure, but for
the file.

``source`` reads the lines, ``codes`` tells goods from fees, ``matching`` finds the sale that a
cancellation takes back, ``plan`` says what is done for each line, ``actions`` are its words,
``wares`` makes products and their opening stock of the same lines.
"""

from tradewind.samples.history.actions import (
    Action,
    Cancel,
    Credit,
    Move,
    Place,
    Plan,
    Return,
    ReturnedLine,
    Ship,
)
from tradewind.samples.history.codes import fee_name, is_goods
from tradewind.samples.history.plan import make_plan
from tradewind.samples.history.source import (
    CURRENCY,
    HistoryError,
    Part,
    SourceLine,
    end_of,
    local_month,
    read_lines,
)
from tradewind.samples.history.wares import DAYS_APART, moved, opening_stock, products

__all__ = [
    "CURRENCY",
    "DAYS_APART",
    "Action",
    "Cancel",
    "Credit",
    "HistoryError",
    "Move",
    "Part",
    "Place",
    "Plan",
    "Return",
    "ReturnedLine",
    "Ship",
    "SourceLine",
    "end_of",
    "fee_name",
    "is_goods",
    "local_month",
    "make_plan",
    "moved",
    "opening_stock",
    "products",
    "read_lines",
]
