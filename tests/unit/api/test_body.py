"""How much of a body is read, and what is taken for JSON."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moorage.api.http import intake
from moorage.api.http.intake import LARGE_BODY
from moorage.api.http.settings import Limits
from moorage.api.http.validation import Validator
from moorage.api.http.wire_error import WireError
from moorage.api.placement.schemas import AGGREGATES_SET, ALLOCATIONS_SET
from moorage.api.placement.settings import ApiSettings
from tests.table import each
from tests.unit.api.fake import UUID, Client, FakeService

LIMIT = 100

ANYTHING = Validator({}, AGGREGATES_SET.at(1)._validator.format_checker)  # type: ignore[union-attr]


class Trickle(io.BytesIO):
    """A connection on which bytes come one by one."""

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(min(size or 0, 1))


def environ(content: bytes, **more: Any) -> dict[str, Any]:
    return {"wsgi.input": io.BytesIO(content)} | more


def test_as_much_is_read_as_was_announced() -> None:
    assert intake.read(environ(b"abcdef", CONTENT_LENGTH="3"), LIMIT) == b"abc"


def test_what_comes_in_pieces_is_read_to_its_end() -> None:
    asked = {"wsgi.input": Trickle(b"abcdef"), "CONTENT_LENGTH": "6"}
    assert intake.read(asked, LIMIT) == b"abcdef"


def test_a_body_that_breaks_off_is_refused_even_if_it_makes_sense() -> None:
    with pytest.raises(WireError, match="ended after 2 of 6 bytes") as refused:
        intake.read(environ(b"{}", CONTENT_LENGTH="6"), LIMIT)
    assert refused.value.status == 400


@pytest.mark.parametrize("length", ["", "0", "-5"])
def test_without_a_length_there_is_no_body(length: str) -> None:
    assert intake.read(environ(b"abc", CONTENT_LENGTH=length), LIMIT) == b""


def test_a_body_in_chunks_is_read_to_its_end() -> None:
    asked = environ(b"a" * LIMIT, **{"wsgi.input_terminated": True})
    assert intake.read(asked, LIMIT) == b"a" * LIMIT


def test_a_body_of_exactly_the_limit_is_read() -> None:
    assert len(intake.read(environ(b"a" * LIMIT, CONTENT_LENGTH=str(LIMIT)), LIMIT)) == LIMIT


def test_a_body_that_announces_too_much_is_refused_unread() -> None:
    asked = environ(b"a" * 200, CONTENT_LENGTH="101")
    with pytest.raises(WireError) as refused:
        intake.read(asked, LIMIT)
    assert refused.value.status == 413
    assert asked["wsgi.input"].tell() == 0


def test_a_body_in_chunks_is_refused_when_it_grows_too_long() -> None:
    asked = environ(b"a" * 1000, **{"wsgi.input_terminated": True})
    with pytest.raises(WireError) as refused:
        intake.read(asked, LIMIT)
    assert refused.value.status == 413
    assert asked["wsgi.input"].tell() == LIMIT + 1


def test_too_large_a_body_is_413_in_the_usual_form() -> None:
    client = Client(FakeService(), ApiSettings(limits=Limits(body_bytes=10)))
    result = client.ask("POST", "/resource_providers", 39, body=b'{"name": "somebody"}')
    assert result.status == 413
    (error,) = result.json["errors"]
    assert error["title"] == "Request Entity Too Large"
    assert client.service.calls == []


@each(
    "content",
    [
        b"",
        b"{",
        b"[1,]",
        b"nul",
        b'{"a": NaN}',
        b'{"a": Infinity}',
        b'{"a": -Infinity}',
        b'{"a": 1e999}',
        b'{"a": -1e999}',
        b'{"a": ' + b"9" * 5000 + b"}",
        b"\xff\xfe",
        b'"\xed\xa0\x80"',
        b'"\x01"',
        rb'"\u0000"',
        rb'{"\u0000": 1}',
        rb'[[{"a": ["\ud800"]}]]',
        rb'{"\udfff": 1}',
        rb'{"a\n": 1}',
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"[" * 5_000 + b"]" * 5_000,
    ],
)
def test_what_is_not_json_or_not_text_is_malformed(content: bytes) -> None:
    with pytest.raises(WireError, match="Malformed JSON: ") as refused:
        intake.decode(content, ANYTHING)
    assert refused.value.status == 400
    assert refused.value.message.isprintable()


@pytest.mark.parametrize("value", ["NaN", "-Infinity", "1e999", r'"\u0000"', r'"\ud800"'])
def test_what_a_schema_says_of_odd_values_comes_first(value: str) -> None:
    schema = Validator({"properties": {"a": {"type": "boolean"}}}, ANYTHING._validator.format_checker)
    with pytest.raises(WireError, match="is not of type 'boolean'"):
        intake.decode(f'{{"a": {value}}}'.encode(), schema)


@pytest.mark.parametrize("content", ['"\\u00e9\\n"', '"a\\ud83d\\ude00"', '{"a": "b\\n"}'])
def test_escapes_that_mean_text_are_taken(content: str) -> None:
    assert intake.decode(content.encode(), ANYTHING) == json.loads(content)


@pytest.mark.parametrize("unit", [("[", "]"), ('{"a":', "}"), ('[0,{"a":1,"b":', "}]")])
def test_nesting_ends_at_the_same_depth_on_every_python(unit: tuple[str, str]) -> None:
    depth = intake.MAX_NESTING // len(unit[1])
    inner = "1" if unit[0][-1] == ":" else ""
    fine, one_more = (unit[0] * n + inner + unit[1] * n for n in (depth, depth + 1))
    assert intake.decode(fine.encode(), ANYTHING) is not None
    with pytest.raises(WireError, match="nested too deeply"):
        intake.decode(one_more.encode(), ANYTHING)
    wide = "[" + "[],{}," * intake.MAX_NESTING + "0]"
    assert len(intake.decode(wide.encode(), ANYTHING)) == 2 * intake.MAX_NESTING + 1


def test_bodies_of_few_values_are_not_counted() -> None:
    counted: list[object] = []
    for few in (4, 3):
        intake.decode(b'{"a": [1]}', ANYTHING, counted.append, few)
    intake.decode(b'{"a": [1]}', ANYTHING, counted.append, 2)
    assert counted == [{"a": [1]}]


@given(st.binary(max_size=64))
def test_any_bytes_are_json_or_refused(content: bytes) -> None:
    status = 0
    try:
        intake.decode(content, ANYTHING)
    except WireError as refused:
        status = refused.status
    assert status in {0, 400}


def test_a_refusal_is_in_the_words_of_jsonschema() -> None:
    validator = AGGREGATES_SET.at(1)
    assert validator is not None
    with pytest.raises(WireError) as refused:
        intake.decode(b"5", validator)
    assert refused.value.message.startswith(
        "JSON does not validate: 5 is not of type 'array'\n\nFailed validating 'type' in schema:"
    )


def test_of_a_long_body_only_the_start_is_quoted() -> None:
    validator = AGGREGATES_SET.at(1)
    assert validator is not None
    with pytest.raises(WireError) as refused:
        intake.decode(json.dumps({"a": "x" * LARGE_BODY}).encode(), validator)
    assert len(refused.value.message) < 2000
    assert refused.value.message.endswith(" more characters)")


def test_a_schema_that_nests_as_deep_as_a_body_is_a_refusal_too() -> None:
    class Deep:
        def error(self, instance: object, is_large: bool) -> None:
            raise RecursionError

    with pytest.raises(WireError) as refused:
        intake.check([], Deep())  # type: ignore[arg-type]
    assert refused.value.status == 400


@pytest.mark.parametrize("minor", [1, 19])
def test_ten_megabytes_of_the_wrong_thing_are_refused(minor: int) -> None:
    client = Client(FakeService())
    size = 10 * 1024 * 1024
    for start, unit, end in ((b"[", b"{},", b"5]"), (b'["', b"x", b'"]'), (b"", b" ", b"5")):
        content = start + unit * ((size - len(start) - len(end)) // len(unit)) + end
        path = f"/resource_providers/{UUID}/aggregates"
        result = client.ask("PUT", path, minor, body=content.ljust(size))
        assert result.status == 400
        assert len(result.body) < 10_000
    assert [name for name, _ in client.service.calls if name == "execute"] == []


@pytest.mark.parametrize(
    "content_type", ["APPLICATION/JSON", "application/Json; charset=utf-8", "text/json", None]
)
def test_a_type_that_is_not_json_to_the_letter_is_refused(content_type: str | None) -> None:
    with pytest.raises(WireError) as refusal:
        intake.check_media_type(content_type)
    assert refusal.value.status == 415


def test_of_a_provider_in_a_list_of_allocations_what_is_too_much_is_told_first() -> None:
    claim = {"allocations": [{"resource_provider": {"wrong": UUID}, "resources": {"VCPU": 1}}]}
    validator = ALLOCATIONS_SET.at(0)
    assert validator is not None
    with pytest.raises(WireError, match="'wrong' was unexpected"):
        intake.check(claim, validator)
