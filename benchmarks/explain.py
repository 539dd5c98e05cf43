"""What an explanation costs, in CPU time of one thread, on clouds in memory.

    python -m benchmarks.explain [1000 10000 100000] [--picture curves.svg]

Prints a table.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random

from benchmarks.plot import Chart, Line, svg
from moorage.model.explanations import Explanation
from moorage.model.requests import CandidateRequest, RequestGroup
from moorage.model.values import Inventory, ProviderRecord
from moorage.search.explain.explanation import explain
from moorage.search.index.index import Index, Snapshot

REPEATS = 7
"""Runs of which the fastest counts."""

NO_LIMIT = 1 << 40

TRAITS = ("HW_CPU_X86_AVX2", "HW_NIC_SRIOV", "CUSTOM_GOLD", "CUSTOM_OLD")


def flat(count: int, random: Random) -> Iterator[ProviderRecord]:
    """Hosts of one provider each, full to different degrees."""
    for number in range(1, count + 1):
        yield ProviderRecord(
            number,
            f"{number:08x}-0000-4000-8000-000000000000",
            None,
            number,
            (
                ("VCPU", Inventory(64, allocation_ratio=4.0), random.randrange(256)),
                ("MEMORY_MB", Inventory(262_144, reserved=512), random.randrange(64) * 4096),
                ("DISK_GB", Inventory(2000), random.randrange(2000)),
                *([("CUSTOM_GPU", Inventory(8), random.randrange(6, 9))] if number % 4 == 0 else []),
            ),
            traits=tuple(name for name in TRAITS if random.random() < 0.5),
            aggregates=(f"zone-{number % 10}",),
        )


def nested(count: int, random: Random) -> Iterator[ProviderRecord]:
    """Trees of seven: a host, two NUMA cells, and two devices below each."""
    for number in range(count):
        root = 7 * number + 1

        def uuid(offset: int, root: int = root) -> str:
            return f"{root + offset:08x}-0000-4000-8000-000000000000"

        yield ProviderRecord(
            root,
            uuid(0),
            None,
            root,
            (("DISK_GB", Inventory(2000), random.randrange(2000)),),
            ("CUSTOM_GOLD",),
        )
        for cell in (1, 4):
            yield ProviderRecord(
                root + cell,
                uuid(cell),
                root,
                root,
                (
                    ("VCPU", Inventory(32), random.randrange(33)),
                    ("MEMORY_MB", Inventory(131_072), random.randrange(32) * 4096),
                ),
                tuple(name for name in TRAITS if random.random() < 0.5),
            )
            for device in (1, 2):
                yield ProviderRecord(
                    root + cell + device,
                    uuid(cell + device),
                    root + cell,
                    root,
                    (("CUSTOM_GPU", Inventory(2), random.randrange(1, 3)),),
                    ("HW_NIC_SRIOV",) if device == 1 else (),
                )


def snapshot_of(records: Sequence[ProviderRecord]) -> Snapshot:
    """A snapshot of an index of ``records``."""
    index = Index()
    index.set_names(["VCPU", "MEMORY_MB", "DISK_GB", "CUSTOM_GPU"], TRAITS)
    index.replace_trees([record.root_id for record in records], records)
    return index.snapshot()


def any_of(*names: str) -> tuple[frozenset[str], ...]:
    """Each name required."""
    return tuple(frozenset([name]) for name in names)


TEN = CandidateRequest(
    (
        RequestGroup(
            "",
            {"VCPU": 8, "MEMORY_MB": 65_536, "DISK_GB": 100, "CUSTOM_GPU": 4},
            required=any_of("HW_CPU_X86_AVX2", "HW_NIC_SRIOV"),
            forbidden=frozenset(["CUSTOM_OLD"]),
            member_of=(frozenset(["zone-1", "zone-2", "zone-4"]),),
            forbidden_aggregates=frozenset(["zone-2"]),
        ),
    ),
    root_required=frozenset(["CUSTOM_GOLD"]),
)
"""Ten constraints that no flat host meets."""

SEPARATE = CandidateRequest(
    (
        RequestGroup("", {"DISK_GB": 100}),
        RequestGroup("_CELL", {"VCPU": 16, "MEMORY_MB": 65_536}, any_of("HW_CPU_X86_AVX2", "CUSTOM_GOLD")),
        RequestGroup("_GPU", {"CUSTOM_GPU": 2}, any_of("HW_NIC_SRIOV")),
    ),
    root_required=frozenset(["CUSTOM_GOLD"]),
)
"""Eight constraints of groups that do not touch each other."""

TOGETHER = CandidateRequest(
    (
        RequestGroup("_CELL", {"VCPU": 16, "MEMORY_MB": 65_536}, any_of("HW_CPU_X86_AVX2", "CUSTOM_GOLD")),
        RequestGroup("_GPU1", {"CUSTOM_GPU": 2}, any_of("HW_NIC_SRIOV")),
        RequestGroup("_GPU2", {"CUSTOM_GPU": 1}),
    ),
    group_policy="isolate",
    same_subtree=(frozenset(["_CELL", "_GPU1", "_GPU2"]),),
)
"""Nine constraints, two of them rules between groups."""


def measured(snapshot: Snapshot, request: CandidateRequest) -> tuple[float, Explanation]:
    """CPU seconds of the fastest run, and what it found."""
    found = explain(snapshot, request, step_limit=NO_LIMIT)
    times: list[float] = []
    for _ in range(REPEATS):
        start = time.thread_time()
        explain(snapshot, request, step_limit=NO_LIMIT)
        times.append(time.thread_time() - start)
    return min(times), found


SIZES = (1_000, 10_000, 100_000)
"""Flat hosts; of the trees of seven providers there are a tenth as many."""

ASKS = {
    "trees of 7, isolate and same_subtree, 9 constraints": (nested, TOGETHER),
    "trees of 7, separate groups, 8 constraints": (nested, SEPARATE),
    "flat hosts, 10 constraints": (flat, TEN),
}
"""Clouds and asks, the dearest first."""

TREES_PER_HOST = 0.1


def size_of(name: str, hosts: int) -> int:
    """How many trees the cloud of an ask has."""
    return int(hosts * TREES_PER_HOST) if ASKS[name][0] is nested else hosts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sizes", nargs="*", type=int, default=SIZES, help="default: 1000 10000 100000")
    parser.add_argument("--picture", type=Path, help="write the curves as SVG")
    options = parser.parse_args()
    lines: list[Line] = []
    print("| Cloud and ask | Trees | Verdict | Trees that fit | Processor time |")
    print("|---|---:|---|---:|---:|")
    for name, (cloud, request) in ASKS.items():
        points: list[tuple[float, float]] = []
        for hosts in options.sizes:
            trees = size_of(name, hosts)
            seconds, found = measured(snapshot_of(list(cloud(trees, Random(1)))), request)
            points.append((trees, 1000 * seconds))
            print(f"| {name} | {trees:,} | {found.verdict} | {found.feasible} | {1000 * seconds:.2g} ms |")
        lines.append(Line(name.split(", ")[-2], points))
    if options.picture is not None:
        chart = Chart("Processor time of an explanation", "trees", "milliseconds", lines)
        options.picture.write_text(svg(chart))


if __name__ == "__main__":
    main()
