"""What becomes of a product: versions, ownership of skus, archives, what shoppers see."""

from datetime import UTC, datetime

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from tests.contexts.catalog.factories import draft, variant
from tradewind.contexts.catalog.commands import Precondition
from tradewind.contexts.catalog.events import ProductChanged, sku_key
from tradewind.contexts.catalog.problems import (
    InvalidProduct,
    ProductNotFound,
    SkuTaken,
    VersionMismatch,
)
from tradewind.contexts.catalog.rules.drafts import Draft
from tradewind.contexts.catalog.rules.products import (
    VARIANTS_EVER_MAX,
    Shelf,
    archive,
    document,
    mark,
    restore,
    upsert,
)
from tradewind.contexts.catalog.tables import Product, ProductRow, VariantRow
from tradewind.contexts.inventory import events as inventory_events
from tradewind.kernel.ids import new_id
from tradewind.kernel.money import Amount

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def shelf() -> Shelf:
    return Shelf(products={}, owners={})


def put(on: Shelf, wanted: Draft) -> ProductChanged:
    changed = upsert(on, wanted, new_id("prd"))
    assert isinstance(changed, ProductChanged), changed
    return changed


def test_a_new_product_has_version_1_and_is_announced() -> None:
    on = shelf()
    changed = put(on, draft("mug"))
    assert (changed.version, changed.sequence) == (1, 1)
    assert on.events == [changed]


def test_an_unchanged_product_keeps_its_version_in_silence() -> None:
    on = shelf()
    first = put(on, draft("mug", attributes={"a": 1, "b": 2}))
    again = put(on, draft("mug", attributes={"b": 2, "a": 1}))
    assert again is first
    assert len(on.events) == 1


def test_true_and_1_are_different() -> None:
    on = shelf()
    put(on, draft("mug", attributes={"a": 1}))
    assert put(on, draft("mug", attributes={"a": True})).version == 2


def test_a_declared_stock_is_announced_each_time_and_not_remembered() -> None:
    on = shelf()
    wanted = draft("mug", variants=[variant(on_hand=5)])
    put(on, wanted)
    state = put(on, wanted)
    assert [event.variants[0].on_hand for event in on.events] == [5, 5]
    assert [event.sequence for event in on.events] == [1, 2]
    assert state.variants[0].on_hand is None


def test_a_variant_left_out_is_archived_and_comes_back() -> None:
    on = shelf()
    put(on, draft("mug", "A", "B"))
    fewer = put(on, draft("mug", "B"))
    assert [(v.sku, v.archived) for v in fewer.variants] == [("B", False), ("A", True)]
    back = put(on, draft("mug", "a"))
    assert [(v.sku, v.archived) for v in back.variants] == [("a", False), ("B", True)]


def test_a_sku_belongs_to_one_product_whatever_its_letters() -> None:
    """Also when it was archived, and also among two requests of one batch."""
    on = shelf()
    first = put(on, draft("mug", "Red"))
    taken = upsert(on, draft("cup", "C-1", "RED"), new_id("prd"))
    assert isinstance(taken, SkuTaken)
    assert taken.members["product_id"] == first.product_id
    assert taken.errors[0].pointer == "/variants/1/sku"
    put(on, draft("mug", "blue"))
    assert isinstance(upsert(on, draft("cup", "red"), new_id("prd")), SkuTaken)
    assert "cup" not in on.products


def test_archived_variants_do_not_pile_up_without_end() -> None:
    on = shelf()
    for round_ in range(VARIANTS_EVER_MAX // 100):
        put(on, draft("mug", *(f"{round_}-{number}" for number in range(100))))
    assert isinstance(upsert(on, draft("mug", "one-more"), new_id("prd")), InvalidProduct)


def test_preconditions() -> None:
    on = shelf()
    wanted = draft("mug")
    must_exist, any_new = Precondition(must_exist=True), Precondition(versions=(0,))
    assert isinstance(upsert(on, wanted, "prd_1", must_exist), VersionMismatch)
    assert isinstance(upsert(on, wanted, "prd_1", Precondition(versions=(1,))), VersionMismatch)
    assert isinstance(upsert(on, wanted, "prd_1", any_new), ProductChanged)
    assert isinstance(upsert(on, wanted, "prd_1", any_new), VersionMismatch)
    assert isinstance(upsert(on, wanted, "prd_1", must_exist), ProductChanged)
    refused = upsert(on, draft("mug", "B"), "prd_1", Precondition(versions=(2, 3)))
    assert isinstance(refused, VersionMismatch)
    assert refused.members["version"] == 1
    assert isinstance(archive(on, "mug", Precondition(versions=(2,))), VersionMismatch)


def test_an_archived_product_can_be_brought_back() -> None:
    on = shelf()
    assert isinstance(archive(on, "mug"), ProductNotFound)
    first = put(on, draft("mug"))
    gone = archive(on, "mug")
    assert isinstance(gone, ProductChanged)
    assert gone.archived and all(v.archived for v in gone.variants)
    assert archive(on, "mug") is gone
    back = put(on, draft("mug"))
    assert (back.version, back.archived, back.product_id) == (3, False, first.product_id)


def test_shoppers_see_live_variants_and_their_availability() -> None:
    on = shelf()
    eur = {"amount": "1.5", "currency": "EUR"}
    put(on, draft("mug", "A", "B", "C"))
    changed = put(on, draft("mug", variants=[variant("A", "0.001", prices=[eur]), variant("b")]))
    seen = msgspec.json.decode(document(changed, {"A": "low"}, NOW), type=Product)
    assert [(v.sku, v.availability) for v in seen.variants] == [("A", "low"), ("b", "out_of_stock")]
    assert seen.variants[0].price == Amount("0.001", "GBP")
    assert seen.variants[0].prices == (Amount("0.001", "GBP"), Amount("1.50", "EUR"))
    assert seen.variants[1].prices is msgspec.UNSET
    assert (seen.id, seen.version) == (changed.product_id, 2)


def test_the_mark_follows_what_shoppers_see() -> None:
    on = shelf()
    put(on, draft("mug", "A", "B", "C"))
    changed = put(on, draft("mug", "A", "B"))
    before = mark(changed, {}, NOW)
    assert mark(changed, {"B": "in_stock"}, NOW) != before
    assert mark(changed, {"B": "out_of_stock", "C": "in_stock"}, NOW) == before


def test_catalog_and_inventory_compare_skus_alike() -> None:
    """Each has its own function, because neither may depend on the other's."""
    for sku in ("mug-1", "MUG-1", "~}|{", "85123a"):
        assert sku_key(sku) == inventory_events.sku_key(sku)


skus = st.lists(st.sampled_from(["a", "A", "b", "c", "D"]), min_size=1, max_size=3)
requests = st.lists(st.tuples(st.sampled_from(["x", "y", "z"]), skus, st.booleans()), max_size=12)


@given(requests)
def test_any_sequence_of_changes_keeps_the_promises(
    wanted: list[tuple[str, list[str], bool]],
) -> None:
    """One owner per sku, for ever; versions 1..n without gaps; the last event is the state; rows
    give the state back."""
    on = shelf()
    owners: dict[str, str] = {}
    for external_id, names, goes in wanted:
        if goes:
            archive(on, external_id)
        else:
            unique = {name.upper(): name for name in names}.values()
            upsert(on, draft(external_id, *unique), new_id("prd"))
        for key, owner in on.owners.items():
            assert owners.setdefault(key, owner) == owner
    for product in on.products.values():
        own = [event for event in on.events if event.product_id == product.product_id]
        assert [event.sequence for event in own] == list(range(1, product.version + 1))
        assert own[-1] == product
        assert {on.owners[sku_key(v.sku)] for v in product.variants} == {product.product_id}
        assert restore(*rows_of(product)) == product


def rows_of(product: ProductChanged) -> tuple[ProductRow, list[VariantRow]]:
    """A product as the database would hold it, variants in any order."""

    def text(value: object) -> str:
        return msgspec.json.encode(value).decode()

    variants = [
        VariantRow(
            sku_key(v.sku),
            product.product_id,
            v.sku,
            v.title,
            text(v.prices),
            text(v.attributes),
            v.archived,
            position,
            "out_of_stock",
        )
        for position, v in enumerate(product.variants)
    ]
    row = ProductRow(
        product.product_id,
        product.external_id,
        product.title,
        product.description,
        product.category,
        text(product.attributes),
        product.version,
        product.archived,
        "",
    )
    return row, variants[::-1]
