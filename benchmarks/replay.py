"""Replay a cluster trace against a placement service, through its HTTP API alone.

    python benchmarks/replay.py --trace DIRECTORY --pods openb_pod_list_default.csv --url http://127.0.0.1:8778

Every node becomes a root provider (thousandths of a CPU as CUSTOM_CPU_MILLI, and MEMORY_MB) with one
child provider per GPU (CUSTOM_GPU_MILLI, total 1000, and a trait that names the model). Then the tasks are
placed in the order of their creation, and what was placed is freed at its deletion time. At the end the
service is asked for everything it holds, and that is compared with what it granted. The exit status is 1 if
they differ. Start with an empty database. Nodes that are there already are used as they are, and an earlier
run's allocations are an error; providers of other origin do no harm and are not looked at.
"""

from __future__ import annotations

import argparse
import csv
import heapq
import http.client
import itertools
import json
import re
import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from threading import local
from typing import Any, Final, TypeVar
from urllib.parse import urlencode, urlsplit

VERSION: Final = "placement 1.39"
NODES_FILE: Final = "openb_node_list_all_node.csv"
NAMESPACE: Final = uuid.UUID("2c7d9b9e-6f0f-5f43-a1c4-6b8d1f1a0b5d")
CPU: Final = "CUSTOM_CPU_MILLI"
MEMORY: Final = "MEMORY_MB"
GPU: Final = "CUSTOM_GPU_MILLI"
PROJECT: Final = "replay"
"""Project and user of all tasks."""

WHOLE_GPU: Final = 1000
"""Thousandths of a GPU that a whole one has."""

LOADERS: Final = 4
"""Connections that load the nodes, and that read everything back at the end."""

PROGRESS_SECONDS: Final = 1.0

IDLE_SECONDS: Final = 5.0
"""A connection that was idle for longer is not used again: servers close such ones, and a claim
sent into one could not be told from one that was lost."""

TIMEOUT_SECONDS: Final = 120.0
SEARCHES: Final = 2
"""How often a task is searched for: once more if all candidates of the first search were refused."""

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")
Resources = dict[str, dict[str, int]]
"""Amounts by provider uuid and resource class."""


@dataclass(frozen=True, slots=True)
class Node:
    name: str
    cpu_milli: int
    memory_mib: int
    gpus: int
    model: str

    @property
    def uuid(self) -> str:
        return str(uuid.uuid5(NAMESPACE, self.name))

    def gpu_names(self) -> list[str]:
        return [f"{self.name}-gpu{number}" for number in range(self.gpus)]


@dataclass(frozen=True, slots=True)
class Task:
    """One task of the trace. Times in seconds; ``deletion`` is None for one that stays."""

    name: str
    cpu_milli: int
    memory_mib: int
    gpus: int
    gpu_milli: int
    models: tuple[str, ...]
    creation: float
    deletion: float | None

    @property
    def consumer(self) -> str:
        return str(uuid.uuid5(NAMESPACE, self.name))


def read_nodes(directory: Path) -> list[Node]:
    """Nodes of the trace in the order of its file."""
    return nodes_in(directory / NODES_FILE)


def nodes_in(path: Path) -> list[Node]:
    """Nodes of a file in its order."""
    with path.open(newline="") as file:
        return [
            Node(row["sn"], int(row["cpu_milli"]), int(row["memory_mib"]), int(row["gpu"]), row["model"])
            for row in csv.DictReader(file)
        ]


def read_tasks(path: Path) -> list[Task]:
    """Tasks in the order of creation; a file without times is taken in its own order."""
    tasks = []
    with path.open(newline="") as file:
        for position, row in enumerate(csv.DictReader(file)):
            creation, deletion = row.get("creation_time"), row.get("deletion_time")
            tasks.append(
                Task(
                    name=row["name"],
                    cpu_milli=int(row["cpu_milli"]),
                    memory_mib=int(row["memory_mib"]),
                    gpus=int(row["num_gpu"]),
                    gpu_milli=int(row["gpu_milli"]) if int(row["num_gpu"]) == 1 else WHOLE_GPU,
                    models=tuple(sorted(set(filter(None, (row.get("gpu_spec") or "").split("|"))))),
                    creation=float(creation) if creation else float(position),
                    deletion=float(deletion) if deletion else None,
                )
            )
    return sorted(tasks, key=lambda task: task.creation)


def model_trait(model: str) -> str:
    return "CUSTOM_GPU_" + re.sub("[^A-Z0-9_]", "_", model.upper())


def search_query(task: Task, candidates: int) -> str:
    """Query of the search: CPU and memory of the node, one granular group for each GPU."""
    pairs = []
    amounts = [(CPU, task.cpu_milli), (MEMORY, task.memory_mib)]
    if any(amount for _, amount in amounts):
        pairs.append(("resources", ",".join(f"{name}:{amount}" for name, amount in amounts if amount)))
    for number in range(1, task.gpus + 1):
        pairs.append((f"resources{number}", f"{GPU}:{task.gpu_milli}"))
        if task.models:
            wanted = ",".join(model_trait(model) for model in task.models)
            pairs.append((f"required{number}", f"in:{wanted}"))
    if task.gpus > 1:
        pairs.append(("group_policy", "isolate"))
    pairs.append(("limit", str(candidates)))
    return urlencode(pairs, safe=":,")


class ReplayError(Exception):
    """The service answered what no service at work answers."""


class Client:
    """One connection, kept between requests that follow closely."""

    def __init__(self, url: str, token: str) -> None:
        parts = urlsplit(url)
        if parts.scheme != "http" or parts.hostname is None:
            raise ReplayError(f"{url} is no http:// address")
        self._prefix = parts.path.rstrip("/")
        self._connection = http.client.HTTPConnection(
            parts.hostname, parts.port or 80, timeout=TIMEOUT_SECONDS
        )
        self._used = 0.0
        self._headers = {
            "X-Auth-Token": token,
            "OpenStack-API-Version": VERSION,
            "Accept": "application/json",
        }

    def ask(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        """Status and decoded body (None if there is none)."""
        headers = dict(self._headers)
        payload = None
        if body is not None:
            payload = json.dumps(body)
            headers["Content-Type"] = "application/json"
        if time.monotonic() - self._used > IDLE_SECONDS:
            self._connection.close()  # opened again by the request
        self._connection.request(method, self._prefix + path, payload, headers)
        response = self._connection.getresponse()
        content = response.read()
        self._used = time.monotonic()
        return response.status, json.loads(content) if content else None

    def expect(self, method: str, path: str, *statuses: int, body: object = None) -> Any:
        """As ``ask``. Raises ReplayError unless the status is one of ``statuses``."""
        status, answer = self.ask(method, path, body)
        if status not in statuses:
            raise ReplayError(f"{method} {path} answered {status}: {reason_of(answer)}")
        return answer

    def close(self) -> None:
        self._connection.close()


class Connections:
    """One client for each thread that asks for one; all are closed at the end."""

    def __init__(self, url: str, token: str) -> None:
        self._url, self._token = url, token
        self._made: list[Client] = []
        self._kept = local()

    def client(self) -> Client:
        """This thread's client."""
        if not hasattr(self._kept, "client"):
            self._kept.client = Client(self._url, self._token)
            self._made.append(self._kept.client)
        kept: Client = self._kept.client
        return kept

    def __enter__(self) -> Connections:
        return self

    def __exit__(self, *_: object) -> None:
        for client in self._made:
            client.close()


def reason_of(answer: Any) -> str:
    """The detail of an answer in the errors format."""
    try:
        return " ".join(str(answer["errors"][0]["detail"]).split())
    except (KeyError, IndexError, TypeError):
        return str(answer)[:200]


class Progress:
    """A line on stderr: rewritten on a terminal, now and then a new one elsewhere."""

    def __init__(self, what: str, total: int) -> None:
        self._what, self._total, self._done, self._shown = what, total, 0, time.monotonic()
        self._end = "\r" if sys.stderr.isatty() else "\n"
        self._pause = PROGRESS_SECONDS if sys.stderr.isatty() else 10 * PROGRESS_SECONDS

    def advance(self, note: str = "") -> None:
        self._done += 1
        now = time.monotonic()
        if self._done == self._total or now - self._shown >= self._pause:
            self._shown = now
            end = "\n" if self._done >= self._total else self._end
            print(f"{self._what} {self._done}/{self._total} {note}", end=end, file=sys.stderr, flush=True)


def in_parallel(
    connections: Connections,
    work: Callable[[Client, ItemT], ResultT],
    items: Sequence[ItemT],
    what: str,
    workers: int = LOADERS,
) -> list[ResultT]:
    """``work`` on every item over a few connections, in order, with progress."""
    progress = Progress(what, len(items))
    results = []
    with ThreadPoolExecutor(workers) as pool:
        for result in pool.map(lambda item: work(connections.client(), item), items):
            results.append(result)
            progress.advance()
    return results


def load_nodes(connections: Connections, nodes: Sequence[Node]) -> int:
    """Create what is not there yet of the nodes and their GPUs; how many nodes were new."""
    client = connections.client()
    if client.expect("GET", f"/usages?project_id={PROJECT}", 200)["usages"]:
        raise ReplayError("an earlier replay still holds allocations here: start with an empty database")
    for name in (CPU, GPU):
        client.expect("PUT", f"/resource_classes/{name}", 201, 204)
    for model in sorted({node.model for node in nodes if node.gpus}):
        client.expect("PUT", f"/traits/{model_trait(model)}", 201, 204)
    existing = {
        provider["uuid"]: provider["generation"]
        for provider in client.expect("GET", "/resource_providers", 200)["resource_providers"]
    }

    def create(client: Client, name: str, made: str, parent: str | None) -> int:
        """The provider's generation."""
        if made in existing:
            return int(existing[made])
        body = {"uuid": made, "name": name, "parent_provider_uuid": parent}
        return int(client.expect("POST", "/resource_providers", 200, body=body)["generation"])

    def stock(client: Client, made: str, generation: int, inventories: dict[str, int], trait: str) -> None:
        path = f"/resource_providers/{made}"
        stocked = {name: {"total": total, "max_unit": total} for name, total in inventories.items()}
        body: dict[str, object] = {"resource_provider_generation": generation, "inventories": stocked}
        answer = client.expect("PUT", f"{path}/inventories", 200, body=body)
        if trait:
            body = {"resource_provider_generation": answer["resource_provider_generation"], "traits": [trait]}
            client.expect("PUT", f"{path}/traits", 200, body=body)

    def one(client: Client, node: Node) -> bool:
        if all(made in existing for made in (node.uuid, *map(gpu_uuid, node.gpu_names()))):
            return False
        generation = create(client, node.name, node.uuid, None)
        stock(client, node.uuid, generation, {CPU: node.cpu_milli, MEMORY: node.memory_mib}, "")
        for name in node.gpu_names():
            generation = create(client, name, gpu_uuid(name), node.uuid)
            stock(client, gpu_uuid(name), generation, {GPU: WHOLE_GPU}, model_trait(node.model))
        return True

    return sum(in_parallel(connections, one, nodes, "nodes loaded"))


def gpu_uuid(name: str) -> str:
    return str(uuid.uuid5(NAMESPACE, name))


@dataclass(slots=True)
class Tally:
    """What happened, counted and timed (seconds)."""

    placed: int = 0
    no_room: int = 0
    conflicts: int = 0
    refused_claims: int = 0
    refused_conflict: int = 0
    freed: int = 0
    searches: list[float] = field(default_factory=list)
    claims: list[float] = field(default_factory=list)
    gpu_milli: int = 0
    peak_gpu_milli: int = 0
    seconds: float = 0.0


def percentile(values: Iterable[float], share: float) -> float:
    """Nearest-rank percentile; 0 of nothing."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


@dataclass(slots=True)
class Placed:
    """How one task ended; timings in seconds."""

    allocations: Resources | None = None
    refusals: int = 0
    conflicts: int = 0
    searches: list[float] = field(default_factory=list)
    claims: list[float] = field(default_factory=list)


def place(client: Client, task: Task, candidates: int) -> Placed:
    """Search, then claim the first candidate that is still free; search once more if none is."""
    outcome = Placed()
    path = f"/allocation_candidates?{search_query(task, candidates)}"
    for _ in range(SEARCHES):
        start = time.perf_counter()
        found = client.expect("GET", path, 200)["allocation_requests"]
        outcome.searches.append(time.perf_counter() - start)
        for candidate in found:
            body = {
                **candidate,
                "project_id": PROJECT,
                "user_id": PROJECT,
                "consumer_type": "TASK",
                "consumer_generation": None,
            }
            start = time.perf_counter()
            status, answer = client.ask("PUT", f"/allocations/{task.consumer}", body)
            outcome.claims.append(time.perf_counter() - start)
            if status == http.client.NO_CONTENT:
                outcome.allocations = {
                    provider: dict(held["resources"]) for provider, held in candidate["allocations"].items()
                }
                return outcome
            if status != http.client.CONFLICT:
                raise ReplayError(f"the claim of {task.name} answered {status}: {reason_of(answer)}")
            outcome.refusals += 1
            outcome.conflicts += answer["errors"][0].get("code") == "placement.concurrent_update"
        if not found:
            break
    return outcome


@dataclass(slots=True)
class Replay:
    """Tasks against the service, and the book of what it granted."""

    connections: Connections
    candidates: int
    clients: int
    tally: Tally = field(default_factory=Tally)
    granted: dict[str, Resources] = field(default_factory=dict)
    _deletions: list[tuple[float, int, Task]] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def run(self, tasks: Sequence[Task]) -> None:
        """Place all tasks. With several clients, as many neighbours as there are clients at a time."""
        progress = Progress("tasks", len(tasks))
        start = time.perf_counter()
        with ThreadPoolExecutor(self.clients) as pool:
            for window in windows(tasks, self.clients):
                list(pool.map(self._free, self._due(window[0].creation)))
                for task, outcome in zip(window, pool.map(self._place, window), strict=True):
                    self._note(task, outcome)
                    progress.advance(f"placed {self.tally.placed}, no room {self.tally.no_room}")
        self.tally.seconds = time.perf_counter() - start

    def _place(self, task: Task) -> Placed:
        return place(self.connections.client(), task, self.candidates)

    def _due(self, now: float) -> list[Task]:
        due = []
        while self._deletions and self._deletions[0][0] <= now:
            due.append(heapq.heappop(self._deletions)[2])
        for task in due:
            held = self.granted.pop(task.consumer)
            self.tally.gpu_milli -= sum(amounts.get(GPU, 0) for amounts in held.values())
            self.tally.freed += 1
        return due

    def _free(self, task: Task) -> None:
        self.connections.client().expect("DELETE", f"/allocations/{task.consumer}", 204)

    def _note(self, task: Task, outcome: Placed) -> None:
        tally = self.tally
        tally.searches += outcome.searches
        tally.claims += outcome.claims
        tally.refused_claims += outcome.refusals
        tally.conflicts += outcome.conflicts
        if outcome.allocations is None:
            if outcome.refusals:
                tally.refused_conflict += 1
            else:
                tally.no_room += 1
            return
        tally.placed += 1
        self.granted[task.consumer] = outcome.allocations
        tally.gpu_milli += sum(amounts.get(GPU, 0) for amounts in outcome.allocations.values())
        tally.peak_gpu_milli = max(tally.peak_gpu_milli, tally.gpu_milli)
        if task.deletion is not None:
            heapq.heappush(self._deletions, (task.deletion, next(self._numbers), task))


def windows(tasks: Sequence[Task], size: int) -> Iterator[Sequence[Task]]:
    """Neighbours in groups of ``size``."""
    for start in range(0, len(tasks), size):
        yield tasks[start : start + size]


def final_check(connections: Connections, nodes: Sequence[Node], granted: dict[str, Resources]) -> list[str]:
    """Differences between what the service holds of the nodes and what it granted; none is exact."""
    expected: dict[str, dict[str, dict[str, int]]] = {}
    for consumer, resources in granted.items():
        for provider, amounts in resources.items():
            expected.setdefault(provider, {})[consumer] = amounts
    there = {
        provider["uuid"]
        for provider in connections.client().expect("GET", "/resource_providers", 200)["resource_providers"]
    }
    providers = [made for node in nodes for made in (node.uuid, *map(gpu_uuid, node.gpu_names()))]

    def check(client: Client, provider: str) -> list[str]:
        path = f"/resource_providers/{provider}"
        inventories = client.expect("GET", f"{path}/inventories", 200)["inventories"]
        usages = client.expect("GET", f"{path}/usages", 200)["usages"]
        holds = client.expect("GET", f"{path}/allocations", 200)["allocations"]
        return compare(
            provider,
            {name: capacity_of(inventory) for name, inventory in inventories.items()},
            usages,
            {consumer: held["resources"] for consumer, held in holds.items()},
            expected.get(provider, {}),
        )

    found = [f"provider {provider} is gone" for provider in providers if provider not in there]
    present = [provider for provider in providers if provider in there]
    found.extend(itertools.chain(*in_parallel(connections, check, present, "providers checked")))
    return found


def capacity_of(inventory: dict[str, Any]) -> int:
    return int((inventory["total"] - inventory["reserved"]) * inventory["allocation_ratio"])


def compare(
    provider: str,
    capacities: dict[str, int],
    usages: dict[str, int],
    holds: dict[str, dict[str, int]],
    expected: dict[str, dict[str, int]],
) -> list[str]:
    """Differences at one provider: usage above capacity, usage not the sum, holdings not as granted."""
    found = [
        f"provider {provider}: {used} {name} used of {capacities.get(name, 0)}"
        for name, used in usages.items()
        if used > capacities.get(name, 0)
    ]
    sums: Counter[str] = Counter()
    for amounts in holds.values():
        sums.update(amounts)
    found.extend(
        f"provider {provider}: {usages.get(name, 0)} {name} used, but {sums[name]} held"
        for name in sorted(usages.keys() | sums.keys())
        if usages.get(name, 0) != sums[name]
    )
    found.extend(
        f"provider {provider}: {consumer} holds {holds.get(consumer)}, granted {expected.get(consumer)}"
        for consumer in sorted(holds.keys() | expected.keys())
        if holds.get(consumer) != expected.get(consumer)
    )
    return found


def report(tally: Tally, total_gpu_milli: int, clients: int) -> dict[str, object]:
    """The figures, by what they are called; times in milliseconds."""
    return {
        "tasks": tally.placed + tally.no_room + tally.refused_conflict,
        "placed": tally.placed,
        "refused for lack of room": tally.no_room,
        "given up after refused claims": tally.refused_conflict,
        "freed": tally.freed,
        "claims refused and tried elsewhere": tally.refused_claims,
        "conflicts": tally.conflicts,
        "GPU share allocated at the peak": round(tally.peak_gpu_milli / total_gpu_milli, 4)
        if total_gpu_milli
        else 0.0,
        "search p50 ms": round(percentile(tally.searches, 0.50) * 1000, 2),
        "search p99 ms": round(percentile(tally.searches, 0.99) * 1000, 2),
        "claim p50 ms": round(percentile(tally.claims, 0.50) * 1000, 2),
        "claim p99 ms": round(percentile(tally.claims, 0.99) * 1000, 2),
        "claims per second": round(len(tally.claims) / tally.seconds, 1) if tally.seconds else 0.0,
        "seconds": round(tally.seconds, 1),
        "clients": clients,
    }


def arguments(given: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--trace", type=Path, required=True, metavar="DIR", help=f"folder with {NODES_FILE}")
    parser.add_argument("--pods", required=True, metavar="FILE", help="tasks: a path, or a name in --trace")
    parser.add_argument("--url", required=True, help="where the service answers")
    parser.add_argument("--token", default="admin", help="X-Auth-Token (default: %(default)s)")
    parser.add_argument("--limit", type=int, metavar="N", help="place the first N tasks only")
    parser.add_argument(
        "--candidates", type=int, default=10, help="candidates asked for (default: %(default)s)"
    )
    parser.add_argument(
        "--clients", type=int, default=1, help="tasks placed at a time (default: %(default)s)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there as well")
    return parser.parse_args(given)


def main(given: Sequence[str] | None = None) -> int:
    options = arguments(given)
    nodes = read_nodes(options.trace)
    pods = options.trace / options.pods
    tasks = read_tasks(pods if pods.exists() else Path(options.pods))[: options.limit]
    with Connections(options.url, options.token) as connections:
        start = time.perf_counter()
        new = load_nodes(connections, nodes)
        seconds = time.perf_counter() - start
        print(f"{new} nodes loaded in {seconds:.1f} s, {len(nodes) - new} were there already")
        replay = Replay(connections, options.candidates, max(1, options.clients))
        replay.run(tasks)
        total_gpu_milli = WHOLE_GPU * sum(node.gpus for node in nodes)
        figures = report(replay.tally, total_gpu_milli, replay.clients)
        for name, value in figures.items():
            print(f"{name}: {value}")
        differences = final_check(connections, nodes, replay.granted)
        figures["differences"] = len(differences)
        if options.json:
            options.json.write_text(json.dumps(figures, indent=2) + "\n")
        if differences:
            print("\n".join(differences))
            print(f"final check: {len(differences)} differences")
            return 1
        print("final check: exact")
        return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (ReplayError, OSError, http.client.HTTPException) as error:
        sys.exit(f"{type(error).__name__}: {error}")
