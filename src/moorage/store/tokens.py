"""The table of tokens. They belong to no tree and to no index, so no revision counts them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict, fields
from typing import Any, Final

import sqlalchemy as sa

from moorage.model.errors import UnavailableError
from moorage.model.tokens import TokenRecord
from moorage.store.sql.direct import DirectQuery
from moorage.store.sql.errors import ConnectionLostError, ConstraintError, WriteConflictError, translated
from moorage.store.store import Store
from moorage.store.tables import tokens

LOG: Final = logging.getLogger(__name__)

WRITE_ATTEMPTS: Final = 3
"""Each write changes one row by its key, so repeating it does no harm."""

_COLUMNS: Final = [tokens.c[field.name] for field in fields(TokenRecord)]


class TokenTable:
    """The tokens of a database. Every method may raise UnavailableError."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._of_id = DirectQuery(store.engines.single, _of_id(sa.bindparam("token_id")))

    def find(self, token_id: str) -> TokenRecord | None:
        """One token, as it is now; None if there is none of this id.

        Every request needs this, so it goes straight to the driver.
        """
        rows: Sequence[Sequence[Any]]
        try:
            rows = self._of_id.rows(token_id=token_id)
        except Exception as error:  # noqa: BLE001 - the ordinary way says in our words what it is
            LOG.debug("The token is read through SQLAlchemy after %r.", error)
            rows = self._store.read(lambda connection: connection.execute(_of_id(token_id)).all())
        return TokenRecord(*rows[0]) if rows else None

    def all(self) -> list[TokenRecord]:
        """All tokens, the oldest first, including those that are no longer valid."""
        order = (tokens.c.created_at, tokens.c.id)
        found = self._store.read(
            lambda connection: connection.execute(sa.select(*_COLUMNS).order_by(*order)).all()
        )
        return [TokenRecord(*row) for row in found]

    def add(self, record: TokenRecord) -> None:
        """Add a new token."""
        try:
            self._write(tokens.insert().values(asdict(record)))
        except ConstraintError:
            # The COMMIT was lost but had happened: ids are random, so no other token has this one.
            if self.find(record.id) != record:
                raise

    def revoke(self, token_id: str, now: int) -> bool:
        """Revoke a token; returns whether there is one of this id. The time of the first call stays."""
        mine = tokens.c.id == token_id
        self._write(tokens.update().where(mine, tokens.c.revoked_at.is_(None)).values(revoked_at=now))
        return self.find(token_id) is not None

    def _write(self, statement: Any) -> None:
        last: Exception | None = None
        for _ in range(WRITE_ATTEMPTS):
            try:
                with translated(), self._store.engines.write.begin() as connection:
                    connection.execute(statement)
            except (ConnectionLostError, WriteConflictError) as error:
                last = error
                continue
            return
        raise UnavailableError("the database cannot be reached") from last


def _of_id(token_id: Any) -> sa.Select[Any]:
    return sa.select(*_COLUMNS).where(tokens.c.id == token_id)
