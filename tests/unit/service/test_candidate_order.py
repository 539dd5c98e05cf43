"""Candidates of ordinary searches in the order of a profile."""

from __future__ import annotations

from dataclasses import replace

import pytest

from moorage.model.errors import SearchLimitError
from moorage.model.orders import NO_PROFILES, Order, Profiles
from moorage.model.requests import CandidateRequest, RequestGroup, SearchSettings
from moorage.service.facade import Service
from moorage.service.settings import ServiceSettings
from tests.databases.orders import add_provider, claim, new_uuid, order

REQUEST = CandidateRequest((RequestGroup("", {"VCPU": 1}),))


class World:
    """A service on three hosts with 8 VCPU, of which 0, 4 and 2 are in use."""

    def __init__(self, bare: Service, **search: object) -> None:
        settings = replace(ServiceSettings(), candidate_order="used", search=SearchSettings(**search))  # type: ignore[arg-type]
        self.profiles = Profiles({"used": Order("pack")})
        self.service = Service(bare._store, settings, profiles=lambda: self.profiles)
        self.hosts = [add_provider(bare, f"host-{number}", VCPU=8) for number in range(3)]
        for host, amount in zip(self.hosts[1:], (4, 2), strict=True):
            order(bare, claim(new_uuid(), {host: {"VCPU": amount}}, None, "INSTANCE", "p1"))

    def found(self, request: CandidateRequest = REQUEST) -> list[int]:
        """Numbers of the hosts, in the order of the candidates."""
        result = self.service.candidates(request)
        assert {each.uuid for each in result.summaries} == {
            uuid for each in result.candidates for uuid in each.allocations
        }
        return [self.hosts.index(uuid) for each in result.candidates for uuid in each.allocations]


def test_the_best_come_first_and_a_limit_cuts_off_the_worst(sqlite_service: Service) -> None:
    world = World(sqlite_service)
    assert world.found() == [1, 2, 0]
    assert world.found(replace(REQUEST, limit=2)) == [1, 2]
    nothing = world.service.candidates(CandidateRequest((RequestGroup("", {"VCPU": 9}),)))
    assert (list(nothing.candidates), nothing.found_nothing) == ([], True)


def test_other_profiles_count_at_once(sqlite_service: Service) -> None:
    world = World(sqlite_service)
    assert world.found() == [1, 2, 0]
    world.profiles = Profiles({"used": Order("spread")})
    assert world.found() == [0, 2, 1]
    world.profiles = NO_PROFILES
    assert world.found() == [0, 1, 2]


def test_chance_is_drawn_for_each_search(sqlite_service: Service) -> None:
    world = World(sqlite_service)
    world.profiles = Profiles({"used": Order("random")})
    assert len({tuple(world.found()) for _ in range(60)}) == 6
    world.profiles = Profiles({"used": Order("random", seed=1)})
    assert len({tuple(world.found()) for _ in range(5)}) == 1


def test_clients_that_do_not_know_trees_get_no_order(sqlite_service: Service) -> None:
    world = World(sqlite_service)
    assert world.found(replace(REQUEST, one_provider_per_tree=True)) == [0, 1, 2]


def test_a_search_that_is_too_hard_is_refused_or_cut(sqlite_service: Service) -> None:
    refusing = World(sqlite_service, step_limit=100)
    with pytest.raises(SearchLimitError):
        refusing.found()
    settings = replace(refusing.service._settings, search=SearchSettings(step_limit=100, truncate=True))
    cutting = Service(sqlite_service._store, settings, profiles=lambda: refusing.profiles)
    assert len(cutting.candidates(REQUEST).candidates) <= 3


def test_at_most_so_many_candidates_are_made(sqlite_service: Service) -> None:
    assert World(sqlite_service, max_candidates=2).found() == [1, 2]
