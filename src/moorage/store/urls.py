"""The URL of a database: what of it can be used here, and what a driver would refuse."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from sqlalchemy.dialects import plugins
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError

from moorage.model.errors import ConfigurationError

_DRIVERS: Final = {
    "sqlite": "sqlite",
    "postgresql": "postgresql+psycopg",
    "mysql": "mysql+pymysql",
    "mariadb": "mysql+pymysql",
}
"""The driver that this package installs, by kind of database. A URL may name any other."""

PLUGIN: Final = "plugin"
"""The parameter by which a URL asks SQLAlchemy for a plugin."""

COUNTING: Final = frozenset({"dbcounter"})
"""Plugins that only count statements, so that a service can do without. devstack's files name it."""

_FILES: Final = ("sslrootcert", "sslcert", "sslkey")
"""Parameters of libpq that name files."""

_NO_FILE: Final = "system"
"""What stands for the system's certificates."""

HIGHEST_PORT: Final = 65535


def with_parameters(url: str, parameters: str) -> str:
    """``url`` with ``parameters`` (``a=1&b=2``) after those that it has already."""
    if not parameters:
        return url
    return f"{url}{'&' if '?' in url else '?'}{parameters}"


def database_url(text: str) -> URL:
    """The URL with a driver that is there, and without plugins that only count and are not.

    Raises ConfigurationError.
    """
    url = _parsed(text)
    kind = url.get_backend_name()
    if kind not in _DRIVERS:
        raise ConfigurationError(
            f"databases of kind '{kind}' are not supported: use sqlite, postgresql or mysql"
        )
    if kind == "sqlite" and url.database in (None, "", ":memory:"):
        raise ConfigurationError("SQLite needs a file: sqlite:////absolute/path/moorage.sqlite")
    url = _with_plugins_that_are_there(url)
    try:
        url.get_dialect().import_dbapi()
    except (ImportError, NoSuchModuleError):
        # An operator's URL may name a driver that is not installed. This package's own speaks the same one.
        url = url.set(drivername=_DRIVERS[kind])
    return url


def left_out(text: str) -> list[str]:
    """Plugins of a URL that ``database_url`` takes away. Raises ConfigurationError."""
    return [name for name in _plugins(_parsed(text)) if name in COUNTING and not _is_there(name)]


def check_url(text: str) -> None:
    """Raises ConfigurationError for a URL that cannot work, whatever the server says."""
    url = database_url(text)
    if url.port is not None and not 0 < url.port <= HIGHEST_PORT:
        raise ConfigurationError(f"{url.port} is no port")
    _, parameters = url.get_dialect()().create_connect_args(url.difference_update_query([PLUGIN]))
    if url.get_backend_name() in ("mysql", "mariadb"):
        _check_mysql(parameters)
    elif url.get_backend_name() == "postgresql":
        _check_postgresql(parameters)


def _parsed(text: str) -> URL:
    try:
        return make_url(text)
    except (ArgumentError, ValueError) as error:
        raise ConfigurationError(
            "the database's address is not an SQLAlchemy URL, such as "
            "sqlite:////absolute/path/moorage.sqlite or postgresql://user:password@host/database"
        ) from error


def _plugins(url: URL) -> tuple[str, ...]:
    named = url.query.get(PLUGIN, ())
    return (named,) if isinstance(named, str) else named


def _is_there(plugin: str) -> bool:
    try:
        plugins.load(plugin)
    except NoSuchModuleError:
        return False
    return True


def _with_plugins_that_are_there(url: URL) -> URL:
    named = _plugins(url)
    kept = tuple(name for name in named if _is_there(name))
    for name in named:
        if name not in kept and name not in COUNTING:
            raise ConfigurationError(
                f"plugin={name} cannot be loaded: no package that is installed here brings it"
            )
    if kept == named:
        return url
    rest = url.difference_update_query([PLUGIN])
    return rest.update_query_dict({PLUGIN: kept}) if kept else rest


def _check_mysql(parameters: Mapping[str, Any]) -> None:
    # Only here, as in ``sql/drivers``: a process imports the driver of its own database.
    import pymysql

    known = inspect.signature(pymysql.connections.Connection.__init__).parameters
    unknown = sorted(set(parameters) - set(known))
    if unknown:
        raise ConfigurationError(f"the driver PyMySQL knows no parameter {', '.join(unknown)}")
    for name, value in parameters.get("ssl", {}).items():
        if name in ("ca", "cert", "key"):
            _check_file(f"ssl_{name}", value)


def _check_postgresql(parameters: Mapping[str, Any]) -> None:
    import psycopg
    from psycopg.conninfo import make_conninfo

    try:
        make_conninfo("", **parameters)
    except psycopg.Error as error:
        raise ConfigurationError(f"the driver psycopg refuses it: {' '.join(str(error).split())}") from error
    for name in _FILES:
        if parameters.get(name) not in (None, "", _NO_FILE):
            _check_file(name, parameters[name])


def _check_file(name: str, path: str) -> None:
    if not Path(path).is_file():
        raise ConfigurationError(f"the file of {name} does not exist: {path}")
