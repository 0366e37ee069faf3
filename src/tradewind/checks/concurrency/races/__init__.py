"""The races, in the order in which they are run. They know the adapter's interface only."""

from tradewind.checks.concurrency.races import carts, money, orders, stock
from tradewind.checks.concurrency.races.start import Race

RACES: tuple[Race, ...] = (
    Race(
        name="last-unit",
        holds="As many buyers are served as there are units, and everybody else is refused.",
        round=stock.last_unit,
    ),
    Race(
        name="crossed-baskets",
        holds="Baskets that name the same skus in another order are each served whole or not.",
        round=stock.crossed_baskets,
    ),
    Race(
        name="small-after-big",
        holds="A basket that is refused takes no unit from one that can be served.",
        round=stock.small_after_big,
    ),
    Race(
        name="stock-set-against-orders",
        holds="A count that comes in during a rush stands, and forgets no promise.",
        needs=frozenset({"set_stock"}),
        round=stock.stock_set_against_orders,
    ),
    Race(
        name="double-completion",
        holds="A basket that is completed several times at once becomes one order, paid once.",
        needs=frozenset({"completions"}),
        round=orders.double_completion,
    ),
    Race(
        name="twins-in-flight",
        holds="Equal requests under one key take effect once and are answered alike.",
        needs=frozenset({"keys"}),
        round=orders.twins_in_flight,
    ),
    Race(
        name="mixed-twins",
        holds="Of two different requests under one key, one takes effect and the other is refused.",
        needs=frozenset({"keys"}),
        round=orders.mixed_twins,
    ),
    Race(
        name="strangers-with-the-same-key",
        holds="Strangers who use the same key each get their own order and see no other.",
        needs=frozenset({"keys", "strangers"}),
        round=orders.strangers_with_the_same_key,
    ),
    Race(
        name="double-checkout",
        holds="A cart that is checked out several times at once becomes one order, paid once.",
        needs=frozenset({"carts"}),
        round=carts.double_checkout,
    ),
    Race(
        name="change-during-checkout",
        holds="A change of a cart is in its order, or it is refused.",
        needs=frozenset({"carts"}),
        round=carts.change_during_checkout,
    ),
    Race(
        name="discard-against-checkout",
        holds="A cart is thrown away, or it is sold; never both, never neither.",
        needs=frozenset({"carts"}),
        round=carts.discard_against_checkout,
    ),
    Race(
        name="double-cancel",
        holds="An order that is cancelled several times at once gives money and stock back once.",
        needs=frozenset({"cancel"}),
        round=money.double_cancel,
    ),
    Race(
        name="cancel-against-capture",
        holds="An order cancelled while it is being charged leaves no money charged or held.",
        needs=frozenset({"cancel"}),
        round=money.cancel_against_capture,
    ),
    Race(
        name="parallel-partial-refunds",
        holds="Refunds at the same moment never give back more than was taken.",
        needs=frozenset({"refund"}),
        round=money.parallel_partial_refunds,
    ),
    Race(
        name="refunds-against-cancel",
        holds="Refunds beside a cancellation give back exactly what was taken.",
        needs=frozenset({"cancel", "refund"}),
        round=money.refunds_against_cancel,
    ),
)
