"""The tokens of a database, as those see them who give them out and who judge them."""

from __future__ import annotations

from moorage.model.tokens import TokenRecord
from moorage.store.store import Store
from moorage.store.tokens import TokenTable


class Tokens:
    """All that is done with tokens. Every method may raise UnavailableError."""

    def __init__(self, store: Store) -> None:
        self._table = TokenTable(store)

    def find(self, token_id: str) -> TokenRecord | None:
        """What is known of a token now, by any process; None if it was never given out."""
        return self._table.find(token_id)

    def all(self) -> list[TokenRecord]:
        """All tokens that were ever given out, the oldest first."""
        return self._table.all()

    def add(self, record: TokenRecord) -> None:
        """Give a token out. When this returns, every process lets it in."""
        self._table.add(record)

    def revoke(self, token_id: str, now: int) -> bool:
        """Take a token back; whether there is one. When this returns, no process lets it in."""
        return self._table.revoke(token_id, now)
