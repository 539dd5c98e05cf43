"""The service as the wire sees it: commands in, values out."""

from __future__ import annotations

import random
from typing import TypeVar

from moorage.model.commands import Command
from moorage.model.requests import CandidateRequest, ProviderFilter, SearchResult
from moorage.model.values import (
    ClassTotal,
    ConsumerAllocations,
    NamedItem,
    Provider,
    ProviderAggregates,
    ProviderAllocations,
    ProviderInventories,
    ProviderTraits,
    ProviderUsages,
    Requester,
    UsageGroup,
)
from moorage.search.candidates import find, providers_matching
from moorage.search.kept import KeptAnswers
from moorage.search.memory import Memory
from moorage.search.snapshot import Snapshot
from moorage.service.committer import Committer
from moorage.service.compactor import Compactor
from moorage.service.live_index import LiveIndex
from moorage.service.observer import Observer
from moorage.service.settings import ServiceSettings
from moorage.store import queries
from moorage.store.store import Store

ResultT = TypeVar("ResultT")


class Service:
    """All that can be asked of a placement service, free of HTTP and of versions.

    Safe for use by several threads. Every method may raise UnavailableError.
    """

    def __init__(
        self, store: Store, settings: ServiceSettings | None = None, observer: Observer | None = None
    ) -> None:
        settings = settings or ServiceSettings()
        self._store = store
        self._settings = settings
        self._index = LiveIndex(store, observer)
        self._committer = Committer(store, settings.commit, observer, self._index)
        self._memory = Memory()
        # Who wants candidates shuffled wants each answer in an order of its own.
        self._kept = KeptAnswers(0 if settings.search.randomize else settings.search.kept_candidates)
        self._compactor = Compactor(store, settings.change_log)
        self._random = random.Random()  # noqa: S311 - spreads candidates, hides nothing

    def close(self) -> None:
        """Let go of the database."""
        self._compactor.stop()
        self._store.close()

    def start_upkeep(self) -> None:
        """Do in the background what a service that stays has to do now and then."""
        self._compactor.start()

    def warm_up(self) -> None:
        """Build the index now rather than at the first search."""
        self._index.ask(len)

    def check_ready(self) -> int:
        """The revision that answers would be at, if all is as it must be to give any.

        Raises UnavailableError if the database cannot be reached, SchemaError if its schema is not
        the one that is needed.
        """
        self._store.check_schema()
        self._index.ask(len)
        revision = self._index.revision
        assert revision is not None, "an index that was asked is at a revision"
        return revision

    def totals(self) -> list[ClassTotal]:
        """Capacity and use of each resource class that anybody provides, by its id."""
        return self._store.totals()

    def revision(self) -> int:
        """The last write that was committed."""
        return self._store.revision()

    def execute(self, command: Command[ResultT], requester: Requester) -> ResultT:
        """Carry out ``command``; when this returns, it is durable.

        Raises a ``MoorageError`` if it is refused; then nothing has changed.
        """
        return self._committer.execute(command, requester)

    def provider(self, uuid: str) -> Provider:
        """Raises ProviderNotFoundError."""
        return self._store.read(lambda connection: queries.provider(connection, uuid))

    def providers(self, wanted: ProviderFilter) -> list[Provider]:
        """Providers by id. Raises ResourceClassNotFoundError, TraitNotFoundError."""
        ids = None
        if wanted.group is not None:
            group = wanted.group
            ids = self._index.ask(lambda snapshot: providers_matching(snapshot, group))
        return self._store.read(
            lambda connection: queries.providers(connection, wanted.uuid, wanted.name, ids)
        )

    def provider_count(self) -> int:
        """How many providers there are."""
        return self._store.read(queries.provider_count)

    def provider_inventories(self, uuid: str) -> ProviderInventories:
        """Raises ProviderNotFoundError."""
        return self._store.read(lambda connection: queries.provider_inventories(connection, uuid))

    def provider_traits(self, uuid: str) -> ProviderTraits:
        """Raises ProviderNotFoundError."""
        return self._store.read(lambda connection: queries.provider_traits_of(connection, uuid))

    def provider_aggregates(self, uuid: str) -> ProviderAggregates:
        """Raises ProviderNotFoundError."""
        return self._store.read(lambda connection: queries.provider_aggregates_of(connection, uuid))

    def provider_usages(self, uuid: str) -> ProviderUsages:
        """Raises ProviderNotFoundError."""
        return self._store.read(lambda connection: queries.provider_usages(connection, uuid))

    def provider_allocations(self, uuid: str) -> ProviderAllocations:
        """Raises ProviderNotFoundError."""
        return self._store.read(lambda connection: queries.provider_allocations(connection, uuid))

    def consumer_allocations(self, consumer: str) -> ConsumerAllocations:
        """Empty for a consumer that holds nothing, whatever string it is."""
        return self._store.read(lambda connection: queries.consumer_allocations(connection, consumer))

    def usages(self, project_id: str, user_id: str | None = None) -> dict[str, int]:
        """Amount used by class, by all consumers of a project (and user)."""
        return self._store.read(lambda connection: queries.usages(connection, project_id, user_id))

    def usages_by_type(
        self, project_id: str, user_id: str | None = None, consumer_type: str | None = None
    ) -> list[UsageGroup]:
        """As ``usages``, one group per consumer type; ``all`` and ``unknown`` make one group."""
        return self._store.read(
            lambda connection: queries.usages_by_type(connection, project_id, user_id, consumer_type)
        )

    def traits(
        self,
        names: frozenset[str] | None = None,
        prefix: str | None = None,
        associated: bool | None = None,
    ) -> list[NamedItem]:
        """Traits by id. ``prefix`` is a LIKE pattern's beginning (wildcards count)."""
        return self._store.read(lambda connection: queries.trait_list(connection, names, prefix, associated))

    def trait(self, name: str) -> NamedItem:
        """Raises TraitNotFoundError."""
        return self._store.read(lambda connection: queries.trait(connection, name))

    def resource_classes(self) -> list[NamedItem]:
        """Resource classes by id."""
        return self._store.read(queries.resource_class_list)

    def resource_class(self, name: str) -> NamedItem:
        """Raises ResourceClassNotFoundError."""
        return self._store.read(lambda connection: queries.resource_class(connection, name))

    def candidates(self, request: CandidateRequest) -> SearchResult:
        """Raises ResourceClassNotFoundError, TraitNotFoundError for unknown names, SearchLimitError."""
        settings = self._settings.search

        def answer(snapshot: Snapshot) -> SearchResult:
            return self._kept.of(
                snapshot,
                request,
                lambda: find(snapshot, request, settings, self._random, memory=self._memory),
            )

        return self._index.ask(answer)
