"""The databases that a run breaks: how each is started, reached, hurt and healed."""

from __future__ import annotations

import random
import re
import signal
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path

from sqlalchemy import URL, NullPool, create_engine, text

from moorage.service.keeper import TAKEOVER_SECONDS
from tests.faults import proxy
from tests.faults.mischief import FILE_OPENED, Fault, open_and_close
from tests.faults.proxy import Cut, Proxy
from tests.faults.serving import Serving, children_of, signal_process
from tests.servers.databases import with_driver
from tests.servers.throwaway import PostgreSQLServer, ServerError, ThrowAwayServer, server_of

RESTART_SECONDS = 60.0
"""How long a killed server is tried to be started again: what it left has to go first."""


KEEPER_PAUSED = "keeper paused"

LONGEST_KEEPER_PAUSE_SECONDS = TAKEOVER_SECONDS + 3.0
"""Until after another process has taken over: what the paused one still sends must change nothing."""

KEEPS = re.compile(rb" (\d+) INFO \S+ .*This process keeps service time now, in term (\d+)\.")


class Target(ABC):
    """A database under test. ``url`` is the service's way to it, ``direct_url`` the audit's."""

    name: str
    url: str
    direct_url: str
    comes_back = True
    """Whether what goes wrong with it is worth to be waited out: a full disk is not."""

    @property
    def copies(self) -> Mapping[str, str]:
        """URLs of all nodes that must hold the same, by name."""
        return {self.name: self.direct_url}

    @abstractmethod
    def faults(self, hosts: Sequence[Serving]) -> Mapping[str, Fault]:
        """Faults by what is done, given the services that use the database.

        Each does its harm and takes it back before it returns.
        """

    def heal(self) -> None:  # noqa: B027 - a file has nothing to heal
        """Take back whatever a fault has left."""

    def close(self) -> None:  # noqa: B027
        """Leave nothing behind."""


class SQLiteTarget(Target):
    """A file."""

    name = "sqlite"
    comes_back = False

    def __init__(self, folder: Path) -> None:
        self._file = folder / "faults.sqlite"
        self.url = self.direct_url = f"sqlite:///{self._file}"

    def faults(self, hosts: Sequence[Serving]) -> Mapping[str, Fault]:
        def disk_full(dice: random.Random) -> None:
            log = self._file.with_name(f"{self._file.name}-wal")
            size = log.stat().st_size if log.exists() else 0
            # Either the log cannot grow, or nothing can be written behind the first pages.
            limit = dice.choice((size, 4096 * dice.randint(1, 8)))
            for host in hosts:
                host.limit_files(limit)
            try:
                time.sleep(dice.uniform(0.2, 2.0))
            finally:
                for host in hosts:
                    host.limit_files(None)

        def opened_by_others(dice: random.Random) -> None:
            open_and_close(self._file, dice)

        return {"disk full": disk_full, FILE_OPENED: opened_by_others}


class ServerTarget(Target):
    """A database server of one process group, reached through a proxy."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.name = kind
        self.server: ThrowAwayServer = server_of(kind, folder / kind)
        self.server.start()
        database = create_database(self.server.url)
        self.direct_url = database.render_as_string(hide_password=False)
        self.proxy = Proxy(("127.0.0.1", self.server.port), protocol_of(self.server))
        self.url = database.set(port=self.proxy.port).render_as_string(hide_password=False)

    def faults(self, hosts: Sequence[Serving]) -> Mapping[str, Fault]:
        return {
            **proxy_faults(self.proxy),
            "server killed": self._kill,
            "server paused": lambda dice: pause(processes_of(self.server), dice),
        }

    def _kill(self, dice: random.Random) -> None:
        self.server.kill()
        time.sleep(dice.uniform(0.0, 1.0))
        start_again(self.server)

    def heal(self) -> None:
        self.proxy.disarm()
        self.proxy.refuse(False)
        self.proxy.resume()

    def close(self) -> None:
        self.proxy.close()
        self.server.remove()


def processes_of(server: ThrowAwayServer) -> list[int]:
    """All its processes."""
    first = server.process_id
    return [] if first is None else [first, *children_of(first)]


def protocol_of(server: ThrowAwayServer) -> str:
    """What the proxy has to understand."""
    return proxy.POSTGRESQL if isinstance(server, PostgreSQLServer) else proxy.MYSQL


def create_database(server_url: str) -> URL:
    """An empty database on a server that has none of that name."""
    url = with_driver(server_url)
    engine = create_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text("CREATE DATABASE faults"))
    return url.set(database="faults")


def start_again(server: ThrowAwayServer) -> None:
    """After ``kill``: processes that it left may still hold what the new one needs."""
    until = time.monotonic() + RESTART_SECONDS
    while True:
        try:
            server.start()
        except ServerError:
            if time.monotonic() > until:
                raise
            server.kill()
            time.sleep(0.2)
        else:
            return


def pause(pids: Sequence[int], dice: random.Random, longest: float = 3.0, least: float = 0.3) -> None:
    """SIGSTOP, a while, SIGCONT."""
    stopped = [pid for pid in pids if signal_process(pid, signal.SIGSTOP)]
    try:
        time.sleep(dice.uniform(least, longest))
    finally:
        for pid in stopped:
            signal_process(pid, signal.SIGCONT)


def proxy_faults(way: Proxy) -> Mapping[str, Fault]:
    """What can happen to connections."""

    def commits(*cuts: Cut) -> Fault:
        def arm(dice: random.Random) -> None:
            way.arm(*(dice.choice(cuts) for _ in range(dice.randint(1, 6))))
            time.sleep(dice.uniform(0.2, 0.8))
            way.disarm()

        return arm

    def all_cut(dice: random.Random) -> None:
        for _ in range(dice.randint(1, 5)):
            way.cut_all()
            time.sleep(dice.uniform(0.0, 0.2))

    def stalled(dice: random.Random) -> None:
        way.stall()
        try:
            time.sleep(dice.uniform(0.2, 2.0))
        finally:
            way.resume()

    def unreachable(dice: random.Random) -> None:
        way.refuse(True)
        way.cut_all()
        try:
            time.sleep(dice.uniform(0.2, 2.0))
        finally:
            way.refuse(False)

    return {
        "cut before COMMIT": commits(Cut.BEFORE),
        "cut during COMMIT": commits(Cut.DURING),
        "cut after COMMIT": commits(Cut.AFTER),
        "cut around COMMIT": commits(*Cut),
        "all connections cut": all_cut,
        "network stalled": stalled,
        "database unreachable": unreachable,
    }


def keeper_of(hosts: Sequence[Serving]) -> list[int]:
    """The process that keeps service time, as the logs tell; none if it has ended by now."""
    told = [(int(term), int(pid)) for host in hosts for pid, term in KEEPS.findall(host.log.read_bytes())]
    there = {pid for host in hosts for pid in host.worker_pids()}
    return [pid for _, pid in sorted(told)[-1:] if pid in there]


def keeper_faults(hosts: Sequence[Serving]) -> Mapping[str, Fault]:
    """What can happen to the process that keeps service time."""

    def killed(_dice: random.Random) -> None:
        for keeper in keeper_of(hosts):
            signal_process(keeper, signal.SIGKILL)

    def paused(dice: random.Random) -> None:
        keepers = keeper_of(hosts)
        if keepers:
            pause(keepers, dice, LONGEST_KEEPER_PAUSE_SECONDS, least=TAKEOVER_SECONDS)

    return {"keeper killed": killed, KEEPER_PAUSED: paused}


def service_faults(hosts: Sequence[Serving]) -> Mapping[str, Fault]:
    """What can happen to the service itself, on any database."""

    def a_worker(dice: random.Random) -> list[int]:
        workers = dice.choice(hosts).worker_pids()
        return [dice.choice(workers)] if workers else []

    def worker_killed(dice: random.Random) -> None:
        for worker in a_worker(dice):
            signal_process(worker, signal.SIGKILL)

    def worker_paused(dice: random.Random) -> None:
        pause(a_worker(dice), dice)

    def service_killed(dice: random.Random) -> None:
        host = dice.choice(hosts)
        host.kill()
        time.sleep(dice.uniform(0.0, 0.5))
        host.restart_if_ended()

    def clock_jumped(dice: random.Random) -> None:
        host = dice.choice(hosts)
        for _ in range(dice.randint(1, 4)):
            host.set_clock(dice.choice((-86_400.0, -3_600.0, -1.5, 1.5, 3_600.0, 86_400.0 * 400)))
            time.sleep(dice.uniform(0.1, 0.5))
        if dice.random() < 0.5:
            host.set_clock(0.0)

    return {
        "worker killed": worker_killed,
        "worker paused": worker_paused,
        **keeper_faults(hosts),
        "service killed": service_killed,
        "clock jumped": clock_jumped,
    }
