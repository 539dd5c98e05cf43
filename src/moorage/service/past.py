"""What providers, trees and claims were at a revision of the past."""

from __future__ import annotations

from moorage.model.values import ListedClaim, ListedProvider, ProviderPage
from moorage.store import past
from moorage.store.store import Store


class PastReader:
    """Reads a store's states of the past, for several threads.

    Each method gives the revision that was asked for, and what was there at it. ``at`` None: the present one.
    ``epoch``: the history that it belongs to; None: the present one. ``tree``: the root of the tree that a
    provider was in which is gone. They raise CompactedError, DifferentHistoryError, ValuesNotKeptError,
    UnavailableError.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def provider(
        self, uuid: str, at: int | None, epoch: str | None, tree: str | None
    ) -> tuple[int, tuple[int, ListedProvider] | None]:
        """A provider with its generation; None if it was not there."""
        return self._store.read(lambda connection: past.provider(connection, at, epoch, uuid, tree))

    def tree(
        self, uuid: str, at: int | None, epoch: str | None, tree: str | None
    ) -> tuple[int, ProviderPage | None]:
        """All providers of the tree that a provider was in, by uuid; None if it was not there."""
        return self._store.read(lambda connection: past.tree(connection, at, epoch, uuid, tree))

    def own_tree(self, uuid: str, project_id: str) -> tuple[int, ProviderPage | None]:
        """As ``tree``, as it is now; None also if the project holds nothing of the tree."""
        return self._store.read(lambda connection: past.own_tree(connection, uuid, project_id))

    def claim(self, consumer: str, at: int, epoch: str | None) -> tuple[int, ListedClaim | None]:
        """What a consumer held; None if nothing."""
        return self._store.read(lambda connection: past.claim(connection, at, epoch, consumer))
