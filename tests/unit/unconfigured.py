"""A folder of its own for each test, where nothing is configured, and a default database."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from oslo_config import cfg

from moorage.wiring.settings import DEFAULT_DATA_DIRECTORY, EMBEDDED_FILE_NAME
from tests.databases.prepared import sqlite_template

__all__ = ["_nothing_configured", "default_database", "etc", "home", "sqlite_template"]

CONFIGURING = ("OS_", "MOORAGE_CONFIG")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """The home directory: the first of the usual places of placement.conf are in it."""
    path = tmp_path / "home"
    (path / ".placement").mkdir(parents=True, exist_ok=True)
    return path


@pytest.fixture
def etc(tmp_path: Path) -> Path:
    """The folder that stands for /etc/placement, the last of the usual places."""
    path = tmp_path / "etc-placement"
    path.mkdir(exist_ok=True)
    return path


@pytest.fixture(autouse=True)
def _nothing_configured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, home: Path, etc: Path) -> None:
    for variable in list(os.environ):
        if variable.startswith(CONFIGURING):
            monkeypatch.delenv(variable)
    monkeypatch.setenv("HOME", str(home))
    # What this machine has in /etc is none of a test's business.
    places = [str(home / ".placement"), str(home), str(etc)]
    monkeypatch.setattr(cfg, "_get_config_dirs", lambda project=None: places)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def default_database(_nothing_configured: None, sqlite_template: Path) -> Path:
    """The database that commands work on where nothing names one, made and empty."""
    path = DEFAULT_DATA_DIRECTORY / EMBEDDED_FILE_NAME
    path.parent.mkdir()
    shutil.copy(sqlite_template, path)
    return path
