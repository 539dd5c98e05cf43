"""The replay benchmark: what it asks for, and what its final check sees."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pytest

from benchmarks import replay
from benchmarks.replay import ReplayError, Task, compare, place, read_nodes, read_tasks, search_query

CONFLICT = {"errors": [{"code": "placement.concurrent_update", "detail": "generation conflict"}]}
NO_ROOM = {"errors": [{"code": "placement.undefined_code", "detail": "would exceed the capacity"}]}


def task(**changed: Any) -> Task:
    fields: dict[str, Any] = {
        "name": "t",
        "cpu_milli": 500,
        "memory_mib": 100,
        "gpus": 0,
        "gpu_milli": 0,
        "models": (),
        "creation": 0.0,
        "deletion": None,
    }
    return Task(**{**fields, **changed})


class Answers:
    """A client whose answers are known beforehand."""

    def __init__(self, searches: list[int], claims: list[tuple[int, Any]]) -> None:
        self.searches, self.claims = searches, claims
        self.claimed: list[dict[str, Any]] = []

    def expect(self, method: str, path: str, *statuses: int, body: object = None) -> Any:
        count = self.searches.pop(0)
        return {
            "allocation_requests": [
                {"allocations": {f"u{number}": {"resources": {replay.CPU: 500}}}, "mappings": {"": []}}
                for number in range(count)
            ]
        }

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        self.claimed.append(body)
        return self.claims.pop(0)


def test_query_asks_one_granular_group_for_each_gpu() -> None:
    def pairs(asked: Task) -> list[tuple[str, str]]:
        return parse_qsl(search_query(asked, 10))

    assert pairs(task()) == [("resources", "CUSTOM_CPU_MILLI:500,MEMORY_MB:100"), ("limit", "10")]
    assert pairs(task(memory_mib=0, gpus=1, gpu_milli=300, models=("T4", "V100M16"))) == [
        ("resources", "CUSTOM_CPU_MILLI:500"),
        ("resources1", "CUSTOM_GPU_MILLI:300"),
        ("required1", "in:CUSTOM_GPU_T4,CUSTOM_GPU_V100M16"),
        ("limit", "10"),
    ]
    eight = pairs(task(gpus=8, gpu_milli=1000))
    assert [value for key, value in eight if key[-1].isdigit()] == ["CUSTOM_GPU_MILLI:1000"] * 8
    assert ("group_policy", "isolate") in eight


def test_tasks_come_in_the_order_of_their_creation(tmp_path: Path) -> None:
    path = tmp_path / "pods.csv"
    path.write_text(
        "name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec,creation_time,deletion_time\n"
        "late,1,2,1,300,V100M16|V100M32|V100M32,9,10\nearly,1,2,0,0,,3,4\n"
    )
    early, late = read_tasks(path)
    assert (early.name, late.name) == ("early", "late")
    assert late.models == ("V100M16", "V100M32")
    assert (late.creation, late.deletion, late.gpu_milli) == (9.0, 10.0, 300)


def test_tasks_without_times_stay_and_keep_their_order(tmp_path: Path) -> None:
    path = tmp_path / "pods.csv"
    path.write_text("name,cpu_milli,memory_mib,num_gpu,gpu_milli\nb,1,2,2,1000\na,1,2,0,0\n")
    assert [(each.name, each.deletion) for each in read_tasks(path)] == [("b", None), ("a", None)]


def test_nodes_name_their_gpus(tmp_path: Path) -> None:
    (tmp_path / replay.NODES_FILE).write_text("sn,cpu_milli,memory_mib,gpu,model\nn,10,20,2,T4\n")
    [node] = read_nodes(tmp_path)
    assert node.gpu_names() == ["n-gpu0", "n-gpu1"]


def test_refused_claim_is_tried_with_the_next_candidate() -> None:
    client = Answers([3], [(409, NO_ROOM), (409, CONFLICT), (204, None)])
    outcome = place(client, task(), 10)  # type: ignore[arg-type]
    assert outcome.allocations == {"u2": {replay.CPU: 500}}
    assert (outcome.refusals, outcome.conflicts, len(outcome.searches)) == (2, 1, 1)
    assert client.claimed[-1]["consumer_generation"] is None


def test_task_is_searched_once_more_if_every_candidate_was_refused() -> None:
    outcome = place(Answers([1, 1], [(409, NO_ROOM)] * 2), task(), 10)  # type: ignore[arg-type]
    assert (outcome.allocations, outcome.refusals, len(outcome.searches)) == (None, 2, 2)
    outcome = place(Answers([0], []), task(), 10)  # type: ignore[arg-type]
    assert (outcome.allocations, outcome.refusals, len(outcome.searches)) == (None, 0, 1)


def test_answer_that_is_neither_yes_nor_no_stops_the_replay() -> None:
    with pytest.raises(ReplayError, match="answered 500"):
        place(Answers([1], [(500, None)]), task(), 10)  # type: ignore[arg-type]


def test_final_check_sees_every_kind_of_difference() -> None:
    assert compare("p", {"A": 4}, {"A": 4}, {"c": {"A": 4}}, {"c": {"A": 4}}) == []
    assert compare("p", {"A": 4}, {"A": 5}, {"c": {"A": 5}}, {"c": {"A": 5}}) == ["provider p: 5 A used of 4"]
    [wrong_sum] = compare("p", {"A": 4}, {"A": 3}, {"c": {"A": 2}}, {"c": {"A": 2}})
    assert wrong_sum == "provider p: 3 A used, but 2 held"
    [lost] = compare("p", {"A": 4}, {"A": 0}, {}, {"c": {"A": 2}})
    assert lost == "provider p: c holds None, granted {'A': 2}"
    [extra] = compare("p", {"A": 4}, {"A": 2}, {"c": {"A": 2}}, {})
    assert extra == "provider p: c holds {'A': 2}, granted None"
    [other] = compare("p", {"A": 4}, {"A": 2}, {"c": {"A": 2}}, {"c": {"A": 1}})
    assert "holds {'A': 2}, granted {'A': 1}" in other


def test_percentile_is_one_of_the_values() -> None:
    assert replay.percentile([], 0.5) == 0.0
    assert replay.percentile([3.0, 1.0, 2.0], 0.5) == 2.0
    assert replay.percentile([1.0, 2.0], 0.99) == 2.0


def test_address_that_is_no_http_url_is_refused() -> None:
    with pytest.raises(ReplayError, match="no http"):
        replay.Client("ftp://x", "admin")
