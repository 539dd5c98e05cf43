"""Leases, and service time, by which they end.

New leases and new states are written after the revision was raised, for the rows have it. By then each lease
that was there is locked. A released lease has no claims: those that hang on it lose it before that. Most of
them are consumers that the write has read and locked, so that its record names them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Final

import sqlalchemy as sa

from moorage.model.leases import Lease, LeaseState, OnExpiry
from moorage.rules.state import MOST_LEFT, TICKS, State, Touch
from moorage.store.changes.counter import CURRENT, THE_ROW
from moorage.store.nouns.noun import AuditRows, GroupWork, Noun
from moorage.store.sql.errors import WriteConflictError
from moorage.store.sql.literals import number
from moorage.store.sql.statements import Insertion, Plain, Planned, Selection, fetched
from moorage.store.tables import claims, clock, leases

NOW: Final = sa.select(clock.c.ticks).where(clock.c.id == number(THE_ROW))
"""Service time, as it was committed last."""

COLUMNS: Final = (
    leases.c.uuid,
    leases.c.owner,
    leases.c.project_id,
    leases.c.user_id,
    leases.c.ttl_ms,
    leases.c.grace_ms,
    leases.c.on_expiry,
    leases.c.state,
    leases.c.due_tick,
    leases.c.end_tick,
    leases.c.fence,
    leases.c.revision,
)

LOCKED_LEASES: Final = Selection(sa.select(*COLUMNS).order_by(leases.c.uuid).with_for_update(), leases.c.uuid)
NEW_LEASES: Final = Insertion(
    leases,
    "fence",
    "uuid",
    "owner",
    "project_id",
    "user_id",
    "ttl_ms",
    "grace_ms",
    "on_expiry",
    "state",
    "due_tick",
    "end_tick",
    origin=CURRENT,
)
CHANGED_LEASE: Final = Plain(
    leases.update()
    .where(leases.c.uuid == sa.bindparam("lease"))
    .values(
        state=sa.bindparam("becomes"),
        due_tick=sa.bindparam("due"),
        end_tick=sa.bindparam("ends"),
        revision=CURRENT.scalar_subquery() + sa.bindparam("offset", type_=sa.BigInteger),
    )
)
HANGING: Final = (
    sa.select(claims.c.lease, claims.c.consumer_uuid)
    .where(claims.c.lease == sa.bindparam("uuid"))
    .limit(MOST_LEFT + 1)
)
LEFT_CLAIMS: Final = Selection(claims.update().values(lease=sa.null()), claims.c.lease)


def lease_of(row: Sequence[Any]) -> Lease:
    """The lease of a row of ``COLUMNS``."""
    uuid, owner, project_id, user_id, ttl_ms, grace_ms, on_expiry, state, due, end, fence, revision = row
    return Lease(
        uuid,
        owner,
        project_id,
        user_id,
        ttl_ms,
        grace_ms,
        OnExpiry(on_expiry),
        LeaseState(state),
        due,
        end,
        fence,
        fence if revision is None else revision,
    )


class Leases(Noun):
    """See the module."""

    touched: ClassVar[tuple[str, ...]] = ("leases", "clock", "hanging")
    audited: ClassVar[dict[str, AuditRows]] = {
        "leases": lambda connection: {
            row.uuid: row.state for row in fetched(connection, sa.select(leases.c.uuid, leases.c.state))
        }
    }

    def read(self, work: GroupWork, state: State, touch: Touch) -> None:
        """See ``Noun``. The time is read once the leases are locked, so that no renewal comes after it."""
        found: dict[str, Lease | None] = dict.fromkeys(touch.leases)
        for row in LOCKED_LEASES.tuples(work.connection, sorted(touch.leases)):
            found[row[0]] = lease_of(row)
        state.leases.update(found)
        if touch.hanging:
            # The leases are locked now, and so no further claim comes to hang on them.
            hanging = hanging_on(work, touch.hanging)
            if not few(hanging) <= state.consumers.keys():
                raise WriteConflictError
            state.hanging.update({uuid: len(each) for uuid, each in hanging.items()})
        if touch.clock:
            state.clock[TICKS] = work.connection.execute(NOW).scalar_one()


LEASES: Final = Leases()


def hanging_on(work: GroupWork, wanted: Iterable[str]) -> dict[str, frozenset[str]]:
    """Consumers whose claims hang on each of some leases, ``MOST_LEFT`` + 1 at most.

    A statement for each, so that a lease with very many hides no other one. A group seldom ends several.
    """
    return {
        uuid: frozenset(
            consumer
            for lease, consumer in work.connection.execute(HANGING, {"uuid": uuid}).all()
            if lease == uuid
        )
        for uuid in sorted(wanted)
    }


def few(hanging: Mapping[str, frozenset[str]]) -> frozenset[str]:
    """Consumers that hang on those leases on which not too many do."""
    return frozenset[str]().union(*[each for each in hanging.values() if len(each) <= MOST_LEFT])


def plan_left_claims(before: State, after: State) -> list[Planned]:
    """Plan to let claims go that hang on leases which are released now.

    They are those whose consumers hold nothing: a program that does not know leases has taken that away.
    """
    left = [
        uuid
        for uuid, lease in after.leases.items()
        if lease is not None and lease.state is LeaseState.RELEASED and lease is not before.leases[uuid]
    ]
    return [(LEFT_CLAIMS, left)] if left else []


def plan_leases(before: State, after: State, changed: Sequence[Iterable[str]]) -> list[Planned]:
    """Plan to write the leases that differ. ``changed``: those that each of the group's writes changes."""
    new: list[tuple[object, ...]] = []
    others: list[dict[str, object]] = []
    last = {uuid: offset for offset, uuids in enumerate(changed, 1 - len(changed)) for uuid in uuids}
    for uuid, offset in last.items():
        lease = after.leases[uuid]
        assert lease is not None, "no command takes a lease away"
        if before.leases[uuid] is None:
            new.append(
                (
                    offset,
                    uuid,
                    lease.owner,
                    lease.project_id,
                    lease.user_id,
                    lease.ttl_ms,
                    lease.grace_ms,
                    lease.on_expiry.value,
                    lease.state.value,
                    lease.due_tick,
                    lease.end_tick,
                )
            )
        else:
            others.append(
                {
                    "lease": uuid,
                    "becomes": lease.state.value,
                    "due": lease.due_tick,
                    "ends": lease.end_tick,
                    "offset": offset,
                }
            )
    planned: list[Planned] = []
    if new:
        planned.append((NEW_LEASES, new))
    if others:
        planned.append((CHANGED_LEASE, others))
    return planned
