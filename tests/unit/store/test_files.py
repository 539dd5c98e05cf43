"""Who may read the files of a SQLite database."""

from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from moorage.model.errors import UnavailableError
from moorage.store.files import file_to_be_made, make_private_file
from moorage.store.settings import StoreSettings
from moorage.store.store import Store
from moorage.wiring.settings import embedded_url
from tests.servers.file_locks import locks_on


@pytest.fixture(autouse=True)
def _open_umask() -> Iterator[None]:
    """Whatever is made without a word is for everybody."""
    before = os.umask(0)
    yield
    os.umask(before)


def modes(folder: Path) -> dict[str, int]:
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}


def test_all_files_of_a_new_database_and_its_folder_are_the_owners(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    store = Store(StoreSettings(embedded_url(folder)))
    store.migrate()
    assert modes(tmp_path) == {"data": 0o700}
    assert modes(folder) == dict.fromkeys(
        ["moorage.sqlite", "moorage.sqlite-wal", "moorage.sqlite-shm"], 0o600
    )
    store.close()
    with sqlite3.connect(folder / "moorage.sqlite", isolation_level=None) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("CREATE TABLE more (id INTEGER)")
        assert modes(folder) == dict.fromkeys(["moorage.sqlite", "moorage.sqlite-journal"], 0o600)
        connection.execute("ROLLBACK")
    connection.close()


def test_a_folder_that_a_url_names_is_made_for_the_owner(tmp_path: Path) -> None:
    store = Store(StoreSettings(f"sqlite:///{tmp_path}/named/moorage.sqlite"))
    # Nothing was asked of it.
    assert modes(tmp_path) == {}
    store.migrate()
    assert modes(tmp_path) == {"named": 0o700}
    store.close()


def test_what_is_there_keeps_its_mode_and_its_locks(tmp_path: Path) -> None:
    path = tmp_path / "moorage.sqlite"
    path.touch(0o640)
    tmp_path.chmod(0o755)
    store = Store(StoreSettings(embedded_url(tmp_path)))
    store.migrate()
    assert set(modes(tmp_path).values()) == {0o640}
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755
    held = locks_on(path)
    with store.engines.single.connect(), store.engines.single.connect():
        assert locks_on(path) == held != {}
    store.close()


def test_a_link_leads_to_a_file_of_the_owner(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "moorage.sqlite").symlink_to(tmp_path / "elsewhere" / "there.sqlite")
    store = Store(StoreSettings(f"sqlite:///{tmp_path}/moorage.sqlite"))
    store.migrate()
    assert set(modes(tmp_path / "elsewhere").values()) == {0o600}
    store.close()


def test_a_uri_makes_a_file_of_the_owner_or_none(tmp_path: Path) -> None:
    url = f"sqlite:///file:{tmp_path}/a%20b.sqlite?uri=true&mode="
    store = Store(StoreSettings(f"{url}rw"))
    with pytest.raises(UnavailableError):
        store.schema_version()
    store.close()
    assert modes(tmp_path) == {}
    store = Store(StoreSettings(f"{url}rwc"))
    store.migrate()
    assert modes(tmp_path)["a b.sqlite"] == 0o600
    store.close()


def test_a_system_that_refuses_to_make_a_node_gets_a_file_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "mknod", refuse)
    for _ in range(2):
        make_private_file(tmp_path / "moorage.sqlite")
    assert modes(tmp_path) == {"moorage.sqlite": 0o600}


def test_the_file_is_the_one_that_sqlite_opens() -> None:
    assert file_to_be_made(["/data/a?b.sqlite"], {}) == Path("/data/a?b.sqlite")
    assert file_to_be_made(["/data/a?mode=ro"], {"uri": True}) == Path("/data/a?mode=ro")
    assert file_to_be_made(["file:/data/a%3Fb?cache=shared"], {"uri": True}) == Path("/data/a?b")
    assert file_to_be_made(["file:/data/a?mode=ro"], {"uri": True}) is None
