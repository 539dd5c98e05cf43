"""``moorage config`` and ``moorage-status upgrade check``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import sqlalchemy as sa
from click.testing import CliRunner

from moorage.cli import upgrade_check
from moorage.cli.main import main
from moorage.store import tables
from moorage.wiring import options
from moorage.wiring.config_files import ConfigFiles
from moorage.wiring.options import read_options
from tests.databases.prepared import prepare_schema

SUCCESS, WARNING, FAILURE = 0, 1, 2


def test_the_sample_has_every_option_and_can_be_used(tmp_path: Path) -> None:
    path = tmp_path / "sample.conf"
    result = CliRunner().invoke(main, ["config", "sample", "--output", str(path)])
    assert result.exit_code == 0
    text = path.read_text()
    for table in (options.OPTIONS, options.LIBRARY_OPTIONS):
        for group, listed in table.items():
            section = text.partition(f"\n[{group}]\n" if group != "DEFAULT" else "[DEFAULT]\n")[2]
            section = section.partition("\n[")[0]
            missing = [option.dest for option in listed if f"\n#{option.dest} =" not in section]
            # oslo.policy has withdrawn enforce_scope, and oslo.log publishes one option elsewhere.
            assert set(missing) <= {"enforce_scope", "policy_dirs"}, group
    read_options(ConfigFiles((path,)), environment={})
    assert CliRunner().invoke(main, ["config", "sample"]).output == text
    again = CliRunner().invoke(main, ["config", "sample", "--output", str(path)])
    assert again.exit_code == 1
    assert "exists. Nothing was written" in again.output
    assert path.read_text() == text


def test_a_check_tells_what_is_idle_and_what_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "placement.conf"
    path.write_text(
        "[placement_database]\nconnection = sqlite:////nowhere/x.sqlite\nslave_connection = sqlite:///y\n"
        "[api]\nauth_strategy = noauth2\n"
    )
    result = CliRunner().invoke(main, ["config", "check", "--config-file", str(path)])
    assert result.exit_code == 0
    idle, verdict = result.stdout.splitlines()
    assert idle.startswith("[placement_database] slave_connection has no effect: an answer shows every write")
    assert verdict == "The configuration can be used."
    assert result.stderr == f"Database: sqlite:////nowhere/x.sqlite ({path})\n"
    parts = tmp_path / "parts"
    parts.mkdir()
    (parts / "more.conf").write_text("[placement]\nmax_allocation_candidates = many\n")
    result = CliRunner().invoke(
        main, ["config", "check", "--config-file", str(path), "--config-dir", str(parts)]
    )
    assert result.exit_code == 1
    assert "[placement] max_allocation_candidates: " in result.output


def sqlite_path(url: str) -> Path:
    return Path(url.removeprefix("sqlite:///"))


def upgrade(url: str, capsys: pytest.CaptureFixture[str], **more: str) -> tuple[int, dict[str, str | None]]:
    """Exit status of the check, and the details of what did not succeed."""
    environment = {"OS_PLACEMENT_PLACEMENT_DATABASE__CONNECTION": url, **more}
    status = upgrade_check.main(["upgrade", "check", "--json"], environment)
    told = json.loads(capsys.readouterr().out)
    return status, {each["check"]: each["details"] for each in told["checks"] if each["result"] != SUCCESS}


def test_a_database_is_ready_once_it_is_synchronised(
    sqlite_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    status, told = upgrade(sqlite_url, capsys)
    assert (status, told.keys()) == (WARNING, {"Database Schema"})
    assert "does not exist: 'moorage db sync' makes it" in str(told["Database Schema"])
    sqlite_path(sqlite_url).touch()
    status, told = upgrade(sqlite_url, capsys)
    assert (status, told.keys()) == (WARNING, {"Database Schema"})
    assert "run 'moorage db sync'" in str(told["Database Schema"])
    assert not sqlite_path(sqlite_url).read_bytes()
    prepare_schema(sqlite_url)
    assert upgrade(sqlite_url, capsys) == (SUCCESS, {})


def test_rows_that_an_old_placement_left_incomplete_are_told_of(
    sqlite_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    prepare_schema(sqlite_url)
    engine = sa.create_engine(sqlite_url)
    with engine.begin() as connection:
        connection.execute(tables.resource_providers.insert().values(id=1, uuid="a" * 36, name="a"))
        row = {"resource_provider_id": 1, "consumer_id": "c" * 36, "resource_class_id": 0, "used": 1}
        connection.execute(tables.allocations.insert().values(row))
    engine.dispose()
    status, told = upgrade(sqlite_url, capsys)
    assert status == WARNING
    assert str(told["Missing Root Provider IDs"]).startswith("1 providers have no root")
    assert str(told["Incomplete Consumers"]).startswith("1 consumers hold something")


def test_a_database_of_something_else_and_a_bad_value_are_failures(
    sqlite_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    engine = sa.create_engine(sqlite_url)
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE project (id INTEGER)"))
    engine.dispose()
    status, told = upgrade(sqlite_url, capsys)
    assert (status, told.keys()) == (FAILURE, {"Database Schema"})
    assert "belongs to something else" in str(told["Database Schema"])
    status, told = upgrade(sqlite_url, capsys, OS_PLACEMENT_PLACEMENT_DATABASE__MAX_POOL_SIZE="x")
    assert status == FAILURE
    assert "max_pool_size" in str(told["Configuration"]).lower()
    status, told = upgrade("", capsys)
    assert str(told["Database Schema"]).startswith("[placement_database] connection is empty (OS_PLACEMENT_")


def test_a_check_that_cannot_begin_says_why_with_a_status_of_its_own(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert upgrade_check.main(["--config-file", str(tmp_path / "none"), "upgrade", "check"], {}) == 255
    assert "The configuration file" in capsys.readouterr().err
