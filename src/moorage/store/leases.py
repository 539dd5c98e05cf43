"""Leases outside the account's transactions: they are renewed, looked at, and forgotten once they have ended.

A renewal raises no revision, and no index knows of it. The lock of the lease's row decides whether it or an
expiry came first.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Final

import sqlalchemy as sa

from moorage.model.errors import LeaseNotFoundError, UnavailableError
from moorage.model.leases import (
    ENDED,
    SLACK_MS,
    TIMED,
    ClockFact,
    Gone,
    LeaseAt,
    LeaseCounts,
    LeasePage,
    LeaseSelection,
    LeaseState,
    Renewed,
)
from moorage.rules.leases import renewed_until
from moorage.store.changes import changelog
from moorage.store.changes.counter import THE_ROW
from moorage.store.nouns.leases import COLUMNS, LOCKED_LEASES, NOW, lease_of
from moorage.store.sql.errors import ConnectionLostError, WriteConflictError, translated
from moorage.store.sql.literals import number
from moorage.store.sql.statements import Selection, batches
from moorage.store.store import Store
from moorage.store.tables import claims, clock, findings, leases, reports

RENEW_ATTEMPTS: Final = 5
"""How often a renewal is repeated. Doing it twice, as after a lost COMMIT, does no harm."""

FORGOTTEN_TOGETHER: Final = 1_000
"""Released leases that one transaction forgets."""


_until = NOW.scalar_subquery() + leases.c.ttl_ms + number(SLACK_MS)
RENEW: Final = Selection(
    leases.update().values(
        state=LeaseState.ACTIVE.value,
        due_tick=sa.case((leases.c.end_tick < _until, leases.c.end_tick), else_=_until),
    ),
    leases.c.uuid,
)
"""As ``rules.leases.renewed_until``, by the time at which it is carried out."""


_due = sa.select(sa.func.min(leases.c.due_tick))
_first_due = [_due.where(leases.c.state == state.value).scalar_subquery() for state in TIMED]
_has_ended = sa.exists().where(leases.c.state == LeaseState.RELEASING.value)
# SQLite seldom looks in an index for what is not null, but always for a range.
_is_doubted = reports.c.doubted >= number(0)
_has_findings = sa.or_(
    sa.exists(sa.select(findings.c.id)), sa.exists(sa.select(reports.c.doubted).where(_is_doubted))
)
_look = sa.select(
    clock.c.ticks,
    clock.c.term,
    clock.c.keeper,
    *_first_due,
    sa.case((_has_ended, number(1)), else_=number(0)),
    sa.case((_has_findings, number(1)), else_=number(0)),
).where(clock.c.id == number(THE_ROW))

_claims_of = (
    sa.select(sa.func.count()).select_from(claims).where(claims.c.lease == leases.c.uuid).scalar_subquery()
)


def _first(*dues: int | None) -> int | None:
    return min((due for due in dues if due is not None), default=None)


class LeaseTable:
    """The leases of a database, and its clock. Every method may raise UnavailableError."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def renew(self, wanted: Collection[str]) -> tuple[int, dict[str, Renewed | Gone]]:
        """Renew leases that have not ended, and are not quarantined; by their uuids, with the revision."""
        last: Exception | None = None
        for _ in range(RENEW_ATTEMPTS):
            try:
                with translated(), self._store.engines.write.begin() as connection:
                    return _renewed(connection, sorted(set(wanted)))
            except (ConnectionLostError, WriteConflictError) as error:
                last = error
        raise UnavailableError("leases could not be renewed") from last

    def lease(self, uuid: str) -> tuple[int, LeaseAt]:
        """Revision and a lease, of one snapshot. Raises LeaseNotFoundError."""

        def question(connection: sa.Connection) -> tuple[int, LeaseAt]:
            query = sa.select(*COLUMNS, _claims_of, NOW.scalar_subquery()).where(leases.c.uuid == uuid)
            row = connection.execute(query).first()
            if row is None or row.uuid != uuid:
                raise LeaseNotFoundError(uuid)
            return changelog.current(connection), _shown(row)

        return self._store.read(question)

    def page(self, wanted: LeaseSelection) -> tuple[int, LeasePage]:
        """Revision and a page of leases, of one snapshot."""
        query = sa.select(*COLUMNS, _claims_of, NOW.scalar_subquery()).where(leases.c.uuid > wanted.after)
        if wanted.states:
            query = query.where(leases.c.state.in_([state.value for state in wanted.states]))
        if wanted.owner is not None:
            query = query.where(leases.c.owner == wanted.owner)
        if wanted.project_id is not None:
            query = query.where(leases.c.project_id == wanted.project_id)
        query = query.order_by(leases.c.uuid).limit(wanted.limit + 1)

        def question(connection: sa.Connection) -> tuple[int, LeasePage]:
            rows = connection.execute(query).all()
            found = tuple([_shown(row) for row in rows[: wanted.limit]])
            return changelog.current(connection), LeasePage(found, len(rows) > wanted.limit)

        return self._store.read(question)

    def of_project(self, wanted: Collection[str], project_id: str) -> list[str]:
        """Those of some leases that clients of a project were granted."""

        def question(connection: sa.Connection) -> list[str]:
            own = sa.select(leases.c.uuid).where(leases.c.project_id == project_id)
            return [
                uuid
                for batch in batches(sorted(set(wanted)))
                for uuid in connection.execute(own.where(leases.c.uuid.in_(batch))).scalars()
            ]

        return self._store.read(question)

    def due(self, most: int) -> list[str]:
        """Leases whose time has come, those first that have waited longest."""
        is_due = leases.c.due_tick <= NOW.scalar_subquery()
        states = [state.value for state in TIMED]
        query = sa.select(leases.c.uuid).where(leases.c.state.in_(states), is_due)
        query = query.order_by(leases.c.due_tick, leases.c.uuid).limit(most)
        return self._store.read(lambda connection: list(connection.execute(query).scalars()))

    def ended(self, most: int) -> list[str]:
        """Leases that have ended, and whose claims are still to be taken away."""
        query = sa.select(leases.c.uuid).where(leases.c.state == LeaseState.RELEASING.value)
        query = query.order_by(leases.c.due_tick, leases.c.uuid).limit(most)
        return self._store.read(lambda connection: list(connection.execute(query).scalars()))

    def hanging(self, uuids: Collection[str], most: int) -> list[tuple[str, str]]:
        """Leases, of those named, and consumers whose claims hang on them, in no order.

        So the database reads no more of them than are wanted.
        """
        query = sa.select(claims.c.lease, claims.c.consumer_uuid).where(claims.c.lease.in_(uuids)).limit(most)
        return self._store.read(lambda connection: [tuple(row) for row in connection.execute(query)])

    def counts(self) -> LeaseCounts:
        """How many leases are in each state."""

        def question(connection: sa.Connection) -> LeaseCounts:
            counted = sa.select(leases.c.state, sa.func.count()).group_by(leases.c.state)
            states = {LeaseState(state): int(count) for state, count in connection.execute(counted).all()}
            ticks, term, _, active, expired, *_ = tuple(connection.execute(_look).one())
            return LeaseCounts(states, ticks, term, _first(active, expired))

        return self._store.read(question)

    def forget(self, before: int) -> int:
        """Forget a batch of the leases that were released before a tick; returns how many.

        Raises WriteConflictError, ConnectionLostError.
        """
        with translated(), self._store.engines.write.begin() as connection:
            old = sa.select(leases.c.uuid).where(
                leases.c.state == LeaseState.RELEASED.value, leases.c.due_tick < before
            )
            uuids = list(connection.execute(old.limit(FORGOTTEN_TOGETHER)).scalars())
            if uuids:
                connection.execute(leases.delete().where(leases.c.uuid.in_(uuids)))
            return len(uuids)

    def look(self) -> ClockFact:
        """Service time as it is now, and what waits for it."""
        query = _look
        row = self._store.read(lambda connection: tuple(connection.execute(query).one()))
        ticks, term, keeper, active, expired, has_ended, has_findings = row
        return ClockFact(ticks, term, keeper, _first(active, expired), bool(has_ended), bool(has_findings))

    def advance(self, known: ClockFact, ticks: int) -> bool:
        """Set the clock forward, if it still is as it was ``known``. False: it is not.

        Raises WriteConflictError, ConnectionLostError. After these the clock may have been set.
        """
        return self._set(known, ticks=ticks)

    def take_over(self, known: ClockFact, keeper: str) -> bool:
        """Begin a new term, if the clock still is as it was ``known``. Raises as ``advance``."""
        return self._set(known, term=known.term + 1, keeper=keeper)

    def _set(self, known: ClockFact, **values: object) -> bool:
        same = (clock.c.id == THE_ROW, clock.c.term == known.term, clock.c.ticks == known.ticks)
        with translated(), self._store.engines.write.begin() as connection:
            return connection.execute(clock.update().where(*same).values(**values)).rowcount == 1


def _renewed(connection: sa.Connection, wanted: Sequence[str]) -> tuple[int, dict[str, Renewed | Gone]]:
    found: dict[str, Renewed | Gone] = {uuid: Gone(uuid) for uuid in wanted}
    rows = [lease_of(row) for row in LOCKED_LEASES.tuples(connection, wanted)]
    # The locks are held: no lease among them expires meanwhile.
    ticks: int = connection.execute(NOW).scalar_one()
    alive: list[str] = []
    for lease in rows:
        if lease.state not in TIMED or (lease.end_tick is not None and lease.end_tick <= ticks):
            state = LeaseState.RELEASED if lease.state in ENDED else lease.state
            found[lease.uuid] = Gone(lease.uuid, state, lease.revision)
            continue
        alive.append(lease.uuid)
        remaining = renewed_until(ticks, lease.ttl_ms, lease.end_tick) - ticks - SLACK_MS
        revived = lease.state is LeaseState.EXPIRED
        found[lease.uuid] = Renewed(lease.uuid, max(0, remaining), revived)
    RENEW.execute(connection, alive)
    return changelog.current(connection), found


def _shown(row: Any) -> LeaseAt:
    *columns, hanging, ticks = row
    return LeaseAt(lease_of(columns), ticks, hanging)
