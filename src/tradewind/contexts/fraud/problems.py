"""The ways fraud says no."""

from tradewind.kernel.problems import Problem


class UnknownReview(Problem):
    """The order was never held, or there is no such order."""

    status = 404
    code = "unknown_review"
    title = "There is no review of this order."


class ReviewClosed(Problem):
    """The review was decided, ran out, or its order ended. The member ``review`` says which."""

    status = 409
    code = "review_closed"
    title = "This review is closed."
    kept = True
