"""Resource classes: their names, of which only the custom ones come and go."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import sqlalchemy as sa

from moorage.model.errors import ResourceClassNotFoundError
from moorage.model.values import CUSTOM_PREFIX, NamedItem
from moorage.rules.state import NameRow, State, Touch
from moorage.store.nouns.noun import AuditRows, GroupWork, Noun, execute_all, name_changes, names_of
from moorage.store.sql.statements import Selection
from moorage.store.tables import inventories, resource_classes, resource_providers

FIRST_CUSTOM_CLASS_ID = 10_000
"""Ids of custom resource classes start here; the standard ones keep their library's order."""

USED_CLASSES = Selection(
    sa.select(resource_classes.c.name).where(
        sa.exists().where(inventories.c.resource_class_id == resource_classes.c.id)
    ),
    resource_classes.c.name,
)


_classes = sa.select(resource_classes.c.id, resource_classes.c.name)
CLASSES_BY_ID = Selection(_classes, resource_classes.c.id)
CLASSES_BY_NAME = Selection(_classes, resource_classes.c.name)


def _locked_classes(*, shared: bool) -> Selection:
    table = resource_classes
    return Selection(sa.select(table.c.id).order_by(table.c.id).with_for_update(read=shared), table.c.name)


KEPT_CLASSES = _locked_classes(shared=True)
LEAVING_CLASSES = _locked_classes(shared=False)


def class_names(work: GroupWork, ids: set[int]) -> Mapping[int, str]:
    """Names of these classes, and of all classes found before, by id."""
    unknown = ids - work.class_names.keys()
    if unknown:
        standard = work.registries.standard_names
        found = {id_: standard[id_] for id_ in unknown if id_ in standard}
        if len(found) < len(unknown):
            found |= _read(work, CLASSES_BY_ID, unknown - found.keys())
        work.class_names |= found
        work.classes |= {name: id_ for id_, name in found.items()}
    return work.class_names


def _present_ids(work: GroupWork, names: frozenset[str]) -> dict[str, int]:
    """Ids of those of these classes that exist, by name."""
    standard = work.registries.standard_ids
    found = {name: standard[name] for name in names if name in standard}
    if len(found) < len(names):
        read = _read(work, CLASSES_BY_NAME, names - found.keys())
        found |= {name: id_ for id_, name in read.items() if name in names}
    return found


def _read(work: GroupWork, selection: Selection, wanted: Iterable[object]) -> dict[int, str]:
    """Names of classes by id. The standard ones are remembered."""
    found = dict[int, str](selection.rows(work.connection, wanted))
    for id_, name in found.items():
        if not name.startswith(CUSTOM_PREFIX):
            work.registries.standard_ids[name] = id_
            work.registries.standard_names[id_] = name
    return found


def class_ids(work: GroupWork, names: Iterable[str]) -> Mapping[str, int]:
    """Ids of these classes, and of all classes found before, by name."""
    known = work.classes
    missing = [name for name in names if name not in known]
    if missing:
        query = sa.select(resource_classes.c.name, resource_classes.c.id)
        rows = work.connection.execute(query.where(resource_classes.c.name.in_(missing)))
        known |= {row.name: row.id for row in rows}
    return known


class ResourceClasses(Noun):
    """The names of resource classes."""

    touched = ("resource_classes", "kept_classes", "resource_class_use")
    audited: ClassVar[Mapping[str, AuditRows]] = {
        "resource_classes": names_of(resource_classes.c.id, resource_classes.c.name)
    }

    def read(self, work: GroupWork, state: State, touch: Touch) -> None:
        """Read which classes exist, and whether they are in use."""
        # The schema does not tie an inventory to its class. So a transaction that adds inventory locks a
        # custom class against deletion, and a transaction that deletes the class waits for those locks.
        if work.locks:
            kept = {name for name in touch.kept_classes if name.startswith(CUSTOM_PREFIX)}
            KEPT_CLASSES.execute(work.connection, sorted(kept - touch.resource_class_use))
            LEAVING_CLASSES.execute(work.connection, sorted(touch.resource_class_use))
        used = frozenset[str]()
        if touch.resource_class_use:
            used = frozenset(name for (name,) in USED_CLASSES.rows(work.connection, touch.resource_class_use))
        state.resource_classes.update(dict.fromkeys(touch.resource_classes, NameRow(exists=False)))
        found = _present_ids(work, touch.resource_classes)
        work.classes |= found
        state.resource_classes.update({name: NameRow(exists=True, in_use=name in used) for name in found})

    def write(self, work: GroupWork, before: State, after: State) -> None:
        """Rename, remove and add classes."""
        table = resource_classes
        old, new = before.resource_classes, after.resource_classes
        known = work.classes
        renamed = {name: row.renamed_to for name, row in new.items() if row.renamed_to is not None}
        for name, new_name in renamed.items():
            work.connection.execute(table.update().where(table.c.id == known[name]).values(name=new_name))
            known[new_name] = known[name]
            work.renamed_root_ids |= _roots_with(work, known[name])
        created, deleted = name_changes(old, new)
        created = [name for name in created if name not in renamed.values()]
        for name in deleted:
            if name not in renamed:
                work.connection.execute(table.delete().where(table.c.id == known[name]))
        if created:
            last = work.connection.execute(sa.select(sa.func.max(table.c.id))).scalar() or 0
            first = max(last + 1, FIRST_CUSTOM_CLASS_ID)
            ids = {name: first + offset for offset, name in enumerate(created)}
            execute_all(work, table.insert(), [{"id": id_, "name": name} for name, id_ in ids.items()])
            known |= ids


RESOURCE_CLASSES = ResourceClasses()


def _roots_with(work: GroupWork, class_id: int) -> set[int]:
    """Database ids of the roots of all trees that have inventory of a class."""
    query = (
        sa.select(resource_providers.c.root_provider_id)
        .join_from(
            inventories,
            resource_providers,
            inventories.c.resource_provider_id == resource_providers.c.id,
        )
        .where(inventories.c.resource_class_id == class_id)
        .distinct()
    )
    return set(work.connection.execute(query).scalars())


def named_items(rows: Iterable[Any]) -> list[NamedItem]:
    """Names with the time of their last change."""
    return [NamedItem(row.name, row.updated_at or row.created_at) for row in rows]


def resource_class_list(connection: sa.Connection, name: str | None = None) -> list[NamedItem]:
    """Resource classes by id, or the one of this name."""
    table = resource_classes
    query = sa.select(table.c.name, table.c.created_at, table.c.updated_at).order_by(table.c.id)
    return named_items(connection.execute(query if name is None else query.where(table.c.name == name)))


def resource_class(connection: sa.Connection, name: str) -> NamedItem:
    """Raises ResourceClassNotFoundError."""
    found = resource_class_list(connection, name)
    if not found:
        raise ResourceClassNotFoundError(name)
    return found[0]
