"""What an optimiser such as OpenStack Watcher asks Placement for, node by node, answered from a mirror.

Usage: ``placement_cache.py URL``, with a token in ``MOORAGE_TOKEN``. The methods have the answers of
Placement's API. ``changed`` says what to look at again: a strategy need not model the whole cloud anew.
"""

from __future__ import annotations

import os
import sys
import threading
from dataclasses import asdict
from typing import Any

from moorage_client import AccountChange, Mirror, Moorage, NoAuth, Token


class PlacementCache:
    """Providers and allocations as Placement shows them; None where Placement answers 404."""

    def __init__(self, moorage: Moorage) -> None:
        self._lock = threading.Lock()
        self._changed: set[str] | None = None
        self._news = threading.Event()
        self.mirror = Mirror(moorage, claims=True, on_change=self._note, on_rebuild=self._forget)

    def changed(self, timeout: float) -> set[str] | None:
        """Roots of the trees that changed since the last call, after a wait of at most so many seconds.

        None: everything may have changed. So it is at first, and after the mirror was made anew.
        """
        if self._changed is not None:
            self._news.wait(timeout)
        with self._lock:
            found, self._changed = self._changed, set()
            self._news.clear()
        return found

    def inventories(self, uuid: str) -> dict[str, Any] | None:
        """Inventories by resource class."""
        provider = self.mirror.provider(uuid)
        return (
            None
            if provider is None
            else {name: asdict(each) for name, each in (provider.inventories or {}).items()}
        )

    def traits(self, uuid: str) -> list[str] | None:
        """Names of traits."""
        provider = self.mirror.provider(uuid)
        return None if provider is None else list(provider.traits or ())

    def usages(self, uuid: str) -> dict[str, int] | None:
        """What is used, by resource class."""
        provider = self.mirror.provider(uuid)
        return None if provider is None else dict(provider.used or {})

    def allocations(self, consumer: str) -> dict[str, Any]:
        """What a consumer holds, by provider."""
        with self.mirror.still():
            claim = self.mirror.claim(consumer)
            held = claim.providers if claim else {}
            providers = {uuid: self.mirror.provider(uuid) for uuid in held}
        return {
            uuid: {"resources": dict(held[uuid]), "generation": provider.generation}
            for uuid, provider in providers.items()
            if provider is not None
        }

    def _note(self, change: AccountChange) -> None:
        roots = {parts["tree"] for parts in change.providers.values()}
        with self._lock:
            # Where a renamed class is in use is not named: it may be anywhere.
            self._changed = None if change.renamed or self._changed is None else self._changed | roots
        if roots or change.renamed:
            self._news.set()

    def _forget(self, _reason: str) -> None:
        with self._lock:
            self._changed = None
        self._news.set()


if __name__ == "__main__":
    token = os.environ.get("MOORAGE_TOKEN")
    cache = PlacementCache(Moorage(sys.argv[1], Token(token) if token else NoAuth()))
    with cache.mirror:
        while True:
            print(cache.changed(60.0), "at revision", cache.mirror.revision)
