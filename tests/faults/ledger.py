"""What stands in the database, read with SQL of the audit's own."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, NullPool, create_engine, text

from moorage.model.values import Inventory
from moorage.store.sql.texts import unpacked_text
from tests.faults.leased import EXPIRE_KIND, TAKE_AWAY_KIND, HeldLease, LeasedAccount, lease_differences
from tests.oracle.account import Holder, Node


@dataclass(frozen=True, slots=True)
class Entry:
    """One revision of the change log."""

    revision: int
    tag: str
    user: str
    request_id: str
    transaction_id: str
    kind: str


@dataclass(frozen=True)
class Ledger:
    """The revision, the whole change log, and the contents of the tables as an account.

    ``doubtful`` tells of rows that no account can have: without an owner, or more than one.
    """

    revision: int
    entries: list[Entry]
    account: LeasedAccount
    doubtful: list[str]
    answers: Mapping[str, tuple[int, str]] = field(default_factory=dict)
    """What is remembered under idempotency keys: revision and answer."""
    journal: Mapping[int, Any] = field(default_factory=dict)
    """The records of what time ended and took away, by revision; those that were not compacted."""


def read_ledger(url: str) -> Ledger:
    """Everything, in one snapshot."""
    engine = create_engine(url, poolclass=NullPool)
    if engine.dialect.name != "sqlite":
        engine = engine.execution_options(isolation_level="REPEATABLE READ")
    with engine.connect() as connection:
        revision = connection.execute(text("SELECT revision FROM moorage_revision")).scalar_one()
        kept = connection.execute(text("SELECT id, revision, answer FROM moorage_keys"))
        answers = {row[0]: (int(row[1]), row[2]) for row in kept}
        account, doubtful = _account(connection)
        return Ledger(
            int(revision), _entries(connection), account, doubtful, answers, journal_of_leases(connection)
        )


def current_revision(url: str) -> int:
    """The revision alone."""
    engine = create_engine(url, poolclass=NullPool)
    with engine.connect() as connection:
        return int(connection.execute(text("SELECT revision FROM moorage_revision")).scalar_one())


def journal_of_leases(connection: Connection) -> dict[int, Any]:
    """Bodies of the journal's records of what time ended and took away, by revision."""
    rows = connection.execute(
        text("SELECT revision, body FROM moorage_journal WHERE kind IN (:expired, :taken)"),
        {"expired": EXPIRE_KIND, "taken": TAKE_AWAY_KIND},
    )
    return {int(revision): json.loads(unpacked_text(body)) for revision, body in rows}


def unended_leases(url: str) -> list[tuple[str, str]]:
    """Leases that time still moves, or whose claims are still to go, with their states."""
    engine = create_engine(url, poolclass=NullPool)
    with engine.connect() as connection:
        rows = connection.execute(
            text(
                "SELECT uuid, state FROM moorage_leases WHERE state IN ('active', 'expired', 'releasing')"
                " ORDER BY uuid"
            )
        )
        return [(row[0], row[1]) for row in rows]


def journal_begins(url: str) -> int:
    """The first revision that the journal has; that after the present one if it has none."""
    engine = create_engine(url, poolclass=NullPool)
    with engine.connect() as connection:
        first = connection.execute(text("SELECT MIN(revision) FROM moorage_journal")).scalar_one()
        present = connection.execute(text("SELECT revision FROM moorage_revision")).scalar_one()
        return int(present) + 1 if first is None else int(first)


def _entries(connection: Connection) -> list[Entry]:
    rows = connection.execute(
        text(
            "SELECT DISTINCT revision, project_id, user_id, request_id, transaction_id, kind"
            " FROM moorage_changes ORDER BY revision"
        )
    )
    return [Entry(*row) for row in rows]


def _account(connection: Connection) -> tuple[LeasedAccount, list[str]]:
    doubtful: list[str] = []
    classes = dict(_pairs(connection, "SELECT id, name FROM resource_classes"))
    traits = dict(_pairs(connection, "SELECT id, name FROM traits"))
    account = LeasedAccount(classes.values(), traits.values())
    uuids = dict(_pairs(connection, "SELECT id, uuid FROM resource_providers"))
    roots = {}
    rows = connection.execute(
        text(
            "SELECT id, uuid, name, generation, parent_provider_id, root_provider_id FROM resource_providers"
        )
    )
    for id_, uuid, name, generation, parent, root in rows.all():
        account.nodes[uuid] = Node(uuid, name, uuids.get(parent), generation)
        roots[uuid] = uuids.get(root)
        if parent is not None and parent not in uuids:
            doubtful.append(f"provider {id_} has the parent {parent}, which is not there")
    _read_inventories(connection, account, uuids, classes, doubtful)
    _read_memberships(connection, account, uuids, traits, doubtful)
    _read_consumers(connection, account, uuids, classes, doubtful)
    _read_leases(connection, account, doubtful)
    for uuid, root in roots.items():
        if account.lineage(uuid)[-1] != root:
            doubtful.append(f"provider {uuid} has the root {root}, not {account.lineage(uuid)[-1]}")
    return account, doubtful


def _pairs(connection: Connection, statement: str) -> list[tuple[int, str]]:
    return [(row[0], row[1]) for row in connection.execute(text(statement))]


def _read_inventories(
    connection: Connection,
    account: LeasedAccount,
    uuids: Mapping[int, str],
    classes: Mapping[int, str],
    doubtful: list[str],
) -> None:
    rows = connection.execute(
        text(
            "SELECT resource_provider_id, resource_class_id, total, reserved, min_unit, max_unit, step_size,"
            " allocation_ratio FROM inventories"
        )
    )
    for provider, class_id, *fields in rows:
        if provider not in uuids or class_id not in classes:
            doubtful.append(f"inventory of provider {provider} and class {class_id}: one is not there")
            continue
        account.nodes[uuids[provider]].inventories[classes[class_id]] = Inventory(*fields)


def _read_memberships(
    connection: Connection,
    account: LeasedAccount,
    uuids: Mapping[int, str],
    traits: Mapping[int, str],
    doubtful: list[str],
) -> None:
    aggregates = dict(_pairs(connection, "SELECT id, uuid FROM placement_aggregates"))
    for table, column, names in (
        ("resource_provider_traits", "trait_id", traits),
        ("resource_provider_aggregates", "aggregate_id", aggregates),
    ):
        found: dict[str, set[str]] = defaultdict(set)
        rows = connection.execute(text(f"SELECT resource_provider_id, {column} FROM {table}"))
        for provider, item in rows:
            if provider not in uuids or item not in names:
                doubtful.append(f"{table}: {provider}, {item}: one is not there")
                continue
            found[uuids[provider]].add(names[item])
        for uuid, items in found.items():
            if table == "resource_provider_traits":
                account.nodes[uuid].traits = frozenset(items)
            else:
                account.nodes[uuid].aggregates = tuple(sorted(items))


def _read_consumers(
    connection: Connection,
    account: LeasedAccount,
    uuids: Mapping[int, str],
    classes: Mapping[int, str],
    doubtful: list[str],
) -> None:
    rows = connection.execute(
        text(
            "SELECT c.uuid, p.external_id, u.external_id, t.name, c.generation FROM consumers c"
            " LEFT JOIN projects p ON p.id = c.project_id LEFT JOIN users u ON u.id = c.user_id"
            " LEFT JOIN consumer_types t ON t.id = c.consumer_type_id"
        )
    )
    for uuid, project, user, kind, generation in rows:
        account.holders[uuid] = Holder(project, user, kind, generation, {})
    rows = connection.execute(
        text("SELECT consumer_id, resource_provider_id, resource_class_id, used FROM allocations")
    )
    for consumer, provider, class_id, used in rows:
        if consumer not in account.holders or provider not in uuids or class_id not in classes:
            doubtful.append(f"allocation of {consumer}, {provider}, {class_id}: one of them is not there")
            continue
        held = account.holders[consumer].held
        key = (uuids[provider], classes[class_id])
        if key in held:
            doubtful.append(f"{consumer} holds {key} twice")
        held[key] = held.get(key, 0) + used
    doubtful += [
        f"consumer {uuid} holds nothing" for uuid, holder in account.holders.items() if not holder.held
    ]


def _read_leases(connection: Connection, account: LeasedAccount, doubtful: list[str]) -> None:
    rows = connection.execute(
        text("SELECT uuid, ttl_ms, grace_ms, on_expiry, state, revision FROM moorage_leases")
    )
    for uuid, ttl_ms, grace_ms, on_expiry, state, revision in rows:
        account.leases[uuid] = HeldLease(
            uuid, ttl_ms, grace_ms, on_expiry == "release", None, state, revision or 0
        )
    rows = connection.execute(text("SELECT consumer_uuid, lease FROM moorage_claims WHERE lease IS NOT NULL"))
    for consumer, lease in rows:
        if consumer in account.holders and lease in account.leases:
            account.attached[consumer] = lease
        else:
            doubtful.append(f"the claim of {consumer} hangs on {lease}: one is not there")


def differences(expected: LeasedAccount, found: LeasedAccount) -> list[str]:
    """Where two accounts differ, in sentences; order that nobody promised aside."""
    told: list[str] = []
    for what, left, right in (
        ("provider", _nodes(expected), _nodes(found)),
        ("consumer", expected.holders, found.holders),
        ("resource class", _named(expected.class_names), _named(found.class_names)),
        ("trait", _named(expected.trait_names), _named(found.trait_names)),
    ):
        keys: set[str] = set(left) | set(right)
        told += [
            f"{what} {key} is {_get(right, key)}, but should be {_get(left, key)}"
            for key in sorted(keys)
            if _get(left, key) != _get(right, key)
        ]
    return told + lease_differences(expected, found)


def _get(items: Mapping[str, Any], key: str) -> Any:
    return items.get(key, "not there")


def _nodes(account: LeasedAccount) -> dict[str, Any]:
    return {
        uuid: (
            node.name,
            node.parent,
            node.generation,
            dict(sorted(node.inventories.items())),
            sorted(node.traits),
            sorted(node.aggregates),
        )
        for uuid, node in account.nodes.items()
    }


def _named(names: list[str]) -> dict[str, str]:
    return dict.fromkeys(names, "there")
