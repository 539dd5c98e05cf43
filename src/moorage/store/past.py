"""Read states of the past: the present rows, and the records of the journal that lead back from them.

All reads of a state are in one snapshot. A revision that the journal does not lead back to is an error.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

import orjson
import sqlalchemy as sa

from moorage.model.errors import CompactedError, DifferentHistoryError, ValuesNotKeptError
from moorage.model.journal import NEW_HISTORY
from moorage.model.valueclass import valueclass
from moorage.model.values import ListedClaim, ListedProvider, ProviderPage
from moorage.rules.journal import inventory_told
from moorage.rules.undo import (
    GENERATION,
    Parts,
    Past,
    Unresolved,
    begins,
    claim_in,
    consumer_parts,
    has_values,
    members_of,
    provider_in,
    roots_of_moves,
)
from moorage.store.changes import journal as kept
from moorage.store.changes.news import CLAIM_KINDS
from moorage.store.nouns.providers import generation
from moorage.store.pages import claim_of, has_of_any
from moorage.store.sql.plans import by_indexes
from moorage.store.sql.statements import batches
from moorage.store.tables import resource_providers, revisions
from moorage.store.trees import records_of, used_of

MOST_READ_FOR_SINCE: Final = 1_000
"""Records of a consumer that are looked through for the one with which it began."""

NATIVE: Final = "native"
"""Path of writes that replace what a claim has asked for."""

EARLY: Final = 1_000
"""Revisions whose records are all read, since the oldest tell most."""

MOST_NAMED: Final = 16
"""Providers that a database looks for in the texts of later records."""

RENAMED: Final = '"renamed"'
"""Part of the text of every record after which a class has another name."""

MOVED: Final = '"root"'
"""Part of the text of every record with which a provider comes or goes."""

_parent = resource_providers.alias("parent")
_root = resource_providers.alias("root")

_providers = (
    sa.select(
        resource_providers.c.id,
        resource_providers.c.uuid,
        resource_providers.c.name,
        resource_providers.c.parent_provider_id,
        resource_providers.c.root_provider_id,
        generation,
        _parent.c.uuid.label("parent_uuid"),
        _root.c.uuid.label("root_uuid"),
    )
    .join_from(resource_providers, _root, resource_providers.c.root_provider_id == _root.c.id)
    .outerjoin(_parent, resource_providers.c.parent_provider_id == _parent.c.id)
)

_roots = (
    sa.select(resource_providers.c.uuid, _root.c.uuid.label("root"))
    .join_from(resource_providers, _root, resource_providers.c.root_provider_id == _root.c.id)
    .where(resource_providers.c.uuid == sa.bindparam("uuid"))
)


@valueclass(frozen=True, slots=True)
class _Moment:
    """A revision that records lead back to. ``at`` is it, ``present`` the last one of the history ``epoch``.

    Whether it is of that history the records after it say.
    """

    at: int
    present: int
    epoch: str

    def check(self, kind: str) -> None:
        """Raises DifferentHistoryError if a later record of this kind begins another history."""
        if kind == NEW_HISTORY:
            raise DifferentHistoryError(self.epoch)


def _moment(connection: sa.Connection, at: int | None, epoch: str | None) -> _Moment:
    begun = by_indexes(connection, sa.select(revisions.c.revision, revisions.c.epoch))
    present, present_epoch, *_ = connection.execute(begun).one()
    if at is None:
        at = present
    if epoch not in (None, present_epoch) or at > present:
        raise DifferentHistoryError(present_epoch)
    if at < present:
        missing = kept.last_missing(connection, at, present)
        if missing is not None:
            raise CompactedError(missing, present)
    return _Moment(at, present, present_epoch)


def provider(
    connection: sa.Connection, at: int | None, epoch: str | None, uuid: str, tree: str | None
) -> tuple[int, tuple[int, ListedProvider] | None]:
    """A revision, and a provider with its generation at it; None if it was not there.

    ``at`` None: the present. ``epoch``: the history that ``at`` belongs to, None for the present one.
    ``tree``: the root of the tree that a provider was in which is gone. Raises CompactedError,
    DifferentHistoryError, ValuesNotKeptError.
    """
    when = _moment(connection, at, epoch)
    now = _Now(connection)
    past = Past(now.providers(resource_providers.c.uuid, [uuid]))
    past.follow([uuid])
    _Records(connection, when, tree or past.providers[uuid].get("root", uuid)).take_back(past, now)
    return when.at, provider_in(past, uuid)


def tree(
    connection: sa.Connection, at: int | None, epoch: str | None, uuid: str, root: str | None
) -> tuple[int, ProviderPage | None]:
    """As ``provider``: all providers of the tree that it was in, by uuid."""
    when = _moment(connection, at, epoch)
    top = root or _root_of(connection, uuid) or uuid
    members = _members(connection, when, top)
    found = members.get(uuid)
    if found is None:
        return when.at, None
    if found[1].root_uuid != top:
        top = found[1].root_uuid
        members = _members(connection, when, top)
    shown = [each for each in members.values() if each[1].root_uuid == top]
    return when.at, ProviderPage(
        tuple(listed for _, listed in shown),
        has_more=False,
        generations={listed.uuid: number for number, listed in shown},
    )


def own_tree(connection: sa.Connection, uuid: str, project_id: str) -> tuple[int, ProviderPage | None]:
    """As ``tree``, as it is now; None also if consumers of the project hold nothing of the tree."""
    revision, page = tree(connection, None, None, uuid, None)
    if page is not None and not has_of_any(connection, project_id, [each.uuid for each in page.providers]):
        page = None
    return revision, page


def _members(connection: sa.Connection, when: _Moment, top: str) -> dict[str, tuple[int, ListedProvider]]:
    """All that were in a tree now or since, where they were and as they were, by uuid."""
    now = _Now(connection)
    past = Past(now.providers(_root.c.uuid, [top]))
    records = _Records(connection, when, top)
    others = records.members_of(top) - past.providers.keys()
    past.providers |= now.providers(resource_providers.c.uuid, sorted(others))
    past.follow(others)
    records.take_back(past, now)
    found = {uuid: provider_in(past, uuid) for uuid in sorted(past.providers)}
    return {uuid: each for uuid, each in found.items() if each is not None}


def claim(
    connection: sa.Connection, at: int | None, epoch: str | None, consumer: str
) -> tuple[int, ListedClaim | None]:
    """As ``provider``: what a consumer held; None if nothing."""
    when = _moment(connection, at, epoch)
    return when.at, _claim(connection, when, consumer)


def _claim(connection: sa.Connection, when: _Moment, consumer: str) -> ListedClaim | None:
    present = claim_of(connection, consumer)
    if when.at == when.present:
        return present
    records = kept.about_consumer(connection, consumer, when.at)
    past = Past(consumers={consumer: consumer_parts(present)})
    stays, keeps_origin = True, True
    for revision, kind, path, text in sorted(records, reverse=True):
        when.check(kind)
        body = _values_of(revision, text)
        past.take_back(body)
        about = body.get("consumers", {}).get(consumer, {})
        stays &= None not in about.get("generation", ())
        keeps_origin &= stays and not (about and path == NATIVE)
    found = claim_in(past, consumer)
    if found is None:
        return None
    if not stays:
        return replace(found, since=_beginning(connection, consumer, when.at))
    assert present is not None, "a consumer that stays is there"
    return replace(found, since=present.since, origin=present.origin if keeps_origin else None)


def _beginning(connection: sa.Connection, consumer: str, at: int) -> datetime | None:
    """When the consumer began that was there at a revision; None if the journal does not know it."""
    for change in kept.history(connection, consumer, at + 1, MOST_READ_FOR_SINCE).changes:
        if begins(orjson.loads(change.body), consumer):
            return change.at
    return None


class _Records:
    """Records after a revision about a tree, and about all trees that it exchanged providers with."""

    def __init__(self, connection: sa.Connection, when: _Moment, root: str) -> None:
        self._when = when
        self._early = when.at + EARLY
        self._found: dict[int, str] = {}
        self._claims: set[int] = set()
        self._moves: list[Any] = []
        self._renames = False
        self._trees: list[kept.AboutTree] = []
        waiting, known = [root] if when.at < when.present else [], {root}
        while waiting:
            about = kept.AboutTree(connection, waiting.pop(), when.at)
            self._trees.append(about)
            for revision, kind, _, text in about.first(self._early):
                if kind in CLAIM_KINDS:
                    self._claims.add(revision)
                elif revision not in self._found:
                    when.check(kind)
                    self._renames |= RENAMED in text
                    if MOVED in text:
                        body = orjson.loads(text)
                        self._moves.append(body)
                        waiting += roots_of_moves(body) - known
                        known |= roots_of_moves(body)
                self._found[revision] = text

    def members_of(self, root: str) -> set[str]:
        """Providers that came to the tree with this root, or left it."""
        return set[str]().union(*(members_of(body, root) for body in self._moves))

    def take_back(self, past: Past, now: _Now) -> None:
        """Take them all back, from how the providers are ``now``. Raises ValuesNotKeptError."""
        others = {
            revision: _values_of(revision, text)
            for revision, text in self._found.items()
            if revision not in self._claims
        }
        wanted = Unresolved(past, others.values())
        bodies = dict(others)
        for claims in (self._early_claims, self._later_claims):
            for revision, text in sorted(claims(wanted).items()):
                if self._renames or wanted.may_be_in(text):
                    bodies[revision] = _values_of(revision, text)
                    wanted.resolve(bodies[revision])
        # What records tell is put in place of what is in use now. A class may have had another name.
        untold = [uuid for uuid, names in wanted.names.items() if names - {GENERATION}]
        now.add_use(past, list(past.providers) if self._renames else untold)
        for revision in sorted(bodies, reverse=True):
            past.take_back(bodies[revision])

    def _early_claims(self, _wanted: Unresolved) -> dict[int, str]:
        return {revision: self._found[revision] for revision in self._claims if revision <= self._early}

    def _later_claims(self, wanted: Unresolved) -> dict[int, str]:
        """Those that may tell what the early ones have not. Mostly these have told nearly all."""
        if self._early >= self._when.present or not (self._renames or wanted.names):
            return {}
        named = None if self._renames or len(wanted.names) > MOST_NAMED else wanted.names
        found = {
            revision: text
            for about in self._trees
            for revision, _, _, text in about.later(self._early, named)
        }
        return found | {
            revision: self._found[revision] for revision in self._claims if revision > self._early
        }


def _values_of(revision: int, text: str) -> Any:
    body = orjson.loads(text)
    if not has_values(body):
        raise ValuesNotKeptError(revision, revision)
    return body


def _root_of(connection: sa.Connection, uuid: str) -> str | None:
    """The root of the tree that a provider is in now."""
    row = connection.execute(_roots, {"uuid": uuid}).first()
    return row.root if row is not None and row.uuid == uuid else None


class _Now:
    """How providers are now. What is in use of them is summed up on demand, for it may be very many rows."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection
        self._ids: dict[str, int] = {}

    def providers(self, column: sa.Column[Any], values: Collection[str]) -> dict[str, Parts]:
        """Present providers by uuid, chosen by a column. Nothing seems to be in use of them."""
        found: dict[str, Parts] = {}
        wanted = frozenset(values)
        for batch in batches(values):
            rows: Sequence[Any] = self._connection.execute(_providers.where(column.in_(batch))).all()
            # A collation may find a provider that is called otherwise.
            rows = [row for row in rows if row.uuid in wanted or row.root_uuid in wanted]
            by_id = {row.id: row for row in rows}
            for record in records_of(self._connection, rows, sums=False):
                row = by_id[record.id]
                self._ids[record.uuid] = record.id
                found[record.uuid] = {
                    "generation": row.generation,
                    "name": record.name,
                    "parent": row.parent_uuid,
                    "root": row.root_uuid,
                    "inventories": {
                        name: inventory_told(inventory) for name, inventory, _ in record.inventories
                    },
                    "traits": sorted(record.traits),
                    "aggregates": sorted(record.aggregates),
                    "used": {},
                }
        return found

    def add_use(self, past: Past, uuids: Collection[str]) -> None:
        """Put in what is in use of providers, as far as they are there."""
        by_id = {self._ids[uuid]: past.providers[uuid] for uuid in uuids if uuid in self._ids}
        for batch in batches(by_id):
            for (id_, name), used in used_of(self._connection, batch).items():
                if used and name in by_id[id_]["inventories"]:
                    by_id[id_]["used"][name] = used
