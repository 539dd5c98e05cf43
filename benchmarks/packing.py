"""How much of a GPU cluster the service fills, when tasks of a public trace arrive one after the other.

    python -m benchmarks.packing --nodes FILE --pods FILE --strategy best_fit [--seeds 42-51]

Nodes are those of the first file that have GPUs. Tasks are those of the second file in order of name,
permuted by the seed, and cut or extended by draws with replacement to 130 % of the GPUs. Each one is claimed
by ``POST /moorage/v1/claims``, and nothing leaves. For ``slots`` the mix of all tasks is given in a profile,
or learnt from those that arrive (``--mix``). The figure is the share of GPUs that is allocated. It is
the mean over the arrivals at which the GPUs asked for so far round to 100 % of all. The run ends there, since
later arrivals change no figure. ``--whole`` replays them too.

Prints a table and writes JSON. The exit status is 1 if ``moorage verify`` finds a fault afterwards.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from statistics import mean
from typing import Any, Final

import orjson
from rich.console import Console
from rich.table import Table

from benchmarks import loader, openb
from benchmarks.client import Answer, Connection, request
from benchmarks.compare import OUTPUT, SEED, TABLE_WIDTH, described_machine
from benchmarks.databases import KINDS, running_server
from benchmarks.figures import MILLISECONDS
from benchmarks.openb import Packing
from benchmarks.placing import verified
from benchmarks.replay import WHOLE_GPU, Node, Task
from benchmarks.services import Moorage
from moorage.model.orders import RANDOM, SLOTS, STRATEGIES
from tests.servers.databases import SQLITE, fresh_database

PUBLISHED: Final = {"default": 95.23, "multigpu20": 95.53, "gpuspec33": 87.84}
"""Figures that the authors of FGD publish, by the name of the trace."""

GIVEN: Final = "given"
LEARNT: Final = "learnt"
"""Where the mix of ``slots`` comes from."""

PREFIX: Final = "openb_pod_list_"
"""What the files of tasks begin with."""

TIMEOUT_SECONDS: Final = 60.0
PROGRESS_ARRIVALS: Final = 1_000

NO_PLACE: Final = frozenset(["no_room", "never_fits"])
"""Codes of claims for which nothing fits."""

TOO_HARD: Final = "too_hard"
TOO_HARD_STATUS: Final = 422
"""Code of a claim that the service could not decide within its steps, and the status of the answer."""


class RequestFailedError(Exception):
    """The service gave an answer that an experiment does not expect."""


@dataclass(slots=True)
class Run:
    """What became of one seed's tasks. ``seconds`` are the whole time of all claims."""

    seed: int
    figure: float = 0.0
    arrived: int = 0
    placed: int = 0
    refused: int = 0
    undecided: int = 0
    seconds: float = 0.0
    sound: bool = False
    slowest_ms: float = 0.0

    @property
    def claims_per_second(self) -> float:
        """Tasks that were decided in a second, placed or refused."""
        return self.arrived / self.seconds


PROFILE: Final = "packing"
"""The profile of ``slots``."""


def order_of(strategy: str, seed: int, arrival: int) -> dict[str, Any]:
    """The order of an arrival. Chance is different for each one, and the same again in the next run."""
    if strategy == SLOTS:
        return {"profile": PROFILE}
    return {"strategy": strategy, "seed": (seed << 32) + arrival if strategy == RANDOM else 0}


def body_of(tasks: Sequence[Task], strategy: str, seed: int, first: int) -> dict[str, Any]:
    """The request that claims for ``tasks``, of which the first one is arrival number ``first``."""
    claims = [
        {"name": task.name, "ask": openb.ask(task), "order": order_of(strategy, seed, first + number)}
        for number, task in enumerate(tasks)
    ]
    return {"claims": claims, "mode": "each", "explain": "never"}


def refusals(answer: Answer, count: int) -> dict[int, str]:
    """The codes of those of ``count`` claims that were not placed, by their place in the request.

    Raises RequestFailedError.
    """
    told = orjson.loads(answer.body)
    found: dict[int, str] = {each["entry"]: each["code"] for each in told.get("unplaced", ())}
    if answer.status == TOO_HARD_STATUS and told.get("code") == TOO_HARD and count == 1:
        return {0: TOO_HARD}
    expected = answer.status == 201 or (answer.status == 409 and len(found) == count)
    if not expected or not set(found.values()) <= {*NO_PLACE, TOO_HARD}:
        raise RequestFailedError(f"{answer.status}: {answer.body[:1000]!r}")
    return found


def claimed(
    exchange: Callable[[bytes], Answer], tasks: Sequence[Task], strategy: str, run: Run, first: int
) -> dict[int, str]:
    """Claim for ``tasks``, the first of which is arrival number ``first``; returns as ``refusals`` does.

    Raises RequestFailedError, OSError.
    """
    sent = orjson.dumps(body_of(tasks, strategy, run.seed, first))
    answer = exchange(request("POST", "/moorage/v1/claims", sent))
    run.slowest_ms = max(run.slowest_ms, answer.seconds * MILLISECONDS)
    if answer.status != TOO_HARD_STATUS or len(tasks) == 1:
        return refusals(answer, len(tasks))
    # One claim that is too hard has refused all of the request.
    found: dict[int, str] = {}
    for number, task in enumerate(tasks):
        codes = claimed(exchange, [task], strategy, run, first + number)
        found |= {number + place: code for place, code in codes.items()}
    return found


def replay(service: Moorage, tasks: Sequence[Task], gpus: int, run: Run, options: argparse.Namespace) -> None:
    """Claim for the tasks in order, and fill in what became of them. Raises RequestFailedError, OSError."""
    packing = Packing(gpus)
    connection = Connection(service.port, TIMEOUT_SECONDS)
    begin = time.perf_counter()
    while run.arrived < len(tasks) and (options.whole or not packing.is_over):
        batch = tasks[run.arrived : run.arrived + options.at_once]
        codes = claimed(connection.exchange, batch, options.strategy, run, run.arrived)
        for number, task in enumerate(batch):
            packing.take(task, placed=number not in codes)
        before, run.arrived = run.arrived, run.arrived + len(batch)
        undecided = sum(code == TOO_HARD for code in codes.values())
        run.placed += len(batch) - len(codes)
        run.refused += len(codes) - undecided
        run.undecided += undecided
        if run.arrived // PROGRESS_ARRIVALS > before // PROGRESS_ARRIVALS:
            options.tell(
                f"  seed {run.seed}: {run.arrived:,} arrived in {time.perf_counter() - begin:.0f} s, "
                f"{100 * packing.allocated / (gpus * WHOLE_GPU):.2f} % allocated"
            )
    run.seconds = time.perf_counter() - begin
    connection.close()
    run.figure = packing.figure


def profiles_of(tasks: Sequence[Task], mix: str) -> str:
    """A file of profiles for ``slots``: with the mix of all tasks, or one that learns it."""
    profile: dict[str, Any] = {"strategy": SLOTS}
    if mix == GIVEN:
        counts = Counter(json.dumps(openb.ask(task)) for task in tasks)
        profile["mix"] = [{"ask": json.loads(text), "share": count} for text, count in counts.items()]
    return json.dumps({"profiles": {PROFILE: profile}})


class Ordering(Moorage):
    """Moorage with a file of profiles."""

    def _environment(self) -> dict[str, str]:
        return super()._environment() | {"OS_MOORAGE__PROFILES_FILE": str(self._folder / "profiles.yaml")}


def measured(nodes: Sequence[Node], tasks: Sequence[Task], seed: int, options: argparse.Namespace) -> Run:
    """A run on a service and a database of its own. Raises RequestFailedError, OSError, ValueError."""
    gpus = sum(node.gpus for node in nodes)
    run = Run(seed)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="moorage-bench-")))
        url = stack.enter_context(fresh_database(options.database, folder))
        (folder / "profiles.yaml").write_text(profiles_of(tasks, options.mix))
        service = Ordering(url, folder, 1)
        service.prepare()
        chance = Random(SEED)
        loader.load(url, openb.trees(nodes, chance, by_name=options.ties == "name"), chance)
        service.start()
        stack.callback(service.stop)
        _name_traits(service, tasks)
        replay(service, openb.arrivals(tasks, gpus, seed), gpus, run, options)
        run.sound = verified(service)
    return run


def _name_traits(service: Moorage, tasks: Sequence[Task]) -> None:
    """Let the service know models that tasks ask for and no node has: an Ask may only name what exists."""
    connection = Connection(service.port, TIMEOUT_SECONDS)
    for name in openb.traits_named(tasks):
        answer = connection.exchange(request("PUT", f"/traits/{name}", b""))
        if answer.status not in (201, 204):
            raise RequestFailedError(f"{answer.status}: {answer.body[:1000]!r}")
    connection.close()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the command line asks for."""
    options = parser().parse_args(arguments)
    console = Console(width=max(TABLE_WIDTH, Console().width))
    options.tell = lambda text: console.print(text, highlight=False)
    nodes, tasks = openb.nodes_of(options.nodes), openb.tasks_of(options.pods)
    trace = options.pods.stem.removeprefix(PREFIX)
    found: dict[str, Any] = {
        "trace": trace,
        "strategy": options.strategy,
        "ties": options.ties,
        "at_once": options.at_once,
        "published_fgd": PUBLISHED.get(trace),
    }
    label = options.strategy if options.strategy != SLOTS else f"{SLOTS}-{options.mix}"
    found["mix"] = options.mix if options.strategy == SLOTS else None
    path = options.output / f"packing-{trace}-{label}-{options.ties}.json"
    runs: list[Run] = []
    with running_server(options.database):
        found["run"] = described_machine(options.database, options.output)
        for seed in options.seeds:
            runs.append(measured(nodes, tasks, seed, options))
            found |= summary(runs)
            # What takes minutes is written as it comes.
            options.output.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(found, indent=1))
    show(found, console)
    return 0 if all(run.sound for run in runs) else 1


def summary(runs: Sequence[Run]) -> dict[str, Any]:
    """Figures of all runs and their mean."""
    return {
        "results": [{**asdict(run), "claims_per_second": run.claims_per_second} for run in runs],
        "mean": mean([run.figure for run in runs]),
        "claims_per_second": sum(run.arrived for run in runs) / sum(run.seconds for run in runs),
    }


def show(found: dict[str, Any], console: Console) -> None:
    """Print the table."""
    published = found["published_fgd"]
    beside = "-" if published is None else f"{published:.2f} %"
    table = Table("trace", "strategy", "seed", "GPUs allocated", "FGD, published", "arrived", "placed")
    for name in ("refused", "undecided", "time", "claims per second", "slowest"):
        table.add_column(name)
    for row in found["results"]:
        table.add_row(
            found["trace"],
            found["strategy"],
            str(row["seed"]),
            f"{row['figure']:.2f} %",
            "",
            f"{row['arrived']:,}",
            f"{row['placed']:,}",
            f"{row['refused']:,}",
            f"{row['undecided']:,}",
            f"{row['seconds']:.1f} s",
            f"{row['claims_per_second']:,.0f}",
            f"{row['slowest_ms']:.0f} ms",
        )
    mean_cells = ["mean", f"{found['mean']:.2f} %", beside, "", "", "", "", ""]
    table.add_row(found["trace"], found["strategy"], *mean_cells, f"{found['claims_per_second']:,.0f}", "")
    console.print(table)
    sound = all(row["sound"] for row in found["results"])
    console.print(f"The accounts are {'sound' if sound else 'NOT sound'}.")


def seeds_of(text: str) -> list[int]:
    """Seeds of a list like ``42-51,60``. Raises ValueError."""
    found: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        found += range(int(first), int(last or first) + 1)
    if not found:
        raise ValueError("no seeds")
    return found


def at_least_one(text: str) -> int:
    """A number of claims. Raises ValueError."""
    if int(text) < 1:
        raise ValueError("less than one claim")
    return int(text)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(
        prog="python -m benchmarks.packing",
        description=__doc__.replace("%", "%%") if __doc__ else None,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--nodes", type=Path, required=True, help="file of nodes")
    made.add_argument("--pods", type=Path, required=True, help="file of tasks")
    made.add_argument("--strategy", choices=STRATEGIES, required=True)
    made.add_argument("--seeds", type=seeds_of, default="42-51", help="such as 42-51 or 42,47")
    made.add_argument(
        "--ties",
        choices=("seed", "name"),
        default="seed",
        help="what decides between nodes of equal score: the order's seed, or the nodes' names",
    )
    made.add_argument(
        "--mix",
        choices=(GIVEN, LEARNT),
        default=GIVEN,
        help="for slots: the mix of all tasks is given, or learnt from those that arrive",
    )
    made.add_argument("--at-once", type=at_least_one, default=1, help="claims in one request")
    made.add_argument("--whole", action="store_true", help="go on to the last task")
    made.add_argument("--database", choices=KINDS, default=SQLITE)
    made.add_argument("--output", type=Path, default=OUTPUT)
    return made


if __name__ == "__main__":
    sys.exit(main())
