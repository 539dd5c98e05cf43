"""What an explanation costs, in CPU time of one thread, on clouds in memory.

Usage: ``python -m benchmarks.explain [PROVIDERS]``. Prints a table.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from random import Random

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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("providers", nargs="?", type=int, default=100_000)
    count = parser.parse_args().providers
    random = Random(1)
    hosts = snapshot_of(list(flat(count, random)))
    trees = snapshot_of(list(nested(count // 10, random)))
    rows = [
        (f"{count:,} flat hosts, 10 constraints", hosts, TEN),
        (f"{count // 10:,} trees of 7, 8 constraints", trees, SEPARATE),
        (f"{count // 10:,} trees of 7, 9 constraints, isolate and same_subtree", trees, TOGETHER),
    ]
    print("| Cloud and ask | Verdict | Trees that fit | CPU |")
    print("|---|---|---:|---:|")
    for name, snapshot, request in rows:
        seconds, found = measured(snapshot, request)
        print(f"| {name} | {found.verdict} | {found.feasible} | {1000 * seconds:.0f} ms |")


if __name__ == "__main__":
    main()
