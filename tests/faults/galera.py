"""A Galera cluster of three MariaDB servers on loopback, of which one is written to."""

from __future__ import annotations

import os
import random
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress
from pathlib import Path

import pymysql
from sqlalchemy import make_url

from tests.faults import proxy
from tests.faults.mischief import Fault
from tests.faults.proxy import Proxy
from tests.faults.serving import Serving
from tests.faults.targets import Target, create_database, pause, processes_of, proxy_faults
from tests.servers.binaries import Binaries, galera_library, missing_for_galera
from tests.servers.ports import free_port
from tests.servers.session import MissingServerError
from tests.servers.throwaway import PASSWORD, USER, MariaDBServer, ServerError

NODES = 3
"""The fewest of which two are a majority."""

JOIN_SECONDS = 120.0
"""How long a node may take to get what it missed from another, on a busy machine."""

SUSPECT_SECONDS = 3
"""A node that has not been heard of for so long is suspected, and soon the others go on without it."""

BALLAST_ROWS = 60_000
"""Rows whose change keeps another node busy for about a second, while all later writes queue behind it."""

RECOVERED = re.compile(r"Recovered position:\s*(\S+:-?\d+)")


class GaleraNode(MariaDBServer):
    """One server of a cluster."""

    def __init__(self, folder: Path, name: str) -> None:
        super().__init__(folder)
        self.name = name
        self.port = free_port()
        self.group_port = free_port()
        self.increment_port = self.transfer_port = 0
        self.peers: list[GaleraNode] = []
        self.is_first = False
        self._position = ""

    def begin_cluster(self) -> None:
        """Start as the first, with empty data."""
        self.is_first = True
        try:
            self.start()
        finally:
            self.is_first = False

    def join(self) -> None:
        """Start, and take what is missing from another node. Raises ServerError."""
        if not self._data.exists():
            self._prepare_folder()
            self._data.mkdir()
            account = self._account()
            if account is not None:
                os.chown(self._data, account.pw_uid, account.pw_gid)
        else:
            self._position = self._recovered_position()
        until = time.monotonic() + JOIN_SECONDS
        while True:
            # Nobody remembers these two, so that a port which was taken by now need not stop the node.
            self.increment_port, self.transfer_port = free_port(), free_port()
            try:
                self.start()
                break
            except ServerError:
                self.kill()
                if time.monotonic() > until:
                    raise
        self.wait_until_synced()

    def _recovered_position(self) -> str:
        """Where the node was when it was killed, so that it needs to be told no more than it missed."""
        with self._popen([*self._serve_command(self._installed), "--wsrep-recover"]) as process:
            process.wait()
        found = RECOVERED.findall(self._log.read_text(errors="replace"))
        return found[-1] if found and not found[-1].endswith(":-1") else ""

    def _serve_command(self, binaries: Binaries) -> list[str]:
        command = super()._serve_command(binaries)
        if not self.is_first:
            # Users come with the data of the first.
            command = [part for part in command if not part.startswith("--init-file=")]
        options = {
            "gmcast.listen_addr": f"tcp://127.0.0.1:{self.group_port}",
            "ist.recv_addr": f"127.0.0.1:{self.increment_port}",
            "gcache.size": "32M",
            "evs.suspect_timeout": f"PT{SUSPECT_SECONDS}S",
            "evs.inactive_timeout": f"PT{2 * SUSPECT_SECONDS}S",
            "evs.install_timeout": f"PT{2 * SUSPECT_SECONDS}S",
        }
        peers = ",".join(f"127.0.0.1:{node.group_port}" for node in self.peers)
        command += [
            "--binlog-format=ROW",
            "--innodb-autoinc-lock-mode=2",
            "--wsrep-on=ON",
            f"--wsrep-provider={galera_library()}",
            "--wsrep-cluster-name=faults",
            f"--wsrep-cluster-address=gcomm://{peers}",
            f"--wsrep-node-name={self.name}",
            "--wsrep-node-address=127.0.0.1",
            "--wsrep-sst-method=rsync",
            f"--wsrep-sst-receive-address=127.0.0.1:{self.transfer_port}",
            f"--wsrep-provider-options={';'.join(f'{name}={value}' for name, value in options.items())}",
        ]
        if self.is_first:
            command.append("--wsrep-new-cluster")
        if self._position:
            command.append(f"--wsrep-start-position={self._position}")
        return command

    def status(self, name: str) -> str:
        """One of its status variables, empty if it does not answer."""
        try:
            with closing(self._connection()) as connection, connection.cursor() as cursor:
                cursor.execute("SHOW GLOBAL STATUS LIKE %s", (name,))
                row = cursor.fetchone()
        except (pymysql.err.Error, OSError):
            return ""
        return str(row[1]) if row else ""

    def is_synced(self) -> bool:
        """Whether it takes part and lags behind nobody."""
        return (
            self.status("wsrep_ready") == "ON"
            and self.status("wsrep_cluster_status") == "Primary"
            and self.status("wsrep_local_state_comment") == "Synced"
        )

    def wait_until_synced(self) -> None:
        """Raises ServerError if that takes too long."""
        until = time.monotonic() + JOIN_SECONDS
        while not self.is_synced():
            if time.monotonic() > until:
                raise self._failure()
            time.sleep(0.1)

    def isolate(self, isolated: bool) -> None:
        """Whether it neither speaks to the others nor listens to them; clients still reach it."""
        self.execute(f"SET GLOBAL wsrep_provider_options = 'gmcast.isolate={int(isolated)}'")

    def execute(self, *statements: str) -> None:
        """Each in a transaction of its own."""
        with closing(self._connection()) as connection, connection.cursor() as cursor:
            connection.autocommit(True)
            for statement in statements:
                cursor.execute(statement)

    def _connection(self) -> pymysql.connections.Connection:
        return pymysql.connect(
            host="127.0.0.1",
            port=self.port,
            user=USER,
            password=PASSWORD,
            connect_timeout=5,
            read_timeout=15,
        )


class GaleraTarget(Target):
    """The cluster; the service reaches its one writer through a proxy that can lead to another."""

    name = "galera"

    def __init__(self, folder: Path) -> None:
        missing = missing_for_galera()
        if missing:
            raise MissingServerError(f"Galera (install the packages {', '.join(missing)})")
        self.nodes = [GaleraNode(folder / f"node-{number}", f"node-{number}") for number in range(NODES)]
        self._isolated: set[str] = set()
        try:
            for node in self.nodes:
                node.peers = self.nodes
            self.nodes[0].begin_cluster()
            for node in self.nodes[1:]:
                node.join()
            self.writer = self.nodes[0]
            self._database = create_database(self.writer.url)
            self.writer.execute(
                "CREATE DATABASE ballast",
                "USE ballast",
                "CREATE TABLE ballast.ballast (id INTEGER PRIMARY KEY, weight INTEGER NOT NULL)",
                f"INSERT INTO ballast.ballast SELECT seq, 0 FROM seq_1_to_{BALLAST_ROWS}",
            )
            self.proxy = Proxy(("127.0.0.1", self.writer.port), proxy.MYSQL)
            self.url = self._database.set(port=self.proxy.port).render_as_string(hide_password=False)
        except BaseException:
            self._remove_nodes()
            raise

    @property
    def direct_url(self) -> str:  # type: ignore[override]
        """Of the present writer."""
        return self._database.set(port=self.writer.port).render_as_string(hide_password=False)

    @property
    def copies(self) -> Mapping[str, str]:
        """All nodes' URLs by name."""
        return {
            node.name: make_url(self.direct_url).set(port=node.port).render_as_string(hide_password=False)
            for node in self.nodes
        }

    def faults(self, hosts: Sequence[Serving]) -> Mapping[str, Fault]:
        return {
            **proxy_faults(self.proxy),
            "writer killed": lambda dice: self._killed(self.writer, dice),
            "other node killed": lambda dice: self._killed(self._other(dice), dice),
            "writer paused": lambda dice: self._paused(self.writer, dice),
            "other node paused": lambda dice: self._paused(self._other(dice), dice),
            "writer partitioned": lambda dice: self._partitioned(self.writer, dice),
            "other node partitioned": lambda dice: self._partitioned(self._other(dice), dice),
            "writer switched": lambda dice: self._fail_over(dice),
            "writer switched around COMMIT": self._switched_around_commit,
            "writer switched to one that lags": self._switched_to_one_that_lags,
        }

    def _other(self, dice: random.Random) -> GaleraNode:
        return dice.choice([node for node in self.nodes if node is not self.writer])

    def _fail_over(self, dice: random.Random, without: GaleraNode | None = None) -> None:
        """Lead the service to another node that says that it is in order, as a load balancer would."""
        until = time.monotonic() + JOIN_SECONDS
        candidates = [node for node in self.nodes if node not in (self.writer, without)]
        while time.monotonic() < until:
            for node in dice.sample(candidates, len(candidates)):
                if node.is_synced():
                    self.lead_to(node)
                    return
            time.sleep(0.1)
        raise ServerError(
            f"no node to lead to: {[node.status('wsrep_cluster_status') for node in candidates]}"
        )

    def burden(self) -> None:
        """Keep all nodes but the writer busy for some tenths of a second.

        On a machine that is itself too busy the writer may fall out of the cluster over it: then it is
        another fault than the one that was meant, and one to be survived all the same.
        """
        with suppress(pymysql.err.OperationalError):
            self.writer.execute("UPDATE ballast.ballast SET weight = weight + 1")

    def lead_to(self, node: GaleraNode) -> None:
        """From now on this is the writer."""
        self.writer = node
        self.proxy.lead_to(("127.0.0.1", node.port))

    def _switched_around_commit(self, dice: random.Random) -> None:
        """A COMMIT is under way on the old writer while the service already asks the new one."""
        self.proxy.arm(*(dice.choice(tuple(proxy.Cut)) for _ in range(dice.randint(1, 4))))
        until = time.monotonic() + 1.0
        before = self.proxy.done.total()
        while self.proxy.done.total() == before and time.monotonic() < until:
            time.sleep(0.0005)
        self._fail_over(dice)
        self.proxy.disarm()

    def _switched_to_one_that_lags(self, dice: random.Random) -> None:
        """The new writer has yet to apply what the old one has acknowledged."""
        following = self._other(dice)
        following.wait_until_synced()
        if dice.random() < 0.5:
            self.proxy.arm(*(dice.choice(tuple(proxy.Cut)) for _ in range(dice.randint(1, 3))))
        self.burden()
        time.sleep(dice.uniform(0.0, 0.2))
        self.lead_to(following)
        self.proxy.disarm()

    def _killed(self, node: GaleraNode, dice: random.Random) -> None:
        node.kill()
        if node is self.writer:
            self._fail_over(dice)
        time.sleep(dice.uniform(0.0, 1.0))
        node.join()

    def _paused(self, node: GaleraNode, dice: random.Random) -> None:
        """Briefly, so that the others wait for it, or until they go on without it."""
        if node is self.writer and dice.random() < 0.5:
            self._harmed(
                dice, node, lambda: pause(processes_of(node), dice, longest=1.0 + 3 * SUSPECT_SECONDS)
            )
        else:
            pause(processes_of(node), dice, longest=2.0 * SUSPECT_SECONDS)
        node.wait_until_synced()

    def _harmed(self, dice: random.Random, node: GaleraNode, harm: Callable[[], None]) -> None:
        """Fail over from ``node`` while it is harmed."""
        thread = threading.Thread(target=harm)
        thread.start()
        try:
            time.sleep(dice.uniform(0.0, 0.3))
            self._fail_over(dice, without=node)
        finally:
            thread.join()

    def _partitioned(self, node: GaleraNode, dice: random.Random) -> None:
        node.isolate(True)
        self._isolated.add(node.name)
        try:
            if node is self.writer:
                # For a while it takes connections and cannot commit; then the service is led elsewhere.
                time.sleep(dice.uniform(0.0, 2.0))
                self._fail_over(dice)
            else:
                time.sleep(dice.uniform(1.0, 3.0 * SUSPECT_SECONDS))
        finally:
            node.isolate(False)
            self._isolated.discard(node.name)
        node.wait_until_synced()

    def heal(self) -> None:
        self.proxy.disarm()
        self.proxy.refuse(False)
        self.proxy.resume()
        for node in self.nodes:
            if node.process_id is None:
                node.join()
            if node.name in self._isolated:
                node.isolate(False)
        for node in self.nodes:
            node.wait_until_synced()

    def close(self) -> None:
        self.proxy.close()
        self._remove_nodes()

    def _remove_nodes(self) -> None:
        # One that has lost the others ends slowly if it is asked to; its data are worth nothing.
        for node in self.nodes:
            with suppress(ProcessLookupError):
                node.kill()
            node.remove()
