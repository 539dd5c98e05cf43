"""What is quoted of a client: all of what is short, and the beginning of what is long."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moorage.api.http import quoting, validation
from moorage.api.http.wire_error import WireError
from tests.unit.api.fake import Client, FakeService

LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
    max_leaves=12,
)


def depth(value: Any) -> int:
    """Levels of lists and objects."""
    if not isinstance(value, list | dict):
        return 0
    return 1 + max(map(depth, value if isinstance(value, list) else value.values()), default=0)


@given(VALUES)
def test_what_is_short_is_quoted_as_it_is(value: object) -> None:
    if depth(value) <= quoting.ORDINARY_DEPTH:
        assert quoting.quoted(value) == repr(value)


@given(VALUES, st.integers(0, 30))
def test_of_what_is_long_the_beginning_is_quoted(value: object, most: int) -> None:
    quote = quoting.quoted(value, most)
    assert len(quote) <= most + 1 or quote == repr(value)
    if depth(value) <= quoting.ORDINARY_DEPTH and quote.endswith(quoting.ELLIPSIS):
        assert repr(value).startswith(quote[:-2])


@given(VALUES, st.integers(0, 5))
def test_depth_is_counted_in_levels(value: object, most: int) -> None:
    assert quoting.is_deep(value, most) is (depth(value) > most)


def test_what_is_too_deep_to_quote_is_left_out() -> None:
    value: object = 1
    for _ in range(100_000):
        value = [value]
    assert quoting.quoted(value) == "[" * 8 + "[\u2026]" + "]" * 8
    while isinstance(value, list):  # Python would go as deep to let go of it
        value = value.pop()


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "object"}, [1, "a", None]),
        ({"type": ["integer", "null"]}, {"a": "b"}),
        ({"anyOf": [{"type": "string", "maxLength": 1}, {"type": "null"}]}, ["a"]),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, "a"),
        ({"uniqueItems": True}, ["a", "a"]),
        ({"pattern": "^a$"}, "b"),
    ],
)
def test_words_of_our_own_keywords_are_those_of_jsonschema(schema: dict[str, Any], value: object) -> None:
    formats = jsonschema.FormatChecker()
    theirs = jsonschema.exceptions.best_match(jsonschema.Draft202012Validator(schema).iter_errors(value))
    ours = validation.Validator(schema, formats).error(value)
    assert str(ours) == str(theirs)


@pytest.mark.parametrize("status", [400, 404, 405, 406, 415])
def test_a_message_is_cut_off_at_its_bound(status: int) -> None:
    long = "x" * (2 * quoting.MAX_MESSAGE)
    service = FakeService()
    service.error = WireError(status, long)
    told = Client(service).ask("GET", "/traits", 39).detail
    assert "x" * quoting.MAX_MESSAGE + "\u2026 (16384 more characters)" in told
    assert "x" * (quoting.MAX_MESSAGE + 1) not in told


@pytest.mark.parametrize(
    ("method", "headers"),
    [("X" * 2000, {}), ("GET", {"accept": "x/" + "y" * 2000}), ("POST", {"content-type": "z" * 2000})],
)
def test_a_word_of_a_client_is_cut_off_at_its_bound(method: str, headers: dict[str, str | None]) -> None:
    body = b"{}" if method == "POST" else None
    told = Client(FakeService()).ask(method, "/resource_providers", 39, body=body, headers=headers)
    assert told.status in {405, 406, 415}
    assert b"more characters)" in told.body or b"\\u2026" in told.body
    assert len(told.body) < 6_000
