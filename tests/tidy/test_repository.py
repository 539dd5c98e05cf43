"""Nothing of one machine, and nothing half done, stands in what is tracked."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tidy.sources import ROOT, label, repository_files

OF_ONE_MACHINE = re.compile(
    r"(?<![\w.])/(?:root|home/\w+|work|Users/\w+|opt/(?:pypi|wheels))(?=/|[\"'\s]|$)"
    r"|\bfile:///|\b(?:extra-)?index-url\s*=|\bfind-links\s*=|pythonhosted"
)
HALF_DONE = re.compile(r"\b(?:TODO|FIXME|XXX|HACK)\b")

EXEMPT = {Path("LICENSE"), Path("tests/tidy/test_repository.py")}


def lines_with(pattern: re.Pattern[str], text: str) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(text.splitlines(), start=1):
        if pattern.search(line):
            yield number, line.strip()


def places(pattern: re.Pattern[str]) -> list[str]:
    found: list[str] = []
    for path in repository_files():
        if path.relative_to(ROOT) in EXEMPT:
            continue
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        found.extend(f"{label(path, number)} {line}" for number, line in lines_with(pattern, text))
    return found


def test_no_file_names_a_path_or_an_index_of_one_machine() -> None:
    assert not places(OF_ONE_MACHINE)


def test_no_file_says_that_something_is_still_to_be_done() -> None:
    assert not places(HALF_DONE)


@pytest.mark.parametrize(
    "line",
    [
        "see /root/notes.txt",
        'open("/home/someone/x")',
        "file:///srv/index",
        "find-links = x",
        "index-url=https://mirror.example/",
    ],
)
def test_what_belongs_to_one_machine_is_recognised(line: str) -> None:
    assert OF_ONE_MACHINE.search(line)


@pytest.mark.parametrize("line", ["GET /work-items", "src/root/x", "--no-emit-index-url", "framework/"])
def test_other_paths_are_not_taken_for_one_machine(line: str) -> None:
    assert not OF_ONE_MACHINE.search(line)


def test_unfinished_work_is_recognised() -> None:
    assert HALF_DONE.search("# TODO later")
    assert not HALF_DONE.search("todo lists are fine as a word")


def test_every_target_of_the_makefile_for_people_is_in_its_help() -> None:
    makefile = (ROOT / "Makefile").read_text()
    helped = set(re.findall(r"^([a-z-]+):.*## \S", makefile, re.MULTILINE))
    assert {"run", "test", "check", "bench", "lock", "docs", "clean", "help"} <= helped
