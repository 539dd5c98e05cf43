"""No regular expression takes longer than in proportion to what it looks through."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.growth import patterns
from tests.growth.measure import grows_in_proportion
from tests.growth.patterns import Pattern
from tests.growth.strings import adversaries

SIZE = 8_192
"""Characters. An expression that goes back for each of them takes tens of milliseconds."""


def look_through(expression: re.Pattern[Any], text: Any) -> None:
    """Find all matches, as replacing them does, and try to match the whole."""
    for _ in expression.finditer(text):
        pass
    expression.fullmatch(text)


def is_linear(pattern: Pattern, size: int = SIZE) -> bool:
    """Whether no string that is made for it takes it out of proportion."""
    expression = patterns.compiled(pattern)
    return all(
        grows_in_proportion(lambda text: look_through(expression, text), make, size)
        for make in adversaries(pattern.text, pattern.flags)
    )


@pytest.mark.slow
def test_an_expression_takes_time_in_proportion_to_what_it_looks_through() -> None:
    assert not [pattern for pattern in patterns.of_package() if not is_linear(pattern)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "flags"),
    [
        (r"<.*?>", re.DOTALL),
        (r"<br.*?>", re.IGNORECASE | re.DOTALL),
        (r"[a-z][a-z0-9+.-]*://", re.IGNORECASE),
        (r"://[^\s:/@]*:[^\s]+@", 0),
        (r"Value for \S+ from LocationInfo\(.*detail='(.*)'\) is not valid: (.*)", 0),
        (r"\s+$", 0),
        (r"^(a+)+$", 0),
        (r"^(\w+\s?)*$", 0),
        (r"[0-9]*x", 0),
        (rb"<[^>]*>", 0),
    ],
    ids=repr,
)
def test_an_expression_that_goes_back_again_and_again_is_seen(text: str | bytes, flags: int) -> None:
    assert not is_linear(Pattern(text, flags, "here"))


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module of a package like this one."""
    (tmp_path / "src").mkdir()
    monkeypatch.syspath_prepend(tmp_path / "src")
    monkeypatch.delitem(sys.modules, "with_expressions", raising=False)
    monkeypatch.setattr(patterns, "ROOT", tmp_path)
    monkeypatch.setattr("tests.tidy.sources.ROOT", tmp_path)
    return tmp_path / "src" / "with_expressions.py"


@pytest.mark.parametrize(
    "source",
    [
        "from re import compile\nA = compile('a')",
        "import re as other\nA = other.compile('a')",
        "import re\ndef f(given): return re.search(given, 'a')",
        "import re\nA = [re.compile(each) for each in 'abc']",
        "import re\nA = re.compile(re.compile('a'))",
    ],
)
def test_an_expression_that_cannot_be_told_is_no_expression_here(module: Path, source: str) -> None:
    module.write_text(source)
    with pytest.raises(patterns.UncollectedError, match=r"with_expressions\.py:"):
        list(patterns.of_sources([module]))


def test_expressions_are_told_wherever_they_stand(module: Path) -> None:
    module.write_text(
        "import re\nWORD = 'w+'\nA = re.compile(f'^{WORD}$', re.IGNORECASE)\n"
        "class B:\n    def f(self, text):\n        return re.sub(rb'b', b'', text) or re.split('c', text)\n"
        "D = lambda text: re.match(pattern='d' + WORD, string=text, flags=re.DOTALL)\n"
    )
    found = {(pattern.text, pattern.flags) for pattern in patterns.of_sources([module])}
    assert found == {("^w+$", re.IGNORECASE), (b"b", 0), ("c", 0), ("dw+", re.DOTALL)}


@pytest.mark.slow
def test_expressions_of_schemas_are_among_all() -> None:
    texts = {pattern.text for pattern in patterns.of_package()}
    assert {"^[0-9a-fA-F-]{36}$", "^CUSTOM_[A-Z0-9_]+$", "^[1-9][0-9]*$", "^req-[0-9a-f-]{36}$"} <= texts
