"""What the best candidates cost, in CPU time of one thread, on clouds in memory.

Usage: ``python -m benchmarks.order [PROVIDERS]``. Prints a table.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from random import Random

from benchmarks.explain import TRAITS, flat, nested
from moorage.model.orders import Order, Ranking, wishes
from moorage.model.requests import CandidateRequest, RequestGroup
from moorage.model.values import ProviderRecord
from moorage.search.index.index import Index
from moorage.search.match.outcomes import Memory
from moorage.search.order.ranking import OrderMemory, best

REPEATS = 60
"""Changes after each of which the same is asked; the median counts."""

FLAVORS = 100
FLAVOR_REPEATS = 200
"""Different requests, and how many of them are drawn, each after a change."""

NO_LIMIT = -1

NEW_OBJECTS = 10_000
"""New objects after which Python collects garbage: as in a service."""

CLASSES = ("VCPU", "MEMORY_MB", "DISK_GB", "CUSTOM_GPU")

ORDERS: Mapping[str, Order] = {
    "first": Order(),
    "pack": Order("pack"),
    "best_fit": Order("best_fit"),
    "pack, 2 wishes, special": Order(
        "pack", prefer=wishes({TRAITS[0]: 2}), avoid=wishes({TRAITS[1]: 1}), spare_special=1.0
    ),
}

COLUMNS = ("order", "first time", "again", "10 best", "1 best", "1,000 best", "10 best, 100 flavors")


def request(random: Random) -> CandidateRequest:
    """A flavor with a trait."""
    amounts = {
        "VCPU": random.randrange(1, 17),
        "MEMORY_MB": 1024 * random.randrange(1, 33),
        "DISK_GB": random.randrange(1, 100),
    }
    return CandidateRequest((RequestGroup("", amounts, (frozenset([random.choice(TRAITS)]),)),))


class Cloud:
    """An index that changes by one provider at a time."""

    def __init__(self, records: Sequence[ProviderRecord]) -> None:
        self.index = Index()
        self.index.set_names(CLASSES, TRAITS)
        self.index.replace_trees({record.root_id for record in records}, records)
        self._records = [record for record in records if record.inventories]
        self._random = Random(7)

    def change(self) -> None:
        """Claim or release something of one provider."""
        record = self._random.choice(self._records)
        used = {name: self._random.randrange(held.total) for name, held, _ in record.inventories}
        self.index.change_used({record.id: used})


class Asker:
    """Asks a cloud in one order, with a memory of its own."""

    def __init__(self, cloud: Cloud, order: Order) -> None:
        self._cloud = cloud
        self._order = order
        self._memory = OrderMemory(Memory())

    def ask(self, asked: CandidateRequest, limit: int = 10) -> Ranking:
        """The best candidates now."""
        snapshot = self._cloud.index.snapshot()
        return best(snapshot, asked, self._order, limit, memory=self._memory, step_limit=NO_LIMIT)

    def after_changes(self, asked: Callable[[], CandidateRequest], limit: int, repeats: int) -> float:
        """Median of the seconds of asking after a change."""
        found = []
        for _ in range(repeats):
            self._cloud.change()
            each = asked()
            found.append(seconds(partial(self.ask, each, limit)))
        return statistics.median(found)


def seconds(work: Callable[[], object]) -> float:
    """CPU seconds of this thread."""
    begun = time.thread_time()
    work()
    return time.thread_time() - begun


def figures(cloud: Cloud, order: Order) -> Iterator[float]:
    """Seconds for each of ``COLUMNS`` but the first."""
    random = Random(3)
    flavors = [request(random) for _ in range(FLAVORS)]
    asker, one = Asker(cloud, order), flavors[0]
    yield seconds(lambda: asker.ask(one))
    yield seconds(lambda: asker.ask(one))
    for limit in (10, 1, 1000):
        asker.ask(one, limit)
        yield asker.after_changes(lambda: one, limit, REPEATS)
    for each in flavors:
        asker.ask(each)
    yield asker.after_changes(lambda: random.choice(flavors), 10, FLAVOR_REPEATS)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and print a table for each cloud."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("providers", type=int, nargs="?", default=100_000)
    providers = parser.parse_args(arguments).providers
    clouds = {"flat": flat(providers, Random(1)), "trees of 7": nested(max(1, providers // 7), Random(1))}
    for name, records in clouds.items():
        cloud = Cloud(list(records))
        # As a service does, so that collections of garbage do not scan the index in vain.
        gc.collect()
        gc.freeze()
        gc.set_threshold(NEW_OBJECTS)
        print(f"\n{providers} providers, {name}; ms of CPU, from the third column on after one change\n")
        print("| " + " | ".join(COLUMNS) + " |")
        for label, order in ORDERS.items():
            cells = [f"{1000 * each:.2f}" for each in figures(cloud, order)]
            print(f"| {label} | " + " | ".join(cells) + " |")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
