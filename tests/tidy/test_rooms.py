"""What must not stand in which room. The import contract is held by import-linter beside this."""

from __future__ import annotations

import ast
import re
import sys
from collections import defaultdict

import pytest

from tests.tidy.sources import (
    PACKAGE,
    Found,
    identifiers,
    imported_modules,
    imported_names,
    integers,
    label,
    nodes,
    package_files,
    strings,
    words,
)

SQL = re.compile(
    r"\bselect\b[\s\S]+\bfrom\b\s+[\w{\"]|\binsert\s+into\b|\bupdate\s+\S+\s+set\b|\bdelete\s+from\b"
    r"|\b(create|alter|drop)\s+(table|index|database)\b|^\s*pragma\s",
    re.IGNORECASE,
)

BELOW_THE_WIRE = ("service", "store", "search", "rules", "model")
WIRE_WORDS = {"microversion", "microversions", "falcon", "http", "https", "wsgi", "webob", "granian"}
STATUSES = {"400", "401", "403", "404", "405", "406", "409", "410", "412", "413", "415", "503"}
"""500 and what is below 400 are left out: they are as likely a batch size."""

SHORT_NAMES = {"rp", "rps", "rc", "rcs", "ctx", "cn", "alloc", "allocs", "inv", "invs"}
"""Abbreviations of the field that make a newcomer guess."""

FROZEN_OTHERWISE = re.compile(r"@(dataclasses\.)?dataclass\(.*\bfrozen=")
"""At run time a frozen dataclass costs several times as much to make (``model/valueclass.py``)."""

CLIENT_STANDS_ON = ("moorage.cli.client", "moorage.cli.shared", "moorage.model")
"""What commands that talk to a service may import of this project: they need no server, and start fast."""

MAX_LINES = 600
"""A file does one job; a longer one does more."""


def sql_in(source: str) -> list[Found]:
    return [found for found in strings(source) if SQL.search(found.text)]


def wire_words_in(source: str) -> list[Found]:
    return [
        *(found for found in identifiers(source) if words(found.text) & WIRE_WORDS),
        *(found for found in strings(source) if words(found.text) & WIRE_WORDS),
        *(found for found in integers(source) if found.text in STATUSES),
    ]


def short_names_in(source: str) -> list[Found]:
    return [found for found in identifiers(source) if words(found.text) & SHORT_NAMES]


def beyond_the_client_in(source: str) -> list[Found]:
    allowed = re.compile(rf"(?!moorage\b)|({'|'.join(map(re.escape, CLIENT_STANDS_ON))})(\.|$)")
    return [found for found in imported_names(source) if not allowed.match(found.text)]


def classes_in(source: str) -> list[Found]:
    return [Found(node.name, node.lineno) for node in nodes(source) if isinstance(node, ast.ClassDef)]


def foreign_imports_in(source: str) -> list[Found]:
    allowed = sys.stdlib_module_names | {"moorage"}
    return [found for found in imported_modules(source) if found.text not in allowed]


def test_sql_stands_in_store_only() -> None:
    assert not [
        f"{label(path, found.line)} {found.text!r}"
        for path in package_files()
        if not path.is_relative_to(PACKAGE / "store")
        for found in sql_in(path.read_text())
    ]


def test_no_word_of_the_wire_stands_below_api() -> None:
    assert not [
        f"{label(path, found.line)} {found.text!r}"
        for path in package_files(*BELOW_THE_WIRE)
        for found in wire_words_in(path.read_text())
    ]


def test_model_needs_the_standard_library_only() -> None:
    assert not [
        f"{label(path, found.line)} {found.text}"
        for path in package_files("model")
        for found in foreign_imports_in(path.read_text())
    ]


def test_commands_that_talk_to_a_service_need_neither_other_commands_nor_a_server() -> None:
    assert not [
        f"{label(path, found.line)} {found.text}"
        for path in package_files("cli/client", "cli/shared")
        for found in beyond_the_client_in(path.read_text())
    ]


def test_what_nobody_changes_is_a_valueclass() -> None:
    assert not [
        f"{label(path, number)} {line}"
        for path in package_files()
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if FROZEN_OTHERWISE.match(line)
    ]


def test_names_are_whole_words() -> None:
    assert not [
        f"{label(path, found.line)} {found.text}"
        for path in package_files()
        for found in short_names_in(path.read_text())
    ]


def test_a_name_is_that_of_one_class() -> None:
    places = defaultdict(list)
    for path in package_files():
        for found in classes_in(path.read_text()):
            places[found.text].append(label(path, found.line))
    assert len(places) > 100
    assert not [where for where in places.values() if len(where) > 1]


def test_no_file_is_too_long_to_have_one_job() -> None:
    lengths = {label(path, 1): path.read_text().count("\n") for path in package_files()}
    assert not {place: length for place, length in lengths.items() if length > MAX_LINES}


@pytest.mark.parametrize(
    "source",
    [
        'execute("SELECT id FROM boats")',
        'execute(f"select {column} from {table}")',
        'execute("UPDATE boats SET berth = 1")',
        'execute("""\n  DELETE\n  FROM boats""")',
        'execute("insert into boats values (1)")',
        'execute("PRAGMA journal_mode=WAL")',
        'execute("DROP TABLE boats")',
    ],
)
def test_sql_is_recognised(source: str) -> None:
    assert sql_in(source)


@pytest.mark.parametrize(
    "source",
    [
        '"""Does what SELECT id FROM boats would do."""',
        'raise Error("select another berth, or delete one")',
        'text = "an update of the set"',
    ],
)
def test_prose_is_not_taken_for_sql(source: str) -> None:
    assert not sql_in(source)


@pytest.mark.parametrize(
    "source",
    [
        "import falcon",
        "from http import HTTPStatus",
        "def answer(microversion): ...",
        "limit = MAX_MICROVERSION",
        'text = "an HTTP header"',
        "status = 409",
    ],
)
def test_words_of_the_wire_are_recognised(source: str) -> None:
    assert wire_words_in(source)


@pytest.mark.parametrize(
    "source",
    ['"""Since microversion 1.28, over HTTP."""', "BATCH = 500", "x = 1  # wire: an HTTP oddity, 409"],
)
def test_docstrings_comments_and_amounts_are_not_taken_for_the_wire(source: str) -> None:
    assert not wire_words_in(source)


def test_dataclasses_that_are_frozen_otherwise_are_recognised() -> None:
    assert FROZEN_OTHERWISE.match("@dataclass(slots=True, frozen=True)")
    assert not FROZEN_OTHERWISE.match("@valueclass(frozen=True, slots=True)")


def test_short_names_are_recognised() -> None:
    assert [found.text for found in short_names_in("def f(rp): return self.parent_rc")] == ["rp", "parent_rc"]
    assert not short_names_in("provider = source.resource_class")


@pytest.mark.parametrize(
    "source",
    [
        "from moorage.cli.database import database_of",
        "from moorage.cli import database",
        "import moorage.wiring.settings",
        "def f():\n    from moorage.service.facade import Service",
    ],
)
def test_imports_beyond_the_client_are_recognised(source: str) -> None:
    assert beyond_the_client_in(source)


def test_imports_of_what_the_client_stands_on_are_allowed() -> None:
    source = "import json\nfrom moorage.cli.client import show\nfrom moorage.cli import shared\n"
    assert not beyond_the_client_in(source + "from moorage.model.errors import MoorageError\n")


def test_imports_beyond_the_standard_library_are_recognised() -> None:
    source = "import json\nfrom moorage.model import values\ndef f():\n    from numpy import array\n"
    assert foreign_imports_in(source) == [Found("numpy", 4)]
