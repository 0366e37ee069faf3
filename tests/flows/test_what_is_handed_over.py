"""Events that a process announced reach its own consumers without a look at their rows."""

import asyncpg
import pytest

from tests.flows.test_an_order_is_called_off import cancel
from tradewind.kernel.messages import START, Delivered, Position
from tradewind.platform.bus import log
from tradewind.platform.bus.recent import Recent
from tradewind.testing.shop import Shop


async def test_an_event_is_the_same_from_memory_and_from_the_log(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Type by type: a list where the log gives a tuple would be another fact."""
    handed: list[Delivered] = []
    take, after = Recent.take, Recent.after

    def taken(self: Recent, xid: int, places: list[Position]) -> list[Delivered] | None:
        found = take(self, xid, places)
        handed.extend(found or ())
        return found

    def followed(self: Recent, cursor: Position) -> tuple[list[Delivered], Position]:
        found, end = after(self, cursor)
        handed.extend(found)
        return found, end

    monkeypatch.setattr(Recent, "take", taken)
    monkeypatch.setattr(Recent, "after", followed)
    await shop.given_product("handed-over", on_hand=4)
    for token in ("tok_ok", "tok_declined", "tok_suspicious"):
        await shop.place(("handed-over", 1), token=token)
    await shop.place(("handed-over", 99))
    order = (await shop.place(("handed-over", 1))).json
    await shop.until(order["id"], payment="captured")
    await cancel(shop, order["id"])
    await shop.until_idle()
    connection = await asyncpg.connect(shop.settings.database_url)
    try:
        rows, _ = await log.read(connection, START, rows_max=5_000)
    finally:
        await connection.close()
    written = {message.position: message for message in map(shop.node.vocabulary.decode, rows)}
    assert len({message.type for message in handed}) >= 12
    for message in handed:
        assert message == written[message.position]
