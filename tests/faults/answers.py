"""What the service should have answered, by the slow twins of account and search."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from moorage.api.placement import errors
from moorage.api.placement.routes import BY_NAME
from moorage.model.errors import MoorageError
from moorage.model.values import Inventory, ProviderRecord
from tests.faults.history import Operation, Reading
from tests.faults.leased import LeasedAccount
from tests.faults.wire import inventory_body, request_of
from tests.oracle.account import Account
from tests.oracle.candidates import Oracle, canonical

GENERATION_FIELDS = ("resource_provider_generation", "generation")
"""Where an answer shows the generation of the provider that was written."""


def records_of(account: Account) -> list[ProviderRecord]:
    """What a search knows of an account."""
    ids = {uuid: number for number, uuid in enumerate(account.nodes, start=1)}
    records = []
    for uuid, node in account.nodes.items():
        used = account.used(uuid)
        records.append(
            ProviderRecord(
                ids[uuid],
                uuid,
                None if node.parent is None else ids[node.parent],
                ids[account.lineage(uuid)[-1]],
                tuple((name, item, used.get(name, 0)) for name, item in node.inventories.items()),
                tuple(node.traits),
                node.aggregates,
            )
        )
    return records


def misread(account: LeasedAccount, reading: Reading) -> str | None:
    """Why an answer is not true of ``account``; None if it is."""
    kind, subject = reading.question
    return _JUDGES[kind](account, subject, reading)


def _consumer(account: Account, uuid: str, reading: Reading) -> str | None:
    items = account.consumer_allocations(uuid)
    expected: dict[str, Any] = {
        "allocations": {
            provider: {"generation": held.provider_generation, "resources": dict(held.resources)}
            for provider, held in items.providers.items()
        }
    }
    if items.providers:
        expected |= {
            "project_id": items.project_id,
            "user_id": items.user_id,
            "consumer_generation": items.generation,
            "consumer_type": items.consumer_type,
        }
    return _compared(expected, reading)


def _hanging(account: LeasedAccount, lease: str, reading: Reading) -> str | None:
    if reading.status != 200:
        return f"there is no reason to refuse it with {reading.status}"
    expected = sorted(consumer for consumer, of in account.attached.items() if of == lease)
    found = sorted(item["consumer"] for item in reading.body["claims"])
    return None if found == expected else f"these hang on it: {expected}"


def _inventories(account: Account, uuid: str, reading: Reading) -> str | None:
    if uuid not in account.nodes:
        return None if reading.status == 404 else "the provider is not there"
    node = account.nodes[uuid]
    inventories: dict[str, Inventory] = node.inventories
    return _compared(
        {
            "resource_provider_generation": node.generation,
            "inventories": {name: inventory_body(item) for name, item in inventories.items()},
        },
        reading,
    )


def _usages(account: Account, uuid: str, reading: Reading) -> str | None:
    if uuid not in account.nodes:
        return None if reading.status == 404 else "the provider is not there"
    usages = account.provider_usages(uuid)
    return _compared(
        {"resource_provider_generation": usages.generation, "usages": dict(usages.usages)}, reading
    )


def _allocations(account: Account, uuid: str, reading: Reading) -> str | None:
    if uuid not in account.nodes:
        return None if reading.status == 404 else "the provider is not there"
    items = account.provider_allocations(uuid)
    return _compared(
        {
            "resource_provider_generation": items.generation,
            "allocations": {
                consumer: {"resources": dict(held.resources), "consumer_generation": held.consumer_generation}
                for consumer, held in items.consumers.items()
            },
        },
        reading,
    )


def _candidates(account: Account, request: Any, reading: Reading) -> str | None:
    if reading.status != 200:
        return f"there is no reason to refuse it with {reading.status}"
    oracle = Oracle(records_of(account))
    expected = oracle.candidates(request)
    found = [
        canonical({uuid: given["resources"] for uuid, given in item["allocations"].items()}, item["mappings"])
        for item in reading.body["allocation_requests"]
    ]
    if len(found) != len(set(found)):
        return "a candidate comes twice"
    if set(found) != expected:
        return f"{len(set(found) - expected)} candidates too many, {len(expected - set(found))} missing"
    summaries = {
        uuid: (
            item["parent_provider_uuid"],
            item["root_provider_uuid"],
            {name: (held["capacity"], held["used"]) for name, held in item["resources"].items()},
            tuple(sorted(item["traits"])),
        )
        for uuid, item in reading.body["provider_summaries"].items()
    }
    wanted: dict[str, Any] = {
        uuid: (*item[:3], tuple(sorted(item[3])))  # type: ignore[index]
        for uuid, item in oracle.summaries(request, expected).items()
    }
    return None if summaries == wanted else f"summaries should be {wanted}"


_JUDGES: Mapping[str, Callable[[LeasedAccount, Any, Reading], str | None]] = {
    "hanging": _hanging,
    "consumer": _consumer,
    "inventories": _inventories,
    "usages": _usages,
    "allocations": _allocations,
    "candidates": _candidates,
}


def _compared(expected: object, reading: Reading) -> str | None:
    if reading.status != 200:
        return f"{reading.status} instead of {expected}"
    return None if reading.body == expected else f"it should be {expected}"


def misanswered(operation: Operation, result: object, refusal: MoorageError | None) -> str | None:
    """Why a write's answer is not what its twin's ``result`` or ``refusal`` asks for; None if it is."""
    if refusal is None:
        if operation.status is None or operation.status >= 300:
            return "the account would have taken it"
        return _wrong_generation(operation, result)
    request = request_of(operation.command)
    expected = errors.translate(refusal, BY_NAME[request.operation].replies, request.facts)
    if expected is None:
        return f"the account knows no answer to {refusal!r}"
    told = (operation.status, operation.code)
    if told != (expected.status, expected.code) or expected.message not in operation.detail:
        return f"it should be {expected.status} {expected.code} {expected.message}"
    return None


def _wrong_generation(operation: Operation, result: object) -> str | None:
    expected = getattr(result, "generation", None)
    if expected is None or not isinstance(operation.body, dict):
        return None
    shown = [operation.body[name] for name in GENERATION_FIELDS if name in operation.body]
    return None if shown == [expected] else f"it shows the generation {shown}, not {expected}"
