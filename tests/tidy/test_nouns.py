"""Each noun of the account stands in one file of store/: what reads, writes and audits it."""

from __future__ import annotations

import ast
import re
from collections import Counter, defaultdict
from dataclasses import fields

import sqlalchemy as sa

from moorage.rules.audit import Facts
from moorage.rules.state import Changes, State, Touch
from moorage.store.nouns import order
from moorage.store.nouns.consumers import CONSUMERS
from moorage.store.nouns.origins import ORIGINS
from moorage.store.tables import allocations, metadata
from tests.tidy.sources import PACKAGE, ROOT, nodes, package_files

STORE = PACKAGE / "store"
NOUNS = STORE / "nouns"
HOW_TO = ROOT / "docs" / "internals" / "extend-the-api.md"
HEADING = "## A persisted noun"
SHARED = {NOUNS / "noun.py", NOUNS / "order.py"}

ALL_NOUNS = {*order.READ, *order.WRITTEN, CONSUMERS, ORIGINS}


def names_of(item: type) -> set[str]:
    return {field.name for field in fields(item)}


def attributes_of(name: str, source: str) -> set[str]:
    """Attributes that a source takes of a variable."""
    return {
        node.attr
        for node in nodes(source)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == name
    }


def given_in(source: str) -> set[str]:
    """Parts of a state that a source fills: ``state.part.update(...)`` and ``state.part[...] = ...``."""
    return set(re.findall(r"\bstate\.(\w+)(?:\.update\(|\[[^\]]+\] = )", source))


def defined_in(source: str) -> list[str]:
    return [node.name for node in nodes(source) if isinstance(node, ast.ClassDef)]


def test_each_part_of_a_touch_is_asked_for_in_one_noun() -> None:
    asked = defaultdict(set)
    for path in NOUNS.glob("*.py"):
        for name in attributes_of("touch", path.read_text()):
            asked[name].add(path.name)
    assert {name: files for name, files in asked.items() if len(files) > 1} == {}
    by_transaction = attributes_of("touch", (STORE / "transaction.py").read_text())
    assert names_of(Touch) - by_transaction - asked.keys() == set()


def test_each_part_of_a_state_is_read_in_one_noun() -> None:
    given = Counter(name for path in NOUNS.glob("*.py") for name in given_in(path.read_text()))
    assert given == dict.fromkeys(names_of(State), 1)


def test_all_other_modules_of_the_store_leave_the_state_to_the_nouns() -> None:
    knowing = {
        path
        for path in package_files("store")
        if re.search(
            r"^from moorage\.rules\.state import .*\b(State|Touch)\b", path.read_text(), re.MULTILINE
        )
    }
    assert {path for path in knowing if path.parent != NOUNS} == {STORE / "transaction.py"}


def test_what_a_command_changes_has_the_parts_of_a_state() -> None:
    assert names_of(Changes) - names_of(State) == {"result", "kind", "changes_names", "reason"}
    assert names_of(State) - names_of(Changes) == {"equal_names", "equal_consumers", "clock", "hanging"}


def test_an_audit_gets_each_field_from_one_noun() -> None:
    given = Counter(name for noun in ALL_NOUNS for name in noun.audited)
    assert given == dict.fromkeys(names_of(Facts), 1)


def test_all_that_a_provider_has_goes_with_it() -> None:
    going = [table for noun in ALL_NOUNS for table in noun.of_provider]
    assert len(going) == len(set(going))
    having = {table for table in metadata.tables.values() if "resource_provider_id" in table.c}
    # A provider of which something is held is not deleted.
    assert having - {allocations} == set(going)


def test_a_noun_is_read_only_if_a_touch_can_ask_for_it() -> None:
    for noun in order.READ:
        assert noun.touched
        assert set(noun.touched) <= names_of(Touch)


def test_the_how_to_names_files_that_exist() -> None:
    section = HOW_TO.read_text().partition(HEADING)[2].partition("\n## ")[0]
    named = re.findall(r"`(src/moorage/[\w/.]+)`", section)
    assert {
        "src/moorage/model/commands.py",
        "src/moorage/rules/state.py",
        "src/moorage/rules/decide.py",
        "src/moorage/store/nouns/order.py",
        "src/moorage/store/migrations/versions",
    } <= set(named)
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_no_class_of_the_store_or_the_rules_has_a_name_twice() -> None:
    known = Counter(name for path in package_files() for name in defined_in(path.read_text()))
    own = {name for path in package_files("store", "rules") for name in defined_in(path.read_text())}
    assert {name for name in own if known[name] > 1} == set()


def test_what_a_source_gives_and_asks_for_is_recognised() -> None:
    source = "state.boats.update(found)\nstate.berths[name] = 5\nx = state.boats[name]\ny = touch.piers"
    assert given_in(source) == {"boats", "berths"}
    assert attributes_of("touch", source) == {"piers"}
    assert defined_in("class A:\n class B: ...") == ["A", "B"]
    assert isinstance(allocations, sa.Table)
