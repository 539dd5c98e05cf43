"""The pages for operators are what the tables of the source give, and leave nothing out."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from oslo_config import cfg

from moorage.wiring.options import LIBRARY_OPTIONS, OPTIONS
from tools import generate_operations as operations


def test_the_pages_in_the_repository_are_what_the_tables_give() -> None:
    assert operations.stale(operations.FOLDER) == [], "run `make reference`"


def test_a_page_that_was_changed_or_lost_is_noticed_and_mended(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert operations.main(["--check"], tmp_path) == 1
    assert "configuration.md is not what the tables give" in capsys.readouterr().err
    assert operations.main([], tmp_path) == 0
    assert operations.main(["--check"], tmp_path) == 0
    (tmp_path / "configuration.md").write_text("changed")
    assert operations.main(["--check"], tmp_path) == 1


def test_every_option_is_in_the_reference_with_a_word_about_it() -> None:
    text = operations.configuration()
    documented = {
        (section, row[1])
        for section, body in re.findall(r"^## \[(\w+)\]\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
        for row in re.finditer(r"^\| `(\w+)` \| [^|]* \| \S.* \|$", body, re.MULTILINE)
    }
    assert documented == {
        (group, option.dest)
        for table in (OPTIONS, LIBRARY_OPTIONS)
        for group, options in table.items()
        for option in options
    }


@pytest.mark.parametrize(
    ("option", "shown"),
    [
        (cfg.StrOpt("a"), ""),
        (cfg.BoolOpt("a", default=False), "false"),
        (cfg.ListOpt("a", default=["x", "y"]), "`x,y`"),
        (cfg.StrOpt("a", default="x" * 70), f"`{'x' * 60}…`"),
        (cfg.StrOpt("a", default="here", sample_default="<there>"), "`<there>`"),
        (cfg.StrOpt("a", default="a|b"), r"`a\|b`"),
    ],
)
def test_a_default_is_shown_as_a_file_would_say_it(option: cfg.Opt, shown: str) -> None:
    assert operations.default_of(option) == shown
