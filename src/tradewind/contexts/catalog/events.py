"""What catalog announces. The subject is the product id; the sequence is the catalog version."""

from datetime import datetime
from typing import ClassVar

from msgspec import Struct, field

from tradewind.kernel.messages import Event

# What an attribute may hold: shops send sizes as text, weights as numbers, flags as booleans.
AttributeValue = str | int | float | bool | None


def sku_key(sku: str) -> str:
    """How a sku is compared: without letter case."""
    return sku.upper()


def category_path(category: str | list[str]) -> str:
    """How a category is written: names without spaces around them, joined by slashes.

    Empty names are left out; the empty path is no category.
    """
    names = category.split("/") if isinstance(category, str) else category
    stripped = (name.strip() for name in names)
    return "/".join(name for name in stripped if name)


class Price(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one unit costs in one currency, in ten-thousandths of its major unit.

    A price with a date counts from then on, before one without; of several the one that began last.
    """

    currency: str
    amount_e4: int
    valid_from: datetime | None = None
    valid_until: datetime | None = None  # not any more in this instant


class GroupPrice(Price, frozen=True, kw_only=True, omit_defaults=True):
    """What one unit costs customers of a group; it counts before the prices for everybody."""

    list_id: str
    group: str


class Option(Struct, frozen=True, kw_only=True):
    """What variants of a product differ in, and what each may be: Size: S, M, L."""

    title: str
    values: tuple[str, ...]


class Medium(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A picture or paper of a product. The id is made of its content: `/v1/media/{id}`."""

    id: str
    alt: str = ""


class VariantChanged(Struct, frozen=True, kw_only=True):
    """One variant as it now is. An archived one keeps its sku: history still points to it."""

    sku: str
    title: str
    prices: tuple[Price, ...]
    archived: bool
    attributes: dict[str, AttributeValue] = field(default_factory=dict)
    # How many units lie at the default location, where this change said so. A declaration, not a
    # state: None means that nothing was said.
    on_hand: int | None = None
    options: dict[str, str] = field(default_factory=dict)
    group_prices: tuple[GroupPrice, ...] = ()


class ProductChanged(Event, frozen=True, kw_only=True):
    """A product is now like this. Carries all of it, archived variants included, so that a copy
    needs only the newest one; variants in the order they are shown, archived ones last.
    """

    type: ClassVar[str] = "catalog.product_changed.v1"

    product_id: str
    external_id: str
    title: str
    category: str | None  # a path, "Home/Lighting"
    version: int  # the same number as `sequence`
    archived: bool
    variants: tuple[VariantChanged, ...]
    description: str = ""
    attributes: dict[str, AttributeValue] = field(default_factory=dict)
    options: tuple[Option, ...] = ()
    media: tuple[Medium, ...] = ()

    @property
    def subject(self) -> str:
        """The product."""
        return self.product_id
