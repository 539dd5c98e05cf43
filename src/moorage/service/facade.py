"""The service as the wire sees it: commands in, values out."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Final, TypeVar

from moorage.model.commands import Command, PlaceClaims, WriteOutcome
from moorage.model.errors import (
    ChoiceGoneError,
    EntriesRefusedError,
    GangTooHardError,
    HardToPlaceError,
    NothingFitsError,
    SearchLimitError,
    UnavailableError,
)
from moorage.model.explanations import Explained, ExplainRequest, Explanation, Lack
from moorage.model.journal import ChangePage, ChangeSelection, HistoryPage, JournalMode
from moorage.model.keys import IdempotencyKey
from moorage.model.orders import MOST_SEED, NO_PROFILES, Order, Profiles, Ranked, Ranking
from moorage.model.placing import Choice, Granted
from moorage.model.requests import CandidateRequest, ProviderFilter, SearchResult
from moorage.model.unmet import UnmetFound, UnmetGroup
from moorage.model.values import (
    ClaimPage,
    ClaimSelection,
    ClassTotal,
    CloudOverview,
    ConsumerAllocations,
    KnownNames,
    ListedClaim,
    NamedItem,
    Provider,
    ProviderAggregates,
    ProviderAllocations,
    ProviderInventories,
    ProviderPage,
    ProviderSelection,
    ProviderTraits,
    ProviderUsages,
    Requester,
    UsageGroup,
)
from moorage.search.explain.explanation import explain
from moorage.search.index.index import Snapshot
from moorage.search.listing import called, names_of, overview_of, page_of
from moorage.search.match.answers import KeptAnswers
from moorage.search.match.candidates import find, providers_matching
from moorage.search.match.outcomes import Memory
from moorage.search.order.ranking import OrderMemory, best, ordered
from moorage.service.committer import Committer
from moorage.service.compactor import Compactor
from moorage.service.follower import Follower
from moorage.service.leases import LeaseService
from moorage.service.live_index import LiveIndex
from moorage.service.observer import Observer
from moorage.service.past import PastReader
from moorage.service.placing import Chooser, Placer, searched
from moorage.service.pricing import Markets
from moorage.service.reports import ReportDesk
from moorage.service.settings import ServiceSettings
from moorage.service.unmet import UnmetForms, UnmetRecorder
from moorage.service.watching import Following, IsGone, Unfilled, Watch, never
from moorage.store.mixes import MixTable
from moorage.store.nouns import aggregates, inventories, providers, resource_classes, traits, usages
from moorage.store.pages import ProviderNews
from moorage.store.store import Store
from moorage.store.unmet import UnmetTable

ResultT = TypeVar("ResultT")

MOST_EXPLANATIONS: Final = 2
"""Explanations at a time. Each takes as long as several searches, and other requests go on meanwhile."""

REFUSAL_STEPS: Final = 80_000
"""Steps of explaining why a claim found no place: twenty milliseconds."""

EXPLAIN_PATIENCE_SECONDS: Final = 5.0
"""How long a request for an explanation waits for its turn."""

MOST_HOLDERS_OF: Final = 5
"""Near misses whose holders are read."""


def _providers_in(explanation: Explanation) -> set[str]:
    """UUIDs of all providers that an explanation names."""
    found = {miss.root for miss in explanation.nearest}
    found |= {missing.provider for miss in explanation.nearest for missing in miss.missing}
    found |= {event.provider for events in explanation.unlocked_by for event in events}
    chosen = [] if explanation.chosen is None else [explanation.chosen]
    return found.union(*(candidate.allocations for candidate in (*chosen, *explanation.alternatives)))


def _explained(revision: int, explanation: Explanation, names: Mapping[str, str]) -> Explained:
    return Explained(revision, replace(explanation, revision=revision), names)


def _lacks(explanation: Explanation) -> dict[str, set[Lack]]:
    """What the nearest trees have too little room for, by root."""
    found = {
        miss.root: {
            Lack(missing.provider, missing.resource_class) for missing in miss.missing if missing.short
        }
        for miss in explanation.nearest[:MOST_HOLDERS_OF]
    }
    return {root: lacks for root, lacks in found.items() if lacks}


UNKNOWN: Final = Requester()
"""The requester of a search that no client asked for."""

PAGE_ATTEMPTS: Final = 5
"""How often a page of providers begins anew because more than claims came in between."""


def _with_news(page: ProviderPage, news: ProviderNews) -> ProviderPage:
    providers = tuple(
        replace(each, used={name: news.used.get(each.id, {}).get(name, 0) for name in each.inventories})
        for each in page.providers
    )
    generations = {each.uuid: news.generations[each.id] for each in page.providers}
    return replace(page, providers=providers, generations=generations)


class Service:
    """All operations of a placement service, free of HTTP and of microversions.

    Safe for use by several threads. Every method may raise UnavailableError.
    """

    def __init__(
        self,
        store: Store,
        settings: ServiceSettings | None = None,
        observer: Observer | None = None,
        unmet_forms: UnmetForms | None = None,
        profiles: Callable[[], Profiles] = lambda: NO_PROFILES,
        ending: threading.Event | None = None,
        watch: Watch | None = None,
    ) -> None:
        """``unmet_forms``: how searches that found nothing are kept; without it none is. ``profiles`` gives
        the present named orders. Once ``ending`` is set, no client waits for changes any longer. ``watch``
        lets them wait in another way than usual.
        """
        settings = settings or ServiceSettings()
        self._store = store
        self.past = PastReader(store)
        self._profiles = profiles
        self._order_in_use: Order | None = None
        self._settings = settings
        # Where candidates are shuffled, each answer has an order of its own.
        self._kept = KeptAnswers(0 if settings.search.randomize else settings.search.kept_bytes)
        self._index = LiveIndex(store, observer, self._kept.forget)
        self._explaining = threading.BoundedSemaphore(MOST_EXPLANATIONS)
        self._memory = Memory()
        self._markets = Markets(lambda: self._index.ask_at(lambda snapshot: snapshot)[1], MixTable(store))
        self._chooser = Chooser(self._memory, self._markets.prices)
        placer = Placer(self._index, self._chooser, settings.commit.place_step_limit)
        self._committer = Committer(store, settings.commit, observer, self._index, placer)
        self.reports = ReportDesk.on(store, self._committer.outcome, settings.audit, observer)
        self._orders = OrderMemory(self._memory)
        self.leases = LeaseService(store, self._committer.execute, observer)
        self._compactor = Compactor(store, settings.change_log, revision=lambda: self._index.revision)
        self._follower = Follower(self._index)
        waiting = settings.changes_waiters, ending or threading.Event(), observer, settings.changes_elsewhere
        self._watch = watch or Watch(store, *waiting)
        self._random = random.Random()  # noqa: S311 - spreads candidates, hides nothing
        self._unmet_table = UnmetTable(store)
        self._unmet: UnmetRecorder | None = None
        if unmet_forms is not None and settings.unmet_kept:
            self._unmet = UnmetRecorder(
                self._unmet_table, settings.unmet_kept, self._explained_at, unmet_forms, observer
            )

    def close(self) -> None:
        """Close the connections to the database."""
        for each in (self.leases.keeper, self._compactor, self._follower, self._markets):
            each.stop()
        if self._unmet is not None:
            self._unmet.stop()
        self._store.close()

    def start_upkeep(self) -> None:
        """Start the background work: keeping service time, compacting the change log, following changes
        without requests, and explaining searches that found nothing."""
        for each in (self.leases.keeper, self._compactor, self._follower, self._markets):
            each.start()
        if self._unmet is not None:
            self._unmet.start()

    def warm_up(self) -> None:
        """Build the index now rather than at the first search."""
        self._index.ask(len)

    def check_ready(self) -> int:
        """The revision that an answer would be at. Raises if requests cannot be answered now.

        It needs nothing that requests need: no lock, no connection of theirs, no turn at the index. Raises
        UnavailableError if the database cannot be reached or the index was not built yet, SchemaError if
        the schema is not the required one.
        """
        if self._index.revision is None:
            raise UnavailableError("the index is not built yet")
        return self._store.check_ready()

    def totals(self) -> list[ClassTotal]:
        """Capacity and use of each resource class that a provider has inventory of, by its id."""
        return self._store.totals()

    def revision(self) -> int:
        """The last write that was committed."""
        return self._store.revision()

    def execute(self, command: Command[ResultT], requester: Requester) -> ResultT:
        """Carry out ``command``; when this returns, it is durable.

        Raises a ``MoorageError`` if it is refused; then nothing has changed.
        """
        return self._committer.execute(command, requester)

    def outcome(
        self, command: Command[ResultT], requester: Requester, key: IdempotencyKey | None = None
    ) -> WriteOutcome[ResultT]:
        """As ``execute``, but a refusal is part of the answer, and the answer has its revision.

        With a ``key`` that was used before, the command is not carried out again: the answer is the
        remembered one. Raises UnavailableError, OutcomeUnknownError.
        """
        return self._committer.outcome(command, requester, key)

    def place(
        self, command: PlaceClaims, requester: Requester, key: IdempotencyKey | None = None
    ) -> WriteOutcome[Granted]:
        """As ``outcome``. A place that takes many steps to find is searched here, and not while others wait.

        Raises also SearchLimitError.
        """
        self._markets.ready(command.orders)
        self._markets.arrive(command.requests, command.orders)
        outcome = self._committer.outcome(command, requester, key)
        deadline = time.monotonic() + self._settings.commit.deadline_seconds
        while isinstance(outcome.error, HardToPlaceError | ChoiceGoneError):
            if time.monotonic() > deadline:
                raise UnavailableError("other writes kept taking the place")
            refused = outcome.error.refused if isinstance(outcome.error, ChoiceGoneError) else frozenset()
            revision, snapshot = self._index.ask_at(lambda snapshot: snapshot)
            choose = self._chooser.within(self._settings.search.step_limit)
            try:
                placed = searched(revision, snapshot, choose, command, refused)
            except (EntriesRefusedError, GangTooHardError) as refusal:
                return WriteOutcome(revision, error=refusal)
            outcome = self._committer.outcome(placed, requester, key)
        return outcome

    def explain_refusal(
        self, refusal: NothingFitsError, requester: Requester, *, holders: bool
    ) -> Explained | None:
        """Why nothing fitted, on the snapshot of the refusal; None if too many are being explained.

        The explanation takes a bounded time, and may be cut short. A whole one follows in the background.
        """
        request, snapshot = refusal.request, refusal.found_on
        assert isinstance(request, CandidateRequest), "a request was refused"
        assert isinstance(snapshot, Snapshot), "it was refused on a snapshot"
        if self._unmet is not None:
            self._unmet.offer(refusal.revision, snapshot, request, requester)
        if not self._explaining.acquire(blocking=False):
            return None
        try:
            explanation = explain(snapshot, request, step_limit=REFUSAL_STEPS)
            names = names_of(snapshot, _providers_in(explanation))
        finally:
            self._explaining.release()
        found = _explained(refusal.revision, explanation, names)
        return self._with_holders(found) if holders else found

    def explain_choice(
        self, revision: int, choice: Choice, request: CandidateRequest, order: Order | None
    ) -> tuple[Explained, tuple[Ranked, ...]] | None:
        """Why a place was chosen, on the snapshot that it was chosen on, and the best ones of its order.

        ``revision``: that of the state that the first places of its group were chosen on.

        None if too many are being explained, or it takes too many steps.
        """
        snapshot, usual = choice.found_on, ExplainRequest()
        assert isinstance(snapshot, Snapshot), "the command asked for it"
        if not self._explaining.acquire(blocking=False):
            return None
        try:
            explanation = explain(snapshot, request, step_limit=REFUSAL_STEPS)
            best_ones: tuple[Ranked, ...] = ()
            if order is not None:
                most = usual.alternatives + 1
                found = best(snapshot, request, order, most, memory=self._orders, step_limit=REFUSAL_STEPS)
                best_ones = tuple(found.candidates)
            ranked = set[str]().union(*[each.candidate.allocations for each in best_ones])
            names = names_of(snapshot, _providers_in(explanation) | ranked)
        except SearchLimitError:
            return None
        finally:
            self._explaining.release()
        return _explained(revision, explanation, names), best_ones

    def generations(self, consumers: Collection[str], project_id: str | None = None) -> dict[str, int]:
        """Generations of the consumers that hold something, for the project if one is named."""
        return self._store.generations(consumers, project_id)

    def provider(self, uuid: str) -> Provider:
        """Raises ProviderNotFoundError."""
        return self._store.read(lambda connection: providers.provider(connection, uuid))

    def providers(self, wanted: ProviderFilter) -> list[Provider]:
        """Providers by id. Raises ResourceClassNotFoundError, TraitNotFoundError."""
        ids = None
        if wanted.group is not None:
            group = wanted.group
            ids = self._index.ask(lambda snapshot: providers_matching(snapshot, group))
        return self._store.read(
            lambda connection: providers.providers(connection, wanted.uuid, wanted.name, ids)
        )

    def provider_count(self) -> int:
        """How many providers there are."""
        return self._store.read(providers.provider_count)

    def provider_inventories(self, uuid: str) -> ProviderInventories:
        """Raises ProviderNotFoundError."""
        return self._store.read(lambda connection: inventories.provider_inventories(connection, uuid))

    def provider_traits(self, uuid: str) -> ProviderTraits:
        """Raises ProviderNotFoundError."""
        return self._store.read(lambda connection: traits.provider_traits_of(connection, uuid))

    def provider_aggregates(self, uuid: str) -> ProviderAggregates:
        """Raises ProviderNotFoundError."""
        return self._store.read(lambda connection: aggregates.provider_aggregates_of(connection, uuid))

    def provider_usages(self, uuid: str) -> ProviderUsages:
        """Raises ProviderNotFoundError."""
        return self._store.read(lambda connection: usages.provider_usages(connection, uuid))

    def provider_allocations(self, uuid: str) -> ProviderAllocations:
        """Raises ProviderNotFoundError."""
        return self._store.read(lambda connection: usages.provider_allocations(connection, uuid))

    def consumer_allocations(self, consumer: str) -> ConsumerAllocations:
        """Empty for a consumer that holds nothing, whatever string names it."""
        return self._store.read(lambda connection: usages.consumer_allocations(connection, consumer))

    def owner_as_kept(self, project_id: str, user_id: str) -> tuple[str | None, str | None]:
        """Project and user as the database writes them; None where it has none that it holds equal."""
        return self._store.read(lambda connection: usages.owner_as_kept(connection, project_id, user_id))

    def usages(self, project_id: str, user_id: str | None = None) -> dict[str, int]:
        """Amount used by class, by all consumers of a project (and user)."""
        return self._store.read(lambda connection: usages.usages(connection, project_id, user_id))

    def usages_by_type(
        self, project_id: str, user_id: str | None = None, consumer_type: str | None = None
    ) -> list[UsageGroup]:
        """As ``usages``, one group per consumer type; ``all`` and ``unknown`` make one group."""
        return self._store.read(
            lambda connection: usages.usages_by_type(connection, project_id, user_id, consumer_type)
        )

    def traits(
        self,
        names: frozenset[str] | None = None,
        prefix: str | None = None,
        associated: bool | None = None,
    ) -> list[NamedItem]:
        """Traits by id. ``prefix`` is a LIKE pattern's beginning (wildcards count)."""
        return self._store.read(lambda connection: traits.trait_list(connection, names, prefix, associated))

    def trait(self, name: str) -> NamedItem:
        """Raises TraitNotFoundError."""
        return self._store.read(lambda connection: traits.trait(connection, name))

    def resource_classes(self) -> list[NamedItem]:
        """Resource classes by id."""
        return self._store.read(resource_classes.resource_class_list)

    def resource_class(self, name: str) -> NamedItem:
        """Raises ResourceClassNotFoundError."""
        return self._store.read(lambda connection: resource_classes.resource_class(connection, name))

    def known_names(self) -> tuple[int, KnownNames]:
        """Names of all resource classes and of all traits, and the revision at which these are all."""
        return self._index.ask_at(
            lambda snapshot: KnownNames(snapshot.resource_class_names, snapshot.trait_names)
        )

    def overview(self) -> tuple[int, CloudOverview]:
        """All trees in columns, and the revision that they are shown at."""
        return self._index.ask_at(overview_of)

    def provider_page(
        self, wanted: ProviderSelection, *, generations: bool = False
    ) -> tuple[int, ProviderPage]:
        """A page of providers, and the revision that all of it is true at.

        The index has no generations: claims raise them. With ``generations`` the database gives them, and the
        use at the same revision, as long as nothing but claims has happened since the index answered.
        """
        for _ in range(PAGE_ATTEMPTS):
            revision, page = self._index.ask_at(lambda snapshot: page_of(snapshot, wanted))
            if not generations:
                return revision, page
            news = self._store.news_of_providers(revision, [each.id for each in page.providers])
            if news is not None:
                return news.revision, _with_news(page, news)
        raise UnavailableError("providers change faster than their generations can be read")

    def claim_page(self, wanted: ClaimSelection) -> tuple[int, ClaimPage]:
        """A page of claims, and the revision that it is true at. Raises ProviderNotFoundError."""
        return self._store.claim_page(wanted)

    def claim(self, consumer: str) -> tuple[int, ListedClaim | None]:
        """What a consumer holds, None if nothing, and the revision that this is true at."""
        return self._store.claim(consumer)

    def explain(self, request: CandidateRequest, how: ExplainRequest, *, holders: bool) -> Explained:
        """Why ``request`` finds nothing, or what it finds; with ``holders`` of what the nearest trees lack.

        ``how.at`` may be a name as well. Raises ResourceClassNotFoundError, TraitNotFoundError for unknown
        names, ProviderNotFoundError, UnavailableError if too many explanations are under way.
        """
        if not self._explaining.acquire(timeout=EXPLAIN_PATIENCE_SECONDS):
            raise UnavailableError("too many explanations are under way")
        try:
            revision, parts = self._index.ask_at(lambda snapshot: self._explanation(snapshot, request, how))
        finally:
            self._explaining.release()
        found = _explained(revision, *parts)
        return self._with_holders(found) if holders else found

    def _explained_at(self, revision: int, snapshot: Snapshot, request: CandidateRequest) -> Explained:
        """As ``explain``, on a snapshot of the past."""
        with self._explaining:
            parts = self._explanation(snapshot, request, ExplainRequest())
        return self._with_holders(_explained(revision, *parts))

    def _explanation(
        self, snapshot: Snapshot, request: CandidateRequest, how: ExplainRequest
    ) -> tuple[Explanation, dict[str, str]]:
        """An explanation, and the names of the providers in it."""
        at = None if how.at is None else called(snapshot, how.at)
        limit = self._settings.search.step_limit
        explanation = explain(snapshot, request, replace(how, at=at), step_limit=limit)
        return explanation, names_of(snapshot, _providers_in(explanation))

    def _with_holders(self, found: Explained) -> Explained:
        lacks = _lacks(found.explanation)
        if not lacks:
            return found
        held = self._store.holders_at(found.revision, lacks)
        return replace(found, holders=held.by_root, holders_revision=held.revision)

    @property
    def journal(self) -> JournalMode:
        """What is kept of each write."""
        return self._store.journal

    def changes(
        self, wanted: ChangeSelection, epoch: str | None, wait_seconds: float, is_gone: IsGone = never
    ) -> ChangePage | Unfilled:
        """Records of the journal: see ``Watch.changes``."""
        return self._watch.changes(wanted, epoch, wait_seconds, is_gone)

    def follow(self, wanted: ChangeSelection, epoch: str | None, is_gone: IsGone = never) -> Following:
        """Records of the journal from now on: see ``Watch.follow``."""
        return self._watch.follow(wanted, epoch, is_gone)

    def history_of_consumer(
        self, consumer: str, before: int | None, limit: int, project_id: str | None = None
    ) -> HistoryPage:
        """See ``Watch``."""
        return self._watch.history_of_consumer(consumer, before, limit, project_id)

    def history_of_provider(self, uuid: str, tree: str | None, before: int | None, limit: int) -> HistoryPage:
        """See ``Watch``."""
        return self._watch.history_of_provider(uuid, tree, before, limit)

    def settle_unmet(self) -> None:
        """Explain and keep all searches so far that found nothing, in this thread."""
        while self._unmet is not None and self._unmet.has_work:
            self._unmet.settle(writes=True)

    def unmet(self, request_id: str, project_id: str | None = None) -> UnmetFound | None:
        """The newest kept search of a request, by either id; with ``project_id`` of its clients only."""
        return self._unmet_table.find(request_id, project_id)

    def unmet_groups(self, since: int, most: int) -> list[UnmetGroup]:
        """Kept searches from ``since`` (seconds since 1970) on, by ask and verdict."""
        return self._unmet_table.groups(since, most)

    @property
    def unmet_kept(self) -> int:
        """How many searches that found nothing are kept; 0 for none."""
        return self._settings.unmet_kept

    def profiles(self) -> Profiles:
        """The orders that operators have named, as they are now."""
        return self._profiles()

    def _order_of_searches(self) -> Order | None:
        """The order of all searches for candidates; None if they have none."""
        name = self._settings.candidate_order
        order = None if name is None else self._profiles().orders.get(name)
        if order is not self._order_in_use:
            # Kept answers are in another order.
            self._order_in_use = order
            self._kept.forget()
        return order

    def _in_order(self, snapshot: Snapshot, request: CandidateRequest, order: Order) -> SearchResult:
        """All candidates in an order; where that takes too many steps, the first ones if settings allow."""
        settings = self._settings.search
        seeded = order.seeded(lambda: self._random.randrange(MOST_SEED))
        try:
            prices = self._markets.prices(order)
            return ordered(snapshot, request, seeded, settings, memory=self._orders, prices=prices)
        except SearchLimitError:
            if not settings.truncate:
                raise
            return find(snapshot, request, settings, self._random, memory=self._memory)

    def ranking(
        self,
        request: CandidateRequest,
        order: Order,
        limit: int,
        *,
        all_of_tree: bool = False,
        summaries: bool = False,
        requester: Requester = UNKNOWN,
    ) -> tuple[int, Ranking]:
        """The best ``limit`` candidates, and the revision that they are best at; see ``ranking.best``.

        Raises ResourceClassNotFoundError, TraitNotFoundError for unknown names, SearchLimitError. A request
        that finds nothing is explained later.
        """
        settings = self._settings.search
        self._markets.ready([order])

        def answer(snapshot: Snapshot) -> tuple[Snapshot, Ranking]:
            return snapshot, best(
                snapshot,
                request,
                order,
                limit,
                all_of_tree=all_of_tree,
                summaries=summaries,
                memory=self._orders,
                step_limit=settings.step_limit,
                prices=self._markets.prices(order),
            )

        revision, (snapshot, found) = self._index.ask_at(answer)
        if not found.candidates and self._unmet is not None:
            self._unmet.offer(revision, snapshot, request, requester)
        return revision, found

    def candidates(self, request: CandidateRequest, requester: Requester = UNKNOWN) -> SearchResult:
        """Raises ResourceClassNotFoundError, TraitNotFoundError for unknown names, SearchLimitError.

        A search that finds nothing is explained later.
        """
        settings, memory = self._settings.search, self._memory
        # Clients that do not know nested providers get their candidates as ever.
        order = None if request.one_provider_per_tree else self._order_of_searches()
        if order is not None:
            # What such clients claim afterwards does not say what was asked for.
            self._markets.ready([order])
            self._markets.arrive([request], [order])

        def answer(snapshot: Snapshot) -> tuple[Snapshot, SearchResult]:
            if order is not None and order.by_chance:
                return snapshot, self._in_order(snapshot, request, order)
            return snapshot, self._kept.of(
                snapshot,
                request,
                lambda: (
                    find(snapshot, request, settings, self._random, memory=memory)
                    if order is None
                    else self._in_order(snapshot, request, order)
                ),
            )

        revision, (snapshot, found) = self._index.ask_at(answer)
        if found.found_nothing and self._unmet is not None:
            self._unmet.offer(revision, snapshot, request, requester)
        return found
