"""Run scenarios: load a cloud into both services, ask both in turns, and take the times."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

from benchmarks import loader
from benchmarks.client import Answer, Connection, ServerSilentError, request
from benchmarks.figures import (
    MILLISECONDS,
    NOT_ASKED,
    TIME_OUT,
    Measured,
    agreement,
    content_of,
    percentile,
    ratio,
)
from benchmarks.scenarios import Query, Scenario
from benchmarks.services import Moorage, Reference, Service
from benchmarks.writer import Written, writing
from tests.servers.databases import fresh_database

TARGET = "/allocation_candidates?"

ORDERS = ("random", "default")
"""Whether candidates come in random order: both services are asked with either setting."""

COMPARED = 5
"""Of different queries, the answers to so many are compared."""

WRITTEN_PROVIDERS = 1_000
"""Over how many hosts, spread evenly, claims go while others search."""

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is done per query and service.

    Requests go on until ``seconds`` were spent on them or ``most`` were answered, but until ``least``
    in any case. ``turn_seconds``: after so long it is the other service's turn.
    """

    timeout_seconds: float
    seconds: float
    least: int
    most: int
    turn_seconds: float

    def suffices(self, measured: Measured) -> bool:
        """Whether a service needs no further turn."""
        done, spent = len(measured.seconds), sum(measured.seconds)
        return bool(measured.trouble) or done >= self.most or (done >= self.least and spent >= self.seconds)


@dataclass(frozen=True, slots=True)
class Conditions:
    """What is the same for all scenarios of a run.

    The reference is not asked about clouds of more hosts than ``reference_up_to``, if that is given.
    """

    kind: str
    seed: int
    workers: int
    effort: Effort
    services: tuple[type[Service], ...]
    reference_up_to: int | None = None


class Contest:
    """One cloud in both services."""

    def __init__(
        self, scenario: Scenario, hosts: int, conditions: Conditions, services: Sequence[type[Service]]
    ) -> None:
        self._scenario = scenario
        self._hosts = hosts
        self._conditions = conditions
        self._kinds = services
        self._services: list[Service] = []
        self._connections: dict[Service, Connection] = {}
        self.providers = 0
        self.starts: dict[str, dict[str, float]] = {}

    @contextmanager
    def prepared(self, folder: Path) -> Iterator[None]:
        """Both services loaded and running in both orders, for as long as the context lasts."""
        with ExitStack() as stack:
            for kind in self._kinds:
                own = folder / kind.name
                own.mkdir()
                url = stack.enter_context(fresh_database(self._conditions.kind, own))
                kind(url, own, self._conditions.workers).prepare()
                chance = Random(self._conditions.seed)
                self.providers = loader.load(url, self._scenario.cloud(self._hosts, chance), chance)
                for order in ORDERS:
                    service = kind(url, own, self._conditions.workers, randomize=order == "random")
                    stack.callback(service.stop)
                    self._services.append(service)
                    self._start(service)
            yield
            for service in self._services:
                self._note_peak(service)

    def ask(self, query: Query, troubles: Mapping[str, str]) -> dict[str, dict[str, Measured]]:
        """Ask all services in turns; those that had trouble with a smaller cloud are not asked.

        Returns the figures by order and service.
        """
        measured = {
            service: Measured(
                trouble=troubles.get(service.name, ""),
                cpu_seconds=None if self._scenario.writes_per_second else 0.0,
            )
            for service in self._services
        }
        effort = self._conditions.effort
        for service, each in measured.items():
            if not each.trouble:
                self._turn(service, query, each, self._first)
        while not all(map(effort.suffices, measured.values())):
            for service, each in measured.items():
                if not effort.suffices(each):
                    self._turn(service, query, each, self._several)
        found: dict[str, dict[str, Measured]] = {order: {} for order in ORDERS}
        for service, each in measured.items():
            found[order_of(service)][service.name] = each
        return found

    def _start(self, service: Service) -> None:
        seconds = service.start()
        self._connections[service] = Connection(service.port, self._conditions.effort.timeout_seconds)
        # A service that is started again, after a time-out, has told these figures before.
        # Of the two orders, the first one started is reported, and the larger peak.
        self.starts.setdefault(
            service.name,
            {"seconds": round(seconds, 3), "worker_mib": round(service.memory().now, 1)},
        )

    def _note_peak(self, service: Service) -> None:
        figures = self.starts[service.name]
        figures["peak_mib"] = max(figures.get("peak_mib", 0.0), round(service.memory().peak, 1))

    def _turn(
        self,
        service: Service,
        query: Query,
        measured: Measured,
        do: Callable[[Service, Sequence[bytes], Measured], None],
    ) -> None:
        try:
            do(service, [request("GET", TARGET + text) for text in query.texts], measured)
        except ServerSilentError:
            measured.trouble = TIME_OUT
            measured.silent_seconds = self._conditions.effort.timeout_seconds
            # What the unanswered request has cost cannot be told from the rest.
            measured.cpu_seconds = None
            # It would go on with what nobody waits for any more.
            self._note_peak(service)
            service.kill()
            self._start(service)

    def _first(self, service: Service, sent: Sequence[bytes], measured: Measured) -> None:
        """The first answers fill caches and are looked into; the time of the first is reported by itself."""
        answers: list[Answer] = []
        for each in sent[:COMPARED]:
            answer = self._connections[service].exchange(each)
            if answer.status != 200:
                raise RuntimeError(f"{service.name} answers {answer.status}: {answer.body[:1000]!r}")
            answers.append(answer)
        measured.content = content_of([answer.body for answer in answers])
        measured.body_bytes = round(sum([len(answer.body) for answer in answers]) / len(answers))
        measured.first_seconds = answers[0].seconds

    def _several(self, service: Service, sent: Sequence[bytes], measured: Measured) -> None:
        rate = self._scenario.writes_per_second
        if not rate:
            self._repeat(service, sent, measured, self._conditions.effort.turn_seconds)
            return
        # Writers come and go with each turn; one turn is enough.
        with writing(service.port, rate, self._written_providers()) as written:
            self._repeat(service, sent, measured, self._conditions.effort.seconds)
        measured.writes = write_figures(written)

    def _repeat(self, service: Service, sent: Sequence[bytes], measured: Measured, seconds: float) -> None:
        connection, effort = self._connections[service], self._conditions.effort
        until = time.perf_counter() + seconds
        before = service.cpu_seconds()
        while not effort.suffices(measured):
            # The same queries in the same order for all services.
            asked = sent[len(measured.seconds) % len(sent)]
            measured.seconds.append(connection.exchange(asked).seconds)
            if time.perf_counter() > until:
                break
        if measured.cpu_seconds is not None:
            measured.cpu_seconds += service.cpu_seconds() - before

    def _written_providers(self) -> list[str]:
        trees = self._scenario.cloud(self._hosts, Random(self._conditions.seed))
        step = max(1, self._hosts // WRITTEN_PROVIDERS)
        return [tree[0].uuid for tree in islice(trees, 0, None, step)]


def order_of(service: Service) -> str:
    """In which order the candidates of a service come."""
    return "random" if service.randomize else "default"


def write_figures(written: Written) -> dict[str, float]:
    """What was written beside the searches."""
    told = {
        "per_second": round(len(written.seconds) / written.elapsed, 1) if written.elapsed else 0.0,
        "refused": float(written.refused),
        "failed": float(written.failed),
    }
    if written.seconds:
        told["median_ms"] = round(percentile(written.seconds, 50) * MILLISECONDS, 3)
        told["p99_ms"] = round(percentile(written.seconds, 99) * MILLISECONDS, 3)
    return told


def run(scenario: Scenario, sizes: tuple[int, ...], conditions: Conditions, tell: Tell) -> dict[str, Any]:
    """All sizes of one scenario, smallest first: ``starts`` and ``results`` for the report."""
    told: dict[str, Any] = {"starts": [], "results": []}
    troubles: dict[str, dict[str, str]] = {}
    for hosts in sorted(sizes):
        queries = [query for query in scenario.queries if query.largest is None or hosts <= query.largest]
        if conditions.reference_up_to is not None and hosts > conditions.reference_up_to:
            for query in queries:
                troubles.setdefault(query.name, {})[Reference.name] = NOT_ASKED
        # A service that would not be asked anything need not be loaded either.
        services = [
            service
            for service in conditions.services
            if any(service.name not in troubles.get(query.name, {}) for query in queries)
        ]
        contest = Contest(scenario, hosts, conditions, services)
        with tempfile.TemporaryDirectory(prefix="moorage-bench-") as name:
            tell(f"{scenario.name}: loading {hosts:,} hosts")
            with contest.prepared(Path(name)):
                place = {"scenario": scenario.name, "hosts": hosts, "providers": contest.providers}
                for query in queries:
                    tell(f"{scenario.name}: {hosts:,} hosts, {query.name}")
                    known = troubles.setdefault(query.name, {})
                    for order, measured in contest.ask(query, dict(known)).items():
                        told["results"].append(place | {"order": order} | result_of(query, measured, known))
                    for row in told["results"][-len(ORDERS) :]:
                        known |= {
                            service.name: NOT_ASKED
                            for service in services
                            if row.get(service.name, {}).get("trouble")
                        }
            told["starts"].append(place | contest.starts)
    return told


def result_of(query: Query, measured: Mapping[str, Measured], troubles: Mapping[str, str]) -> dict[str, Any]:
    """One row of the report; ``troubles`` are those that a service had with smaller clouds."""
    ours, theirs = (measured.get(service.name, Measured()) for service in (Moorage, Reference))
    absent = {service: {"trouble": trouble} for service, trouble in troubles.items()}
    return {
        "query": query.name,
        **absent,
        **{service: each.figures() for service, each in measured.items()},
        "ratio": ratio(ours.median, theirs.median),
        "ratio_at_least": ratio(ours.median, theirs.silent_seconds),
        "agree": agreement(ours.content, theirs.content, limited=query.limited),
    }
