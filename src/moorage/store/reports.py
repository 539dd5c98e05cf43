"""The tables of reports and findings. They belong to no tree and to no index, so no revision counts them.

A report is compared with one snapshot. It is kept only if no other report of its source came meanwhile.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence, Set
from dataclasses import replace
from typing import Any, Final, NamedTuple

import orjson
import sqlalchemy as sa

from moorage.model.errors import ReportFaultError
from moorage.model.reports import (
    ACTING,
    OPEN,
    QUARANTINE,
    QUARANTINED,
    Carried,
    ClaimOwner,
    Comparison,
    FindingPage,
    FindingSelection,
    HeldClaim,
    Judgement,
    KnownFinding,
    Report,
    ReportedTree,
    ReportFinding,
    SourceFigures,
    claim_version,
)
from moorage.model.values import ListedClaim
from moorage.store.changes import changelog
from moorage.store.nouns.leases import NOW
from moorage.store.pages import claims_named
from moorage.store.sql.errors import ConstraintError, translated
from moorage.store.sql.statements import batches
from moorage.store.sql.texts import packed_text, unpacked_text
from moorage.store.store import Store
from moorage.store.tables import allocations, findings, healings, reports, resource_providers

MS_PER_HOUR: Final = 3_600_000

NO_TREE: Final = ""
"""Stands for a tree in the row of a source itself."""

EVERY_SOURCE: Final = ""
"""Stands for a source in the row whose lock bounds the actions of all sources."""

HEALINGS_KEPT_MS: Final = 30 * 24 * MS_PER_HOUR
"""How long actions are kept. The journal keeps their writes as long as its settings say."""

_PLAIN: Final = ("id", "source", "kind", "tree", "state", "since", "acted_at")
"""Fields of a finding that are columns of the same name."""


class Read(NamedTuple):
    """What a report is compared with, and how many reports of its source there were before."""

    serial: int
    comparison: Comparison


class ReportTable:
    """Reports and findings of a store. Every method may raise UnavailableError.

    Methods that write raise also WriteConflictError, ConnectionLostError.
    """

    def __init__(self, store: Store, clock: Callable[[], int] | None = None) -> None:
        """``clock``: milliseconds by which findings age, in place of the database's service time."""
        self._store = store
        self._clock = clock

    def now(self) -> int:
        """The service time in milliseconds."""
        return self._store.read(self._now)

    def _now(self, connection: sa.Connection) -> int:
        return int(connection.execute(NOW).scalar_one()) if self._clock is None else self._clock()

    def compared(self, report: Report) -> Read:
        """What a report is compared with, of one snapshot. Raises ReportFaultError for unknown trees."""
        return self._store.read(lambda connection: self._compared(connection, report))

    def _compared(self, connection: sa.Connection, report: Report) -> Read:
        roots = _roots(connection, report.trees)
        of_source = reports.c.source == report.source
        known = [
            row
            for batch in batches(sorted({NO_TREE, *report.trees}))
            for row in connection.execute(sa.select(reports).where(of_source, reports.c.tree.in_(batch)))
        ]
        own = [
            _finding(row)
            for batch in batches(sorted(report.trees))
            for row in connection.execute(
                sa.select(findings).where(findings.c.source == report.source, findings.c.tree.in_(batch))
            )
        ]
        holders = _holders(connection, [provider.id for provider in roots])
        claims = claims_named(connection, holders | report.consumers.keys())
        return Read(
            next((row.serial for row in known if row.tree == NO_TREE), 0),
            Comparison(
                revision=changelog.current(connection),
                now=self._now(connection),
                roots={provider.uuid: provider.root for provider in roots},
                claims={claim.consumer: _held(id_, claim) for id_, claim in claims},
                trees={
                    row.tree: ReportedTree(row.consumers, row.counted_at, row.doubted, row.doubted_at)
                    for row in known
                    if row.tree != NO_TREE
                },
                findings={each.id: each for each in own},
            ),
        )

    def keep(self, report: Report, read: Read, judgement: Judgement) -> bool:
        """Keep what a report means; False, and nothing is kept, if another one of its source was faster."""
        at = int(time.time())
        known = read.comparison.findings
        changed = [each for each in judgement.findings if each != known.get(each.id)]
        try:
            with translated(), self._store.engines.write.begin() as connection:
                if not _count_report(connection, report.source, read.serial, at):
                    return False
                of_source = reports.c.source == report.source
                for trees in batches(sorted(judgement.trees)):
                    connection.execute(reports.delete().where(of_source, reports.c.tree.in_(trees)))
                rows = [_tree_row(report.source, tree, each, at) for tree, each in judgement.trees.items()]
                if rows:
                    connection.execute(reports.insert(), rows)
                since = _first_seen(connection, [each.id for each in changed])
                for ids in batches(sorted({*judgement.gone, *(each.id for each in changed)})):
                    connection.execute(findings.delete().where(findings.c.id.in_(ids)))
                if changed:
                    now = read.comparison.now
                    seen = {each.id: at if each.since == now else since.get(each.id, at) for each in changed}
                    connection.execute(findings.insert(), [_row(each, seen[each.id]) for each in changed])
        except ConstraintError:
            return False
        return True

    def take(self, due: Sequence[ReportFinding], most_an_hour: int) -> list[tuple[int, ReportFinding]]:
        """Begin actions on findings of one source, the first ones, as far as the last hour had fewer.

        Each comes with the number under which it is kept. Another process may have begun some of them.
        """
        if not due or not most_an_hour:
            return []
        taken: list[tuple[int, ReportFinding]] = []
        with translated(), self._store.engines.write.begin() as connection:
            _lock_actions(connection)
            _lock_source(connection, due[0].source)
            now = self._now(connection)
            recent = sa.select(sa.func.count()).where(healings.c.begun_at > now - MS_PER_HOUR)
            left = most_an_hour - connection.execute(recent).scalar_one()
            for finding in due:
                if len(taken) >= left:
                    break
                number = _begin(connection, finding, now)
                if number is not None:
                    taken.append((number, replace(finding, state=ACTING, acted_at=now)))
            connection.execute(healings.delete().where(healings.c.begun_at < now - HEALINGS_KEPT_MS))
        return taken

    def end(self, number: int | None, carried: Carried) -> None:
        """Note what came of an action. A finding that was healed goes; one that was not stays open.

        ``number``: that of ``take``; None for an action that an operator has asked for.
        """
        finding = carried.finding
        with translated(), self._store.engines.write.begin() as connection:
            _lock_source(connection, finding.source)
            if number is None:
                _note(connection, finding, carried.action, self._now(connection), carried.revision)
            else:
                noted = healings.update().where(healings.c.id == number)
                connection.execute(noted.values(revision=carried.revision))
            own = findings.c.id == finding.id
            if carried.trouble is None and carried.action == QUARANTINE:
                connection.execute(findings.update().where(own).values(state=QUARANTINED))
            elif carried.trouble is None:
                connection.execute(findings.delete().where(own))
            else:
                left = replace(finding, state=OPEN, trouble=carried.trouble)
                values = {name: value for name, value in _row(left, 0).items() if name not in ("id", "at")}
                connection.execute(findings.update().where(own).values(values))

    def set_state(self, finding: ReportFinding, state: str) -> bool:
        """Answer a finding; False if it is not there any more."""
        with translated(), self._store.engines.write.begin() as connection:
            _lock_source(connection, finding.source)
            changed = findings.update().where(findings.c.id == finding.id).values(state=state)
            # MariaDB counts rows that were found, since its driver asks for that.
            return connection.execute(changed).rowcount == 1

    def find(self, id_: str) -> KnownFinding | None:
        """One finding."""
        query = sa.select(findings).where(findings.c.id == id_)
        row = self._store.read(lambda connection: connection.execute(query).first())
        return None if row is None or row.id != id_ else KnownFinding(_finding(row), row.at)

    def page(self, wanted: FindingSelection) -> FindingPage:
        """A page of findings, by id."""
        conditions = [
            column == value
            for column, value in (
                (findings.c.source, wanted.source),
                (findings.c.kind, wanted.kind),
                (findings.c.state, wanted.state),
                (findings.c.consumer_uuid, wanted.consumer),
            )
            if value is not None
        ]
        query = sa.select(findings).where(*conditions, findings.c.id > wanted.after)
        query = query.order_by(findings.c.id).limit(wanted.limit + 1)
        count = sa.select(sa.func.count()).select_from(findings).where(*conditions)

        def read(connection: sa.Connection) -> tuple[list[Any], int, int]:
            total = int(connection.execute(count).scalar_one())
            return list(connection.execute(query)), total, self._now(connection)

        rows, total, now = self._store.read(read)
        found = tuple(KnownFinding(_finding(row), row.at) for row in rows[: wanted.limit])
        return FindingPage(now, found, total, has_more=len(rows) > wanted.limit)

    def forget(self, source: str) -> bool:
        """Forget a source, with its findings and all that it has reported; False if there is none."""
        with translated(), self._store.engines.write.begin() as connection:
            _lock_source(connection, source)
            connection.execute(findings.delete().where(findings.c.source == source))
            return connection.execute(reports.delete().where(reports.c.source == source)).rowcount > 0

    def figures(self) -> list[SourceFigures]:
        """All sources that have ever reported."""
        return self._store.read(_figures)


class _Provider(NamedTuple):
    id: int
    uuid: str
    root: str


def _roots(connection: sa.Connection, trees: Set[str]) -> list[_Provider]:
    """All providers of some trees. Raises ReportFaultError for what is not the root of a tree."""
    root = resource_providers.alias()
    query = sa.select(
        resource_providers.c.id, resource_providers.c.uuid, root.c.uuid.label("root")
    ).join_from(resource_providers, root, resource_providers.c.root_provider_id == root.c.id)
    found = [
        _Provider(*row)
        for batch in batches(sorted(trees))
        for row in connection.execute(query.where(root.c.uuid.in_(batch)))
    ]
    found = [provider for provider in found if provider.root in trees]
    unknown = trees - {provider.root for provider in found}
    if unknown:
        raise ReportFaultError(f"There is no tree whose root is {min(unknown)}.")
    return found


def _holders(connection: sa.Connection, provider_ids: Iterable[int]) -> set[str]:
    query = sa.select(allocations.c.consumer_id).distinct()
    return {
        consumer
        for batch in batches(provider_ids)
        for consumer in connection.execute(
            query.where(allocations.c.resource_provider_id.in_(batch))
        ).scalars()
    }


def _held(id_: int, claim: ListedClaim) -> HeldClaim:
    made = None if claim.since is None else claim.since.isoformat()
    owner = ClaimOwner(claim.project_id, claim.user_id, claim.consumer_type)
    return HeldClaim(claim_version(id_, claim.generation, made), owner, claim.held)


def _count_report(connection: sa.Connection, source: str, serial: int, at: int) -> bool:
    """Count a report, unless another one came since. May raise ConstraintError's cause for the first one."""
    if not serial:
        row = _tree_row(source, NO_TREE, ReportedTree(0, 0), at)
        connection.execute(reports.insert(), [{**row, "serial": 1}])
        return True
    counted = reports.update().where(
        reports.c.source == source, reports.c.tree == NO_TREE, reports.c.serial == serial
    )
    return connection.execute(counted.values(serial=serial + 1, at=at)).rowcount == 1


def _lock_actions(connection: sa.Connection) -> None:
    """Take the lock that bounds actions: one process counts them at a time."""
    row = sa.and_(reports.c.source == EVERY_SOURCE, reports.c.tree == NO_TREE)
    locked = reports.update().where(row).values(serial=reports.c.serial + 1)
    if not connection.execute(locked).rowcount:
        connection.execute(reports.insert(), [_tree_row(EVERY_SOURCE, NO_TREE, ReportedTree(0, 0), 0)])


def _lock_source(connection: sa.Connection, source: str) -> None:
    """Change a source's findings alone: a report that is compared meanwhile is compared anew."""
    own = reports.update().where(reports.c.source == source, reports.c.tree == NO_TREE)
    connection.execute(own.values(serial=reports.c.serial + 1))


def _begin(connection: sa.Connection, finding: ReportFinding, now: int) -> int | None:
    """Begin an action, unless another process has begun one, or an operator has answered the finding."""
    before = (
        findings.c.acted_at.is_(None) if finding.acted_at is None else findings.c.acted_at == finding.acted_at
    )
    begun = findings.update().where(findings.c.id == finding.id, findings.c.state == finding.state, before)
    if connection.execute(begun.values(state=ACTING, acted_at=now)).rowcount != 1:
        return None
    assert finding.action is not None, "what is due has an action"
    return _note(connection, finding, finding.action, now, None)


def _note(
    connection: sa.Connection, finding: ReportFinding, action: str, now: int, revision: int | None
) -> int:
    noted = healings.insert().values(
        begun_at=now,
        finding=finding.id,
        source=finding.source,
        kind=finding.kind,
        consumer_uuid=finding.consumer,
        action=action,
        revision=revision,
        at=int(time.time()),
    )
    key = connection.execute(noted).inserted_primary_key
    assert key is not None, "a row has a key"
    return int(key[0])


def _first_seen(connection: sa.Connection, ids: Sequence[str]) -> dict[str, int]:
    query = sa.select(findings.c.id, findings.c.at)
    return {
        row.id: row.at
        for batch in batches(ids)
        for row in connection.execute(query.where(findings.c.id.in_(batch)))
    }


def _tree_row(source: str, tree: str, each: ReportedTree, at: int) -> dict[str, Any]:
    return {
        "source": source,
        "tree": tree,
        "consumers": each.consumers,
        "counted_at": each.counted_at,
        "doubted": each.doubted,
        "doubted_at": each.doubted_at,
        "serial": 0,
        "at": at,
    }


def _row(finding: ReportFinding, at: int) -> dict[str, Any]:
    owner = finding.owner
    body = {
        "version": finding.version,
        "held": finding.held,
        "reported": finding.reported,
        "rest": finding.rest,
        "owner": None if owner is None else [owner.project_id, owner.user_id, owner.consumer_type],
        "revision": finding.revision,
        "action": finding.action,
        "trouble": finding.trouble,
    }
    return {
        **{name: getattr(finding, name) for name in _PLAIN},
        "consumer_uuid": finding.consumer,
        "body": packed_text(orjson.dumps(body).decode()),
        "at": at,
    }


def _finding(row: Any) -> ReportFinding:
    body = orjson.loads(unpacked_text(row.body))
    owner = body.pop("owner")
    return ReportFinding(
        **{name: getattr(row, name) for name in _PLAIN},
        consumer=row.consumer_uuid,
        owner=None if owner is None else ClaimOwner(*owner),
        **body,
    )


def _figures(connection: sa.Connection) -> list[SourceFigures]:
    counts: dict[str, dict[str, int]] = defaultdict(dict)
    by_kind = sa.select(findings.c.source, findings.c.kind, sa.func.count().label("number"))
    for row in connection.execute(by_kind.group_by(findings.c.source, findings.c.kind)):
        counts[row.source][row.kind] = int(row.number)
    suspect = sa.select(reports.c.source, sa.func.count().label("trees")).where(
        reports.c.doubted.is_not(None)
    )
    doubted = {row.source: int(row.trees) for row in connection.execute(suspect.group_by(reports.c.source))}
    told = sa.select(reports.c.source, reports.c.at).where(
        reports.c.tree == NO_TREE, reports.c.source != EVERY_SOURCE
    )
    return [
        SourceFigures(row.source, row.at, counts[row.source], doubted.get(row.source, 0))
        for row in connection.execute(told.order_by(reports.c.source))
    ]
