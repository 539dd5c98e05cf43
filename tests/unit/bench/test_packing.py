"""The benchmark that fills a GPU cluster with the tasks of a trace."""

from __future__ import annotations

import json
from argparse import ArgumentTypeError
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import orjson
import pytest

from benchmarks import openb, packing
from benchmarks.client import Answer
from benchmarks.openb import Packing
from benchmarks.replay import WHOLE_GPU, Node, Task, model_trait
from moorage.search.order.ties import digests, ties

NODES = """sn,cpu_milli,memory_mib,gpu,model
node-2,8000,1000,1,T4
node-0,8000,1000,0,
node-1,4000,1000,2,V100M16
"""

TASKS = """name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec,qos
task-2,1000,100,1,460,V100M16|T4,LS
task-0,1000,0,0,0,T4,LS
task-1,1000,100,2,1000,,LS
"""


def task(name: str, cpu: int, memory: int, gpus: int, milli: int, models: tuple[str, ...] = ()) -> Task:
    """A task that stays."""
    return Task(name, cpu, memory, gpus, milli if gpus == 1 else WHOLE_GPU, models, 0.0, None)


@pytest.fixture
def nodes_file(tmp_path: Path) -> Path:
    path = tmp_path / "openb_node_list.csv"
    path.write_text(NODES)
    return path


@pytest.fixture
def tasks_file(tmp_path: Path) -> Path:
    path = tmp_path / "openb_pod_list_tiny.csv"
    path.write_text(TASKS)
    return path


def test_nodes_are_those_with_devices_by_name(nodes_file: Path) -> None:
    assert openb.nodes_of(nodes_file) == [
        Node("node-1", 4000, 1000, 2, "V100M16"),
        Node("node-2", 8000, 1000, 1, "T4"),
    ]


def test_tasks_come_by_name(tasks_file: Path) -> None:
    assert [(each.name, openb.demand(each)) for each in openb.tasks_of(tasks_file)] == [
        ("task-0", 0),
        ("task-1", 2000),
        ("task-2", 460),
    ]


def test_a_task_is_an_ask_with_a_group_for_each_device() -> None:
    one = task("a", 1000, 100, 1, 460, ("V100M16", "T4"))
    device = {
        "resources": {"CUSTOM_GPU_MILLI": 460},
        "required": [{"any": ["CUSTOM_GPU_T4", "CUSTOM_GPU_V100M16"]}],
    }
    room = {"resources": {"CUSTOM_CPU_MILLI": 1000, "MEMORY_MB": 100}}
    assert openb.ask(one) == {"groups": {"": room, "_GPU0": device}}
    whole = {"resources": {"CUSTOM_GPU_MILLI": 1000}}
    assert openb.ask(task("b", 1000, 100, 2, 1000)) == {
        "groups": {"": room, "_GPU0": whole, "_GPU1": whole},
        "group_policy": "isolate",
    }
    assert openb.ask(task("c", 1000, 0, 0, 0)) == {"groups": {"": {"resources": {"CUSTOM_CPU_MILLI": 1000}}}}
    assert openb.ask(task("d", 0, 0, 1, 1000)) == {"groups": {"_GPU0": whole}}


def test_the_name_of_a_model_may_have_any_characters() -> None:
    assert model_trait("a100-80g b") == "CUSTOM_GPU_A100_80G_B"
    tasks = [task("a", 1, 1, 1, 500, ("T4", "P100")), task("b", 1, 1, 0, 0, ("A10",))]
    assert openb.traits_named(tasks) == ["CUSTOM_GPU_P100", "CUSTOM_GPU_T4"]


def test_a_node_is_a_tree_with_a_provider_for_each_device() -> None:
    [[root, *devices], [second, plain]] = openb.trees(
        [Node("a", 4000, 1000, 2, "T4"), Node("b", 4000, 0, 1, "")], Random(1)
    )
    assert (root.name, root.parent, root.traits) == ("a", None, ())
    assert {name: each.total for name, each in root.inventories.items()} == {
        "CUSTOM_CPU_MILLI": 4000,
        "MEMORY_MB": 1000,
    }
    assert [device.name for device in devices] == ["a-gpu0", "a-gpu1"]
    assert {(device.parent, device.traits) for device in devices} == {(0, ("CUSTOM_GPU_T4",))}
    assert [device.inventories["CUSTOM_GPU_MILLI"].total for device in devices] == [1000, 1000]
    assert set(second.inventories) == {"CUSTOM_CPU_MILLI"}
    assert plain.traits == ()


@pytest.mark.parametrize("by_name", [False, True])
def test_roots_can_be_made_to_tie_by_name(by_name: bool) -> None:
    nodes = [Node(f"n{number:02}", 1, 1, 1, "T4") for number in range(20)]
    roots = [tree[0] for tree in openb.trees(nodes, Random(1), by_name=by_name)]
    found = ties(digests(np.array([root.uuid.encode() for root in roots], dtype="S36")), 0).tolist()
    assert (found == sorted(found)) is by_name
    assert [root.name for root in roots] == [node.name for node in nodes]


def test_arrivals_are_a_permutation_that_is_cut_at_130_percent() -> None:
    tasks = [task(f"t{number:02}", 1, 1, 1, 1000) for number in range(40)]
    found = openb.arrivals(tasks, 20, seed=42)
    assert len(found) == 26
    assert len(set(found)) == 26
    assert found == openb.arrivals(tasks, 20, seed=42)
    assert found != openb.arrivals(tasks, 20, seed=43)


def test_arrivals_are_extended_by_draws_with_replacement() -> None:
    tasks = [task(f"t{number}", 1, 1, 1, 500) for number in range(4)] + [task("cpu", 1, 1, 0, 0)]
    found = openb.arrivals(tasks, 5, seed=42)
    assert set(found[:5]) == set(tasks)
    assert len(found) > 13
    assert sum(openb.demand(each) for each in found) == 6_500
    assert sum(openb.demand(each) for each in found[:-1]) == 6_000


def test_arrivals_without_demand_would_never_end() -> None:
    with pytest.raises(ValueError, match="no task asks"):
        openb.arrivals([task("cpu", 1, 1, 0, 0)], 5, seed=42)


def test_the_figure_is_the_mean_while_demand_rounds_to_all_devices() -> None:
    # Of 2 devices 1.99 are asked for from the second arrival on, and 2.01 from the last one on.
    held = Packing(2)
    for demand, placed in ((1000, True), (990, True), (0, True), (15, False)):
        held.take(task("t", 1, 1, 1 if demand else 0, demand), placed=placed)
        assert not held.is_over
    assert held.shares == [99.5, 99.5, 99.5]
    assert held.figure == 99.5
    held.take(task("t", 1, 1, 1, 5), placed=True)
    assert held.is_over
    assert len(held.shares) == 3


def test_there_is_no_figure_before_demand_has_come_to_all_devices() -> None:
    held = Packing(2)
    held.take(task("t", 1, 1, 1, 1000), placed=True)
    with pytest.raises(ValueError, match="never came"):
        _ = held.figure


def test_a_refusal_counts_as_demand_only() -> None:
    held = Packing(1)
    held.take(task("t", 1, 1, 1, 600), placed=True)
    held.take(task("t", 1, 1, 1, 400), placed=False)
    assert (held.arrived, held.allocated, held.figure) == (1000, 600, 60.0)


def test_a_request_has_an_entry_for_each_task() -> None:
    tasks = [task("a", 1, 1, 1, 500), task("b", 1, 1, 1, 500)]
    body = packing.body_of(tasks, "random", 42, 7)
    assert [entry["name"] for entry in body["claims"]] == ["a", "b"]
    assert [entry["order"]["seed"] for entry in body["claims"]] == [(42 << 32) + 7, (42 << 32) + 8]
    assert packing.order_of("best_fit", 42, 7) == {"strategy": "best_fit", "seed": 0}


def answer(status: int, body: object) -> Answer:
    return Answer(status, orjson.dumps(body), 0.0)


def test_refusals_are_read_from_both_kinds_of_answer() -> None:
    unplaced = [{"entry": 1, "code": "no_room"}]
    assert packing.refusals(answer(201, {"unplaced": []}), 2) == {}
    assert packing.refusals(answer(201, {"unplaced": unplaced}), 2) == {1: "no_room"}
    assert packing.refusals(answer(409, {"unplaced": [{"entry": 0, "code": "no_room"}]}), 1) == {0: "no_room"}
    assert packing.refusals(answer(422, {"code": "too_hard"}), 1) == {0: "too_hard"}


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (409, {"unplaced": [{"entry": 0, "code": "no_room"}]}),
        (201, {"unplaced": [{"entry": 0, "code": "already_holds"}]}),
        (422, {"code": "too_hard"}),
        (500, {}),
    ],
)
def test_other_answers_end_the_run(status: int, body: object) -> None:
    with pytest.raises(packing.RequestFailedError, match=str(status)):
        packing.refusals(answer(status, body), 2)


def test_a_request_that_is_too_hard_is_repeated_claim_by_claim() -> None:
    sent: list[dict[str, Any]] = []

    def exchange(message: bytes) -> Answer:
        sent.append(orjson.loads(message.partition(b"\r\n\r\n")[2]))
        names = [entry["name"] for entry in sent[-1]["claims"]]
        return answer(422, {"code": "too_hard"}) if "hard" in names else answer(201, {"unplaced": []})

    tasks = [task(name, 1, 1, 1, 500) for name in ("a", "hard", "c")]
    run = packing.Run(42)
    assert packing.claimed(exchange, tasks, "random", run, 7) == {1: "too_hard"}
    assert [len(body["claims"]) for body in sent] == [3, 1, 1, 1]
    assert sent[3]["claims"][0]["order"] == sent[0]["claims"][2]["order"]


def test_seeds_are_a_list_with_ranges() -> None:
    assert packing.seeds_of("42-44,50") == [42, 43, 44, 50]
    assert packing.parser().parse_args(["--nodes=n", "--pods=p", "--strategy=pack"]).seeds == list(
        range(42, 52)
    )
    with pytest.raises(ValueError, match="seeds"):
        packing.seeds_of("5-4")
    with pytest.raises((ValueError, ArgumentTypeError)):
        packing.at_least_one("0")


@pytest.mark.journey
def test_a_trace_is_replayed(nodes_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pods = tmp_path / "openb_pod_list_default.csv"
    # Any two of three tasks that ask for a whole device each fit node-1, and the third one fits node-2.
    # The fourth one is a draw, for which nothing is left. A model that no node has changes nothing.
    head = "name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec\n"
    pods.write_text(head + "".join(f"task-{number},1000,100,1,1000,T4|V100M16|X9\n" for number in range(3)))
    sent = [f"--nodes={nodes_file}", f"--pods={pods}", f"--output={tmp_path}", "--seeds=1", "--at-once=2"]
    assert packing.main([*sent, "--strategy=pack", "--whole"]) == 0
    told = json.loads((tmp_path / "packing-default-pack-seed.json").read_text())
    assert told["mean"] == 100.0
    assert told["published_fgd"] == packing.PUBLISHED["default"]
    assert [(row["arrived"], row["placed"], row["refused"]) for row in told["results"]] == [(4, 3, 1)]
    assert "95.23 %" in capsys.readouterr().out
