"""Faults built into the service on purpose, to see that the auditor catches each of them."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

LATE_SECONDS = 0.1
"""How long after its answer a write is committed that was acknowledged too early."""

EVERY = 20
"""One of so many COMMITs, or change log entries, meets the fault."""


Armed = Callable[[], bool]


def build_in(name: str, signal: Path) -> None:
    """Replace a part of the service by one that is wrong as soon as the file ``signal`` is there."""
    SABOTAGES[name](signal.exists)


def skip_the_capacity_check(armed: Armed) -> None:
    """Whatever is asked for fits."""
    from moorage.rules import claims
    from moorage.rules.capacity import has_room

    vars(claims)["has_room"] = lambda *arguments: armed() or has_room(*arguments)


def acknowledge_before_commit(armed: Armed) -> None:
    """Decide, answer, and commit a moment later."""
    from moorage.rules.decide import decide, touch
    from moorage.service.committer import Committer

    real = Committer.execute

    def execute(self: Committer, command: Any, requester: Any) -> Any:
        if not armed():
            return real(self, command, requester)
        with self._store.transaction() as transaction:
            result = decide(transaction.read(touch(command)), command).result

        def later() -> None:
            time.sleep(LATE_SECONDS)
            try:
                real(self, command, requester)
            except Exception:
                return

        threading.Thread(target=later).start()
        return result

    Committer.execute = execute  # type: ignore[method-assign]


def lose_a_row_of_the_change_log(armed: Armed) -> None:
    """The counter counts a write that the log does not have."""
    from moorage.store import changelog
    from moorage.store.tables import changes

    real, numbers = changelog.append, itertools.count(1)

    def append(connection: Any, entries: Any, transaction_id: str) -> changelog.Counted:
        counted = real(connection, entries, transaction_id)
        if armed() and next(numbers) % EVERY == 0:
            last = changelog.CURRENT.scalar_subquery()
            connection.execute(changes.delete().where(changes.c.revision == last))
        return counted

    changelog.append = append


def apply_twice_after_a_lost_commit(armed: Armed) -> None:
    """Some COMMITs happen and get lost, and whoever asks is told that they did not happen."""
    from moorage.store.errors import ConnectionLostError
    from moorage.store.store import Store
    from moorage.store.transaction import WriteTransaction

    real, numbers = WriteTransaction.commit, itertools.count(1)

    def commit(self: WriteTransaction, writer: Any) -> None:
        real(self, writer)
        if armed() and next(numbers) % EVERY == 0:
            raise ConnectionLostError

    WriteTransaction.commit = commit  # type: ignore[method-assign]
    Store.was_committed = lambda *_: False  # type: ignore[method-assign]


def forget_to_catch_up(armed: Armed) -> None:
    """The index stays where it was for some of the searches."""
    from moorage.service.live_index import LiveIndex

    real, numbers = LiveIndex.ask, itertools.count(1)

    def ask(self: LiveIndex, question: Callable[[Any], Any]) -> Any:
        state = self._state
        if armed() and state is not None and next(numbers) % 2:
            return question(state.snapshot)
        return real(self, question)

    LiveIndex.ask = ask  # type: ignore[method-assign]


SABOTAGES: Mapping[str, Callable[[Armed], None]] = {
    built.__name__: built
    for built in (
        skip_the_capacity_check,
        acknowledge_before_commit,
        lose_a_row_of_the_change_log,
        apply_twice_after_a_lost_commit,
        forget_to_catch_up,
    )
}
