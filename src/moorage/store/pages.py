"""Read pages of bulk lists: claims, and what an index does not know of providers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from typing import Any

import sqlalchemy as sa

from moorage.model.valueclass import valueclass
from moorage.model.values import UNKNOWN_CONSUMER_TYPE, ClaimPage, ClaimSelection, ListedClaim
from moorage.store.changes.news import CLAIM_KINDS
from moorage.store.nouns.consumers import select_used
from moorage.store.nouns.origins import origin_of
from moorage.store.nouns.providers import generation, provider_row
from moorage.store.sql.statements import batches
from moorage.store.tables import (
    allocations,
    changes,
    claims,
    consumer_types,
    consumers,
    projects,
    resource_classes,
    resource_providers,
    revisions,
    users,
)

_consumers = (
    sa.select(
        consumers.c.id,
        consumers.c.uuid,
        consumers.c.generation,
        consumers.c.created_at,
        projects.c.external_id.label("project_id"),
        users.c.external_id.label("user_id"),
        consumer_types.c.name.label("consumer_type"),
        claims.c.lease,
    )
    .join_from(consumers, projects, consumers.c.project_id == projects.c.id)
    .join(users, consumers.c.user_id == users.c.id)
    .outerjoin(consumer_types, consumers.c.consumer_type_id == consumer_types.c.id)
    .outerjoin(claims, claims.c.consumer_uuid == consumers.c.uuid)
    .order_by(consumers.c.uuid)
)

_holds = sa.exists().where(allocations.c.consumer_id == consumers.c.uuid)

_held = (
    sa.select(
        allocations.c.consumer_id,
        resource_providers.c.uuid,
        resource_classes.c.name,
        allocations.c.used,
    )
    .join_from(allocations, resource_providers, allocations.c.resource_provider_id == resource_providers.c.id)
    .join(resource_classes, allocations.c.resource_class_id == resource_classes.c.id)
    .order_by(allocations.c.id)
)


def claim_page(connection: sa.Connection, wanted: ClaimSelection) -> ClaimPage:
    """The first claims of a selection, by consumer. Raises ProviderNotFoundError."""
    rows = connection.execute(_selected(connection, wanted).limit(wanted.limit + 1)).all()
    listed = _listed(connection, rows[: wanted.limit])
    return ClaimPage(tuple(listed), has_more=len(rows) > wanted.limit)


def claim_of(connection: sa.Connection, consumer: str) -> ListedClaim | None:
    """What one consumer holds; None if it holds nothing."""
    rows = connection.execute(_consumers.where(_holds, consumers.c.uuid == consumer)).all()
    # A collation may find a consumer that is called otherwise.
    found = _listed(connection, [row for row in rows if row.uuid == consumer])
    if not found:
        return None
    origin, lease = origin_of(connection, consumer)
    return replace(found[0], origin=origin, lease=lease)


def claims_named(connection: sa.Connection, wanted: Collection[str]) -> Iterator[tuple[int, ListedClaim]]:
    """What the consumers hold that hold something, each with the id of its row."""
    for batch in batches(sorted(wanted)):
        found = connection.execute(_consumers.where(_holds, consumers.c.uuid.in_(batch))).all()
        # A collation may find a consumer that is called otherwise.
        rows = [row for row in found if row.uuid in wanted]
        yield from zip([row.id for row in rows], _listed(connection, rows), strict=True)


def generations_of(
    connection: sa.Connection, wanted: Collection[str], project_id: str | None = None
) -> dict[str, int]:
    """Generations of the consumers that hold something, for the project if one is named."""
    found: dict[str, int] = {}
    for batch in batches(wanted):
        query = sa.select(consumers.c.uuid, consumers.c.generation).where(_holds, consumers.c.uuid.in_(batch))
        if project_id is not None:
            query = query.where(_is_of(project_id))
        found |= {row.uuid: row.generation for row in connection.execute(query)}
    return found


def has_of_any(connection: sa.Connection, project_id: str, providers: Collection[str]) -> bool:
    """Whether consumers of a project hold something of any of these providers."""
    for batch in batches(providers):
        ids = sa.select(resource_providers.c.id).where(resource_providers.c.uuid.in_(batch))
        query = (
            sa.select(sa.literal(1))
            .join_from(allocations, consumers, allocations.c.consumer_id == consumers.c.uuid)
            .where(allocations.c.resource_provider_id.in_(ids), _is_of(project_id))
        )
        if connection.execute(query.limit(1)).first() is not None:
            return True
    return False


def _is_of(project_id: str) -> sa.ColumnElement[bool]:
    project = sa.select(projects.c.id).where(projects.c.external_id == project_id)
    return consumers.c.project_id.in_(project)


def _listed(connection: sa.Connection, shown: Sequence[Any]) -> list[ListedClaim]:
    held: dict[str, dict[str, dict[str, int]]] = defaultdict(lambda: defaultdict(dict))
    for batch in batches([row.uuid for row in shown]):
        for consumer, provider, name, used in connection.execute(
            _held.where(allocations.c.consumer_id.in_(batch))
        ):
            held[consumer][provider][name] = used
    return [
        ListedClaim(
            consumer=row.uuid,
            consumer_type=row.consumer_type,
            project_id=row.project_id,
            user_id=row.user_id,
            generation=row.generation,
            since=row.created_at,
            held={uuid: dict(amounts) for uuid, amounts in held[row.uuid].items()},
            lease=row.lease,
        )
        for row in shown
    ]


def _selected(connection: sa.Connection, wanted: ClaimSelection) -> sa.Select[Any]:
    if wanted.provider is not None:
        # The provider's index leads to few rows, wherever the consumers are.
        of_provider = sa.select(allocations.c.consumer_id).where(
            allocations.c.resource_provider_id == provider_row(connection, wanted.provider).id
        )
        query = _consumers.where(consumers.c.uuid.in_(of_provider))
    else:
        query = _consumers.where(_holds)
    if wanted.lease is not None:
        query = query.where(claims.c.lease == wanted.lease)
    if wanted.after:
        query = query.where(consumers.c.uuid > wanted.after)
    if wanted.project_id is not None:
        query = query.where(projects.c.external_id == wanted.project_id)
    if wanted.consumer_type == UNKNOWN_CONSUMER_TYPE:
        query = query.where(consumers.c.consumer_type_id.is_(None))
    elif wanted.consumer_type is not None:
        query = query.where(consumer_types.c.name == wanted.consumer_type)
    return query


@valueclass(frozen=True, slots=True)
class ProviderNews:
    """Generations of some providers, and what is used of them, by id, at ``revision``."""

    revision: int
    generations: dict[int, int]
    used: dict[int, dict[str, int]]


def news_of_providers(connection: sa.Connection, revision: int, ids: Sequence[int]) -> ProviderNews | None:
    """News of these providers for a reader that knows ``revision``.

    None if more than claims came after it, or if that cannot be said any more. Otherwise all that the reader
    knows besides holds at the new revision as well.
    """
    row = connection.execute(sa.select(revisions.c.revision, revisions.c.compacted)).one()
    if row.compacted > revision or row.revision < revision:
        return None
    others = sa.select(changes.c.revision).where(
        changes.c.revision > revision, changes.c.kind.not_in(CLAIM_KINDS)
    )
    if connection.execute(others.limit(1)).first() is not None:
        return None
    generations: dict[int, int] = {}
    used: dict[int, dict[str, int]] = defaultdict(dict)
    for batch in batches(ids):
        found = connection.execute(
            sa.select(resource_providers.c.id, generation).where(resource_providers.c.id.in_(batch))
        )
        generations.update({each.id: each.generation for each in found})
        for each in connection.execute(select_used(allocations.c.resource_provider_id.in_(batch))):
            used[each.resource_provider_id][each.name] = int(each.used)
    return ProviderNews(row.revision, generations, dict(used))
