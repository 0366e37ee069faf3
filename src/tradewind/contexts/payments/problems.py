"""The ways payments says no."""

from tradewind.kernel.problems import Problem


class PaymentNotFound(Problem):
    """No payment has this id."""

    status = 404
    code = "payment_not_found"
    title = "There is no such payment."


class RefundNotFound(Problem):
    """No refund of this payment has this id."""

    status = 404
    code = "refund_not_found"
    title = "There is no such refund."


class InvalidAmount(Problem):
    """The amount is no amount, not above zero, or finer than its currency."""

    status = 422
    code = "invalid_amount"
    title = "The amount cannot be refunded as it is."


class CurrencyMismatch(Problem):
    """A refund goes back in the currency of the payment."""

    status = 422
    code = "currency_mismatch"
    title = "The payment was made in another currency."
    kept = True


class NothingCaptured(Problem):
    """No money was taken, so none can be given back."""

    status = 409
    code = "nothing_captured"
    title = "Nothing was captured on this payment."
    kept = True


class RefundExceedsCapture(Problem):
    """With all refunds done and under way, more would go back than came in."""

    status = 409
    code = "refund_exceeds_capture"
    title = "That is more than is left to refund."
    kept = True


class ProviderRefusedRefund(Problem):
    """The provider decided not to give the money back; the refund did not happen."""

    status = 409
    code = "refund_refused"
    title = "The payment provider refused the refund."
    kept = True


class ProviderUnavailable(Problem):
    """The provider cannot be asked right now."""

    status = 503
    code = "provider_unavailable"
    title = "The payment provider does not answer."
