"""Why a database cannot be used, found by the codes and classes of the drivers' errors.

The driver's own words go along for the log and the terminal, without a password. The program does not
examine them: a server writes them in its own language.
"""

from __future__ import annotations

import socket
import sqlite3
import ssl
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import quote, quote_plus

from oslo_utils import strutils
from sqlalchemy.engine import URL

from moorage.model.errors import UnavailableError
from moorage.store.sql.drivers import PSYCOPG, PYMYSQL, is_from
from moorage.store.sql.errors import PRIMARY_CODE, ConnectionLostError, driver_error

MASK: Final = "***"
MOST_CHARACTERS: Final = 500
"""Bound of a driver's words: some repeat themselves for each address that they tried."""

PING_SECONDS: Final = 3

NO_HOST: Final = "the name of its host is not known"
NOT_LISTENING: Final = "nothing listens at its address"
NO_ANSWER: Final = "it does not answer"
NO_TLS: Final = "TLS cannot be agreed on with it"
REFUSED: Final = "it answers, and refuses the connection"
STARTING: Final = "it takes no connections now: it starts or stops"
BAD_LOGIN: Final = "it refuses the user name or the password"
NO_ACCESS: Final = "it refuses this user access to the database"
NO_DATABASE: Final = "it has no database of this name"
BAD_HOST: Final = "it takes no connections from this host"
TOO_MANY: Final = "it has no connection left"
BAD_PARAMETERS: Final = "the parameters of the connection make no sense to the driver"
READ_ONLY: Final = "it only reads"
LOST: Final = "the connection to it was lost"
REFUSES_WORK: Final = "it refuses to work"

_STATES: Final[Mapping[str, str]] = {
    "28000": BAD_LOGIN,
    "28P01": BAD_LOGIN,
    "3D000": NO_DATABASE,
    "42501": NO_ACCESS,
    "53300": TOO_MANY,
    "57P03": STARTING,
    "25006": READ_ONLY,
}
"""PostgreSQL: invalid authorization or password, invalid catalog name, insufficient privilege, too many
connections, cannot connect now, read-only transaction."""

_NUMBERS: Final[Mapping[object, str]] = {
    1040: TOO_MANY,
    1044: NO_ACCESS,
    1045: BAD_LOGIN,
    1049: NO_DATABASE,
    1053: STARTING,
    1129: BAD_HOST,
    1130: BAD_HOST,
    1142: NO_ACCESS,
    1203: TOO_MANY,
    1226: TOO_MANY,
    1251: BAD_LOGIN,
    1275: BAD_LOGIN,
    1290: READ_ONLY,
    1698: BAD_LOGIN,
    1820: BAD_LOGIN,
    1836: READ_ONLY,
    1862: BAD_LOGIN,
    2006: LOST,
    2013: LOST,
    2026: NO_TLS,
    2059: BAD_LOGIN,
    3159: NO_TLS,
    4151: BAD_LOGIN,
}
"""MariaDB and MySQL, their servers' numbers and PyMySQL's own."""

_SQLITE: Final[Mapping[int, str]] = {
    sqlite3.SQLITE_BUSY: "another process holds it",
    sqlite3.SQLITE_LOCKED: "another connection holds it",
    sqlite3.SQLITE_CANTOPEN: "its file cannot be opened: it must be a file that this user may read and write",
    sqlite3.SQLITE_READONLY: "its file may not be written to: this user must have the right to write it",
    sqlite3.SQLITE_PERM: "its file may not be opened: this user must have the right to read and write it",
    sqlite3.SQLITE_FULL: "the disk is full",
    sqlite3.SQLITE_IOERR: "its file cannot be read or written",
    sqlite3.SQLITE_CORRUPT: "its file is damaged: restore it from a backup",
    sqlite3.SQLITE_NOTADB: "its file holds no SQLite database: restore it from a backup, or name another one",
}

_LASTING: Final = frozenset(
    _SQLITE[code]
    for code in (
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_NOTADB,
    )
)
"""Faults of an SQLite file that do not pass while a process waits."""


class Reason(NamedTuple):
    """``what`` may be shown to all users. ``words`` are the driver's, and empty if there are none."""

    what: str
    words: str = ""

    def __str__(self) -> str:
        return f"{self.what} ({self.words})" if self.words else self.what

    @property
    def lasts(self) -> bool:
        """Whether to wait is no help."""
        return self.what in _LASTING


def reason_of(error: BaseException, url: URL) -> Reason:
    """Why ``error`` came of the database at ``url``. It may ask the server whether it listens."""
    for each in _causes(error):
        found = driver_error(each)
        if isinstance(found, sqlite3.Error):
            return _of_sqlite(found, url)
        if is_from(found, PYMYSQL, "Error"):
            return _of_mysql(found, url)
        if is_from(found, PSYCOPG, "Error"):
            return _of_postgresql(found, url)
    if isinstance(error, UnavailableError):
        return Reason(error.reason)
    return Reason(LOST if isinstance(error, ConnectionLostError) else REFUSES_WORK)


def without_secret(text: str, url: URL) -> str:
    """``text`` on one line, without the password of ``url`` in any of the forms that it may have in there."""
    text = " ".join(str(strutils.mask_password(text, MASK)).split())
    password = url.password
    # A password that equals what may be shown is not disclosed by showing that.
    if password and password not in (url.username, url.host, url.database):
        forms = {password, quote(password), quote(password, safe=""), quote_plus(password)}
        for form in sorted(forms, key=len, reverse=True):
            text = _masked(text, form)
    return text[:MOST_CHARACTERS]


def _masked(text: str, form: str) -> str:
    """``text`` with ``MASK`` for ``form``, except where ``form`` is only a part of a word."""
    before, *rest = text.split(form)
    pieces = [before]
    for after in rest:
        pieces += (form if _in_word(before[-1:]) or _in_word(after[:1]) else MASK, after)
        before = after
    return "".join(pieces)


def _in_word(character: str) -> bool:
    return character.isalnum() or character == "_"


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


def _of_sqlite(error: sqlite3.Error, url: URL) -> Reason:
    code = getattr(error, "sqlite_errorcode", None)
    name = getattr(error, "sqlite_errorname", "")
    what = REFUSES_WORK if code is None else _SQLITE.get(code & PRIMARY_CODE, REFUSES_WORK)
    return Reason(what, without_secret(f"{name} {error}", url))


def _of_mysql(error: Any, url: URL) -> Reason:
    """Of an error of PyMySQL."""
    words = without_secret(" ".join(str(part) for part in error.args), url)
    below = getattr(error, "original_exception", None)
    if below is not None:
        return Reason(_of_socket(below), words)
    number = error.args[0] if error.args else None
    return Reason(_NUMBERS.get(number, REFUSES_WORK), words)


def _of_socket(error: BaseException) -> str:
    if isinstance(error, socket.gaierror):
        return NO_HOST
    if isinstance(error, ssl.SSLError):
        return NO_TLS
    if isinstance(error, ConnectionRefusedError | FileNotFoundError):
        return NOT_LISTENING
    return NO_ANSWER


def _of_postgresql(error: Any, url: URL) -> Reason:
    """Of an error of psycopg."""
    words = without_secret(str(error), url)
    if error.sqlstate is not None:
        words = f"{error.sqlstate} {words}"
        return Reason(_STATES.get(error.sqlstate, REFUSES_WORK), words)
    if is_from(error, "psycopg.errors", "ConnectionTimeout"):
        return Reason(NO_ANSWER, words)
    return Reason(_of_server(url), words)


def _of_server(url: URL) -> str:
    """Whether a PostgreSQL server listens. libpq hands no code out for a connection that failed."""
    _, parameters = url.get_dialect()().create_connect_args(url)
    hosts = str(parameters.get("host", "")).split(",")
    if all(host and not host.startswith("/") and not _is_known(host) for host in hosts):
        return NO_HOST
    from psycopg.pq import Ping

    answer = _ping(parameters)
    if answer == Ping.OK:
        return REFUSED
    if answer == Ping.REJECT:
        return STARTING
    if answer == Ping.NO_ATTEMPT:
        return BAD_PARAMETERS
    plain = {name: value for name, value in parameters.items() if not name.startswith("ssl")}
    return NO_TLS if plain != parameters and _ping(plain) != Ping.NO_RESPONSE else NOT_LISTENING


def _is_known(host: str) -> bool:
    try:
        socket.getaddrinfo(host, None)
    except OSError:
        return False
    return True


def _ping(parameters: Mapping[str, Any]) -> int:
    """What libpq finds at the address, a ``psycopg.pq.Ping``."""
    import psycopg
    from psycopg.conninfo import make_conninfo
    from psycopg.pq import PGconn, Ping

    try:
        conninfo = make_conninfo("", **{**parameters, "connect_timeout": PING_SECONDS})
    except psycopg.Error:
        return Ping.NO_ATTEMPT
    return Ping(PGconn.ping(conninfo.encode()))
