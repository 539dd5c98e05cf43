"""An index made of columns is the one made of records."""

from __future__ import annotations

from random import Random

import pytest

from moorage.model.values import Inventory, ProviderRecord
from moorage.search.index.building import block_of
from moorage.search.index.index import MOST_ENTRIES, Index
from tests.oracle.columns import columns_of
from tests.unit.search.builders import CLASSES, TRAITS, ask, group, index_of, provider

AGGREGATES = ("a", "b")


def built(*parts: list[ProviderRecord]) -> Index:
    index = Index()
    index.set_names(CLASSES, TRAITS)
    for records in parts:
        index.append(block_of(columns_of(records, Random(1), CLASSES, TRAITS, AGGREGATES)))
    return index


def test_columns_say_what_records_say() -> None:
    root = provider(5, {"VCPU": 8, "MEMORY_MB": 64}, traits=["RED", "FAST"], aggregates=["a", "b"])
    odd = Inventory(9, 1, 2, 3, 4, 1.5)
    child = provider(2, {"MEMORY_MB": odd, "VF": 4}, below=root, used={"VF": 1, "MEMORY_MB": 3})
    bare = provider(7)
    alike = provider(9, {"VCPU": 8}, used={"VCPU": 8}, traits=["RED", "FAST"])
    records = [child, root, bare, alike]
    index = built(records)
    assert list(index.records()) == records
    assert len(index.snapshot().blocks) == 1
    vcpu = group("", {"VCPU": 1})
    assert ask(index, vcpu) == ask(index_of(*records), vcpu)


def test_names_of_providers_come_along() -> None:
    record = ProviderRecord(1, "u" * 36, None, 1, name="é 🚢")
    [found] = built([record]).records()
    assert found == record


def test_blocks_come_one_after_the_other_and_take_changes() -> None:
    first, second = provider(1, {"VCPU": 1}), provider(3, {"VCPU": 2})
    index = built([first], [second])
    assert [len(block) for block in index.snapshot().blocks] == [1, 1]
    changed = provider(1, {"VCPU": 1}, used={"VCPU": 1})
    index.replace_trees([1], [changed])
    index.change_used({3: {"VCPU": 2}})
    assert list(index.records()) == [changed, provider(3, {"VCPU": 2}, used={"VCPU": 2})]


@pytest.mark.parametrize("late", [1, 2, 3])
def test_a_block_that_does_not_come_last_is_refused(late: int) -> None:
    records = [provider(2), provider(3)]
    index = built(records)
    before = index.snapshot()
    with pytest.raises(ValueError, match=f"tree {late} does not come last"):
        index.append(block_of(columns_of([provider(late)], Random(1))))
    assert index.snapshot() is before
    assert list(index.records()) == records


def test_a_block_that_is_too_large_is_divided() -> None:
    records = [provider(identifier, {"VCPU": 1}) for identifier in range(1, MOST_ENTRIES + 2)]
    index = built(records)
    assert len(index.snapshot().blocks) == 2
    assert list(index.records()) == records
