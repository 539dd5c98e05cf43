"""``moorage policy``."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from moorage.api.placement.routes import ROUTES
from moorage.auth.rules import DESCRIPTIONS
from moorage.cli.main import main


@pytest.fixture(autouse=True)
def _nothing_configured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("OS_PLACEMENT_CONFIG_DIR", "")
    monkeypatch.setenv("HOME", str(tmp_path))
    # So wide that no rule goes on in the next line.
    monkeypatch.setenv("COLUMNS", "500")


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["policy", *arguments])


def columns(result: Result) -> dict[str, list[str]]:
    assert result.exit_code == 0, result.output
    rows = [line.split("  ") for line in result.stdout.splitlines()]
    return {row[0].strip(): [cell.strip() for cell in row[1:] if cell.strip()] for row in rows}


def test_every_rule_that_the_api_asks_is_described_and_no_other() -> None:
    asked = {operation.rule for methods in ROUTES.values() for operation in methods.values()} - {None}
    assert asked == DESCRIPTIONS.keys()


def test_the_list_has_all_rules_with_their_defaults() -> None:
    found = columns(run("list"))
    assert found.keys() > DESCRIPTIONS.keys()
    assert found["placement:usages"] == ["rule:admin_or_project_reader_or_service_api", "default"]


def test_the_list_shows_what_files_say_and_names_rules_that_nothing_asks_for(tmp_path: Path) -> None:
    (tmp_path / "placement.conf").write_text("[oslo_policy]\npolicy_file = mine.yaml\n")
    (tmp_path / "mine.yaml").write_text('"placement:usages": "role:boss"\n"placement:usage": "role:boss"\n')
    result = run("list", "--config-file", str(tmp_path / "placement.conf"))
    assert columns(result)["placement:usages"] == ["role:boss", "policy file"]
    assert result.stderr == "Unknown rule in a policy file: placement:usage\n"


def test_files_of_a_configuration_directory_count(tmp_path: Path) -> None:
    folder = tmp_path / "parts"
    folder.mkdir()
    (folder / "policy.conf").write_text(f"[oslo_policy]\npolicy_file = {tmp_path}/mine.yaml\n")
    (tmp_path / "mine.yaml").write_text('"placement:usages": "role:boss"\n')
    assert columns(run("list", "--config-dir", str(folder)))["placement:usages"][0] == "role:boss"


def test_the_list_shows_what_a_role_may_do() -> None:
    found = columns(run("list", "--role", "reader"))
    assert found["placement:usages"][-1] == "own project"
    assert found["placement:traits:list"][-1] == "no"
    assert columns(run("list", "--role", "x", "--role", "admin"))["placement:traits:list"][-1] == "yes"
    assert columns(run("list", "--role", "admin", "--system"))["placement:traits:list"][-1] == "no"


def test_a_system_without_a_role_is_a_wrong_command_line() -> None:
    assert run("list", "--system").exit_code == 2


def test_a_file_that_is_not_there_is_told_of(tmp_path: Path) -> None:
    result = run("list", "--config-file", str(tmp_path / "none.conf"))
    assert result.exit_code == 1
    assert "does not exist" in result.stderr


def test_the_sample_without_its_marks_is_a_policy_that_says_the_same_as_the_defaults(
    tmp_path: Path,
) -> None:
    printed = run("sample").stdout
    assert yaml.safe_load(printed) is None
    text = "".join(
        f"{line.removeprefix('#')}\n" if line.startswith('#"') else f"{line}\n"
        for line in printed.splitlines()
    )
    assert yaml.safe_load(text).keys() > DESCRIPTIONS.keys()
    (tmp_path / "placement.conf").write_text("[oslo_policy]\npolicy_file = all.yaml\n")
    (tmp_path / "all.yaml").write_text(text)
    stated = columns(run("list", "--config-file", str(tmp_path / "placement.conf"), "--role", "admin"))
    default = columns(run("list", "--role", "admin"))
    assert {name: row[-1] for name, row in stated.items()} == {name: row[-1] for name, row in default.items()}
