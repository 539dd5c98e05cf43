"""What the names that deployments call lead to; the distribution itself is tested by tests/packaging."""

from __future__ import annotations

import io
import sqlite3
import tomllib
from contextlib import closing, redirect_stdout
from importlib import metadata
from pathlib import Path

import pytest
from oslo_policy import generator

import moorage
from moorage.cli import placement_names
from moorage.cli.placement_names import manage
from moorage.store.tables import PLACEMENT_REVISION
from moorage.wiring import policy
from moorage.wiring.both_names import NAMES, REFERENCE
from tests.table import each

ROOT = Path(__file__).parents[3]


def only(*installed: str) -> object:
    def distribution(name: str) -> object:
        if name not in installed:
            raise metadata.PackageNotFoundError(name)
        return object()

    return distribution


@pytest.fixture(autouse=True)
def _the_names_are_installed_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata, "distribution", only(NAMES))


@pytest.fixture
def named(etc: Path, tmp_path: Path) -> Path:
    """/etc/placement/placement.conf, which names the database that is returned, and is not made yet."""
    path = tmp_path / "named.sqlite"
    (etc / "placement.conf").write_text(f"[placement_database]\nconnection = sqlite:///{path}\n")
    return path


def test_the_schema_is_made_in_the_database_that_the_usual_file_names(
    named: Path, etc: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for command in (["db", "version"], ["db", "online_data_migrations"]):
        assert manage(command) == 1
    assert not named.exists()
    capsys.readouterr()
    assert manage(["db", "sync"]) == 0
    assert capsys.readouterr().err == f"Database: sqlite:///{named} ({etc}/placement.conf)\n"
    assert manage(["db", "version"]) == 0
    assert capsys.readouterr().out == f"{PLACEMENT_REVISION}\n"
    for count in ([], ["--max-count", "50"]):
        assert manage(["db", "online_data_migrations", *count]) == 0
    assert "Nothing to do" in capsys.readouterr().out


def test_data_that_are_left_are_migrated(named: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert manage(["db", "sync"]) == 0
    with closing(sqlite3.connect(named)) as foreign, foreign:
        foreign.execute("INSERT INTO resource_providers (uuid, name) VALUES ('u', 'old')")
    for command in (["db", "online_data_migrations"], ["db", "sync"]):
        capsys.readouterr()
        assert manage(command) == 0
        completed = "Completed: 1 providers without a root." in capsys.readouterr().out
        assert completed is (command[1] == "online_data_migrations")


def test_files_and_folders_are_taken_before_the_command(tmp_path: Path) -> None:
    parts = tmp_path / "parts"
    parts.mkdir()
    (parts / "more.conf").write_text(f"[placement_database]\nconnection = sqlite:///{tmp_path}/b.sqlite\n")
    for name in ("a.conf", "b.conf"):
        (tmp_path / name).write_text(
            f"[placement_database]\nconnection = sqlite:///{tmp_path}/a.sqlite\nmax_retries = 0\n"
        )
    files = ["--config-file", str(tmp_path / "a.conf"), f"--config-file={tmp_path}/b.conf"]
    assert manage([*files, "--config-dir", str(parts), "db", "sync"]) == 0
    assert (tmp_path / "b.sqlite").exists()
    assert not (tmp_path / "a.sqlite").exists()


def test_a_database_without_a_mark_has_the_version_that_placement_calls_it(
    named: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    named.touch()
    assert manage(["db", "version"]) == 0
    assert capsys.readouterr().out == "None\n"


@each(
    ("arguments", "status", "told"),
    [
        ([], 0, "usage: placement-manage"),
        (["db"], 0, "usage: placement-manage"),
        (["db", "stamp", "head"], 1, "cannot be stamped"),
        (["db", "online_data_migrations", "--max-count", "0"], 127, "Must supply a positive value"),
        (["db", "online_data_migrations", "--max-count", "x"], 127, "Must supply a positive value"),
        (["--config-file", "/nowhere/p.conf", "db", "sync"], 1, "does not exist"),
    ],
)
def test_what_cannot_be_done_is_told_with_the_status_that_the_tool_has(
    arguments: list[str], status: int, told: str, named: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert manage(arguments) == status
    captured = capsys.readouterr()
    assert told in captured.out + captured.err
    assert not named.exists()


def test_where_both_distributions_are_installed_every_name_refuses(
    named: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    placement_names.require_alone()
    monkeypatch.setattr(metadata, "distribution", only(NAMES, REFERENCE))
    with pytest.raises(ImportError, match=f"{NAMES} and {REFERENCE} are installed in the same environment"):
        placement_names.require_alone()
    assert manage(["db", "sync"]) == 1
    assert placement_names.status() == 255
    assert capsys.readouterr().err.count("are installed in the same environment") == 2
    assert not named.exists()


def test_the_check_is_that_of_moorage_status(
    named: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["placement-status", "upgrade", "check", "--json"])
    assert placement_names.status() == 1
    assert manage(["db", "sync"]) == 0
    assert placement_names.status() == 0
    capsys.readouterr()


def test_the_tools_for_policies_see_the_file_of_the_configuration(
    etc: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (etc / "placement.conf").write_text("[oslo_policy]\npolicy_file = own.yaml\n")
    checks = {rule.name: rule.check_str for rule in policy.default_rules()}
    same = f'"placement:traits:list": "{checks["placement:traits:list"]}"\n'
    (etc / "own.yaml").write_text(f'{same}"placement:traits:show": "role:mine"\n')
    monkeypatch.setattr(generator, "_get_enforcer", lambda _: policy.enforcer())
    with redirect_stdout(io.StringIO()) as redundant:
        generator._list_redundant("placement")
    assert "placement:traits:list" in redundant.getvalue()
    assert "placement:traits:show" not in redundant.getvalue()
    with redirect_stdout(io.StringIO()) as effective:
        generator._generate_policy("placement")
    assert all(f'"{name}"' in effective.getvalue() for name in checks)
    assert '"placement:traits:show": "role:mine"' in effective.getvalue()


def test_the_names_are_of_the_same_version() -> None:
    text = (ROOT / "distributions" / "placement-names" / "pyproject.toml").read_text()
    project = tomllib.loads(text)["project"]
    assert project["name"] == NAMES
    assert project["version"] == moorage.__version__
    assert project["dependencies"] == [f"moorage=={moorage.__version__}"]
