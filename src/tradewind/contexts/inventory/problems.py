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


class InvalidMovement(Problem):
    """The sign does not fit the kind, or the time is not in the past; `errors` points at what."""

    status = 422
    code = "invalid_movement"
    title = "The movement is not valid."


class StockWouldBeNegative(Problem):
    """More units would leave than lie there. The member ``on_hand`` says how many do."""

    status = 409
    code = "stock_would_be_negative"
    title = "There are fewer units than that."
    kept = True


class TooManyUnits(Problem):
    """More units would lie there than a shelf can be told to hold."""

    status = 409
    code = "too_many_units"
    title = "That would be more units than can be kept."
    kept = True


class ExternalIdTaken(Problem):
    """This credential has recorded another movement under the same `external_id`."""

    status = 409
    code = "external_id_taken"
    title = "This external_id belongs to another movement."


class FieldNotAllowed(Problem):
    """A field that only an import of history may send."""

    status = 403
    code = "field_not_allowed"
    title = "This field needs the scope orders:import."


class TooManyLocations(Problem):
    """Every location of a sku is looked at when an order is served, so their number is bounded."""

    status = 422
    code = "too_many_locations"
    title = "No more locations can be opened."
