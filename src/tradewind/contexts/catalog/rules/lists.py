"""Price lists: what a group pays. Prices of lists become part of the products they are about."""

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from tradewind.contexts.catalog.commands import KeepPriceList, ListPriceBody
from tradewind.contexts.catalog.events import GroupPrice, ProductChanged, sku_key
from tradewind.contexts.catalog.problems import InvalidPriceList
from tradewind.contexts.catalog.rules.drafts import PRICE_E4_MAX, in_seconds
from tradewind.contexts.catalog.tables import ListPriceRow, PriceList
from tradewind.kernel.money import parse_e4
from tradewind.kernel.problems import FieldError


def keep(command: KeepPriceList, before: PriceList | None) -> PriceList | InvalidPriceList:
    """The list as it is wanted; as it was, where nothing differs."""
    body = command.body
    begins, ends = in_seconds(body.valid_from), in_seconds(body.valid_until)
    if begins is not None and ends is not None and ends <= begins:
        return invalid([FieldError("/valid_until", "must be after valid_from")])
    if before is not None and before.currency != body.currency:
        return invalid([FieldError("/currency", f"is {before.currency} and stays so")])
    version = before.version if before else 1
    wanted = PriceList(
        command.list_id,
        body.name,
        body.customer_group,
        body.currency,
        begins,
        ends,
        False,
        version,
    )
    if before is None or wanted == before:
        return wanted
    return msgspec.structs.replace(wanted, version=version + 1)


def amounts(
    prices: Iterable[ListPriceBody], known: frozenset[str]
) -> dict[str, int | None] | InvalidPriceList:
    """Amounts by sku key, None for those to go; or what is wrong with them."""
    found: dict[str, int | None] = {}
    errors: list[FieldError] = []
    for index, price in enumerate(prices):
        key = sku_key(price.sku)
        value = None if price.amount is None else parse_e4(price.amount)
        if key in found:
            errors.append(FieldError(f"/prices/{index}/sku", "stands there twice"))
        elif key not in known:
            errors.append(FieldError(f"/prices/{index}/sku", f"{price.sku!r} is no sku"))
        elif price.amount is not None and (value is None or not 0 <= value <= PRICE_E4_MAX):
            message = "must be a decimal text from 0 to 1000000000 with at most 4 decimals"
            errors.append(FieldError(f"/prices/{index}/amount", message))
        found[key] = value
    return invalid(errors) if errors else found


def invalid(errors: Sequence[FieldError]) -> InvalidPriceList:
    """A refusal that points at what is wrong."""
    return InvalidPriceList(f"{errors[0].pointer}: {errors[0].message}", errors=tuple(errors[:50]))


def priced(
    product: ProductChanged, rows: Sequence[ListPriceRow], lists: Mapping[str, PriceList]
) -> ProductChanged:
    """A product with the prices that lists have for its variants; the same where none differ."""
    by_sku: dict[str, list[GroupPrice]] = {}
    for row in sorted(rows, key=lambda row: row.list_id):
        owner = lists[row.list_id]
        if row.removed or owner.archived:
            continue
        by_sku.setdefault(row.sku_key, []).append(
            GroupPrice(
                currency=owner.currency,
                amount_e4=row.amount_e4,
                valid_from=owner.valid_from,
                valid_until=owner.valid_until,
                list_id=owner.id,
                group=owner.customer_group,
            )
        )
    variants = tuple(
        msgspec.structs.replace(variant, group_prices=tuple(by_sku.get(sku_key(variant.sku), ())))
        for variant in product.variants
    )
    if variants == product.variants:
        return product
    version = product.version + 1
    return msgspec.structs.replace(product, variants=variants, version=version, sequence=version)
