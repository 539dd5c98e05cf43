"""A file that is no database, or a damaged one: a line with the reason and the remedy, and no traceback."""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa
from click.testing import CliRunner, Result
from oslo_db import exception as oslo
from oslo_db.sqlalchemy import exc_filters

from moorage.cli.main import main
from moorage.cli.shared.exits import REFUSED
from moorage.model.errors import SchemaError, UnusableDatabaseError
from moorage.store.sql.errors import translate
from moorage.store.waiting import Waiting
from moorage.wiring.parts import opened_store
from moorage.wiring.settings import Chosen, resolve

COMMANDS = (
    ("verify", "--follow", "0"),
    ("status",),
    ("db", "version"),
    ("db", "sync"),
    ("token", "list"),
)

PAGE = 4096


def text(path: Path) -> None:
    path.write_text("this is no database, and long enough to be looked at as one " * 200)


def half(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def one_page(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:PAGE])


def garbage(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:PAGE] + b"\xa5" * (len(content) - PAGE))


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


DAMAGE: dict[Callable[[Path], None], str] = {
    text: "its file holds no SQLite database: restore it from a backup, or name another one",
    half: "its file is damaged: restore it from a backup",
    one_page: "its file is damaged: restore it from a backup",
    garbage: "its file is damaged: restore it from a backup",
    folder: "its file cannot be opened: it must be a file that this user may read and write",
}


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("damage", DAMAGE, ids=lambda damage: damage.__name__)
def test_the_reason_and_the_remedy_are_one_line(
    damage: Callable[[Path], None],
    arguments: tuple[str, ...],
    default_database: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Waiting, "_tell", lambda *_: pytest.fail("to wait is no help"))
    damage(default_database)
    result = run(*arguments)
    assert result.exit_code == REFUSED
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 2
    assert DAMAGE[damage] in lines[1]
    assert "sqlite:///" in lines[1]
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (
            sqlite3.SQLITE_READONLY,
            "its file may not be written to: this user must have the right to write it",
        ),
        (sqlite3.SQLITE_FULL, "the disk is full"),
        (sqlite3.SQLITE_PERM, "its file may not be opened"),
        (sqlite3.SQLITE_IOERR | 1 << 8, "its file cannot be read or written"),
        (sqlite3.SQLITE_MISUSE, "it refuses to work"),
    ],
)
@pytest.mark.parametrize("wrapped", [False, True])
def test_each_error_of_the_driver_gets_its_reason_in_one_place(
    code: int, words: str, wrapped: bool, default_database: Path
) -> None:
    error = sqlite3.OperationalError("driver's words")
    error.sqlite_errorcode = code
    error.sqlite_errorname = "SQLITE_NAME"
    cause: Exception = oslo.DBError(sa.exc.OperationalError("SELECT", {}, error))
    settings = resolve(Chosen()).settings
    met = cause
    if wrapped:
        met = translate(cause)
        met.__cause__ = cause
    with pytest.raises(UnusableDatabaseError) as refused, opened_store(settings):
        raise met
    assert refused.value.reason.startswith(words)
    assert "SQLITE_NAME driver's words" in refused.value.in_full()


def test_what_is_not_of_the_driver_stays_as_it_is(default_database: Path) -> None:
    for error in (SchemaError("a reason"), KeyError("a mistake")):
        with pytest.raises(type(error)) as raised, opened_store(resolve(Chosen()).settings):
            raise error
        assert raised.value is error


def test_the_traceback_of_a_translated_error_is_not_logged_a_second_time(
    default_database: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with opened_store(resolve(Chosen()).settings):
        log = logging.getLogger(exc_filters.__name__)
        try:
            raise ValueError(os.devnull)
        except ValueError:
            log.exception("DBAPIError exception wrapped.")
        log.warning("Something else.")
    assert caplog.messages == ["Something else."]
