"""Lines of an order book for tests."""

from datetime import UTC, datetime, timedelta

from tradewind.samples.history import SourceLine

START = datetime(2010, 12, 1, 8, tzinfo=UTC)


def line(
    number: int,
    invoice: str,
    code: str,
    quantity: int,
    price_e4: int = 25_500,
    *,
    customer: str = "1",
    day: int = 0,
    words: str = "",
    country: str = "United Kingdom",
) -> SourceLine:
    """A line of the `number`-th minute of a winter day, when British time is UTC."""
    at = START + timedelta(days=day, minutes=number)
    return SourceLine(
        line_no=number,
        invoice=invoice,
        code=code,
        sku=code.strip().upper(),
        description=words,
        quantity=quantity,
        when=f"{at:%Y-%m-%d %H:%M:%S}",
        at=at,
        unit_price_e4=price_e4,
        customer=customer,
        country_name=country,
        country="GB",
    )


HEART, LANTERN, LAMP = "85123A", "21733", "22423"
BOOK = (
    line(1, "536365", HEART, 6),
    line(2, "536365", HEART.lower(), 6),
    line(3, "536365", "POST", 1, 180_000),
    line(4, "536366", LANTERN, 2, customer=""),
    line(5, "536367", LANTERN, 5, customer="2"),
    line(6, "C536368", LANTERN, -5, customer="2"),  # all of 536367, on its day: called off
    line(7, "536370", HEART, 3, 10),  # 0.001 each: 0.3 p, nothing
    line(8, "536370", LANTERN, 1, 125_050),
    line(9, "536371", "M", 1, 70_000, customer="3"),  # a fee alone
    line(10, "536372", LAMP, 4, 0, customer=""),  # found
    line(11, "536373", LAMP, 1, 0, customer="4"),  # given away
    line(12, "C536374", HEART, -1),  # of 536365, before it ships: it comes back after that
    line(13, "536375", HEART, -3, 0, customer="", day=1, words="damages "),  # a write-off
    line(14, "C536376", HEART, -4, day=1),  # a part of 536365
    line(15, "C536376", "POST", -1, 180_000, day=1),  # with its postage
    line(16, "C536377", LAMP, -2, customer="5", day=1),  # a sale before the data
    line(17, "C536378", "D", -1, 50_000, day=1, words="Discount"),
    line(18, "C536379", "POST", -1, 90_000, customer="", day=1),
    line(19, "A536380", "B", 1, -110_620_600, customer="", day=2, words="Adjust bad debt"),
    line(20, "A536381", "B", 1, 300_000, customer="", day=2, words="Adjust bad debt"),
    line(21, "536382", "DCGS0055", -2, 0, customer="", day=2),  # moves units of a fee
    line(22, "536383", LANTERN, 20, 17_500, customer="2", day=2, country="Atlantis"),
)
