"""``moorage verify`` as an operator runs it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import sqlalchemy as sa
from click.testing import CliRunner, Result

from moorage.cli.main import main
from moorage.cli.shared.exits import NO, REFUSED
from moorage.cli.verify import SHOWN_FINDINGS
from moorage.store.tables import inventories

HOSTS = "providers:\n" + "".join(
    f"  - {{name: host{number}, inventories: {{VCPU: 8}}}}\n" for number in range(SHOWN_FINDINGS + 2)
)


@pytest.fixture(autouse=True)
def _account(default_database: Path) -> None:
    Path("hosts.yaml").write_text(HOSTS)
    assert run("load", "hosts.yaml", "--data-dir", "moorage-data").exit_code == 0


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


def damage(statement: sa.Update) -> None:
    engine = sa.create_engine("sqlite:///moorage-data/moorage.sqlite", poolclass=sa.pool.NullPool)
    with engine.begin() as connection:
        connection.execute(statement)


def test_sound_account_is_told_as_such_with_status_zero() -> None:
    result = run("verify", "--follow", "0")
    assert result.exit_code == 0
    assert result.stderr.splitlines()[1:] == []
    assert "as it must be" in result.stdout
    assert result.stdout.splitlines()[-1] == "No difference. The index followed 0 writes meanwhile."


def test_differences_are_told_in_words_with_status_three_and_not_all_unless_asked_for() -> None:
    damage(inventories.update().values(step_size=0))
    result = run("verify", "--follow", "0")
    assert result.exit_code == NO
    assert result.stdout.count("DIFFERENCE: inventories: inventory of VCPU of provider") == SHOWN_FINDINGS
    assert "... inventories: 2 more (--all shows them)" in result.stdout
    # The journal tells of each as well.
    assert f"{2 * (SHOWN_FINDINGS + 2)} differences. The index" in result.stdout
    result = run("verify", "--follow", "0", "--all")
    assert result.stdout.count("DIFFERENCE: ") == 2 * (SHOWN_FINDINGS + 2)


def test_one_warning_alone_is_status_zero() -> None:
    claim = "consumers: [{name: c, project: p, user: u, allocations: {host0: {VCPU: 8}}}]\n"
    Path("claim.yaml").write_text(HOSTS + claim)
    assert run("load", "claim.yaml", "--data-dir", "moorage-data").exit_code == 0
    damage(inventories.update().values(total=7))
    assert run("db", "new-history").exit_code == 0
    result = run("verify", "--follow", "0")
    assert result.exit_code == 0
    assert "warning: usage: use of VCPU of provider" in result.stdout
    assert "No difference, 1 warning." in result.stdout
    damage(inventories.update().where(inventories.c.id == 1).values(step_size=0))
    assert "1 difference, 1 warning." in run("verify", "--follow", "0").stdout


def test_json_holds_everything() -> None:
    damage(inventories.update().values(step_size=0))
    result = run("verify", "--follow", "0", "--json")
    assert result.exit_code == NO
    found = json.loads(result.stdout)
    assert (found["differences"], found["warnings"], found["followed"]) == (2 * (SHOWN_FINDINGS + 2), 0, 0)
    journal, check = [check for check in found["checks"] if check["findings"]]
    assert (journal["name"], check["name"]) == ("journal", "inventories")
    assert check["findings"][0]["message"] == "has step_size 0, the least is 1"


def test_what_cannot_be_verified_is_status_one() -> None:
    Path("empty.sqlite").touch()
    result = run("verify", "--database", "sqlite:///empty.sqlite")
    assert result.exit_code == REFUSED
    assert result.stderr.splitlines()[1].startswith("Not verified: the database has no tables of Moorage")
    result = run("verify", "--database", "nonsense")
    assert result.exit_code == REFUSED
    result = run("--debug", "verify", "--database", "nonsense")
    assert (result.exit_code, "Traceback" in result.stderr) == (REFUSED, True)


def test_error_that_nobody_foresaw_is_status_one_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("oh")

    monkeypatch.setattr("moorage.cli.verify.verify_account", broken)
    result = run("verify")
    assert result.exit_code == REFUSED
    assert "Not verified: Unexpected RuntimeError: oh" in result.stderr


def test_db_sync_names_rows_that_it_cannot_heal_with_status_one() -> None:
    damage(inventories.update().where(inventories.c.id == 1).values(step_size=0))
    result = run("db", "sync", "--data-dir", "moorage-data")
    assert result.exit_code == REFUSED
    assert "the rows of the database are damaged" in result.stderr
    assert "(inventories, rows with id 1). Correct or delete these rows" in result.stderr
