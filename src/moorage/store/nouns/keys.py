"""Idempotency keys, with the answers that are remembered under them.

Keys are written after the revision was raised. So the revision's lock orders them, and no two processes wait
for each other's keys. A process that has not seen another one's key meets it as a row in the way.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import ClassVar, Final

import sqlalchemy as sa

from moorage.model.keys import RememberedAnswer
from moorage.rules.state import State, Touch
from moorage.store.changes.counter import CURRENT
from moorage.store.nouns.noun import GroupWork, Noun
from moorage.store.sql.statements import Insertion, Planned, Selection, batches
from moorage.store.sql.texts import packed_text, unpacked_text
from moorage.store.tables import keys

REMEMBERED: Final = Selection(
    sa.select(keys.c.id, keys.c.fingerprint, keys.c.revision, keys.c.answer), keys.c.id
)
NEW_KEYS: Final = Insertion(keys, "revision", "id", "fingerprint", "answer", origin=CURRENT)

FORGOTTEN_TOGETHER: Final = 1_000
"""Keys that one transaction forgets."""


class Keys(Noun):
    """See the module."""

    touched: ClassVar[tuple[str, ...]] = ("keys",)

    def read(self, work: GroupWork, state: State, touch: Touch) -> None:
        """See ``Noun``."""
        found: dict[str, RememberedAnswer | None] = dict.fromkeys(touch.keys)
        for id_, fingerprint, revision, answer in REMEMBERED.tuples(work.connection, sorted(touch.keys)):
            found[id_] = RememberedAnswer(fingerprint, unpacked_text(answer), revision)
        state.keys.update(found)


KEYS: Final = Keys()


def plan_keys(after: State, used: Sequence[str | None]) -> list[Planned]:
    """Plan to remember the answers of a group's writes, of those that have one of the keys ``used``."""
    rows = [
        (offset, key, known.fingerprint, packed_text(known.text))
        for offset, key in enumerate(used, 1 - len(used))
        if key is not None and (known := after.keys[key]) is not None
    ]
    return [(NEW_KEYS, rows)] if rows else []


def forget_keys(connection: sa.Connection, before: datetime, settled: int) -> int:
    """Forget some of the keys that were made before a time, up to revision ``settled``; returns how many."""
    is_old = (keys.c.created_at < before, keys.c.revision <= settled)
    old = sa.select(keys.c.id).where(*is_old).limit(FORGOTTEN_TOGETHER)
    ids = list(connection.execute(old).scalars())
    for batch in batches(ids):
        connection.execute(keys.delete().where(keys.c.id.in_(batch)))
    return len(ids)
