from __future__ import annotations

from dataclasses import fields
from datetime import datetime
from typing import Any

import pytest

from moorage.model.values import Inventory, Provider
from moorage.rules.state import Changes, ConsumerRow, NameRow, ProviderRow, State, Touch

CREATED, UPDATED = datetime.fromisoformat("2024-01-02"), datetime.fromisoformat("2024-03-04")
ROW = ProviderRow("pier", "Pier", 3, "host", "host", 17, CREATED, UPDATED)


def some_state() -> State:
    return State(
        providers={"pier": ROW, "gone": None},
        inventories={"pier": {"VCPU": Inventory(8)}},
        held={"ship": {("pier", "VCPU"): 1}},
    )


def test_a_rows_value_has_all_but_the_id() -> None:
    assert ROW.value() == Provider("pier", "Pier", 3, "host", "host", CREATED, UPDATED)


@pytest.mark.parametrize("row", [ROW, ConsumerRow("ship", "p", "u", None, 1), NameRow(True), Touch()])
def test_rows_have_no_attributes_but_their_fields(row: Any) -> None:
    assert not hasattr(row, "__dict__")


def test_touches_are_joined_field_by_field() -> None:
    names = [item.name for item in fields(Touch)]
    for name in names:
        joined = Touch(**{name: frozenset("ab")}) | Touch(**{name: frozenset("bc")})
        assert getattr(joined, name) == frozenset("abc")
        assert not any(getattr(joined, other) for other in names if other != name)


def test_state_and_changes_have_the_same_parts() -> None:
    fixed = {"equal_names", "equal_consumers", "clock", "hanging"}
    parts = [item.name for item in fields(State) if item.name not in fixed]
    assert [item.name for item in fields(Changes)] == ["result", "kind", "changes_names", "reason", *parts]


def test_the_rows_of_a_state_are_the_providers_that_exist() -> None:
    assert list(some_state().rows()) == [ROW]


def test_a_copy_does_not_see_what_its_original_takes_over() -> None:
    state = some_state()
    copy = state.copy()
    state.apply(Changes(None, "test", providers={"pier": None}, held={"ship": {}}))
    assert state.providers["pier"] is None
    assert state.held["ship"] == {}
    assert copy == some_state()


def test_a_scratch_reads_through_and_keeps_its_changes_to_itself() -> None:
    state = some_state()
    scratch = state.scratch()
    assert scratch.providers["pier"] is ROW
    scratch.apply(
        Changes(
            None,
            "test",
            providers={"pier": None},
            consumers={"ship": ConsumerRow("ship", "p", "u", None, 1)},
            trait_names={"CUSTOM_A": NameRow(exists=True)},
        )
    )
    assert scratch.providers["pier"] is None
    assert list(scratch.rows()) == []
    assert state == some_state()


def test_the_changes_of_a_scratch_are_all_that_was_applied_to_it() -> None:
    scratch = some_state().scratch()
    scratch.apply(Changes(None, "first", providers={"pier": None}))
    scratch.apply(Changes(None, "second", used={"pier": {"VCPU": 2}}))
    changes = Changes.of_scratch(scratch, "answer", "both", changes_names=True)
    assert changes == Changes("answer", "both", True, providers={"pier": None}, used={"pier": {"VCPU": 2}})


def test_a_scratch_of_a_scratch_tells_its_own_changes_only() -> None:
    outer = some_state().scratch()
    outer.apply(Changes(None, "outer", providers={"pier": None}))
    inner = outer.scratch()
    inner.apply(Changes(None, "inner", aggregates={"pier": ("a",)}))
    assert inner.providers["pier"] is None
    changes = Changes.of_scratch(inner, None, "inner", changes_names=False)
    assert (changes.providers, changes.aggregates) == ({}, {"pier": ("a",)})


def test_every_facet_of_a_provider_touches_it() -> None:
    changes = Changes(
        None,
        "test",
        providers={"a": None},
        inventories={"b": {}},
        used={"c": {}},
        traits={"d": frozenset()},
        aggregates={"e": ()},
        provider_names={"f": None},
        held={"g": {}},
    )
    assert changes.touched_providers() == set("abcde")


def test_changes_count_only_if_there_is_something_to_write() -> None:
    assert not Changes("answer", "test")
    assert Changes(None, "test", providers={"pier": None})
    assert Changes(None, "test", aggregates={"pier": ()})
    assert Changes(None, "test", consumers={"ship": None})
    assert Changes(None, "test", held={"ship": {}})
    assert Changes(None, "test", changes_names=True)
