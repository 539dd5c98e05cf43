"""Experiments with traces of the openb family: tasks arrive at a cluster of GPUs until it is full.

The recipe is that of *Beware of Fragmentation: Scheduling GPU-Sharing Workloads with Fragmentation Gradient
Descent* (USENIX ATC 2023). Any pair of files is read as ``benchmarks/replay.py`` reads them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Final

import numpy as np

from benchmarks import replay
from benchmarks.clouds import Provider, Tree, random_uuid
from benchmarks.replay import CPU, GPU, MEMORY, WHOLE_GPU, Node, Task, model_trait
from moorage.model.values import Inventory
from moorage.search.index.block import UUID_LENGTH
from moorage.search.order.ties import digests, ties

DEMAND_PERCENT: Final = 130
"""Demand of an experiment's tasks, in percent of all GPUs."""

COUNTED_PERCENT: Final = 100
"""Arrivals count at which the demand so far rounds to this percentage."""


def nodes_of(path: Path) -> list[Node]:
    """The nodes of a file that have GPUs, in order of name. Raises OSError, KeyError, ValueError."""
    return sorted([node for node in replay.nodes_in(path) if node.gpus], key=lambda node: node.name)


def tasks_of(path: Path) -> list[Task]:
    """The tasks of a file in order of name. Raises OSError, KeyError, ValueError."""
    return sorted(replay.read_tasks(path), key=lambda task: task.name)


def demand(task: Task) -> int:
    """What a task asks for, in thousandths of a GPU."""
    return task.gpus * task.gpu_milli


def arrivals(tasks: Sequence[Task], gpus: int, seed: int) -> list[Task]:
    """The tasks of an experiment: permuted by ``seed``, then cut or extended to ``DEMAND_PERCENT``.

    What is missing is drawn from all tasks with replacement. Raises ValueError if no task asks for a GPU.
    """
    if not any(demand(task) for task in tasks):
        raise ValueError("no task asks for a GPU")
    chance = Random(seed)
    order = list(tasks)
    chance.shuffle(order)
    needed = gpus * WHOLE_GPU * DEMAND_PERCENT
    found: list[Task] = []
    asked = 0
    while asked * 100 < needed:
        task = order[len(found)] if len(found) < len(order) else chance.choice(tasks)
        found.append(task)
        asked += demand(task)
    return found


@dataclass(slots=True)
class Packing:
    """What a run has placed so far; ``gpus`` are all that there are."""

    gpus: int
    arrived: int = 0
    allocated: int = 0
    shares: list[float] = field(default_factory=list)

    def take(self, task: Task, *, placed: bool) -> None:
        """Count an arrival."""
        self.arrived += demand(task)
        self.allocated += demand(task) if placed else 0
        if self._percent() == COUNTED_PERCENT:
            self.shares.append(100 * self.allocated / (self.gpus * WHOLE_GPU))

    @property
    def is_over(self) -> bool:
        """Whether no later arrival counts."""
        return self._percent() > COUNTED_PERCENT

    @property
    def figure(self) -> float:
        """Percent of all GPUs allocated, the mean over the arrivals that count. Raises ValueError."""
        if not self.shares:
            raise ValueError("the demand never came to all GPUs")
        return sum(self.shares) / len(self.shares)

    def _percent(self) -> int:
        """The demand so far in percent of all GPUs, rounded; halves are rounded up."""
        whole = self.gpus * WHOLE_GPU
        return (200 * self.arrived + whole) // (2 * whole)


# As providers and Asks


def traits_named(tasks: Iterable[Task]) -> list[str]:
    """Traits that tasks with GPUs ask for."""
    return sorted({model_trait(model) for task in tasks if task.gpus for model in task.models})


def trees(nodes: Sequence[Node], chance: Random, *, by_name: bool = False) -> Iterator[Tree]:
    """A tree for each node: a root with its processors and memory, and a provider for each GPU.

    With ``by_name`` the roots have UUIDs with which trees of equal score come in the order of ``nodes``, for
    orders whose seed is 0.
    """
    roots = [random_uuid(chance) for _ in nodes]
    if by_name:
        found = ties(digests(np.array([uuid.encode() for uuid in roots], dtype=f"S{UUID_LENGTH}")), 0)
        roots = [roots[place] for place in np.argsort(found).tolist()]
    for node, uuid in zip(nodes, roots, strict=True):
        amounts = {CPU: node.cpu_milli, MEMORY: node.memory_mib}
        yield [
            Provider(uuid, node.name, {name: Inventory(most) for name, most in amounts.items() if most}),
            *[
                Provider(
                    random_uuid(chance),
                    name,
                    {GPU: Inventory(WHOLE_GPU)},
                    0,
                    (model_trait(node.model),) if node.model else (),
                )
                for name in node.gpu_names()
            ],
        ]


def ask(task: Task) -> dict[str, Any]:
    """The Ask of a task: one group for each GPU, on providers of their own."""
    amounts = {CPU: task.cpu_milli, MEMORY: task.memory_mib}
    groups: dict[str, Any] = {"": {"resources": {name: most for name, most in amounts.items() if most}}}
    if not groups[""]["resources"]:
        groups.clear()
    gpu: dict[str, Any] = {"resources": {GPU: task.gpu_milli}}
    if task.models:
        gpu["required"] = [{"any": sorted({model_trait(model) for model in task.models})}]
    groups |= {f"_GPU{number}": gpu for number in range(task.gpus)}
    return {"groups": groups, **({"group_policy": "isolate"} if task.gpus > 1 else {})}
