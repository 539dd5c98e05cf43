"""``moorage token``."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from moorage.cli.main import main
from tests.table import each

pytestmark = pytest.mark.usefixtures("default_database")


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["token", *arguments])


def create(*arguments: str) -> str:
    result = run("create", *arguments)
    assert result.exit_code == 0, result.output
    (text,) = result.stdout.splitlines()
    return text


def listed() -> list[dict[str, object]]:
    result = run("list", "--json")
    assert result.exit_code == 0, result.output
    found: list[dict[str, object]] = json.loads(result.stdout)
    return found


def test_a_token_is_shown_once_and_listed_without_its_secret() -> None:
    text = create("--role", "service", "--name", "nova", "--project", "cloud")
    (shown,) = listed()
    assert shown == {
        "id": text.split("_")[1],
        "name": "nova",
        "role": "service",
        "project_id": "cloud",
        "created_at": shown["created_at"],
        "expires_at": None,
        "revoked_at": None,
        "state": "valid",
    }
    table = run("list").stdout
    assert text.split("_", 2)[2] not in table
    assert table.splitlines()[1].split() == [
        *(shown["id"], "nova", "service", "cloud"),
        *(str(shown["created_at"])[:10], str(shown["created_at"])[11:16], "never", "valid"),
    ]


def test_only_the_token_goes_to_stdout_and_what_else_is_to_be_known_to_stderr() -> None:
    result = run("create", "--role", "admin", "--expires", "12h")
    assert result.stdout.startswith("moorage_")
    assert "It is not shown again." in result.stderr
    assert "sets auth_strategy = token in [api]" in result.stderr
    assert "of this command it is not set." in result.stderr
    assert result.stdout.strip() not in result.stderr


def test_a_member_is_told_of_self_service_where_it_is_off(monkeypatch: pytest.MonkeyPatch) -> None:
    told = "Without self_service in [moorage] a member may do no more than a reader."
    arguments = ("create", "--role", "member", "--project", "lab")
    assert told in run(*arguments).stderr
    monkeypatch.setenv("OS_PLACEMENT_MOORAGE__SELF_SERVICE", "true")
    assert told not in run(*arguments).stderr
    assert {shown["project_id"] for shown in listed()} == {"lab"}


def test_another_strategy_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OS_PLACEMENT_API__AUTH_STRATEGY", "noauth2")
    assert "of this command it is noauth2." in run("create", "--role", "admin").stderr


def test_nothing_is_said_of_the_strategy_where_it_is_the_right_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OS_PLACEMENT_API__AUTH_STRATEGY", "token")
    assert "auth_strategy" not in run("create", "--role", "admin").stderr


@pytest.mark.parametrize(
    ("given", "length"),
    [
        ("30m", timedelta(minutes=30)),
        ("12h", timedelta(hours=12)),
        ("2d", timedelta(days=2)),
        ("1w", timedelta(7)),
    ],
)
def test_a_token_may_end_after_a_length_of_time(given: str, length: timedelta) -> None:
    create("--role", "admin", "--expires", given)
    (shown,) = listed()
    created, expires = (datetime.fromisoformat(str(shown[name])) for name in ("created_at", "expires_at"))
    assert abs(expires - created - length) <= timedelta(seconds=1)


@pytest.mark.parametrize(
    ("given", "expires"),
    [
        ("2999-01-31", "2999-01-31T00:00:00+00:00"),
        ("2999-01-31T12:30", "2999-01-31T12:30:00+00:00"),
        ("2999-01-31T12:30:00+02:00", "2999-01-31T10:30:00+00:00"),
    ],
)
def test_a_token_may_end_at_a_time(given: str, expires: str) -> None:
    create("--role", "admin", "--expires", given)
    assert listed()[0]["expires_at"] == expires


@each(
    ("arguments", "told"),
    [
        ([], "Missing option '--role'"),
        (["--role", "owner"], "'owner' is not one of 'admin', 'service', 'reader', 'member'"),
        (["--role", "reader"], "A reader needs a project: name it with --project"),
        (["--role", "member"], "A member needs a project: name it with --project"),
        (["--role", "admin", "--expires", "soon"], "neither a length of time"),
        (["--role", "admin", "--expires", "0d"], "neither a length of time"),
        (["--role", "admin", "--expires", "9999999w"], "neither a length of time"),
        (["--role", "admin", "--expires", "2020-01-01"], "is in the past"),
        (["--role", "admin", "--name", ""], "1 to 255 printable characters"),
        (["--role", "admin", "--name", "x" * 256], "1 to 255 printable characters"),
        (["--role", "admin", "--project", "a\nb"], "1 to 255 printable characters"),
    ],
)
def test_a_wrong_command_line_gives_nothing_out(arguments: list[str], told: str) -> None:
    result = run("create", *arguments)
    assert result.exit_code == 2
    assert told in result.stderr
    assert listed() == []


def test_tokens_are_taken_back_by_their_ids_or_by_themselves() -> None:
    first, second = create("--role", "admin"), create("--role", "admin")
    result = run("revoke", first.split("_")[1], second)
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [f"Revoked: {text.split('_')[1]}" for text in (first, second)]
    assert [shown["state"] for shown in listed()] == ["revoked", "revoked"]


def test_an_unknown_token_is_told_of_and_the_others_are_taken_back() -> None:
    text = create("--role", "admin")
    result = run("revoke", "nothing", text)
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1] == "No such token: nothing."
    assert listed()[0]["state"] == "revoked"


def test_a_token_that_has_ended_is_listed_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    create("--role", "admin", "--expires", "1m")
    later = datetime.now(UTC).timestamp() + 61
    monkeypatch.setattr("moorage.cli.token.time.time", lambda: later)
    assert listed()[0]["state"] == "expired"


def test_a_named_database_has_to_have_its_schema(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/named.sqlite"
    result = run("create", "--role", "admin", "--database", url)
    assert result.exit_code == 1
    assert f"'moorage db sync --database {url}' makes it" in result.stderr
    assert not (tmp_path / "named.sqlite").exists()


def test_a_folder_that_is_named_gets_a_database_with_its_first_token_only(tmp_path: Path) -> None:
    assert run("list", "--data-dir", "new").exit_code == 1
    assert run("revoke", "nothing", "--data-dir", "new").exit_code == 1
    assert not (tmp_path / "new").exists()
    assert run("create", "--role", "admin", "--data-dir", "new").exit_code == 0
    assert run("list", "--data-dir", "new").exit_code == 0
