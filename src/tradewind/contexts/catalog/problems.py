"""The ways catalog says no."""

from tradewind.kernel.problems import Problem


class ProductNotFound(Problem):
    """No product on the shelf has this id, external id or sku."""

    status = 404
    code = "product_not_found"
    title = "There is no such product."


class InvalidProduct(Problem):
    """The product cannot be taken as it is; `errors` say where and why."""

    status = 422
    code = "invalid_product"
    title = "The product cannot be taken as it is."


class InvalidSearchSettings(Problem):
    """The shop cannot be searched in this way; `errors` say where and why."""

    status = 422
    code = "invalid_search_settings"
    title = "The shop cannot be searched in this way."


class SkuTaken(Problem):
    """A sku belongs to one product for ever, archived or not: orders and stock point to it."""

    status = 409
    code = "sku_taken"
    title = "A sku belongs to another product."


class VersionMismatch(Problem):
    """The product is not in the version that If-Match or If-None-Match asked for."""

    status = 412
    code = "version_mismatch"
    title = "The product has another version."
