"""What claims have changed since a revision, in one statement.

Claims are most of what is written, and the only thing of a provider that they change and a search
can see is its use. So whoever has missed nothing else is told that, and all of it at once: a
statement sees one snapshot on every database, so that no transaction is needed around it.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any, Final

import sqlalchemy as sa

from moorage.model.valueclass import valueclass
from moorage.rules.state import Used
from moorage.store.changelog import THE_ROW
from moorage.store.direct import DirectQuery
from moorage.store.literals import number
from moorage.store.tables import allocations, changes, resource_classes, resource_providers, revisions

CLAIM_KINDS: Final = ("allocations.replace", "allocations.delete")
"""Kinds of commands in the change log that change nothing of a provider but its use and generation."""

AHEAD: Final = 64
"""Revisions beyond the one that is known of which the statement tells as well. Between its being
known and the statement others may commit; if there are more than this, more is asked."""

MOST_TREES: Final = 500
"""Trees of which the statement tells at most; who has missed more reads the ordinary way, in batches.
It also lets every database know that it is about few rows."""

_COUNTERS, _CHANGE, _USE = range(3)


@valueclass(frozen=True, slots=True)
class UsageNews:
    """All that changed up to ``revision``: ``used`` is what the providers of some trees use now.

    By provider id and class; what is not there is not used.
    """

    revision: int
    root_ids: frozenset[int]
    used: dict[int, dict[str, int]]


@valueclass(frozen=True, slots=True)
class OwnClaims:
    """What this process has committed: claims, and nothing else happened between two revisions.

    ``used``: what providers use at ``revision``, by id and class; a class that is not there is not used.
    All other providers are as they were at ``before``.
    """

    before: int
    revision: int
    used: dict[int, Used]


class UsageReader:
    """Asks one database."""

    def __init__(self, engine: sa.Engine) -> None:
        self._query = DirectQuery(engine, NEWS)

    def since(self, revision: int, latest: int) -> UsageNews | None:
        """The news for a reader that knows ``revision``; ``latest`` is one that is there.

        None if there is more to tell than these can. Raises the driver's errors.
        """
        last = latest + AHEAD
        return _read(self._query.rows(first=revision + 1, last=last), revision, last)


def _text(value: str) -> sa.ColumnElement[str]:
    return sa.literal_column(f"'{value}'", sa.String)


def _news() -> sa.CompoundSelect[Any]:
    is_claim = sa.case(
        (changes.c.kind.in_([_text(kind) for kind in CLAIM_KINDS]), number(1)), else_=number(0)
    )
    missed = (
        sa.select(changes.c.root_provider_id, is_claim.label("is_claim"))
        .where(
            changes.c.revision.between(
                sa.bindparam("first", type_=sa.BigInteger), sa.bindparam("last", type_=sa.BigInteger)
            )
        )
        .distinct()
        .limit(number(MOST_TREES))
        .cte("missed")
    )
    counters = sa.select(
        number(_COUNTERS), revisions.c.revision, revisions.c.compacted, number(0), _text("")
    ).where(revisions.c.id == number(THE_ROW))
    log = sa.select(number(_CHANGE), missed.c.root_provider_id, missed.c.is_claim, number(0), _text(""))
    # The trees lead: they are few, and from each there is an index to its providers and their use. With
    # outer joins no database begins at the other end, whatever it believes of the tables.
    use = (
        sa.select(
            number(_USE),
            allocations.c.resource_provider_id,
            number(0),
            sa.func.sum(allocations.c.used),
            resource_classes.c.name,
        )
        .select_from(missed)
        .outerjoin(resource_providers, resource_providers.c.root_provider_id == missed.c.root_provider_id)
        .outerjoin(allocations, allocations.c.resource_provider_id == resource_providers.c.id)
        .outerjoin(resource_classes, allocations.c.resource_class_id == resource_classes.c.id)
        .group_by(allocations.c.resource_provider_id, resource_classes.c.name)
    )
    return sa.union_all(counters, log, use)


NEWS: Final = _news()
"""Rows of three sorts: the counters, one per tree with whether claims alone changed it, one per use."""


def _read(rows: list[tuple[Any, ...]], revision: int, last: int) -> UsageNews | None:
    present = compacted = 0
    root_ids: list[int] = []
    used: dict[int, dict[str, int]] = defaultdict(dict)
    for sort, first, second, amount, name in rows:
        if sort == _USE:
            # Nothing is used where nothing was joined.
            if name is not None:
                used[first][name] = int(amount)
        elif sort == _COUNTERS:
            present, compacted = first, second
        elif first is None or not second:
            return None
        else:
            root_ids.append(first)
    if compacted > revision or not revision <= present <= last or len(root_ids) >= MOST_TREES:
        return None
    return UsageNews(present, frozenset(root_ids), used)
