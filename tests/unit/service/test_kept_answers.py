"""Who asks the same again is given the same answer, until somebody writes."""

from __future__ import annotations

import shutil
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from moorage.model.commands import Claim, CreateProvider, ReplaceAllocations, SetInventories
from moorage.model.requests import CandidateRequest, RequestGroup, SearchSettings
from moorage.model.values import Inventory, Requester
from moorage.service.facade import Service
from moorage.service.settings import ServiceSettings
from tests.databases.prepared import store_on

ASKER = Requester("asker")
HOST = "aaaaaaaa-0000-4000-8000-000000000001"
CONSUMER = "cccccccc-0000-4000-8000-000000000001"
REQUEST = CandidateRequest((RequestGroup(resources={"VCPU": 1}),))


@contextmanager
def services(template: Path, folder: Path, search: SearchSettings, count: int = 1) -> Iterator[list[Service]]:
    """Services, as of so many worker processes, on one database with a host."""
    path = folder / "account.sqlite"
    shutil.copy(template, path)
    stores = [store_on(f"sqlite:///{path}") for _ in range(count)]
    try:
        found = [Service(store, ServiceSettings(search)) for store in stores]
        found[0].execute(CreateProvider(HOST, "host"), ASKER)
        found[0].execute(SetInventories(HOST, None, {"VCPU": Inventory(8)}), ASKER)
        yield found
    finally:
        for store in stores:
            store.close()


def claim(service: Service) -> None:
    wanted = Claim(CONSUMER, {HOST: {"VCPU": 3}}, "project", "user", None)
    service.execute(ReplaceAllocations((wanted,)), ASKER)


def used(service: Service) -> int:
    [summary] = service.candidates(REQUEST).summaries
    return summary.resources["VCPU"][1]


def test_an_answer_is_given_again_until_somebody_writes(sqlite_template: Path, tmp_path: Path) -> None:
    with services(sqlite_template, tmp_path, SearchSettings(), count=2) as (here, there):
        first = here.candidates(REQUEST)
        assert here.candidates(REQUEST) is first
        assert used(here) == 0
        claim(there)
        assert here.candidates(REQUEST) is not first
        assert used(here) == 3


def test_no_answer_outlives_what_it_tells(sqlite_template: Path, tmp_path: Path) -> None:
    with services(sqlite_template, tmp_path, SearchSettings(), count=2) as (here, there):
        answer = weakref.ref(here.candidates(REQUEST).candidates)
        assert answer() is not None
        claim(there)
        here.warm_up()
        assert answer() is None, "nobody has searched since, but the index has moved on"


def test_each_answer_is_sought_if_none_is_to_be_kept(sqlite_template: Path, tmp_path: Path) -> None:
    with services(sqlite_template, tmp_path, SearchSettings(kept_bytes=0)) as (service,):
        first = service.candidates(REQUEST)
        assert service.candidates(REQUEST) is not first
        assert service.candidates(REQUEST) == first


def test_each_answer_is_shuffled_by_itself(sqlite_template: Path, tmp_path: Path) -> None:
    with services(sqlite_template, tmp_path, SearchSettings(randomize=True)) as (service,):
        assert service.candidates(REQUEST) is not service.candidates(REQUEST)
