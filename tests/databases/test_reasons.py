"""Why a database refuses is told by codes and classes, with the drivers' words and without a password."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import psycopg
import pymysql
import pytest
import sqlalchemy as sa
from psycopg.pq import Ping

from moorage.model.errors import UnavailableError, UnusableDatabaseError
from moorage.store import reasons
from moorage.store.reasons import reason_of, without_secret
from moorage.store.settings import StoreSettings
from moorage.store.sql.errors import ConnectionLostError, translate
from moorage.store.store import Store
from moorage.store.waiting import Waiting
from tests.servers.binaries import POSTGRESQL
from tests.servers.ports import free_port
from tests.servers.throwaway import ThrowAwayServer
from tests.table import each

SECRET = "hunter2"
PLACE = sa.make_url(f"postgresql+psycopg://me:{SECRET}@h/n")

Change = Callable[[sa.URL], sa.URL]


def told(url: sa.URL) -> tuple[str, str]:
    """Reason and words of a database that cannot be used."""
    settings = StoreSettings(url.render_as_string(hide_password=False), connect_retries=0)
    with closing(Store(settings)) as store, pytest.raises(UnusableDatabaseError) as refused:
        store.patiently(store.check_schema)
    assert SECRET not in refused.value.in_full()
    assert refused.value.words.startswith(f"{url.render_as_string()}: ")
    return refused.value.reason.removesuffix(" (tried 1 times)"), refused.value.words


REFUSALS: dict[str, tuple[Change, str, str]] = {
    "another host": (lambda url: url.set(host="nowhere.invalid"), reasons.NO_HOST, ""),
    "another port": (lambda url: url.set(port=free_port()), reasons.NOT_LISTENING, ""),
}


def refusals(url: sa.URL, more: dict[str, tuple[Change, str, str]]) -> None:
    for change, reason, word in {**REFUSALS, **more}.values():
        what, words = told(change(url))
        assert (what, word in words) == (reason, True), words


def test_mariadb_tells_apart_why_it_refuses(mariadb_url: str, tmp_path: Path) -> None:
    unknown = "moorage_no_such_database"
    refusals(
        sa.make_url(mariadb_url),
        {
            "password": (lambda url: url.set(password=SECRET), reasons.BAD_LOGIN, "1045"),
            "user": (lambda url: url.set(username="stranger", password=SECRET), reasons.BAD_LOGIN, "1045"),
            "database": (lambda url: url.set(database=unknown), reasons.NO_DATABASE, "1049"),
            "TLS": (lambda url: url.set(query={"ssl_verify_cert": "true"}), reasons.NO_TLS, ""),
        },
    )


@pytest.mark.slow
def test_postgresql_tells_apart_a_refusal_from_an_address_where_nothing_listens(
    own_server: Callable[[str], ThrowAwayServer],
) -> None:
    server = own_server(POSTGRESQL)
    url = sa.make_url(server.url)
    rules = server.folder / "data" / "pg_hba.conf"
    rules.write_text(f"host all locked 127.0.0.1/32 scram-sha-256\n{rules.read_text()}")
    with closing(
        psycopg.connect(host="127.0.0.1", port=server.port, user=url.username, dbname=url.database)
    ) as connection:
        connection.execute("CREATE ROLE locked LOGIN PASSWORD 'right'")
        connection.execute("SELECT pg_reload_conf()")
        connection.commit()
    refusals(
        url,
        {
            "password": (
                lambda url: url.set(username="locked", password=SECRET),
                reasons.REFUSED,
                '"locked"',
            ),
            "role": (lambda url: url.set(username="stranger"), reasons.REFUSED, '"stranger"'),
            "database": (lambda url: url.set(database="nothing"), reasons.REFUSED, '"nothing"'),
            "TLS": (lambda url: url.set(query={"sslmode": "require"}), reasons.NO_TLS, "SSL"),
            "parameter": (lambda url: url.set(query={"sslmode": "odd"}), reasons.BAD_PARAMETERS, "odd"),
        },
    )


# What servers here do not do of themselves.


def mysql_error(number: int, below: BaseException | None = None) -> pymysql.Error:
    error = pymysql.err.OperationalError(number, f"some words with {SECRET}")
    if below is not None:
        error.original_exception = below
    return error


@each(
    ("error", "what"),
    [
        (mysql_error(2003, TimeoutError()), reasons.NO_ANSWER),
        (mysql_error(2003, FileNotFoundError()), reasons.NOT_LISTENING),
        (mysql_error(1040), reasons.TOO_MANY),
        (mysql_error(9999), reasons.REFUSES_WORK),
        (pymysql.err.OperationalError(), reasons.REFUSES_WORK),
        (psycopg.errors.lookup("28P01")("some words"), reasons.BAD_LOGIN),
        (psycopg.errors.lookup("3D000")("some words"), reasons.NO_DATABASE),
        (psycopg.errors.lookup("57014")("some words"), reasons.REFUSES_WORK),
        (psycopg.errors.ConnectionTimeout("some words"), reasons.NO_ANSWER),
        (
            UnavailableError("no database connection was free in time"),
            "no database connection was free in time",
        ),
        (ConnectionLostError(), reasons.LOST),
        (RuntimeError(), reasons.REFUSES_WORK),
    ],
)
def test_each_code_has_its_reason(error: Exception, what: str) -> None:
    above = ConnectionLostError()
    above.__cause__ = error
    raised = error if isinstance(error, UnavailableError | RuntimeError | ConnectionLostError) else above
    reason = reason_of(raised, PLACE)
    assert reason.what == what
    assert SECRET not in str(reason)


@each(
    ("answers", "query", "what"),
    [
        ([Ping.REJECT], "", reasons.STARTING),
        ([Ping.NO_RESPONSE, Ping.OK], "?sslmode=require", reasons.NO_TLS),
        ([Ping.NO_RESPONSE, Ping.NO_RESPONSE], "?sslmode=require", reasons.NOT_LISTENING),
    ],
)
def test_what_a_ping_answers_tells_of_a_connection_without_a_code(
    answers: list[Ping], query: str, what: str
) -> None:
    left = list(answers)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reasons, "_ping", lambda _: left.pop(0))
        url = sa.make_url(f"postgresql+psycopg://me@127.0.0.1/n{query}")
        assert reason_of(psycopg.OperationalError("no code"), url).what == what
    assert not left


def test_a_user_without_rights_is_told_of_and_not_only_by_the_name_of_a_class() -> None:
    error = sa.exc.ProgrammingError("CREATE", {}, psycopg.errors.lookup("42501")("some words"))
    translated = translate(error)
    assert isinstance(translated, UnavailableError)
    translated.__cause__ = error
    assert reason_of(translated, PLACE) == (reasons.NO_ACCESS, "42501 some words")


def test_a_file_that_is_no_database_or_cannot_be_opened_is_told(tmp_path: Path) -> None:
    path = tmp_path / "text.sqlite"
    path.write_text("this is no database, and long enough to be looked at as one " * 20)
    assert told(sa.make_url(f"sqlite:///{path}"))[0].startswith("its file holds no SQLite database: ")
    (tmp_path / "folder.sqlite").mkdir()
    what, words = told(sa.make_url(f"sqlite:///{tmp_path}/folder.sqlite"))
    assert what.startswith("its file cannot be opened: ")
    assert "SQLITE_CANTOPEN" in words


@each(
    ("text", "shown"),
    [
        (f"cannot use {SECRET}.", "cannot use ***."),
        ("password=other", "password=***"),
        ("two\n lines", "two lines"),
        (f"inside{SECRET}word", f"inside{SECRET}word"),
    ],
)
def test_words_carry_no_password(text: str, shown: str) -> None:
    assert without_secret(text, PLACE) == shown
    coded = sa.make_url("mysql://me:p%40ss+word%2F@h/n")
    for form in ("p@ss+word/", "p%40ss%2Bword%2F"):
        assert without_secret(f"bad {form} here", coded) == "bad *** here"
    same = sa.make_url("mysql://placement:placement@h/placement")
    assert without_secret("user 'placement'", same) == "user 'placement'"


def test_a_changed_reason_is_told_at_once_and_one_that_stays_now_and_then(
    caplog: pytest.LogCaptureFixture,
) -> None:
    settings = StoreSettings("sqlite:///x", connect_retries=-1, connect_retry_seconds=20)
    waiting = Waiting(settings, PLACE)
    causes = [mysql_error(1045)] * 7 + [mysql_error(1049)] * 2 + [mysql_error(1045)]
    for cause in causes:
        above = UnavailableError("the database refused to work")
        above.__cause__ = cause
        assert waiting.pause_after(above) == 20
    waiting.end()
    told = [(line.partition(": ")[2].partition(" (")[0], line.rpartition("(")[2]) for line in caplog.messages]
    assert told[:-1] == [
        (reasons.BAD_LOGIN, "1, without end)."),
        (reasons.BAD_LOGIN, "4, without end)."),
        (reasons.BAD_LOGIN, "7, without end)."),
        (reasons.NO_DATABASE, "8, without end)."),
        (reasons.BAD_LOGIN, "10, without end)."),
    ]
    assert caplog.messages[-1].endswith("is there now.")
    assert SECRET not in caplog.text
