"""The ways orders says no."""

from tradewind.kernel.problems import Problem


class OrderNotFound(Problem):
    """There is none, or the caller may not see it; the two look alike on purpose."""

    status = 404
    code = "order_not_found"
    title = "There is no such order."


class InvalidOrder(Problem):
    """The basket makes no sense as it stands; `errors` points at what."""

    status = 422
    code = "invalid_order"
    title = "The order is not valid."


class UnknownSku(Problem):
    """A line names something that is not sold, or not in this currency."""

    status = 422
    code = "unknown_sku"
    title = "Something in the basket is not for sale."


class PriceChanged(Problem):
    """The total is not what the client expected; the members say what it is."""

    status = 409
    code = "price_changed"
    title = "The price has changed."


class ExternalIdTaken(Problem):
    """This credential has placed another order under the same `external_id`."""

    status = 409
    code = "external_id_taken"
    title = "This external_id belongs to another order."


class FieldNotAllowed(Problem):
    """A field that only an import of history may send."""

    status = 403
    code = "field_not_allowed"
    title = "This field needs the scope orders:import."


class OrderRefused(Problem):
    """The order was placed and then rejected. It stays readable under its `order_id`."""

    kept = True


class StockIsShort(OrderRefused):
    """Fewer units are free than asked for; `short` says of what."""

    status = 409
    code = "stock_is_short"
    title = "There is not enough stock."


class PaymentDeclined(OrderRefused):
    """The provider refused the card."""

    status = 402
    code = "payment_declined"
    title = "The payment was declined."


class PaymentTimeout(OrderRefused):
    """The provider did not answer in time; nothing will be charged."""

    status = 402
    code = "payment_timeout"
    title = "The payment provider did not answer in time."


class PaymentFailed(OrderRefused):
    """The provider could not handle the payment; nothing will be charged."""

    status = 402
    code = "payment_failed"
    title = "The payment could not be made."


class FraudBlocked(OrderRefused):
    """The payment was refused after a check."""

    status = 402
    code = "fraud_blocked"
    title = "The payment was refused."


class DecideExpired(OrderRefused):
    """The order could not be decided before its deadline; nothing will be charged."""

    status = 409
    code = "decide_expired"
    title = "The order could not be decided in time."


class OrderWasCancelled(OrderRefused):
    """The order was cancelled while it was being decided."""

    status = 409
    code = "order_cancelled"
    title = "The order was cancelled."


class OrderNotCancellable(Problem):
    """The order is past the point, or was never alive."""

    status = 409
    code = "order_not_cancellable"
    title = "The order cannot be cancelled any more."
    kept = True


class OrderNotFulfillable(Problem):
    """Only a confirmed order whose money was taken leaves the house, and only once."""

    status = 409
    code = "order_not_fulfillable"
    title = "The order cannot be sent out as it stands."
    kept = True


class OrderNotReturnable(Problem):
    """Nothing comes back of what never left the house: such an order is cancelled."""

    status = 409
    code = "order_not_returnable"
    title = "Nothing of this order can be given back as it stands."
    kept = True


class InvalidReturn(Problem):
    """The return does not fit its order; `errors` points at what."""

    status = 422
    code = "invalid_return"
    title = "The return is not valid."


class ReturnExceedsOrder(Problem):
    """More units than are left of a line after all its other returns."""

    status = 409
    code = "return_exceeds_order"
    title = "More would come back than was sent."
    kept = True


class RefundExceedsLine(Problem):
    """More money than is left of what a line, or the fees, cost."""

    status = 409
    code = "refund_exceeds_line"
    title = "More would be refunded than was paid for this."
    kept = True


class ReturnNotFound(Problem):
    """There is none, or the caller may not see it; the two look alike on purpose."""

    status = 404
    code = "return_not_found"
    title = "There is no such return."


class ReturnNotOpen(Problem):
    """The step does not follow from the state that the return is in."""

    status = 409
    code = "return_not_open"
    title = "The return is not in a state for this step."
    kept = True


class ReturnExchanged(Problem):
    """Another order goes out in the place of this return already."""

    status = 409
    code = "return_exchanged"
    title = "This return has been exchanged."


class ReturnRefundRefused(Problem):
    """The units are back and the provider will not give the money back: a person must act."""

    status = 409
    code = "refund_refused"
    title = "The units came back, but the money could not be given back this way."
    kept = True


class InvalidCreditNote(Problem):
    """The credit note makes no sense as it stands; `errors` points at what."""

    status = 422
    code = "invalid_credit_note"
    title = "The credit note is not valid."


class DocumentNotFound(Problem):
    """There is none, or the caller may not see it; the two look alike on purpose."""

    status = 404
    code = "document_not_found"
    title = "There is no such document."


REFUSALS: dict[str, type[OrderRefused]] = {
    problem.code: problem
    for problem in (
        StockIsShort,
        PaymentDeclined,
        PaymentTimeout,
        PaymentFailed,
        FraudBlocked,
        DecideExpired,
        OrderWasCancelled,
    )
}


class CartNotFound(Problem):
    """There is none, or the caller may not see it; the two look alike on purpose."""

    status = 404
    code = "cart_not_found"
    title = "There is no such cart."


class CartLineNotFound(Problem):
    """The cart has no such line; it may have been taken out."""

    status = 404
    code = "cart_line_not_found"
    title = "The cart has no such line."


class InvalidCart(Problem):
    """The cart cannot be like that; `errors` points at what."""

    status = 422
    code = "invalid_cart"
    title = "The cart is not valid."


class CartIncomplete(Problem):
    """The cart cannot be ordered yet; `errors` points at what is missing."""

    status = 422
    code = "cart_incomplete"
    title = "Something is missing before the cart can be ordered."


class CartOrdered(Problem):
    """The cart is an order already, `order_id`; a new one begins with a new cart."""

    status = 409
    code = "cart_ordered"
    title = "The cart has been ordered."


class CartInCheckout(Problem):
    """The cart is being checked out, as `order_id`, and cannot be changed meanwhile."""

    status = 409
    code = "cart_in_checkout"
    title = "The cart is being checked out."


class CartEnded(Problem):
    """The cart was merged into another, or nobody touched it for long; `ended` says which."""

    status = 409
    code = "cart_ended"
    title = "The cart has ended."


class CartChanged(Problem):
    """Somebody else changed the cart's addresses at the same moment; nothing was done."""

    status = 409
    code = "cart_changed"
    title = "The cart was changed at the same moment."


class CartVersionMismatch(Problem):
    """The cart is not in the version that If-Match asked for."""

    status = 412
    code = "version_mismatch"
    title = "The cart has another version."


class CartPriceChanged(PriceChanged):
    """Prices are not what the shopper was shown last; the cart shows the new ones from now on."""

    kept = True
