"""What SQLAlchemy has compiled for one engine serves all engines of its kind in the same process.

Each engine keeps what it has compiled. A process that serves makes its engines once. The tests make
thousands, and would compile the same statements for each: a quarter of the time of the tests of databases.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

MOST = 5_000
"""Statements that are kept: several times as many as the source has."""

PLAIN = (str, int, tuple, type(None))

_compiled: dict[Any, Any] = {}


def kind_of(dialect: sa.Dialect) -> tuple[Any, ...]:
    """Equal for two dialects that put a statement into the same words: class, server's version, settings."""
    settings = sorted(item for item in vars(dialect).items() if isinstance(item[1], PLAIN))
    return type(dialect), *settings


class SharedWords:
    """The memory of one engine. SQLAlchemy's keys begin with the dialect: here its kind stands there."""

    def __init__(self, dialect: sa.Dialect) -> None:
        self._dialect = dialect
        self._version: object = self
        self._kind: tuple[Any, ...] = ()

    def get(self, key: tuple[Any, ...]) -> Any:
        """What was compiled for this key and an engine of this kind, else None."""
        return _compiled.get(self._shared(key))

    def __setitem__(self, key: tuple[Any, ...], value: object) -> None:
        if len(_compiled) >= MOST:
            _compiled.clear()
        _compiled[self._shared(key)] = value

    def _shared(self, key: tuple[Any, ...]) -> tuple[Any, ...]:
        version = self._dialect.server_version_info
        if version is not self._version:
            # All is known from the first connection on. Some tests say something else later.
            self._version, self._kind = version, kind_of(self._dialect)
        return self._kind, *key[1:]


def share() -> None:
    """Have all engines that are made from now on share what is compiled."""
    make = sa.create_engine

    def create_engine(*arguments: Any, **options: Any) -> sa.Engine:
        engine = make(*arguments, **options)
        engine.update_execution_options(compiled_cache=SharedWords(engine.dialect))
        return engine

    sa.create_engine = create_engine
