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


class CategoryNotFound(Problem):
    """No category has this id."""

    status = 404
    code = "category_not_found"
    title = "There is no such category."


class InvalidCategory(Problem):
    """The category cannot be like this: no parent, a circle, a name or a path that cannot be."""

    status = 422
    code = "invalid_category"
    title = "The category cannot be as it is."


class CategoryExists(Problem):
    """Another category has this place: two of one parent differ in their names."""

    status = 409
    code = "category_exists"
    title = "There is such a category already."


class CategoryInUse(Problem):
    """Products stand in it, or other categories, or products are on their way out of it."""

    status = 409
    code = "category_in_use"
    title = "The category is in use."


class AttributeNotFound(Problem):
    """Nothing is said about an attribute of this name."""

    status = 404
    code = "attribute_not_found"
    title = "There is no such attribute."


class InvalidAttribute(Problem):
    """The definition contradicts itself."""

    status = 422
    code = "invalid_attribute"
    title = "The attribute cannot be defined like this."


class PriceListNotFound(Problem):
    """No price list has this id."""

    status = 404
    code = "price_list_not_found"
    title = "There is no such price list."


class InvalidPriceList(Problem):
    """The list cannot be taken as it is; `errors` say where and why."""

    status = 422
    code = "invalid_price_list"
    title = "The price list cannot be taken as it is."


class GroupNotYours(Problem):
    """Prices of a group are shown to its members, and to who may change the catalog."""

    status = 403
    code = "group_not_yours"
    title = "These prices are not for you."


class InvalidMedium(Problem):
    """The file is no picture or paper that browsers show: PNG, JPEG, GIF, WebP, AVIF or PDF."""

    status = 422
    code = "invalid_medium"
    title = "The file cannot be shown."


class MediumNotFound(Problem):
    """No file has this id."""

    status = 404
    code = "medium_not_found"
    title = "There is no such file."
