"""Copies the account of a service with the Placement API into a database of Moorage."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, fields
from typing import Any, Final, Protocol, Self, TypeVar
from urllib.parse import quote

from moorage.cli.client.connection import ServiceConnection
from moorage.model.commands import (
    ConsumerCopy,
    CopyConsumers,
    CopyProviders,
    CreateResourceClass,
    CreateTrait,
    ProviderCopy,
)
from moorage.model.errors import ConfigurationError, MoorageError
from moorage.model.requests import ProviderFilter
from moorage.model.values import CUSTOM_PREFIX, Inventory, Requester, stated_type
from moorage.service.facade import Service

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")

AT_A_TIME: Final = 200
"""Providers, or consumers, that are written together: the most that an interruption can lose."""

READINGS: Final = 5
"""How often a provider is read again if it changes during the reading."""

REQUESTER: Final = Requester(user_id="moorage import", path="command")

CONSUMER_TYPE_MINOR: Final = 38
"""Microversion 1.N since which consumers have a type."""

INVENTORY_FIELDS: Final = tuple(item.name for item in fields(Inventory))


class Progress(Protocol):
    """Receives the progress of a stage."""

    def begin(self, stage: str, total: int) -> None:
        """A stage of ``total`` steps begins."""

    def advance(self, steps: int) -> None:
        """``steps`` more steps are done."""


class Source:
    """The other service, used over ``connections`` connections at a time.

    Every method raises ServiceError and RefusedError. To be closed.
    """

    def __init__(self, open_connection: Callable[[], ServiceConnection], connections: int) -> None:
        self._open = open_connection
        self._mine = threading.local()
        self._stack = ExitStack()
        self._pool = ThreadPoolExecutor(connections)
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)
        self._stack.close()

    def _connection(self) -> ServiceConnection:
        found: ServiceConnection | None = getattr(self._mine, "connection", None)
        if found is None:
            with self._lock:
                found = self._stack.enter_context(self._open())
            self._mine.connection = found
        return found

    def get(self, path: str) -> Any:
        """Body of a GET."""
        return self._connection().get(path)

    def every(self, ask: Callable[[ItemT], ResultT], items: Iterable[ItemT]) -> Iterator[ResultT]:
        """Results of ``ask`` for each item, in order, several at a time."""
        return self._pool.map(ask, items)

    def has_consumer_types(self) -> bool:
        """Whether the service shows types of consumers."""
        return self._connection().minor >= CONSUMER_TYPE_MINOR

    def resource_classes(self) -> set[str]:
        """All names."""
        return {each["name"] for each in self.get("/resource_classes")["resource_classes"]}

    def traits(self) -> set[str]:
        """All names."""
        return set(self.get("/traits")["traits"])

    def listed(self) -> list[dict[str, Any]]:
        """All providers as the API lists them, parents before children."""
        listed: list[dict[str, Any]] = self.get("/resource_providers")["resource_providers"]
        parents = {each["uuid"]: each["parent_provider_uuid"] for each in listed}
        depths: dict[str, int] = {}
        level = [uuid for uuid, parent in parents.items() if parent not in parents]
        children: dict[str, list[str]] = defaultdict(list)
        for uuid, parent in parents.items():
            children[parent].append(uuid)
        depth = 0
        while level:
            depths |= dict.fromkeys(level, depth)
            level = [child for uuid in level for child in children[uuid]]
            depth += 1
        return sorted(listed, key=lambda each: depths.get(each["uuid"], 0))

    def provider(self, listed: dict[str, Any]) -> ProviderCopy:
        """A complete provider, with all parts of one generation.

        Raises ConfigurationError if it keeps changing during the reading.
        """
        path = f"/resource_providers/{listed['uuid']}"
        for _ in range(READINGS):
            inventories = self.get(f"{path}/inventories")
            traits = self.get(f"{path}/traits")
            aggregates = self.get(f"{path}/aggregates")
            answers = (inventories, traits, aggregates)
            generations = {answer["resource_provider_generation"] for answer in answers}
            if len(generations) == 1:
                return ProviderCopy(
                    listed["uuid"],
                    listed["name"],
                    generations.pop(),
                    listed["parent_provider_uuid"],
                    {
                        name: Inventory(**{field: each[field] for field in INVENTORY_FIELDS})
                        for name, each in inventories["inventories"].items()
                    },
                    frozenset(traits["traits"]),
                    tuple(sorted(aggregates["aggregates"])),
                )
        raise ConfigurationError(
            f"The provider {listed['name']} changes while it is read: stop the services that write first."
        )

    def consumers_of(self, listed: dict[str, Any]) -> list[str]:
        """UUIDs of all consumers that hold allocations of a provider."""
        return list(self.get(f"/resource_providers/{listed['uuid']}/allocations")["allocations"])

    def consumer(self, uuid: str) -> ConsumerCopy | None:
        """A consumer with all that it holds; None if it holds nothing any more."""
        found = self.get(f"/allocations/{quote(uuid, safe='')}")
        if not found["allocations"]:
            return None
        return ConsumerCopy(
            uuid,
            found["project_id"],
            found["user_id"],
            stated_type(found.get("consumer_type")),
            found["consumer_generation"],
            {provider: each["resources"] for provider, each in found["allocations"].items()},
        )


@dataclass(slots=True)
class Copied:
    """Counts of what was written, and the findings of the comparison."""

    providers: int = 0
    consumers: int = 0
    there_already: int = 0
    compared: int = 0
    differences: tuple[str, ...] = ()


def copy(source: Source, target: Service, progress: Progress) -> Copied:
    """Copy all that the target lacks, then compare everything.

    Raises ConfigurationError if the target holds something that the source does not have, and the errors of
    reading and writing. What was written before an error stays, and the next run does not read it again.
    """
    copied = Copied()
    listed = source.listed()
    require_empty_or_begun(target, listed)
    copy_names(source, target)
    copy_providers(source, target, listed, progress, copied)
    copy_consumers(source, target, listed, progress, copied)
    copied.differences = tuple(compared(source, target, progress, copied))
    return copied


def require_empty_or_begun(target: Service, listed: Sequence[dict[str, Any]]) -> None:
    """Raises ConfigurationError if the target has a provider that the source does not have."""
    known = {each["uuid"] for each in listed}
    strangers = [each.name for each in target.providers(ProviderFilter()) if each.uuid not in known]
    if strangers:
        raise ConfigurationError(
            f"The database is not empty: it holds {len(strangers)} providers that the source does not have "
            f"({', '.join(strangers[:3])}{', ...' if len(strangers) > 3 else ''}). "
            "Import into a new database, or into one that an interrupted import has begun."
        )


def copy_names(source: Source, target: Service) -> None:
    """Copy custom resource classes and traits. A standard name that is unknown here fails when it is used."""
    for name in sorted(source.resource_classes() - {each.name for each in target.resource_classes()}):
        if name.startswith(CUSTOM_PREFIX):
            target.execute(CreateResourceClass(name, may_exist=True), REQUESTER)
    for name in sorted(source.traits() - {each.name for each in target.traits()}):
        if name.startswith(CUSTOM_PREFIX):
            target.execute(CreateTrait(name), REQUESTER)


def copy_providers(
    source: Source, target: Service, listed: Sequence[dict[str, Any]], progress: Progress, copied: Copied
) -> None:
    """Copy the missing providers, parents first."""
    present = {each.uuid for each in target.providers(ProviderFilter())}
    missing = [each for each in listed if each["uuid"] not in present]
    copied.there_already = len(listed) - len(missing)
    progress.begin("providers", len(missing))
    for some in parts(missing):
        target.execute(CopyProviders(tuple(source.every(source.provider, some))), REQUESTER)
        copied.providers += len(some)
        progress.advance(len(some))


def copy_consumers(
    source: Source, target: Service, listed: Sequence[dict[str, Any]], progress: Progress, copied: Copied
) -> None:
    """Copy the missing consumers, provider by provider; each is read and written once."""
    progress.begin("consumers", len(listed))
    met: set[str] = set()
    for some in parts(listed):
        wanted: dict[str, None] = {}
        for uuids in source.every(source.consumers_of, some):
            wanted |= dict.fromkeys(uuid for uuid in uuids if uuid not in met)
        met |= wanted.keys()
        missing = [uuid for uuid in wanted if not target.consumer_allocations(uuid).providers]
        for few in parts(missing):
            copies = tuple(each for each in source.every(source.consumer, few) if each is not None)
            if copies:
                target.execute(CopyConsumers(copies), REQUESTER)
                copied.consumers += len(copies)
        progress.advance(len(some))


def compared(source: Source, target: Service, progress: Progress, copied: Copied) -> Iterator[str]:
    """Read everything of both sides again, and yield the differences in words."""
    listed = source.listed()
    progress.begin("comparison", len(listed))
    gone = {each.uuid: each.name for each in target.providers(ProviderFilter())}
    met: set[str] = set()
    for some in parts(listed):
        for there in source.every(source.provider, some):
            gone.pop(there.uuid, None)
            yield from _differences(f"provider {there.name}", there, provider_here(target, there.uuid))
        wanted: dict[str, None] = {}
        for each, uuids in zip(some, source.every(source.consumers_of, some), strict=True):
            here = consumers_here(target, each["uuid"])
            yield from (f"consumer {uuid} is here, but not there" for uuid in sorted(here - set(uuids)))
            wanted |= dict.fromkeys(uuid for uuid in uuids if uuid not in met)
        met |= wanted.keys()
        for uuid, holder in zip(wanted, source.every(source.consumer, wanted), strict=True):
            yield from _differences(f"consumer {uuid}", holder, consumer_here(target, uuid))
            copied.compared += 1
        copied.compared += len(some)
        progress.advance(len(some))
    yield from (f"provider {name} is here, but not there any more" for name in gone.values())


def provider_here(target: Service, uuid: str) -> ProviderCopy | None:
    """A provider of the target in the form of a copy; None if it does not exist."""
    try:
        found = target.provider(uuid)
        return ProviderCopy(
            uuid,
            found.name,
            found.generation,
            found.parent_uuid,
            target.provider_inventories(uuid).inventories,
            frozenset(target.provider_traits(uuid).traits),
            tuple(sorted(target.provider_aggregates(uuid).aggregates)),
        )
    except MoorageError:
        return None


def consumers_here(target: Service, provider: str) -> set[str]:
    """UUIDs of all consumers with allocations of a provider of the target; empty if it does not exist."""
    try:
        return set(target.provider_allocations(provider).consumers)
    except MoorageError:
        return set()


def consumer_here(target: Service, uuid: str) -> ConsumerCopy | None:
    """A consumer of the target in the form of a copy; None if it holds nothing."""
    found = target.consumer_allocations(uuid)
    if not found.providers:
        return None
    assert found.project_id is not None
    assert found.user_id is not None
    assert found.generation is not None
    return ConsumerCopy(
        uuid,
        found.project_id,
        found.user_id,
        stated_type(found.consumer_type),
        found.generation,
        {provider: dict(each.resources) for provider, each in found.providers.items()},
    )


def _differences(
    subject: str, there: ProviderCopy | ConsumerCopy | None, here: ProviderCopy | ConsumerCopy | None
) -> Iterator[str]:
    if there is None or here is None:
        if there is not here:
            yield f"{subject} is {'there, but not here' if here is None else 'here, but not there'}"
        return
    for item in fields(there):
        one, other = getattr(there, item.name), getattr(here, item.name)
        if one != other:
            yield f"{subject} differs in {item.name}: {one} there, {other} here"


def parts(items: Iterable[ItemT]) -> Iterator[list[ItemT]]:
    """The items in lists of at most AT_A_TIME."""
    everything = list(items)
    for start in range(0, len(everything), AT_A_TIME):
        yield everything[start : start + AT_A_TIME]
