"""The recipes of docs/how-to/keep-leases.md, run as printed against a service.

Slurm and systemd are not there: the test gives the scripts the environment that Slurm documents, and stands
in for the two commands of systemd.
"""

from __future__ import annotations

import configparser
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from moorage.wiring.settings import Chosen, resolve
from tests.databases.prepared import Prepare, prepare, prepared_databases, sqlite_template
from tests.docs.test_documents import ROOT, blocks
from tests.servers.databases import SQLITE
from tests.unit.applications import built
from tests.unit.cli import machines
from tests.unit.cli.client.conftest import Terminal, answering

__all__ = ["prepare", "prepared_databases", "sqlite_template"]

PAGE = ROOT / "docs/how-to/keep-leases.md"

PROLOG = "/etc/slurm/prolog.d/50-moorage"
EPILOG = "/etc/slurm/epilog.d/50-moorage"
KEEPER = "/usr/local/sbin/moorage-lease"

STARTED = "/run/moorage-lease.started"

PLACES = ("/etc/moorage", "/opt/moorage/bin", "/run/moorage-slurm", "/var/lib/moorage-lease", STARTED)
"""What a script names that a test has elsewhere."""

SYSTEMD_RUN = """#!/bin/sh
# Options, then the command: start it with the variables of the file.
while [ $# -gt 0 ]; do
    case $1 in
        --unit) unit=$2; shift 2 ;;
        -p) case $2 in EnvironmentFile=*) set -a; . "${2#*=}"; set +a ;; esac; shift 2 ;;
        -*) shift ;;
        *) break ;;
    esac
done
"$@" >"$UNITS/$unit.log" 2>&1 &
echo $! > "$UNITS/$unit"
"""

SYSTEMCTL = """#!/bin/sh
[ "$1" = stop ] && kill "$(cat "$UNITS/$2")" && mv "$UNITS/$2" "$UNITS/$2.stopped"
"""

JOB = {
    "SLURM_JOB_ID": "77",
    "SLURM_CLUSTER_NAME": "lab",
    "SLURM_JOB_USER": "vera",
    "SLURMD_NODENAME": "gpu-7",
}
CONSUMER = "slurm-lab-77-gpu-7"


def scripts() -> dict[str, str]:
    """The scripts of the page by the path that their first comment names."""
    found = {}
    for body in blocks(PAGE.read_text(), "shell"):
        named = re.search(r"^# (/\S+): ", body, re.MULTILINE)
        assert named, body
        found[named[1]] = body
    return found


@dataclass(frozen=True)
class Node:
    """A machine of a test: folders that stand for those of the scripts, and a service with its GPUs."""

    folder: Path
    terminal: Terminal

    def path(self, place: str) -> Path:
        return self.folder / place.strip("/").replace("/", "-")

    def adapted(self, text: str) -> str:
        for place in PLACES:
            text = text.replace(place, str(self.path(place)))
        return text

    def start(self, script: str, **variables: str) -> subprocess.Popen[str]:
        """A script of the page, as root of a machine starts it."""
        file = self.folder / "script"
        file.write_text(self.adapted(scripts()[script]))
        settings = (self.path("/etc/moorage") / "client.env").read_text() if script == KEEPER else ""
        variables |= dict(line.split("=", 1) for line in settings.splitlines())
        return subprocess.Popen(
            ["sh", str(file)],
            env={"UNITS": str(self.folder / "units"), "COVERAGE_PROCESS_START": "", **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, script: str, **variables: str) -> tuple[int, str]:
        """Exit status, and what the script says."""
        process = self.start(script, **variables)
        out, err = process.communicate(timeout=60)
        return process.returncode, out + err

    def leases(self) -> dict[str, Any]:
        """State of each lease, by its owner."""
        found = self.terminal.json("lease", "list")
        return {lease["owner"]: lease["state"] for lease in found}

    def held(self) -> dict[str, Any]:
        shown = self.terminal.run("claim", "show", CONSUMER, "--json")
        return dict(json.loads(shown.stdout)["providers"])

    def unit_runs(self, unit: str) -> bool:
        return (self.folder / "units" / unit).exists()


@pytest.fixture
def node(prepare: Prepare, tmp_path: Path) -> Iterator[Node]:
    """A machine with two GPUs, known to a new service."""
    settings = resolve(Chosen(database=prepare(SQLITE)), {}, serving=True).settings
    with built(settings) as application, answering(application) as url:
        made = Node(tmp_path, Terminal(url))
        (tmp_path / "units").mkdir()
        binaries = made.path("/opt/moorage/bin")
        for name, text in (
            ("moorage", f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -P -m moorage "$@"\n'),
            ("systemd-run", SYSTEMD_RUN),
            ("systemctl", SYSTEMCTL),
        ):
            binaries.mkdir(exist_ok=True)
            (binaries / name).write_text(text)
            (binaries / name).chmod(0o755)
        for place in ("/etc/moorage", "/var/lib/moorage-lease"):
            made.path(place).mkdir()
        (made.path("/etc/moorage") / "client.env").write_text(f"MOORAGE_URL={url}\nMOORAGE_TOKEN=admin\n")
        root = machines.write(machines.SERVER, tmp_path / "machine")
        document = tmp_path / "node.yaml"
        document.write_text(made.terminal.does("discover", "--root", str(root), "--name", "gpu-7"))
        made.terminal.does("load", str(document))
        try:
            yield made
        finally:
            for unit in (tmp_path / "units").glob("*"):
                if unit.suffix not in (".log", ".stopped"):
                    os.kill(int(unit.read_text()), signal.SIGTERM)


@pytest.mark.slow
def test_job_of_slurm_holds_its_gpus_until_its_epilog(node: Node) -> None:
    status, told = node.run(PROLOG, **JOB, SLURM_JOB_GPUS="1,2")
    assert status == 0, told
    assert len(node.held()) == 2
    assert node.leases() == {CONSUMER: "active"}
    assert node.unit_runs("moorage-slurm-77")
    status, told = node.run(EPILOG, **JOB)
    assert status == 0, told
    assert (node.held(), node.leases()) == ({}, {CONSUMER: "released"})
    assert not node.unit_runs("moorage-slurm-77")
    assert list(node.path("/run/moorage-slurm").iterdir()) == []


@pytest.mark.slow
def test_job_whose_gpu_is_taken_does_not_start_and_leaves_nothing(node: Node) -> None:
    node.terminal.does("claim", "create", "--allocation", "gpu-7-nvidia1:PGPU=1", "--consumer", "other")
    status, told = node.run(PROLOG, **JOB, SLURM_JOB_GPUS="0,1")
    assert status == 1, told
    assert (node.held(), node.leases()) == ({}, {CONSUMER: "released"})
    assert not node.unit_runs("moorage-slurm-77")
    # Slurm runs the epilog also after a prolog that failed.
    assert node.run(EPILOG, **JOB)[0] == 0


@pytest.mark.slow
def test_job_without_gpus_asks_nothing_and_an_epilog_without_a_service_succeeds(node: Node) -> None:
    (node.path("/etc/moorage") / "client.env").write_text("MOORAGE_URL=http://127.0.0.1:9\n")
    assert node.run(PROLOG, **JOB) == (0, "")
    node.path("/run/moorage-slurm").mkdir()
    kept = node.path("/run/moorage-slurm") / "77"
    kept.write_text("9f9f0000-0000-4000-8000-000000000000\n")
    assert node.run(EPILOG, **JOB)[0] == 0
    assert kept.exists()


@pytest.mark.slow
def test_lease_of_a_machine_outlives_a_restart_of_its_unit_and_not_one_of_the_machine(node: Node) -> None:
    kept = node.path("/var/lib/moorage-lease") / "lease"
    first = keep_for_a_while(node)
    node.terminal.does(
        *("claim", "create", "--lease", first, "--consumer", CONSUMER),
        *("--allocation", "gpu-7-nvidia0:PGPU=1"),
    )
    assert keep_for_a_while(node) == first
    assert (kept.read_text().strip(), len(node.held())) == (first, 1)
    node.path(STARTED).unlink()
    second = keep_for_a_while(node)
    assert second != first
    assert (kept.read_text().strip(), node.held()) == (second, {})
    # The service knows the lease, and it has ended: that is no reason not to start.
    node.terminal.does("lease", "release", second)
    node.path(STARTED).unlink()
    assert keep_for_a_while(node) not in (first, second)


@pytest.mark.slow
def test_machine_that_cannot_release_after_its_start_tries_again(node: Node) -> None:
    first = keep_for_a_while(node)
    settings = node.path("/etc/moorage") / "client.env"
    usual = settings.read_text()
    settings.write_text("MOORAGE_URL=http://127.0.0.1:9\n")
    node.path(STARTED).unlink()
    assert node.run(KEEPER)[0] != 0
    assert not node.path(STARTED).exists()
    settings.write_text(usual)
    assert keep_for_a_while(node) != first


def keep_for_a_while(node: Node) -> str:
    """Start the unit, wait until it is ready, and stop it. Returns the lease that it has kept."""
    unit = node.start(KEEPER)
    assert unit.stderr is not None
    told = ""
    while "Keeping" not in told:
        told = unit.stderr.readline()
        assert told, "the unit has ended"
    unit.terminate()
    unit.communicate()
    assert unit.returncode == 0
    return told.split()[1].rstrip(".")


def test_scripts_are_what_a_shell_reads() -> None:
    assert set(scripts()) == {PROLOG, EPILOG, KEEPER}
    for name, text in scripts().items():
        assert text.startswith("#!/bin/sh\n"), name
        subprocess.run(["sh", "-n"], input=text, text=True, check=True)


def test_systemd_finds_nothing_wrong_with_the_unit(tmp_path: Path) -> None:
    [text] = [body for body in blocks(PAGE.read_text(), "ini") if "[Service]" in body]
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.read_string(text)
    assert unit["Service"]["ExecStart"] == KEEPER
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze is not installed")
    file = tmp_path / "moorage-lease.service"
    file.write_text(text.replace(KEEPER, "/bin/true"))
    done = subprocess.run([analyze, "verify", str(file)], capture_output=True, text=True, check=False)
    assert [line for line in done.stderr.splitlines() if file.name in line] == [], done.stderr
