"""``moorage serve`` as a process of its own."""

from __future__ import annotations

import json
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from benchmarks import replay

pytestmark = pytest.mark.journey

START_SECONDS = 60.0


class Server:
    """A server with its output."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self._log = folder / "serve.log"
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                # -P: with a new folder in its path, a process would look for all entry points again.
                [sys.executable, "-P", "-m", "moorage", "serve", "--port", "0", *arguments],
                cwd=folder,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    @property
    def output(self) -> str:
        return self._log.read_text()

    @property
    def url(self) -> str:
        """Where it answers, once it does."""
        until = time.monotonic() + START_SECONDS
        while "Stop it with Ctrl-C." not in self.output:
            assert self.process.poll() is None, self.output
            assert time.monotonic() < until, self.output
            time.sleep(0.05)
        found = re.search(r"answers at (\S+)", self.output)
        assert found
        return found[1]

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(how)
        return self.process.wait(START_SECONDS)


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path, "--demo", "--workers", "2")
    try:
        yield server
    finally:
        server.process.kill()
        server.process.wait()


def test_printed_commands_work_as_printed_and_the_server_stops_when_told(demo: Server) -> None:
    url = demo.url
    commands = [shlex.split(line) for line in demo.output.splitlines() if line.startswith("  curl")]
    answers = []
    with replay.Connections(url, "admin") as connections:
        for command in commands:
            method = command[command.index("-X") + 1] if "-X" in command else "GET"
            body = json.loads(command[command.index("-d") + 1]) if "-d" in command else None
            answers.append(connections.client().ask(method, command[-1].removeprefix(url), body))
    usage, listed, found, claimed, held = answers
    assert usage[0] == 200
    assert usage[1]["usages"]["INSTANCE"]["consumer_count"] == 7
    assert len(listed[1]["resource_providers"]) == 105
    assert len(found[1]["allocation_requests"]) == 2
    assert claimed == (204, None)
    wanted = json.loads(commands[3][commands[3].index("-d") + 1])["allocations"]
    assert {uuid: each["resources"] for uuid, each in held[1]["allocations"].items()} == {
        uuid: each["resources"] for uuid, each in wanted.items()
    }
    assert demo.stop() == 0
    assert "Traceback" not in demo.output


def test_second_server_on_the_port_ends_with_one_line(demo: Server, tmp_path: Path) -> None:
    port = demo.url.rpartition(":")[2]
    second = subprocess.run(
        [sys.executable, "-m", "moorage", "serve", "--port", port, "--data-dir", str(tmp_path / "second")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert second.returncode == 1
    assert second.stderr.count("\n") == 1
    assert "Address already in use" in second.stderr
    assert demo.stop(signal.SIGINT) == 0


def test_workers_end_with_the_process_that_started_them(demo: Server) -> None:
    """Whoever starts the service again finds its port free."""
    host, _, port = demo.url.removeprefix("http://").partition(":")
    demo.process.kill()
    demo.process.wait()
    until = time.monotonic() + START_SECONDS
    while True:
        try:
            socket.create_connection((host, int(port)), START_SECONDS).close()
        except ConnectionRefusedError:
            break
        assert time.monotonic() < until
        time.sleep(0.05)
    assert "the worker ends" in demo.output


def test_replay_of_a_small_trace_is_exact(
    tmp_path: Path, demo: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / replay.NODES_FILE).write_text(
        "sn,cpu_milli,memory_mib,gpu,model\nn0,8000,1024,2,T4\nn1,8000,1024,4,V100M16\nn2,8000,1024,0,\n"
    )
    rows = [
        f"t{number},{500 + 100 * (number % 7)},{number % 3 * 64},{gpus},{share if gpus == 1 else 1000},"
        f"{'T4|V100M16' if number % 5 == 0 else ''},{number},{number + 9}"
        for number in range(60)
        for gpus, share in [[(0, 0), (1, 300), (2, 0), (1, 1000), (4, 0)][number % 5]]
    ]
    header = "name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec,creation_time,deletion_time"
    (tmp_path / "pods.csv").write_text("\n".join([header, *rows]) + "\n")
    arguments = ["--trace", str(tmp_path), "--pods", "pods.csv", "--url", demo.url]
    figures = tmp_path / "figures.json"
    assert replay.main([*arguments, "--clients", "4", "--json", str(figures)]) == 0
    output = capsys.readouterr().out
    assert "final check: exact" in output
    assert "3 nodes loaded" in output
    told = json.loads(figures.read_text())
    assert told["tasks"] == 60
    assert told["placed"] > 20
    assert 0 < told["GPU share allocated at the peak"] <= 1
    with pytest.raises(replay.ReplayError, match="earlier replay"):
        replay.main(arguments)
    # A claim that the replay did not make is seen by its final check.
    nodes = replay.read_nodes(tmp_path)
    body = {
        "allocations": {nodes[2].uuid: {"resources": {replay.CPU: 1}}},
        "project_id": "x",
        "user_id": "x",
        "consumer_type": "X",
        "consumer_generation": None,
    }
    path = "/allocations/00000000-0000-0000-0000-00000000000a"
    with replay.Connections(demo.url, "admin") as connections:
        assert connections.client().ask("PUT", path, body)[0] == 204
        assert any("granted None" in each for each in replay.final_check(connections, nodes, {}))


def test_one_worker_answers_more_than_32_clients_at_a_time(tmp_path: Path) -> None:
    server = Server(tmp_path)
    try:
        clients = [replay.Client(server.url, "admin") for _ in range(100)]
        # All connections stay open, so each needs its place.
        for client in clients:
            client.expect("GET", "/resource_providers", 200)
        with ThreadPoolExecutor(40) as pool:
            answers = list(pool.map(lambda client: client.ask("GET", "/traits")[0], clients))
        assert answers == [200] * 100
        for client in clients:
            client.close()
        assert server.stop() == 0
    finally:
        server.process.kill()
        server.process.wait()
