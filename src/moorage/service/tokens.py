"""The tokens of a database: creating, checking and revoking them."""

from __future__ import annotations

from moorage.model.tokens import TokenRecord
from moorage.store.store import Store
from moorage.store.tokens import TokenTable


class Tokens:
    """All operations on tokens. Every method may raise UnavailableError."""

    def __init__(self, store: Store) -> None:
        self._table = TokenTable(store)

    def find(self, token_id: str) -> TokenRecord | None:
        """The token as every process sees it now; None if it is unknown."""
        return self._table.find(token_id)

    def all(self) -> list[TokenRecord]:
        """All tokens, also revoked ones, the oldest first."""
        return self._table.all()

    def add(self, record: TokenRecord) -> None:
        """Add a token. When this returns, every process accepts it."""
        self._table.add(record)

    def revoke(self, token_id: str, now: int) -> bool:
        """Revoke a token; returns whether there is one. When this returns, no process accepts it."""
        return self._table.revoke(token_id, now)
