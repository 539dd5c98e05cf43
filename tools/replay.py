"""Run the replay benchmark against a server of its own.

Without ``--trace`` a small cluster and its tasks are made up (always the same ones), so that the
benchmark needs nothing but this repository. All other arguments go to ``benchmarks/replay.py``.
"""

from __future__ import annotations

import argparse
import csv
import random
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).parents[1]
NODES = 60
TASKS = 600
"""Large enough for stable percentiles, small enough for some tens of seconds."""

SEED = 20240607
"""Any number, which must be the same in every run."""

START_SECONDS = 60.0
"""How long the server may take to make its database and answer."""

GPU_MODELS = ("A10", "T4", "V100M16")


def main() -> int:
    """Start a server, replay, stop the server; the exit status is the replay's."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trace", type=Path, help="folder of the trace (default: a small one is made up)")
    parser.add_argument("--pods", help="file of tasks in that folder")
    parser.add_argument("--database", help="SQLAlchemy URL of an empty database (default: SQLite)")
    options, others = parser.parse_known_args()
    if (options.trace is None) != (options.pods is None):
        parser.error("--trace and --pods go together")
    with tempfile.TemporaryDirectory(prefix="moorage-bench-") as name:
        folder = Path(name)
        trace, pods = options.trace, options.pods
        if trace is None:
            trace, pods = folder, make_trace(folder)
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        database = options.database or f"sqlite:///{folder / 'bench.sqlite'}"
        moorage = [sys.executable, "-m", "moorage"]
        subprocess.run([*moorage, "db", "sync", "--database", database], check=True)
        server = subprocess.Popen(
            [*moorage, "serve", "--port", str(port), "--database", database],
            cwd=folder,
            stdout=subprocess.DEVNULL,
        )
        try:
            await_answer(url, server)
            command = [sys.executable, str(ROOT / "benchmarks" / "replay.py")]
            command += ["--trace", str(trace), "--pods", str(pods), "--url", url, *others]
            return subprocess.run(command, check=False).returncode
        finally:
            server.terminate()
            server.wait()


def make_trace(folder: Path) -> str:
    """Write nodes and tasks in the columns of the openb trace; returns the path of the tasks."""
    chance = random.Random(SEED)
    with (folder / "openb_node_list_all_node.csv").open("w", newline="") as file:
        nodes = csv.writer(file)
        nodes.writerow(["sn", "cpu_milli", "memory_mib", "gpu", "model"])
        for number in range(NODES):
            gpus = chance.choice((0, 2, 4, 8))
            model = chance.choice(GPU_MODELS) if gpus else ""
            nodes.writerow([f"node-{number:04}", 96_000, 393_216, gpus, model])
    pods = "pods.csv"
    with (folder / pods).open("w", newline="") as file:
        tasks = csv.writer(file)
        columns = (
            "name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec,qos,pod_phase,creation_time,deletion_time"
        )
        tasks.writerow([*columns.split(","), "scheduled_time"])
        for number in range(TASKS):
            gpus = chance.choice((0, 1, 1, 1, 2, 4, 8))
            share = chance.choice((250, 500, 1000)) if gpus == 1 else 1000 * bool(gpus)
            end = number + chance.randint(50, 400)
            row = [
                f"task-{number:04}",
                chance.randint(1, 16) * 1000,
                chance.randint(1, 32) * 1024,
                gpus,
                share,
            ]
            tasks.writerow([*row, "", "LS", "Succeeded", number, end, number])
    return str(folder / pods)


def free_port() -> int:
    """A port on loopback that nothing listens on now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def await_answer(url: str, server: subprocess.Popen[bytes]) -> None:
    """Return once the server answers; raises SystemExit if it ends or takes too long."""
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, ConnectionError) as failure:
            if server.poll() is not None or time.monotonic() > deadline:
                raise SystemExit("the server did not start") from failure
        time.sleep(0.1)


if __name__ == "__main__":
    sys.exit(main())
