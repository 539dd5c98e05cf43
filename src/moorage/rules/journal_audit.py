"""What must hold in the journal, as ``rules.audit`` says it of the account.

The newest record that names a value tells what that value is now. So the newest records together are checked
against the rows.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from moorage.model.findings import Finding
from moorage.rules.audit import Facts
from moorage.rules.undo import has_values


class JournalFacts(NamedTuple):
    """What the journal is like. ``gaps`` and ``lost`` may be cut off: one cause has many effects.

    ``records`` there are, up to the revision ``last``. ``gaps``: first and last of revisions without one, in
    the present history. ``lost``: subject and revision of rows that refer to no record. ``rows``: how many
    rows of single subjects there are, and how many there should be.
    ``newest``: revision and body of the newest records, the newest first.
    """

    records: int
    last: int | None
    gaps: Sequence[tuple[int, int]]
    lost: Sequence[tuple[str, int]]
    rows: tuple[int, int]
    newest: Sequence[tuple[int, Mapping[str, Any]]]


def check_journal(revision: int, journal: JournalFacts, facts: Facts) -> Iterator[Finding]:
    """Each revision of the present history that was not compacted has a record, and so has each row that
    refers to one. The newest records lead to the present rows. ``revision`` is the present one.
    """
    gaps = list(journal.gaps)
    if journal.last is not None and journal.last < revision:
        gaps.append((journal.last + 1, revision))
    for first, last in gaps:
        which = f"revision {first}" if first == last else f"revisions {first} to {last}"
        yield Finding(
            which,
            "missing in the journal, which was off or has lost it: see 'moorage db new-history'",
        )
    if journal.last is not None and journal.last > revision:
        yield Finding(f"revision {journal.last}", f"is in the journal, but the counter is at {revision} only")
    for subject, lost in journal.lost:
        yield Finding(f"record {lost} about {subject}", "is referred to, but is not in the journal")
    count, wanted = journal.rows
    if count != wanted and not journal.lost:
        yield Finding(
            "the journal",
            f"has {count} rows in moorage_journal_subjects, but should have {wanted}: "
            "they are written anew once all of them are deleted",
        )
    yield from _differences(revision, journal.newest, facts)


def _differences(
    present_revision: int, newest: Sequence[tuple[int, Mapping[str, Any]]], facts: Facts
) -> Iterator[Finding]:
    """Values of the newest records that the rows do not have."""
    present = _Present(facts)
    expected = present_revision
    seen: set[tuple[str, ...]] = set()
    for revision, body in newest:
        if revision != expected or "renamed" in body or "adopted" in body or not has_values(body):
            # Something is missing, earlier records name classes otherwise, or they are of another history.
            return
        expected -= 1
        for path, after in _values(body):
            if path not in seen:
                seen.add(path)
                now = present.value(path)
                if now != after:
                    yield Finding(
                        " ".join(path),
                        f"is {now}, but {after} in the journal (revision {revision})",
                    )


def _values(body: Mapping[str, Any]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Each value after a write that rows are compared by, with its place."""
    for uuid, parts in body.get("providers", {}).items():
        for name, pair in parts.items():
            if name == "used":
                for resource_class, (_, after) in pair.items():
                    yield ("provider", uuid, "use of", resource_class), after
            elif name == "inventories":
                yield ("provider", uuid, name), _comparable(pair[1])
            elif name != "tree":
                yield ("provider", uuid, name), pair[1]
    for uuid, parts in body.get("consumers", {}).items():
        if "generation" in parts:
            yield ("consumer", uuid, "generation"), parts["generation"][1]
        for provider, amounts in parts.get("held", {}).items():
            for resource_class, (_, after) in amounts.items():
                yield ("consumer", uuid, resource_class, "of", provider), after


def _comparable(inventories: Mapping[str, Mapping[str, Any]] | None) -> Any:
    """Inventories with ratios as every database keeps them: some have six digits of a float."""
    if inventories is None:
        return None
    return {
        name: {**inventory, "allocation_ratio": float(f"{inventory['allocation_ratio']:.5g}")}
        for name, inventory in inventories.items()
    }


class _Present:
    """Values of rows, by the places of ``_values``."""

    def __init__(self, facts: Facts) -> None:
        uuids = {row.id: row.uuid for row in facts.providers.values()}
        self._providers: dict[str, dict[str, Any]] = {}
        for row in facts.providers.values():
            self._providers[row.uuid] = {
                "generation": row.generation or 0,
                "name": row.name,
                "parent": None if row.parent_id is None else uuids.get(row.parent_id),
                "root": None if row.root_id is None else uuids.get(row.root_id),
                "inventories": {},
                "traits": [],
                "aggregates": [],
            }
        of_id = {id_: self._providers[uuid] for id_, uuid in uuids.items()}
        for each in facts.inventories:
            if each.provider_id in of_id:
                inventory = each.inventory
                of_id[each.provider_id]["inventories"][facts.resource_classes.get(each.class_id)] = {
                    "total": inventory.total,
                    "reserved": inventory.reserved,
                    "min_unit": inventory.min_unit,
                    "max_unit": inventory.max_unit,
                    "step_size": inventory.step_size,
                    "allocation_ratio": inventory.allocation_ratio,
                }
        for part, members, names in (
            ("traits", facts.provider_traits, facts.traits),
            ("aggregates", facts.provider_aggregates, facts.aggregates),
        ):
            for member in members:
                if member.provider_id in of_id:
                    of_id[member.provider_id][part].append(names.get(member.other_id, "?"))
        for provider in self._providers.values():
            provider["traits"].sort()
            provider["aggregates"].sort()
        self._amounts: dict[tuple[str, ...], int] = defaultdict(int)
        holders = set[str]()
        for held in facts.allocations:
            uuid, name = uuids.get(held.provider_id, "?"), facts.resource_classes.get(held.class_id, "?")
            self._amounts["provider", uuid, "use of", name] += held.used
            self._amounts["consumer", held.consumer, name, "of", uuid] += held.used
            holders.add(held.consumer)
        self._generations = {row.uuid: row.generation for row in facts.consumers if row.uuid in holders}

    def value(self, path: tuple[str, ...]) -> Any:
        """The value at a place; None or 0 where there is none."""
        if path[2] == "inventories":
            return _comparable(self._providers.get(path[1], {}).get("inventories"))
        if path[-1] == "generation" and path[0] == "consumer":
            return self._generations.get(path[1])
        if len(path) == 3:
            return self._providers.get(path[1], {}).get(path[2])
        return self._amounts.get(path, 0)
