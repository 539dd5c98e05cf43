"""Aggregates: which providers are in them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any, ClassVar

import sqlalchemy as sa

from moorage.model.values import ProviderAggregates
from moorage.rules.audit import MemberFact
from moorage.rules.state import State, Touch
from moorage.store.nouns.noun import (
    AuditRows,
    GroupWork,
    Noun,
    changed_facets,
    delete_pairs,
    execute_all,
    names_of,
    present_ids,
    rows_of,
)
from moorage.store.nouns.providers import provider_row
from moorage.store.sql.statements import Selection
from moorage.store.tables import aggregates, provider_aggregates

select_aggregates = sa.select(provider_aggregates.c.resource_provider_id, aggregates.c.uuid).join_from(
    provider_aggregates, aggregates, provider_aggregates.c.aggregate_id == aggregates.c.id
)
"""Provider id and the aggregate's uuid."""

PROVIDER_AGGREGATES = Selection(select_aggregates, provider_aggregates.c.resource_provider_id)


class Aggregates(Noun):
    """Aggregates are added when the first provider joins them, and stay."""

    touched = ("aggregates",)
    of_provider = (provider_aggregates,)
    audited: ClassVar[Mapping[str, AuditRows]] = {
        "provider_aggregates": rows_of(
            MemberFact, provider_aggregates.c.resource_provider_id, provider_aggregates.c.aggregate_id
        ),
        "aggregates": names_of(aggregates.c.id, aggregates.c.uuid),
    }

    def read(self, work: GroupWork, state: State, touch: Touch) -> None:
        """Read the aggregates of providers."""
        ids = present_ids(work, touch.aggregates)
        found: dict[int, list[str]] = defaultdict(list)
        for provider_id, aggregate in PROVIDER_AGGREGATES.rows(work.connection, sorted(ids)):
            found[provider_id].append(aggregate)
        state.aggregates.update({uuid: tuple(found[id_]) for id_, uuid in ids.items()})

    def write(self, work: GroupWork, before: State, after: State) -> None:
        """Let providers join and leave aggregates."""
        table = provider_aggregates
        facets = list(changed_facets(after, before.aggregates, after.aggregates))
        if not facets:
            return
        names = {name for _, was, now in facets for name in (*(was or ()), *now)}
        ids, added = work.registries.aggregates.ids(work.connection, names)
        work.added.append((work.registries.aggregates, added))
        inserted: list[dict[str, Any]] = []
        deleted: list[tuple[int, int]] = []
        for uuid, was, now in facets:
            was = was or ()
            id_ = work.providers[uuid]
            # A collation may hold two names of an aggregate equal. One membership is enough.
            wanted = {ids[name] for name in now}
            present = {ids[name] for name in was}
            inserted += [
                {"resource_provider_id": id_, "aggregate_id": aggregate}
                for aggregate in sorted(wanted - present)
            ]
            deleted += [(id_, aggregate) for aggregate in present - wanted]
        delete_pairs(work, table, table.c.resource_provider_id, table.c.aggregate_id, deleted)
        execute_all(work, table.insert(), inserted)


AGGREGATES = Aggregates()


def provider_aggregates_of(connection: sa.Connection, uuid: str) -> ProviderAggregates:
    """Raises ProviderNotFoundError."""
    found = provider_row(connection, uuid)
    uuids = connection.execute(
        sa.select(aggregates.c.uuid)
        .join_from(provider_aggregates, aggregates, provider_aggregates.c.aggregate_id == aggregates.c.id)
        .where(provider_aggregates.c.resource_provider_id == found.id)
        .order_by(aggregates.c.id)
    ).scalars()
    return ProviderAggregates(found.generation, tuple(uuids))
