"""Pages of the documentation that are drawn from the code: `make docs`."""

from pathlib import Path

from tradewind import flow
from tradewind.testing import permissions

ORDER_LIFE = Path("docs/concepts/order-life.md")
PERMISSIONS = Path("docs/reference/permissions.md")


def order_life() -> str:
    """The order's life as a page: the chart and the table of `flow.py`."""
    rows = "\n".join(
        f"| {hears} | {who} | {says} | {within} | {otherwise} |"
        for hears, who, says, within, otherwise in flow.table()
    )
    return f"""# The life of an order

Drawn from `src/tradewind/flow.py` by `make docs`; do not edit it here.

Every box is a fact on the log, or something that was asked for.
Every arrow is one reaction of one context.
It commits its rows, its facts and its place in the log together.

```mermaid
{flow.mermaid()}```

| heard or asked | who | announces (or keeps) | within | otherwise |
|---|---|---|---|---|
{rows}
"""


def main() -> None:
    """Write the pages."""
    ORDER_LIFE.write_text(order_life())
    PERMISSIONS.write_text(permissions.page())


if __name__ == "__main__":
    main()
