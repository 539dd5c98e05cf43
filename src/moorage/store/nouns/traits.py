"""Traits: their names, and which providers have them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any, ClassVar

import sqlalchemy as sa

from moorage.model.errors import TraitNotFoundError
from moorage.model.values import NamedItem, ProviderTraits
from moorage.rules.audit import MemberFact
from moorage.rules.state import NameRow, State, Touch
from moorage.store.nouns.noun import (
    AuditRows,
    GroupWork,
    Noun,
    changed_facets,
    delete_pairs,
    execute_all,
    name_changes,
    names_of,
    present_ids,
    rows_of,
)
from moorage.store.nouns.providers import latest, provider_row
from moorage.store.nouns.resource_classes import named_items
from moorage.store.sql.statements import Selection
from moorage.store.tables import provider_traits, traits

PROVIDER_TRAITS = Selection(
    sa.select(provider_traits.c.resource_provider_id, traits.c.id, traits.c.name).join_from(
        provider_traits, traits
    ),
    provider_traits.c.resource_provider_id,
)
TRAITS = Selection(sa.select(traits.c.id, traits.c.name), traits.c.name)
USED_TRAITS = Selection(
    sa.select(traits.c.name).where(sa.exists().where(provider_traits.c.trait_id == traits.c.id)),
    traits.c.name,
)


class TraitsOfProviders(Noun):
    """Which traits providers have."""

    touched = ("traits",)
    of_provider = (provider_traits,)
    audited: ClassVar[Mapping[str, AuditRows]] = {
        "provider_traits": rows_of(
            MemberFact, provider_traits.c.resource_provider_id, provider_traits.c.trait_id
        )
    }

    def read(self, work: GroupWork, state: State, touch: Touch) -> None:
        """Read the traits of providers."""
        ids = present_ids(work, touch.traits)
        found: dict[int, set[str]] = defaultdict(set)
        for provider_id, trait_id, name in PROVIDER_TRAITS.rows(work.connection, sorted(ids)):
            found[provider_id].add(name)
            work.traits[name] = trait_id
        state.traits.update({uuid: frozenset(found[id_]) for id_, uuid in ids.items()})

    def write(self, work: GroupWork, before: State, after: State) -> None:
        """Give traits to providers, and take them away. All the names exist by now."""
        table = provider_traits
        inserted: list[dict[str, Any]] = []
        deleted: list[tuple[int, int]] = []
        for uuid, was, now in changed_facets(after, before.traits, after.traits):
            was = was or frozenset()
            id_ = work.providers[uuid]
            inserted += [
                {"resource_provider_id": id_, "trait_id": work.traits[name]} for name in sorted(now - was)
            ]
            deleted += [(id_, work.traits[name]) for name in was - now]
        delete_pairs(work, table, table.c.resource_provider_id, table.c.trait_id, deleted)
        execute_all(work, table.insert(), inserted)


class Traits(Noun):
    """The names of traits."""

    touched = ("trait_names", "trait_use")
    audited: ClassVar[Mapping[str, AuditRows]] = {"traits": names_of(traits.c.id, traits.c.name)}

    def read(self, work: GroupWork, state: State, touch: Touch) -> None:
        """Read which traits exist, and whether they are in use."""
        used = {name for (name,) in USED_TRAITS.rows(work.connection, touch.trait_use)}
        state.trait_names.update(dict.fromkeys(touch.trait_names, NameRow(exists=False)))
        for id_, name in TRAITS.rows(work.connection, touch.trait_names):
            if name in touch.trait_names:
                work.traits[name] = id_
                state.trait_names[name] = NameRow(exists=True, in_use=name in used)

    def write(self, work: GroupWork, before: State, after: State) -> None:
        """Remove and add traits."""
        created, deleted = name_changes(before.trait_names, after.trait_names)
        if deleted:
            ids = [work.traits[name] for name in deleted]
            work.connection.execute(traits.delete().where(traits.c.id.in_(ids)))
        if created:
            execute_all(work, traits.insert(), [{"name": name} for name in created])
            query = sa.select(traits.c.name, traits.c.id).where(traits.c.name.in_(created))
            work.traits |= {row.name: row.id for row in work.connection.execute(query)}


select_traits = (
    sa.select(provider_traits.c.resource_provider_id, traits.c.name)
    .join_from(provider_traits, traits)
    .order_by(provider_traits.c.resource_provider_id, provider_traits.c.trait_id)
)
"""Provider id and the trait's name, in order of both ids."""

TRAITS_OF_PROVIDERS = TraitsOfProviders()
TRAIT_NAMES = Traits()


def provider_traits_of(connection: sa.Connection, uuid: str) -> ProviderTraits:
    """Raises ProviderNotFoundError."""
    found = provider_row(connection, uuid)
    rows = connection.execute(
        sa.select(traits.c.name, traits.c.created_at, traits.c.updated_at)
        .join_from(provider_traits, traits)
        .where(provider_traits.c.resource_provider_id == found.id)
        .order_by(traits.c.id)
    ).all()
    return ProviderTraits(found.generation, tuple(row.name for row in rows), latest(rows))


def trait_list(
    connection: sa.Connection,
    names: frozenset[str] | None,
    prefix: str | None,
    associated: bool | None,
) -> list[NamedItem]:
    """Traits that are among the names, have the prefix, and have (or do not have) a provider, by id."""
    query = sa.select(traits.c.name, traits.c.created_at, traits.c.updated_at).order_by(traits.c.id)
    if names is not None:
        query = query.where(traits.c.name.in_(names))
    if prefix is not None:
        # wire: the prefix goes into LIKE as it is, so that % and _ are wildcards.
        query = query.where(traits.c.name.like(prefix + "%"))
    if associated is not None:
        has_provider = sa.exists().where(provider_traits.c.trait_id == traits.c.id)
        query = query.where(has_provider if associated else ~has_provider)
    return named_items(connection.execute(query))


def trait(connection: sa.Connection, name: str) -> NamedItem:
    """Raises TraitNotFoundError."""
    found = trait_list(connection, frozenset((name,)), None, None)
    if not found:
        raise TraitNotFoundError(name)
    return found[0]
