"""A service over HTTP with the interface that ``moorage load`` uses for comparing and writing.

The Placement API writes part by part: one transaction on a database is several requests here. If a request in
the middle is refused, the next run continues there.
"""

from __future__ import annotations

import threading
from contextlib import ExitStack
from dataclasses import fields
from typing import Any, Final, Self
from urllib.parse import quote

from moorage.cli.client.address import Address
from moorage.cli.client.connection import EITHER_OPTIONS, RefusedError, ServiceConnection
from moorage.cli.client.words import plain
from moorage.model.commands import (
    KEEP,
    Batch,
    Claim,
    Command,
    CreateProvider,
    CreateResourceClass,
    CreateTrait,
    DeleteAllocations,
    DeleteProvider,
    ReplaceAllocations,
    SetAggregates,
    SetInventories,
    SetTraits,
    UpdateProvider,
)
from moorage.model.errors import ProviderNotFoundError
from moorage.model.requests import ProviderFilter
from moorage.model.values import (
    ConsumerAllocations,
    HeldOfProvider,
    Inventory,
    NamedItem,
    Provider,
    ProviderAggregates,
    ProviderInventories,
    ProviderTraits,
    Requester,
    stated_type,
)

CONSUMER_TYPE_MINOR: Final = 38
"""Microversion 1.N since which consumers have a type, which writes must name."""

NOT_FOUND: Final = 404
CONFLICT: Final = 409

INVENTORY_FIELDS: Final = tuple(item.name for item in fields(Inventory))


class RemoteAccount:
    """See ``loading.Account``. Raises ServiceError and RefusedError. To be closed.

    Each thread has a connection of its own.
    """

    def __init__(self, address: Address) -> None:
        self._address = address
        self._mine = threading.local()
        self._lock = threading.Lock()
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def _service(self) -> ServiceConnection:
        found: ServiceConnection | None = getattr(self._mine, "service", None)
        if found is None:
            found = ServiceConnection(self._address.url, self._address.token, EITHER_OPTIONS)
            with self._lock:
                self._stack.enter_context(found)
            self._mine.service = found
        return found

    def providers(self, _wanted: ProviderFilter) -> list[Provider]:
        """All providers."""
        return [
            Provider(
                each["uuid"],
                each["name"],
                each["generation"],
                each["parent_provider_uuid"],
                each["root_provider_uuid"],
            )
            for each in self._service.get("/resource_providers")["resource_providers"]
        ]

    def provider_inventories(self, uuid: str) -> ProviderInventories:
        """Inventories of a provider. Raises ProviderNotFoundError."""
        found = self._part(uuid, "inventories")
        return ProviderInventories(
            found["resource_provider_generation"],
            {
                name: Inventory(**{field: each[field] for field in INVENTORY_FIELDS})
                for name, each in found["inventories"].items()
            },
        )

    def provider_traits(self, uuid: str) -> ProviderTraits:
        """Traits of a provider. Raises ProviderNotFoundError."""
        found = self._part(uuid, "traits")
        return ProviderTraits(found["resource_provider_generation"], tuple(found["traits"]))

    def provider_aggregates(self, uuid: str) -> ProviderAggregates:
        """Aggregates of a provider. Raises ProviderNotFoundError."""
        found = self._part(uuid, "aggregates")
        return ProviderAggregates(found["resource_provider_generation"], tuple(found["aggregates"]))

    def _part(self, uuid: str, part: str) -> Any:
        try:
            return self._service.get(f"/resource_providers/{uuid}/{part}")
        except RefusedError as refusal:
            if refusal.status == NOT_FOUND:
                raise ProviderNotFoundError(uuid) from refusal
            raise

    def consumer_allocations(self, consumer: str) -> ConsumerAllocations:
        """What a consumer holds."""
        found = self._service.get(f"/allocations/{quote(consumer, safe='')}")
        if not found["allocations"]:
            return ConsumerAllocations()
        return ConsumerAllocations(
            {
                uuid: HeldOfProvider(each["generation"], each["resources"])
                for uuid, each in found["allocations"].items()
            },
            found["project_id"],
            found["user_id"],
            found["consumer_generation"],
            found.get("consumer_type"),
        )

    def owner_as_kept(self, project_id: str, user_id: str) -> tuple[str, str]:
        """The owner as given: the API does not show the database's spelling."""
        return project_id, user_id

    def traits(self) -> list[NamedItem]:
        """All traits."""
        return [NamedItem(name) for name in self._service.get("/traits")["traits"]]

    def resource_classes(self) -> list[NamedItem]:
        """All resource classes."""
        found = self._service.get("/resource_classes")["resource_classes"]
        return [NamedItem(each["name"]) for each in found]

    def execute(self, command: Command[Any], _requester: Requester) -> None:
        """Carry out a command; each part of a batch is a request."""
        try:
            for part in command.commands if isinstance(command, Batch) else (command,):
                self._one(part)
        except RefusedError as refusal:
            refusal.told = plain(refusal.detail, lambda uuid: uuid)
            raise

    def _one(self, command: Command[Any]) -> None:
        service = self._service
        match command:
            case CreateProvider(uuid, name, parent):
                body = {"uuid": uuid, "name": name, "parent_provider_uuid": parent}
                service.post("/resource_providers", body)
            case UpdateProvider(uuid, name, parent):
                place = {} if parent is KEEP else {"parent_provider_uuid": parent}
                service.put(f"/resource_providers/{uuid}", {"name": name, **place})
            case DeleteProvider(uuid):
                service.delete(f"/resource_providers/{uuid}")
            case CreateResourceClass(name):
                service.put(f"/resource_classes/{name}", None)
            case CreateTrait(name):
                service.put(f"/traits/{name}", None)
            case SetInventories(uuid, generation, inventories):
                told = {
                    name: {field: getattr(each, field) for field in INVENTORY_FIELDS}
                    for name, each in inventories.items()
                }
                self._set(uuid, "inventories", generation, told)
            case SetTraits(uuid, generation, traits):
                self._set(uuid, "traits", generation, sorted(traits))
            case SetAggregates(uuid, generation, aggregates):
                self._set(uuid, "aggregates", generation, list(aggregates))
            case DeleteAllocations(consumer):
                service.delete(f"/allocations/{consumer}")
            case ReplaceAllocations((claim,)):
                self._claim(claim)
            case _:
                raise NotImplementedError(f"a file asks for no {type(command).__name__}")

    def _set(self, uuid: str, part: str, generation: int | None, value: object) -> None:
        """Write a part of a provider; without a generation, use the present one."""
        path = f"/resource_providers/{uuid}"
        if generation is None:
            generation = self._service.get(path)["generation"]
        self._service.put(f"{path}/{part}", {"resource_provider_generation": generation, part: value})

    def _claim(self, claim: Claim) -> None:
        service = self._service
        path = f"/allocations/{claim.consumer}"
        body: dict[str, Any] = {
            "allocations": {uuid: {"resources": dict(each)} for uuid, each in claim.allocations.items()},
            "project_id": claim.project_id,
            "user_id": claim.user_id,
            "consumer_generation": claim.generation,
        }
        kind = claim.consumer_type
        if kind is not None and service.minor >= CONSUMER_TYPE_MINOR:
            service.put(path, {**body, "consumer_type": kind})
            return
        if claim.generation is not None and self._has_type(claim.consumer):
            # The API can change a type, but cannot remove it.
            told = "the API cannot remove a consumer's type: name the type in the file"
            raise RefusedError(CONFLICT, "", told)
        service.put(path, body, CONSUMER_TYPE_MINOR - 1)

    def _has_type(self, consumer: str) -> bool:
        return stated_type(self.consumer_allocations(consumer).consumer_type) is not None
