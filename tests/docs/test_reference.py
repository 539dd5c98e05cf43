"""The reference of the HTTP API is what the tables of the source give."""

from __future__ import annotations

from pathlib import Path

import pytest

from moorage.api.placement import versions
from moorage.api.placement.routes import ROUTES
from moorage.api.placement.versions import Since
from tools import generate_reference as reference


def test_the_reference_in_the_repository_is_what_the_tables_give() -> None:
    assert reference.stale(reference.FOLDER) == [], "run `make reference`"


def test_a_page_that_was_changed_or_lost_or_added_is_noticed_and_mended(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "api"
    assert reference.main([], folder) == 0
    assert reference.main(["--check"], folder) == 0
    assert capsys.readouterr().err == ""
    (folder / "routes.md").write_text("changed")
    (folder / "errors.md").unlink()
    (folder / "more.md").write_text("added")
    assert reference.main(["--check"], folder) == 1
    told = [Path(line.split()[0]).name for line in capsys.readouterr().err.splitlines()]
    assert told == ["errors.md", "more.md", "routes.md"]
    assert reference.main([], folder) == 0
    assert reference.main(["--check"], folder) == 0


def test_every_microversion_is_told_of() -> None:
    assert set(reference.BROUGHT) == set(range(versions.OLDEST, versions.NEWEST + 1))


def test_every_operation_is_on_the_pages_of_routes_with_its_rule() -> None:
    page = reference.pages()["routes.md"]
    for path, methods in ROUTES.items():
        for method, operation in methods.items():
            (line,) = [line for line in page.splitlines() if line.startswith(f"| `{method} {path}` |")]
            assert line.endswith("| open to all |" if operation.rule is None else f"| `{operation.rule}` |")


def test_a_version_is_said_to_change_what_its_schema_changes() -> None:
    page = reference.pages()["microversions.md"]
    sections = dict(section.split("\n", 1) for section in page.split("\n## ")[1:])
    assert "- body of `POST /allocations`: with `*.consumer_type`\n" in sections["1.38"]
    assert "- query of `GET /allocation_candidates`: with `same_subtree`\n" in sections["1.36"]
    assert "- new: `POST /reshaper`\n" in sections["1.30"]
    assert "`PUT /allocations/{consumer_uuid}`" not in sections["1.36"]


def test_changes_of_a_table_are_told_once_each() -> None:
    assert list(reference.steps(Since({3: "a", 5: "b"}))) == [(3, "a"), (5, "b")]


def test_names_within_lists_and_maps_are_told_as_paths() -> None:
    schema = {
        "type": "object",
        "properties": {"a": {"type": "array", "items": {"type": "object", "properties": {"b": {}}}}},
        "additionalProperties": {"type": "object", "properties": {"c": {}}},
    }
    assert list(reference.properties(schema)) == ["a", "a.[]", "a.[].b", "*.c"]
