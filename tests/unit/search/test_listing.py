"""Pages of providers and the overview are what the records say, however the index holds them."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as some

from moorage.model.values import Inventory, ProviderRecord, ProviderSelection
from moorage.rules.capacity import capacity
from moorage.search.index.index import Index, Snapshot
from moorage.search.listing import MOST_SHOWN, overview_of, page_of


def record(
    number: int,
    root: int,
    inventories: tuple[tuple[str, Inventory, int], ...] = (),
    aggregates: tuple[str, ...] = (),
    name: str = "",
) -> ProviderRecord:
    # Their order by uuid is not their order by id.
    uuid = f"{number * 7919 % 256:02x}00-{number}"
    parent = None if root == number else root
    return ProviderRecord(number, uuid, parent, root, inventories, ("A",), aggregates, name or f"p{number}")


def snapshot_of(records: Sequence[ProviderRecord]) -> Snapshot:
    index = Index()
    index.replace_trees((), records)
    return index.snapshot()


AMOUNTS = some.lists(
    some.tuples(some.sampled_from(["A", "B", "C"]), some.integers(1, 50), some.integers(0, 60)),
    max_size=3,
    unique_by=lambda row: row[0],
)
SETS = some.lists(some.sampled_from(["x", "y", "z"]), unique=True, max_size=2)


@some.composite
def clouds(draw: some.DrawFn) -> list[ProviderRecord]:
    records: list[ProviderRecord] = []
    for size in draw(some.lists(some.integers(1, 3), max_size=8)):
        root = len(records) + 1
        for number in range(root, root + size):
            rows = tuple((name, Inventory(total), used) for name, total, used in draw(AMOUNTS))
            records.append(
                record(number, root, rows, tuple(draw(SETS)), draw(some.sampled_from(["", "same"])))
            )
    return records


@given(clouds(), some.integers(1, 5), some.booleans(), some.booleans(), some.booleans(), some.randoms())
def test_pages_put_together_are_what_was_selected_in_the_order_of_the_uuids(
    records: list[ProviderRecord], limit: int, by_name: bool, by_tree: bool, by_uuid: bool, random: object
) -> None:
    snapshot = snapshot_of(records)
    chosen = records
    within = records[len(records) // 2] if records else None
    if by_tree:
        chosen = [each for each in chosen if within is not None and each.root_id == within.root_id]
    if by_name:
        chosen = [each for each in chosen if each.name == "same"]
    wanted_uuids = frozenset(each.uuid for each in records[::2]) | {"unknown"}
    if by_uuid:
        chosen = [each for each in chosen if each.uuid in wanted_uuids]
    found: list[str] = []
    after = ""
    while True:
        page = page_of(
            snapshot,
            ProviderSelection(
                limit=limit,
                after=after,
                uuids=wanted_uuids if by_uuid else None,
                in_tree=("none" if within is None else within.uuid) if by_tree else None,
                name="same" if by_name else None,
            ),
        )
        assert len(page.providers) <= limit
        found += [each.uuid for each in page.providers]
        if not page.has_more:
            break
        after = found[-1]
    assert found == sorted(each.uuid for each in chosen)


@given(clouds())
def test_a_page_shows_all_of_a_provider(records: list[ProviderRecord]) -> None:
    by_id = {each.id: each for each in records}
    for shown in page_of(snapshot_of(records), ProviderSelection(limit=100)).providers:
        known = by_id[shown.id]
        parent = None if known.parent_id is None else by_id[known.parent_id].uuid
        assert (shown.uuid, shown.name, shown.parent_uuid) == (known.uuid, known.name, parent)
        assert shown.root_uuid == by_id[known.root_id].uuid
        assert shown.inventories == {name: inventory for name, inventory, _ in known.inventories}
        assert shown.used == {name: used for name, _, used in known.inventories}
        assert (shown.traits, shown.aggregates) == (known.traits, known.aggregates)


@given(clouds())
def test_an_overview_adds_up_what_each_tree_has(records: list[ProviderRecord]) -> None:
    shown = overview_of(snapshot_of(records))
    roots = [each for each in records if each.id == each.root_id]
    assert dict(zip(shown.roots, shown.names, strict=True)) == {each.uuid: each.name for each in roots}
    for place, uuid in enumerate(shown.roots):
        (root,) = [each for each in roots if each.uuid == uuid]
        tree = [each for each in records if each.root_id == root.id]
        assert shown.providers[place] == len(tree)
        together = {name for each in tree for name in each.aggregates}
        assert set(shown.aggregate_sets[shown.sets[place]]) == together
        for name, (capacities, used) in shown.classes.items():
            rows = [row for each in tree for row in each.inventories if row[0] == name]
            assert capacities[place] == sum(capacity(inventory) for _, inventory, _ in rows)
            assert used[place] == sum(amount for *_, amount in rows)
    assert all(len(amounts) == len(roots) for both in shown.classes.values() for amounts in both)
    assert set(shown.classes) == {name for each in records for name, *_ in each.inventories}


def test_amounts_that_numbers_of_json_cannot_show_stop_at_the_largest_that_they_can() -> None:
    huge = Inventory(2**31 - 1, allocation_ratio=1e30)
    shown = overview_of(snapshot_of([record(1, 1, (("A", huge, 3),))]))
    assert shown.classes == {"A": ([MOST_SHOWN], [3])}


def test_of_many_providers_a_page_has_the_first_ones() -> None:
    records = [
        ProviderRecord(number, f"{number * 2654435761 % 2**32:08x}-0000-4000-8000-{number:012}", None, number)
        for number in range(1, 9001)
    ]
    snapshot = snapshot_of(records)
    assert len(snapshot.blocks) > 1
    ordered = sorted(each.uuid for each in records)
    page = page_of(snapshot, ProviderSelection(limit=700, after=ordered[3000]))
    assert [each.uuid for each in page.providers] == ordered[3001:3701]
    alike = [ProviderRecord(number, f"00000000-{number:04}", None, number) for number in range(1, 5000)]
    page = page_of(snapshot_of(alike), ProviderSelection(limit=10))
    assert [each.uuid for each in page.providers] == [f"00000000-{number:04}" for number in range(1, 11)]
