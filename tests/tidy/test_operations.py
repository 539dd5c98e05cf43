"""An operation of an API is defined in one place: beside its handler."""

from __future__ import annotations

import ast
import re
import sys

import pytest

from moorage.api.native.endpoint import Endpoint
from moorage.api.native.openapi import EVERYTHING
from moorage.api.placement import errors, openapi
from moorage.api.placement.operation import Operation
from moorage.api.placement.routes import BY_NAME, OPERATIONS
from moorage.model import errors as model
from tests.tidy.sources import Found, label, nodes, package_files, strings

NAMED = re.compile(r"(GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS) /")


def named_in(source: str) -> list[Found]:
    """Strings that name an operation, as the key of a table beside the operations would."""
    return [found for found in strings(source) if NAMED.match(found.text)]


def operations_in(source: str, name: str = "Operation") -> list[Found]:
    """Definitions of operations, which are calls of the class ``name``."""
    return [
        Found(ast.unparse(node.args[0]), node.lineno)
        for node in nodes(source)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name
    ]


def is_beside_its_handler(operation: Operation | Endpoint) -> bool:
    module = vars(sys.modules[operation.handler.__module__])
    tables = (each if isinstance(each, tuple) else (each,) for each in module.values())
    return any(each is operation for table in tables for each in table)


def equal_words() -> list[str]:
    return [kind.__name__ for kind, words in errors.WORDS.items() if words == kind.template]


def test_no_table_has_operations_as_keys() -> None:
    assert not [
        f"{label(path, found.line)} {found.text!r}"
        for path in package_files()
        for found in named_in(path.read_text())
    ]


def test_every_operation_stands_beside_its_handler() -> None:
    assert [each.name for each in (*OPERATIONS, openapi.OPERATION) if not is_beside_its_handler(each)] == []


def test_every_endpoint_of_the_native_api_stands_beside_its_handler_and_is_served() -> None:
    assert [each.name for each in EVERYTHING if not is_beside_its_handler(each)] == []
    defined = [
        found for path in package_files("api") for found in operations_in(path.read_text(), "Endpoint")
    ]
    assert len(defined) == len(EVERYTHING) == len({each.name for each in EVERYTHING})


def test_every_operation_that_is_defined_is_served_and_no_other_has_its_name() -> None:
    defined = [found for path in package_files("api") for found in operations_in(path.read_text())]
    assert len(defined) == len(OPERATIONS) + len([openapi.OPERATION])
    assert len(BY_NAME) == len(OPERATIONS)


def test_no_text_on_the_wire_repeats_that_of_the_model() -> None:
    assert equal_words() == []


@pytest.mark.parametrize("source", ['{"PUT /boats/{name}": 1}', 'name = f"GET /boats/{name}"'])
def test_names_of_operations_are_recognised(source: str) -> None:
    assert named_in(source)


def test_other_strings_are_not_taken_for_names_of_operations() -> None:
    assert not named_in('"""GET /boats, in a docstring."""\nx = "to GET / a boat", "GET", "/boats"')


def test_definitions_of_operations_are_recognised() -> None:
    assert operations_in('X = (Operation("GET", "/boats", list_),)') == [Found("'GET'", 1)]


def test_an_operation_elsewhere_is_recognised() -> None:
    (first, *_others) = OPERATIONS
    assert not is_beside_its_handler(Operation("GET", "/boats", first.handler, "", None))


def test_a_repeated_text_is_recognised(monkeypatch: pytest.MonkeyPatch) -> None:
    kind = model.TraitInUseError
    monkeypatch.setattr(errors, "WORDS", {**errors.WORDS, kind: kind.template})
    assert equal_words() == [kind.__name__]
