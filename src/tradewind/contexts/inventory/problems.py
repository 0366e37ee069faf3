"""The ways inventory says no."""

from tradewind.kernel.problems import Problem


class UnknownSku(Problem):
    """No count of this sku was ever taken, so there is nothing to show."""

    status = 404
    code = "unknown_sku"
    title = "There is no stock of this sku."


class InvalidSku(Problem):
    """A sku is 1 to 64 printable ASCII characters without a blank at either end."""

    status = 422
    code = "invalid_sku"
    title = "This can not be a sku."


class InvalidLocation(Problem):
    """A code is lower-case letters, digits and hyphens, at most 40."""

    status = 422
    code = "invalid_location"
    title = "This can not be the code of a location."


class UnknownLocation(Problem):
    """Units can be counted only where a location is kept: `PUT /v1/locations/{code}` first."""

    status = 422
    code = "unknown_location"
    title = "There is no such location."


class QuantityChanged(Problem):
    """The count was meant for another `on_hand` than there is: somebody was faster.

    The member ``on_hand`` says what it is now.
    """

    status = 412
    code = "quantity_changed"
    title = "The units on hand are not what you expected."


class TooManyLocations(Problem):
    """Every location of a sku is looked at when an order is served, so their number is bounded."""

    status = 422
    code = "too_many_locations"
    title = "No more locations can be opened."
