"""Claims whose places the service chooses: as if each had been placed alone, one after the other."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from moorage.model.commands import (
    Claim,
    CreateProvider,
    CreateTrait,
    DeleteAllocations,
    PlaceClaims,
    WriteOutcome,
)
from moorage.model.errors import (
    CapacityExceededError,
    ConsumerGenerationError,
    EntriesRefusedError,
    GangTooHardError,
    HardToPlaceError,
    NothingFitsError,
    ResourceClassNotFoundError,
    SearchLimitError,
    UnavailableError,
)
from moorage.model.orders import PACK, SPREAD, Order
from moorage.model.placing import ChosenOn, Granted, GrantedEntry
from moorage.model.requests import CandidateRequest, RequestGroup, SearchSettings
from moorage.rules.decide import touch
from moorage.service import facade, placing
from moorage.service.committer import Committer, Ticket
from moorage.service.facade import Service
from moorage.service.live_index import Indexed, LiveIndex
from moorage.service.placing import Placer
from moorage.store.settings import StoreSettings
from moorage.store.store import Store
from tests.databases.orders import ASKER, VCPU, add_provider, claim, new_uuid, order
from tests.databases.prepared import OpenService
from tests.databases.sql_watch import instead_of_commit
from tests.databases.test_lost_commits import happens_and_is_lost
from tests.databases.together import held_up


def ask(amount: int, name: str = VCPU) -> CandidateRequest:
    return CandidateRequest((RequestGroup("", {name: amount}),))


def place(*amounts: int, least: int | None = None, **known: Any) -> PlaceClaims:
    """Claims of VCPU anywhere."""
    claims = tuple(Claim(known.get("consumer", new_uuid()), {}, "p", "u") for _ in amounts)
    return PlaceClaims(claims, tuple(map(ask, amounts)), len(amounts) if least is None else least)


def placed(service: Service, command: PlaceClaims) -> list[str]:
    """Where the claims of a command are."""
    outcome = service.place(command, ASKER)
    assert outcome.result is not None, outcome
    return homes(outcome.result)


def homes(granted: Granted) -> list[str]:
    return [
        uuid for entry in granted.entries if isinstance(entry, GrantedEntry) for uuid in entry.allocations
    ]


def used(service: Service, provider: str) -> int:
    return service.provider_usages(provider).usages[VCPU]


def claim_elsewhere(store: Store, command: Any) -> None:
    """As another process does."""
    other = Store(StoreSettings(store.engines.write.url.render_as_string(hide_password=False)))
    try:
        Service(other).execute(command, ASKER)
    finally:
        other.close()


def lead(committer: Committer) -> None:
    """Lead all groups in this thread, as the thread of the first waiting ticket does."""
    while committer._waiting:
        committer._waiting[0].wake.acquire(blocking=False)
        committer._lead()


def tickets_of(service: Service, *commands: Any) -> list[Ticket]:
    """All commands in one group, led by this thread, and what they put off in further groups."""
    committer = service._committer
    tickets = [Ticket(command, ASKER, touch(command), asks_revision=True) for command in commands]
    committer._waiting.extend(tickets)
    lead(committer)
    assert all(ticket.answered for ticket in tickets)
    return tickets


def two(service: Service, VCPU: int) -> tuple[str, str]:  # noqa: N803 - the name of a class
    """Two providers, in the order of a search."""
    return add_provider(service, VCPU=VCPU), add_provider(service, VCPU=VCPU)


def test_a_place_is_chosen_and_claimed(service: Service) -> None:
    first, _ = two(service, VCPU=8)
    start = service.revision()
    command = place(5)
    outcome = service.place(command, ASKER)
    assert outcome.revision == start + 1
    assert outcome.result is not None
    assert outcome.result.decision == ChosenOn(start, 0)
    (entry,) = outcome.result.entries
    assert isinstance(entry, GrantedEntry)
    assert (entry.consumer, entry.generation) == (command.claims[0].consumer, 1)
    assert entry.allocations == {first: {VCPU: 5}}
    assert entry.choice is not None
    assert entry.choice.mappings == {"": (first,)}
    assert used(service, first) == 5


def test_claims_of_one_command_are_placed_after_each_other(service: Service) -> None:
    first, second = two(service, VCPU=8)
    start = service.revision()
    assert placed(service, place(5, 5, 3)) == [first, second, first]
    assert service.revision() == start + 1


def test_claims_of_one_group_are_placed_after_each_other(service: Service) -> None:
    first, second = two(service, VCPU=8)
    service.warm_up()
    start = service.revision()
    tickets = tickets_of(service, *(place(amount) for amount in (5, 5, 3, 3)), CreateTrait("CUSTOM_T"))
    results: list[Any] = [ticket.result for ticket in tickets]
    assert [homes(result) for result in results[:4]] == [[first], [second], [first], [second]]
    assert [ticket.revision for ticket in tickets] == [start + number for number in range(1, 6)]
    # The state before each of them was the one that it was placed on.
    assert [result.decision for result in results[:4]] == [ChosenOn(start, number) for number in range(4)]


def test_nothing_fits_is_said_of_what_is_committed(service: Service) -> None:
    provider = add_provider(service, VCPU=8)
    order(service, claim(new_uuid(), {provider: {VCPU: 6}}))
    start = service.revision()
    outcome = service.place(place(3), ASKER)
    assert isinstance(outcome.error, EntriesRefusedError)
    ((number, error),) = outcome.error.refused
    assert isinstance(error, NothingFitsError)
    assert (number, error.revision, service.revision()) == (0, start, start)


def test_what_fits_but_for_its_group_waits_for_it(service: Service) -> None:
    provider = add_provider(service, VCPU=8)
    service.warm_up()
    start = service.revision()
    first, second, third = tickets_of(service, place(5), place(9), place(5))
    assert first.error is None
    # Nothing could ever serve the second, so it need not wait.
    assert isinstance(second.error, EntriesRefusedError)
    (_, error), *_ = second.error.refused
    assert isinstance(error, NothingFitsError)
    assert error.revision == start
    assert isinstance(third.error, EntriesRefusedError)
    (_, error), *_ = third.error.refused
    assert isinstance(error, NothingFitsError)
    # The first is committed: on this state nothing fits.
    assert error.revision == start + 1
    assert used(service, provider) == 5


def test_what_a_group_with_a_lost_commit_has_put_off_leads_the_next(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider = add_provider(service, VCPU=8)
    service.warm_up()
    start = service.revision()
    commits = instead_of_commit(monkeypatch, happens_and_is_lost)
    first, second = tickets_of(service, place(5), place(5))
    assert (first.error, first.revision) == (None, start + 1)
    assert isinstance(second.error, EntriesRefusedError)
    assert second.revision == start + 1
    assert len(commits) == 1
    assert used(service, provider) == 5


def test_what_a_group_has_refused_leaves_room_for_the_next(service: Service) -> None:
    provider, taken = add_provider(service, VCPU=8), new_uuid()
    order(service, claim(taken, {provider: {VCPU: 1}}))
    service.warm_up()
    # The first is refused under the locks, for its consumer holds something. It was placed by then.
    first, second = tickets_of(service, place(7, consumer=taken), place(7))
    assert isinstance(first.error, EntriesRefusedError)
    assert isinstance(first.error.refused[0][1], ConsumerGenerationError)
    assert second.error is None
    assert used(service, provider) == 8


def test_a_replayed_command_leaves_room_for_the_next(service: Service) -> None:
    from tests.databases.test_keys import key

    provider = add_provider(service, VCPU=8)
    assert service.place(place(4), ASKER, key()).error is None
    committer = service._committer
    commands = [place(4), place(4)]
    tickets = [Ticket(command, ASKER, touch(command), asks_revision=True) for command in commands]
    tickets[0].key = key()
    tickets[0].touch = touch(commands[0]) | type(tickets[0].touch)(keys=frozenset(("k",)))
    committer._waiting.extend(tickets)
    lead(committer)
    assert [ticket.error for ticket in tickets] == [None, None]
    assert used(service, provider) == 8


def test_enough_of_several_claims_may_do(service: Service) -> None:
    provider = add_provider(service, VCPU=8)
    outcome = service.place(place(5, 5, 2, least=2), ASKER)
    assert outcome.result is not None
    kinds = [type(entry) for entry in outcome.result.entries]
    assert kinds == [GrantedEntry, NothingFitsError, GrantedEntry]
    assert used(service, provider) == 7


def test_of_several_claims_all_or_none(service: Service) -> None:
    provider = add_provider(service, VCPU=8)
    start = service.revision()
    outcome = service.place(place(5, 2, 2), ASKER)
    assert isinstance(outcome.error, EntriesRefusedError)
    assert [number for number, _ in outcome.error.refused] == [2]
    assert (used(service, provider), service.revision()) == (0, start)


def test_what_fits_in_part_waits_for_claims_before_it(service: Service) -> None:
    provider = add_provider(service, VCPU=8)
    service.warm_up()
    first, second = tickets_of(service, place(4), place(4, 4, least=1))
    assert (first.error, second.error) == (None, None)
    result: Any = second.result
    assert [type(entry) for entry in result.entries] == [GrantedEntry, NothingFitsError]
    assert used(service, provider) == 8


def test_exact_claims_take_part(service: Service) -> None:
    first, second = two(service, VCPU=8)
    claims = (Claim(new_uuid(), {first: {VCPU: 6}}, "p", "u"), Claim(new_uuid(), {}, "p", "u"))
    assert placed(service, PlaceClaims(claims, (None, ask(3)), 2)) == [first, second]
    refused = (Claim(new_uuid(), {first: {VCPU: 6}}, "p", "u"), Claim(new_uuid(), {}, "p", "u"))
    outcome = service.place(PlaceClaims(refused, (None, ask(1)), 2), ASKER)
    assert isinstance(outcome.error, EntriesRefusedError)
    assert isinstance(outcome.error.refused[0][1], CapacityExceededError)


def test_an_unknown_name_refuses_its_own_claim(service: Service) -> None:
    add_provider(service, VCPU=8)
    outcome = service.place(PlaceClaims(place(1).claims, (ask(1, "CUSTOM_NO"),), 1), ASKER)
    assert isinstance(outcome.error, EntriesRefusedError)
    assert isinstance(outcome.error.refused[0][1], ResourceClassNotFoundError)


@contextmanager
def stale(service: Service, monkeypatch: pytest.MonkeyPatch, times: int) -> Iterator[list[int]]:
    """For so many groups the index is as it is now, whatever is committed meanwhile."""
    old = service._index.now()
    asked: list[int] = []
    real = LiveIndex.now

    def now(index: LiveIndex) -> Indexed:
        asked.append(1)
        return old if len(asked) <= times else real(index)

    monkeypatch.setattr(LiveIndex, "now", now)
    yield asked


def test_a_place_that_another_process_took_is_chosen_again(
    store: Store, service: Service, open_service: OpenService, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = two(service, VCPU=8)
    with stale(service, monkeypatch, 3) as asked:
        order(open_service(store), claim(new_uuid(), {first: {VCPU: 8}}))
        tickets = tickets_of(service, place(2), place(3), CreateTrait("CUSTOM_T"))
    results: list[Any] = [ticket.result for ticket in tickets]
    assert [homes(result) for result in results[:2]] == [[second], [second]]
    assert len(asked) == 4
    assert results[2] is True


def test_its_own_thread_waits_for_the_next_group(
    store: Store, service: Service, open_service: OpenService, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = two(service, VCPU=8)
    with stale(service, monkeypatch, 2):
        order(open_service(store), claim(new_uuid(), {first: {VCPU: 8}}))
        assert placed(service, place(2)) == [second]
    assert service._committer.waiting == 0


def test_a_place_that_is_always_taken_is_given_up(
    store: Store, service: Service, open_service: OpenService, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, _ = two(service, VCPU=8)
    patient = open_service(store, deadline_seconds=0.2)
    with stale(patient, monkeypatch, 1_000_000):
        order(service, claim(new_uuid(), {first: {VCPU: 8}}))
        with pytest.raises(UnavailableError):
            patient.place(place(2), ASKER)


def test_two_processes_place_without_a_refusal(
    store: Store, service: Service, open_service: OpenService
) -> None:
    providers = [add_provider(service, VCPU=10) for _ in range(4)]
    services = [service, open_service(store)]
    outcomes: list[WriteOutcome[Granted]] = []

    def run(number: int) -> None:
        outcomes.extend(services[number % 2].place(place(1), ASKER) for _ in range(5))

    threads = [threading.Thread(target=run, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [outcome.error for outcome in outcomes] == [None] * 40
    assert len({outcome.revision for outcome in outcomes}) == 40
    assert [used(service, provider) for provider in providers] == [10] * 4
    refused = service.place(place(1), ASKER)
    assert isinstance(refused.error, EntriesRefusedError)


def test_a_hard_search_holds_up_no_group(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = two(service, VCPU=8)
    monkeypatch.setattr(service._committer, "_binder", Placer(service._index, service._chooser, 1))
    assert placed(service, place(5, 5)) == [first, second]
    outcome = service.place(place(9), ASKER)
    assert isinstance(outcome.error, EntriesRefusedError)


def test_a_hard_search_is_done_again_if_its_place_was_taken(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = two(service, VCPU=8)
    monkeypatch.setattr(service._committer, "_binder", Placer(service._index, service._chooser, 1))
    real, holder = service._committer.outcome, new_uuid()

    def outcome(command: Any, *rest: Any) -> Any:
        if not isinstance(command, PlaceClaims) and not service.generations([holder]):
            order(service, claim(holder, {first: {VCPU: 8}}))
        return real(command, *rest)

    monkeypatch.setattr(service._committer, "outcome", outcome)
    assert placed(service, place(5)) == [second]


def first_stale(*amounts: int) -> PlaceClaims:
    """One claim at least, of which the first has a stale generation."""
    command = place(*amounts, least=1)
    return replace(command, claims=(replace(command.claims[0], generation=5), *command.claims[1:]))


@pytest.mark.parametrize("steps", [1, 100_000], ids=["outside", "in its group"])
def test_a_claim_that_truth_refuses_takes_no_room_from_others(service: Service, steps: int) -> None:
    provider = add_provider(service, VCPU=8)
    service._committer._binder = Placer(service._index, service._chooser, steps)
    both = first_stale(8, 7)
    own = replace(place(9, 7, least=1), requests=(None, ask(7)))
    own = replace(own, claims=(replace(own.claims[0], allocations={provider: {VCPU: 9}}), own.claims[1]))
    for command, expected in (both, ConsumerGenerationError), (own, CapacityExceededError):
        granted = service.place(command, ASKER).result
        assert granted is not None
        assert [type(entry) for entry in granted.entries] == [expected, GrantedEntry]
        assert used(service, provider) == 7
        order(service, DeleteAllocations(command.claims[1].consumer))


@pytest.mark.parametrize("steps", [1, 100_000], ids=["outside", "in its group"])
def test_all_claims_that_truth_does_not_refuse_have_their_own_reason(service: Service, steps: int) -> None:
    add_provider(service, VCPU=8)
    service._committer._binder = Placer(service._index, service._chooser, steps)
    outcome = service.place(first_stale(8, 9), ASKER)
    assert isinstance(outcome.error, EntriesRefusedError)
    assert [(number, type(error)) for number, error in outcome.error.refused] == [
        (0, ConsumerGenerationError),
        (1, NothingFitsError),
    ]


def test_a_claim_that_was_stale_may_be_right_the_next_time(
    store: Store, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is counted again then, and nothing is put off without end."""
    provider = add_provider(service, VCPU=8)
    command = first_stale(7, 7)
    holder = command.claims[0].consumer
    command = replace(command, claims=(replace(command.claims[0], generation=1), command.claims[1]))
    real, seen = Placer.of_group, []

    def of_group(placer: Placer) -> Any:
        bind = real(placer)

        def bound(given: Any, refused: frozenset[int]) -> Any:
            seen.append(sorted(refused))
            if refused and len(seen) == 2:
                claim_elsewhere(store, claim(holder, {provider: {VCPU: 1}}))
            return bind(given, refused)

        return bound

    monkeypatch.setattr(Placer, "of_group", of_group)
    granted = service.place(command, ASKER).result
    assert granted is not None
    assert seen == [[], [0], []]
    assert [type(entry) for entry in granted.entries] == [GrantedEntry, NothingFitsError]
    assert used(service, provider) == 7


def test_a_move_without_a_place_frees_nothing_for_others(service: Service) -> None:
    provider = add_provider(service, VCPU=8)
    holder = place(5)
    assert placed(service, holder) == [provider]
    moved = replace(holder.claims[0], generation=1)
    others = place(9, 4, least=1)
    command = replace(others, claims=(moved, others.claims[1]), freed=({provider: {VCPU: 5}}, None))
    outcome = service.place(command, ASKER)
    assert isinstance(outcome.error, EntriesRefusedError)
    assert [type(error) for _, error in outcome.error.refused] == [NothingFitsError, NothingFitsError]


def test_a_search_that_is_too_hard_is_refused(store: Store, open_service: OpenService) -> None:
    service = open_service(store, SearchSettings(step_limit=1))
    add_provider(service, VCPU=8)
    service._committer._binder = Placer(service._index, service._chooser, 1)
    with pytest.raises(SearchLimitError):
        service.place(place(1), ASKER)
    # While others of the group are placed, it is as hard.
    with pytest.raises(SearchLimitError):
        service.place(place(9, least=1), ASKER)


@pytest.mark.parametrize("children", [0, 1])
def test_a_command_that_takes_many_steps_in_all_is_searched_outside(
    service: Service, monkeypatch: pytest.MonkeyPatch, children: int
) -> None:
    root = add_provider(service, VCPU=8)
    for _ in range(children):
        service.execute(CreateProvider(new_uuid(), new_uuid(), root), ASKER)
    monkeypatch.setattr(placing, "MOST_HARD", 0)
    outside: list[PlaceClaims] = []

    def searched(*rest: Any) -> Any:
        outside.append(rest[-2])
        return real(*rest)

    real = placing.searched
    monkeypatch.setattr(facade, "searched", searched)
    assert placed(service, place(1)) == [root]
    assert not outside
    both = place(1, 2)
    assert placed(service, both) == [root, root]
    assert outside == [both]


def test_hard_places_that_are_always_taken_are_given_up(
    store: Store, open_service: OpenService, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = open_service(store, deadline_seconds=0)
    add_provider(service, VCPU=8)
    monkeypatch.setattr(service._committer, "_binder", Placer(service._index, service._chooser, 1))
    with pytest.raises(UnavailableError):
        service.place(place(1), ASKER)


def test_a_refusal_of_the_moment_is_made_sure_of(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is too hard on the committed state is searched outside, though the overlay refused it quickly."""
    add_provider(service, VCPU=8)
    service.warm_up()
    binder: Any = service._committer._binder
    easy, hard = binder._choose, service._chooser.within(1)
    clean = service._index.now().snapshot

    def choose(snapshot: Any, request: CandidateRequest, order: Any) -> Any:
        return (hard if snapshot is clean and request == ask(6) else easy)(snapshot, request, order)

    monkeypatch.setattr(binder, "_choose", choose)
    answers: list[Any] = []
    commands = [place(5), place(6)]

    def run(command: PlaceClaims) -> None:
        answers.append(service.place(command, ASKER))

    threads = [threading.Thread(target=run, args=(command,)) for command in commands]
    with held_up(service._committer):
        for number, thread in enumerate(threads):
            thread.start()
            while service._committer.waiting <= number:
                pass
    for thread in threads:
        thread.join()
    assert sorted(type(answer.error).__name__ for answer in answers) == ["EntriesRefusedError", "NoneType"]


def test_released_room_is_used_again(service: Service) -> None:
    provider = add_provider(service, VCPU=8)
    command = place(8)
    assert placed(service, command) == [provider]
    order(service, DeleteAllocations(command.claims[0].consumer))
    assert placed(service, place(8)) == [provider]


def test_a_gang_is_placed_the_largest_first(service: Service) -> None:
    first, second = two(service, VCPU=8)
    # One after the other they would leave no room for the last.
    assert placed(service, place(3, 5, 8)) == [second, second, first]


def test_a_gang_that_fits_in_another_order_only_is_placed(service: Service) -> None:
    """The largest first would be 6, 5, 5, 4, 4 and fail: 6 and 4 leave too little for 5 and 5."""
    first, second = add_provider(service, VCPU=11), add_provider(service, VCPU=13)
    assert sorted(placed(service, place(6, 5, 5, 4, 4))) == sorted([first] * 2 + [second] * 3)


def test_a_gang_that_fits_in_no_order_is_refused_for_sure(service: Service) -> None:
    two(service, VCPU=8)
    outcome = service.place(place(6, 6, 3), ASKER)
    assert isinstance(outcome.error, EntriesRefusedError)
    assert outcome.error.refused[0][0] == 2


def test_a_gang_with_too_many_orders_is_too_hard(service: Service) -> None:
    two(service, VCPU=8)
    start = service.revision()
    outcome = service.place(place(6, 6, 1, 1, 1, 2, 1), ASKER)
    assert isinstance(outcome.error, GangTooHardError)
    assert (outcome.error.orders, service.revision()) == (8, start)


def test_a_gang_one_of_which_never_fits_is_refused_at_once(service: Service) -> None:
    two(service, VCPU=8)
    outcome = service.place(place(1, 9, 1, 2, 3, 4, 5), ASKER)
    assert isinstance(outcome.error, EntriesRefusedError)
    ((number, error),) = outcome.error.refused
    assert isinstance(error, NothingFitsError)
    assert (number, error.request) == (1, ask(9))


def test_equal_claims_of_trees_may_be_in_each_others_way(service: Service) -> None:
    root = add_provider(service, VCPU=3)
    add_provider(service, None, root, PGPU=2)
    wanted = CandidateRequest((RequestGroup("", {VCPU: 1, "PGPU": 1}),))
    claims = tuple(Claim(new_uuid(), {}, "p", "u") for _ in range(3))
    outcome = service.place(PlaceClaims(claims, (wanted,) * 3, 3), ASKER)
    assert isinstance(outcome.error, GangTooHardError)


def test_a_gang_waits_for_what_is_undecided_before_it(service: Service) -> None:
    first, second = two(service, VCPU=8)
    service.warm_up()
    one, gang = tickets_of(service, place(8), place(5, 4))
    assert one.error is None
    # On the committed state it fits, so it waits; then it does not.
    assert isinstance(gang.error, HardToPlaceError)
    assert [used(service, provider) for provider in (first, second)] == [8, 0]


def test_an_order_says_which_place_is_the_best(service: Service) -> None:
    first, second = two(service, VCPU=8)
    order(service, claim(new_uuid(), {second: {VCPU: 2}}))

    def ordered(strategy: str) -> GrantedEntry:
        command = replace(place(1), orders=(Order(strategy),))
        outcome = service.place(command, ASKER)
        assert outcome.result is not None
        (entry,) = outcome.result.entries
        assert isinstance(entry, GrantedEntry)
        return entry

    packed, spread = ordered(PACK), ordered(SPREAD)
    assert [set(entry.allocations) for entry in (packed, spread)] == [{second}, {first}]
    assert packed.choice is not None
    assert (packed.choice.score, packed.choice.parts) == (0.375, {PACK: 0.375})
    assert packed.choice.ranked_of == 2
    outcome = service.place(replace(place(9), orders=(Order(PACK),)), ASKER)
    assert isinstance(outcome.error, EntriesRefusedError)
    gang = replace(place(5, 5, 4), orders=(Order(SPREAD),) * 3)
    assert isinstance(service.place(gang, ASKER).error, GangTooHardError)
