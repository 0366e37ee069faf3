"""What a code of the source stands for: goods that lie on a shelf, or a fee.

The rule is the shape, so that it holds for codes nobody has seen yet: goods are five digits with at
most four letters behind them (85123A, 15056BL, 79323GR). Everything else is a fee. The table
only gives the usual fees names; a fee that is not in it is called by its code.
"""

import re

GOODS = re.compile(r"[0-9]{5}[A-Z]{0,4}")
NAMES = {
    "AMAZONFEE": "marketplace_fee",
    "B": "bad_debt",
    "BANK CHARGES": "bank_charges",
    "C2": "carriage",
    "CRUK": "donation",
    "D": "discount",
    "DOT": "postage_dotcom",
    "M": "manual",
    "PADS": "pads",
    "POST": "postage",
    "S": "samples",
}
NAMES_BY_START = {"GIFT_": "gift_voucher", "DCGS": "dotcom_goods"}
NAME_CHARACTERS_MAX = 50


def is_goods(sku: str) -> bool:
    """Whether a sku, in capitals, is goods: then it is a product and has stock."""
    return GOODS.fullmatch(sku) is not None


def fee_name(sku: str) -> str:
    """The code of a fee on the wire."""
    if sku in NAMES:
        return NAMES[sku]
    for start, name in NAMES_BY_START.items():
        if sku.startswith(start):
            return name
    return re.sub(r"[^a-z0-9]+", "_", sku.lower()).strip("_")[:NAME_CHARACTERS_MAX] or "fee"
