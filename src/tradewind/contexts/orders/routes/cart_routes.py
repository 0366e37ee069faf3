"""The routes of carts."""

from tradewind.contexts.orders import problems
from tradewind.contexts.orders.commands import CheckOutCart
from tradewind.contexts.orders.queries.carts import account_of
from tradewind.contexts.orders.routes import carts
from tradewind.contexts.orders.routes.answering import Erased
from tradewind.contexts.orders.routes.cart_bodies import (
    CartBody,
    CartLineBody,
    CartPatch,
    CheckoutBody,
    MergeBody,
    QuantityBody,
)
from tradewind.contexts.orders.tables import OrderView
from tradewind.contexts.orders.tables.carts import CartView
from tradewind.kernel.problems import Problem
from tradewind.platform.gateway.problems import Forbidden
from tradewind.platform.gateway.routing import Anyone, CartHolder, Keyed, Route, Scope

CHANGES = CartHolder("cart_id", "carts:write", account_of)
READS = CartHolder("cart_id", "carts:read", account_of)
NOT_CHANGED: tuple[type[Problem], ...] = (
    problems.CartNotFound,
    problems.CartOrdered,
    problems.CartInCheckout,
    problems.CartEnded,
    problems.CartVersionMismatch,
    Erased,
)

ROUTES = (
    Route(
        method="POST",
        path="/v1/carts",
        handler=carts.post_cart,
        summary="Begin a cart.",
        permission=Anyone(),
        body=CartBody,
        answers={201: CartView},
        problems=(problems.InvalidCart, problems.InvalidOrder, problems.UnknownSku, Forbidden),
        keyed=Keyed.ACCEPTED,
        tag="carts",
    ),
    Route(
        method="GET",
        path="/v1/carts",
        handler=carts.get_carts,
        summary="List the carts of a customer.",
        permission=Scope("carts:read"),
        query=carts.CartsQuery,
        answers={200: carts.CartsPage},
        tag="carts",
    ),
    Route(
        method="GET",
        path="/v1/carts/{cart_id}",
        handler=carts.get_cart,
        summary="Read a cart.",
        permission=READS,
        answers={200: CartView},
        problems=(problems.CartNotFound,),
        cache="private, no-cache",
        tag="carts",
    ),
    Route(
        method="PATCH",
        path="/v1/carts/{cart_id}",
        handler=carts.patch_cart,
        summary="Say who a cart is for, and how it is delivered.",
        permission=CHANGES,
        body=CartPatch,
        answers={200: CartView},
        problems=(
            problems.InvalidCart,
            problems.InvalidOrder,
            problems.CartChanged,
            Forbidden,
            *NOT_CHANGED,
        ),
        keyed=Keyed.ACCEPTED,
        tag="carts",
    ),
    Route(
        method="DELETE",
        path="/v1/carts/{cart_id}",
        handler=carts.delete_cart,
        summary="Throw a cart away.",
        permission=CHANGES,
        answers={204: None},
        problems=NOT_CHANGED,
        tag="carts",
    ),
    Route(
        method="POST",
        path="/v1/carts/{cart_id}/lines",
        handler=carts.post_line,
        summary="Put something into a cart.",
        permission=CHANGES,
        body=CartLineBody,
        answers={200: CartView},
        problems=(problems.InvalidCart, problems.UnknownSku, *NOT_CHANGED),
        keyed=Keyed.ACCEPTED,
        tag="carts",
    ),
    Route(
        method="PATCH",
        path="/v1/carts/{cart_id}/lines/{line_id}",
        handler=carts.patch_line,
        summary="Set the quantity of a line.",
        permission=CHANGES,
        body=QuantityBody,
        answers={200: CartView},
        problems=(problems.CartLineNotFound, *NOT_CHANGED),
        keyed=Keyed.ACCEPTED,
        tag="carts",
    ),
    Route(
        method="DELETE",
        path="/v1/carts/{cart_id}/lines/{line_id}",
        handler=carts.delete_line,
        summary="Take a line out of a cart.",
        permission=CHANGES,
        answers={200: CartView},
        problems=(problems.CartLineNotFound, *NOT_CHANGED),
        tag="carts",
    ),
    Route(
        method="GET",
        path="/v1/carts/{cart_id}/shipping-options",
        handler=carts.get_shipping_options,
        summary="List the ways to have a cart delivered.",
        permission=READS,
        answers={200: carts.ShippingOptions},
        problems=(problems.CartNotFound,),
        tag="carts",
    ),
    Route(
        method="POST",
        path="/v1/carts/{cart_id}/merge",
        handler=carts.post_merge,
        summary="Put a guest's cart into this one.",
        permission=CHANGES,
        body=MergeBody,
        answers={200: CartView},
        problems=(problems.InvalidCart, *NOT_CHANGED),
        keyed=Keyed.ACCEPTED,
        tag="carts",
    ),
    Route(
        method="POST",
        path="/v1/carts/{cart_id}/checkout",
        handler=carts.post_checkout,
        summary="Order what is in a cart.",
        permission=CHANGES,
        body=CheckoutBody,
        answers={201: OrderView, 202: OrderView},
        problems=(
            problems.InvalidCart,
            problems.InvalidOrder,
            problems.CartIncomplete,
            problems.UnknownSku,
            problems.CartPriceChanged,
            problems.CartChanged,
            *NOT_CHANGED,
            *problems.REFUSALS.values(),
        ),
        keyed=Keyed.REQUIRED,
        queue=CheckOutCart,
        limit="orders",
        tag="carts",
    ),
)
