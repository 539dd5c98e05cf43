"""What claims have changed since a revision, in one statement.

Claims are most of the writes. Of a provider they change only its use, as far as a search can see. So a
reader that has missed only claims gets all of it from one statement. A statement sees one snapshot on every
database, so it needs no transaction.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any, Final

import sqlalchemy as sa

from moorage.model.valueclass import valueclass
from moorage.rules.state import Used
from moorage.store.changes.counter import THE_ROW
from moorage.store.sql.direct import DirectQuery
from moorage.store.sql.literals import number
from moorage.store.tables import allocations, changes, resource_classes, resource_providers, revisions

CLAIM_KINDS: Final = (
    "allocations.replace",
    "allocations.delete",
    "allocations.heal",
    "leases.grant",
    "leases.attach",
    "leases.detach",
    "leases.expire",
    "leases.release",
    "leases.restore",
    "leases.quarantine",
)
"""Kinds of commands in the change log that change nothing of a provider but its use and generation."""

AHEAD: Final = 64
"""How many revisions beyond the known one the statement covers as well. Other processes may commit between
the poll and the statement. If there are more than this, further statements follow."""

MOST_TREES: Final = 500
"""How many trees the statement covers at most. A reader that has missed more reads the ordinary way, in
batches. The limit also tells every database that the rows are few."""

_COUNTERS, _CHANGE, _USE = range(3)


@valueclass(frozen=True, slots=True)
class UsageNews:
    """All changes up to ``revision``. ``used``: the present use of the providers of some trees.

    By provider id and class; a class that is missing is not used.
    """

    revision: int
    root_ids: frozenset[int]
    used: dict[int, dict[str, int]]


@valueclass(frozen=True, slots=True)
class OwnClaims:
    """What this process has committed: claims, and nothing else, between two revisions.

    ``used``: the providers' use at ``revision``, by id and class; a class that is missing is not used. All
    other providers are as they were at ``before``.
    """

    before: int
    revision: int
    used: dict[int, Used]


class UsageReader:
    """Reads from one database."""

    def __init__(self, engine: sa.Engine) -> None:
        self._query = DirectQuery(engine, NEWS)

    def since(self, revision: int, latest: int) -> UsageNews | None:
        """The news for a reader that knows ``revision``. ``latest`` is a revision that exists.

        None if more has changed than these can say. Raises the driver's errors.
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
    # The trees come first: they are few, and indexes lead from each to its providers and their use. With
    # outer joins no database begins at the other end, whatever its statistics say.
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
"""Rows of three sorts: the counters, one per tree with whether only claims changed it, one per use."""


def _read(rows: list[tuple[Any, ...]], revision: int, last: int) -> UsageNews | None:
    present = compacted = 0
    root_ids: list[int] = []
    used: dict[int, dict[str, int]] = defaultdict(dict)
    for sort, first, second, amount, name in rows:
        if sort == _USE:
            # A row to which no class was joined is of no use.
            if name is not None:
                used[first][name] = int(amount)
        elif sort == _COUNTERS:
            present, compacted = first, second
        elif not second:
            return None
        elif first is not None:
            root_ids.append(first)
    if compacted > revision or not revision <= present <= last or len(root_ids) >= MOST_TREES:
        return None
    return UsageNews(present, frozenset(root_ids), used)
