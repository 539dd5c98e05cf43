from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import create_engine, make_url, text

from tests.servers import binaries
from tests.servers.binaries import MARIADB, POSTGRESQL
from tests.servers.databases import fresh_database, with_driver
from tests.servers.keeper import ALIVE_FILE
from tests.servers.plugin import NewDatabase, NewServer, skip_or_fail
from tests.servers.session import (
    FOLDER_PREFIX,
    SESSION_VARIABLE,
    MissingServerError,
    open_folder,
    remove_abandoned,
    require_binaries,
    server_url,
)

ROOT = Path(__file__).parents[2]


def run_sql(url: str, *statements: str) -> list[object]:
    engine = create_engine(url)
    try:
        with engine.begin() as connection:
            results = [connection.execute(text(statement)) for statement in statements]
            return list(results[-1].scalars()) if results[-1].returns_rows else []
    finally:
        engine.dispose()


def test_each_kind_of_database_is_handed_out_empty_and_writable(database_url: str) -> None:
    statements = ("CREATE TABLE boats (id INTEGER)", "INSERT INTO boats VALUES (7)", "SELECT id FROM boats")
    assert run_sql(database_url, *statements) == [7]


def test_two_databases_of_one_test_do_not_share_tables(new_database: NewDatabase) -> None:
    first, second = new_database("sqlite"), new_database("sqlite")
    for url in (first, second):
        assert run_sql(url, "CREATE TABLE boats (id INTEGER)", "SELECT COUNT(*) FROM boats") == [0]


@pytest.mark.databases
@pytest.mark.parametrize("kind", [POSTGRESQL, MARIADB])
def test_a_database_goes_even_if_a_transaction_is_left_open_in_it(kind: str, tmp_path: Path) -> None:
    engine = None
    with fresh_database(kind, tmp_path) as url:
        run_sql(url, "CREATE TABLE boats (id INTEGER)")
        engine = create_engine(url)
        left_open = engine.connect()
        left_open.execute(text("INSERT INTO boats VALUES (1)"))
        name = make_url(url).database
    left_open.invalidate()
    left_open.close()
    engine.dispose()
    names = "SELECT datname FROM pg_database" if kind == POSTGRESQL else "SHOW DATABASES"
    assert name not in run_sql(with_driver(server_url(kind)).render_as_string(False), names)


@pytest.mark.databases
@pytest.mark.slow
@pytest.mark.parametrize("kind", [POSTGRESQL, MARIADB])
def test_what_was_committed_outlives_the_kill_of_a_server(kind: str, own_server: NewServer) -> None:
    server = own_server(kind)
    run_sql(server.url, "CREATE TABLE boats (id INTEGER)", "INSERT INTO boats VALUES (7)")
    url = server.url
    server.kill()
    server.start()
    assert server.url == url
    assert run_sql(url, "SELECT id FROM boats") == [7]


def test_a_server_named_in_the_environment_takes_precedence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOORAGE_TEST_POSTGRESQL", "postgresql://someone@db.example/postgres")
    assert server_url(POSTGRESQL) == "postgresql://someone@db.example/postgres"


@pytest.mark.parametrize(
    ("given", "driver"),
    [
        ("postgresql://u@h/d", "postgresql+psycopg"),
        ("mysql://u@h/d", "mysql+pymysql"),
        ("mariadb+mysqldb://u@h/d", "mysql+pymysql"),
    ],
)
def test_a_url_with_any_driver_is_used_with_our_own(given: str, driver: str) -> None:
    assert with_driver(given).drivername == driver


def test_packages_are_named_for_what_is_neither_installed_nor_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(binaries, "find", lambda kind: None)
    assert binaries.missing({}) == [POSTGRESQL, MARIADB]
    assert binaries.missing({"MOORAGE_TEST_MYSQL": "mysql://u@h/d"}) == [POSTGRESQL]


def test_temporary_files_go_with_the_session(tmp_path: Path) -> None:
    session = Path(os.environ[SESSION_VARIABLE])
    assert Path(tempfile.gettempdir()) == Path(os.environ["TMPDIR"]) == session / "temporary"
    # What a failed test leaves can be looked at.
    assert session not in tmp_path.parents


SESSION_OF_ITS_OWN = textwrap.dedent(
    """
    import os, pathlib, signal
    import pytest

    @pytest.mark.parametrize("turn", range(4))
    def test_one_server_serves_all_workers(turn, postgresql_url, request):
        import sqlalchemy
        url = sqlalchemy.make_url(postgresql_url)
        pathlib.Path(os.environ["PORTS"], f"{url.port}-{turn}").touch()
        if os.environ.get("KILLED") and turn == 3:
            os.kill(os.getppid() if hasattr(request.config, "workerinput") else os.getpid(), signal.SIGKILL)
    """
)


def run_session(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run pytest on a test file of its own, with the fixtures of this package."""
    (folder / "conftest.py").write_text('pytest_plugins = ["tests.servers.plugin"]\n')
    (folder / "test_of_a_session.py").write_text(SESSION_OF_ITS_OWN)
    (folder / "pytest.ini").write_text(
        f"[pytest]\npythonpath = {ROOT}\nmarkers = databases: needs a server\nfilterwarnings = error\n"
    )
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PYTEST_", "COV", SESSION_VARIABLE, "MOORAGE_TEST_"))
    }
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments, str(folder)],
        cwd=folder,
        env=environment | {"PORTS": str(folder), "TMPDIR": str(folder), "CI": ""} | variables,
        capture_output=True,
        text=True,
        check=False,
    )


def ports(folder: Path) -> set[str]:
    return {path.name.partition("-")[0] for path in folder.glob("[0-9]*-[0-3]")}


@pytest.fixture
def open_tmp_path() -> Iterator[Path]:
    """A folder that other users may pass through, as pytest's own are not."""
    folder = open_folder()
    yield folder
    shutil.rmtree(folder)


def answers(port: str) -> bool:
    try:
        psycopg.connect(host="127.0.0.1", port=port, user="moorage", dbname="postgres").close()
    except psycopg.OperationalError:
        return False
    return True


@pytest.mark.databases
@pytest.mark.slow
def test_worker_processes_share_one_server_and_it_ends_with_the_session(open_tmp_path: Path) -> None:
    binaries_required()
    result = run_session(open_tmp_path, "-n2")
    assert result.returncode == 0, result.stdout
    assert "4 passed" in result.stdout
    (port,) = ports(open_tmp_path)
    assert not answers(port)
    assert not list(open_tmp_path.glob("moorage-servers-*"))


@pytest.mark.databases
@pytest.mark.slow
def test_the_server_ends_when_the_session_is_killed(open_tmp_path: Path) -> None:
    binaries_required()
    result = run_session(open_tmp_path, KILLED="yes")
    assert result.returncode == -9
    (port,) = ports(open_tmp_path)
    (session,) = open_tmp_path.glob("moorage-servers-*")
    for _ in range(600):
        if not (session / POSTGRESQL).exists():
            break
        subprocess.run(["sleep", "0.05"], check=True)
    assert not answers(port)


def binaries_required() -> None:
    """Skips as the fixtures do; the sessions below start servers by themselves."""
    try:
        require_binaries(POSTGRESQL)
    except MissingServerError as missing:
        skip_or_fail(missing)


WITHOUT_BINARIES = (
    "import tests.servers.binaries, tests.servers.session\ntests.servers.session.find = lambda kind: None\n"
)


def run_without_binaries(folder: Path, ci: str) -> subprocess.CompletedProcess[str]:
    (folder / "without_binaries.py").write_text(WITHOUT_BINARIES)
    return run_session(folder, "-p", "without_binaries", PYTHONPATH=f"{folder}:{ROOT}", CI=ci)


@pytest.mark.slow
def test_without_binaries_one_line_says_what_was_skipped_and_how_to_enable_it(tmp_path: Path) -> None:
    result = run_without_binaries(tmp_path, ci="")
    assert result.returncode == 0, result.stdout
    (line,) = (line for line in result.stdout.splitlines() if line.startswith("Database tests skipped"))
    assert line.startswith("Database tests skipped: 4 of PostgreSQL (install the package postgresql, or set ")
    assert "MOORAGE_TEST_POSTGRESQL" in line


@pytest.mark.slow
def test_in_ci_a_missing_server_is_a_failure(tmp_path: Path) -> None:
    result = run_without_binaries(tmp_path, ci="true")
    assert result.returncode == 1
    assert "4 errors" in result.stdout
    assert "MOORAGE_TEST_POSTGRESQL" in result.stdout


def test_only_abandoned_folders_of_sessions_are_removed(tmp_path: Path) -> None:
    names = ["abandoned", "in-use", "new"]
    folders = {name: tmp_path / f"{FOLDER_PREFIX}{name}" for name in names}
    for folder in folders.values():
        folder.mkdir()
        (folder / ALIVE_FILE).touch()
    for name in ("abandoned", "in-use"):
        os.utime(folders[name], (0, 0))
    with (folders["in-use"] / ALIVE_FILE).open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        remove_abandoned(tmp_path)
    assert [name for name in names if folders[name].exists()] == ["in-use", "new"]


def test_a_server_that_cannot_start_says_what_it_logged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SESSION_VARIABLE, str(tmp_path))
    monkeypatch.delenv("MOORAGE_TEST_MYSQL", raising=False)
    (tmp_path / f"{MARIADB}.json").write_text(json.dumps({"error": "MariaDB does not start:\nno space"}))
    monkeypatch.setattr("tests.servers.session.find", lambda kind: object())
    with pytest.raises(RuntimeError, match="no space"):
        server_url(MARIADB)
