"""What make says before it does anything to the machine."""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path

import pytest

from tests.tidy.sources import ROOT
from tools.port_check import problem


def make(*words: str) -> subprocess.CompletedProcess[str]:
    # A make of its own, even if make runs the tests.
    environment = {
        name: value for name, value in os.environ.items() if "MAKE" not in name and name != "MFLAGS"
    }
    return subprocess.run(
        ["make", *words], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )


def test_a_busy_port_is_told_in_one_line_before_anything_is_installed() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        # Were anything made before, it would be this environment.
        done = make("run", f"PORT={port}", "VENV=no-such-folder/venv")
    first, *others = done.stderr.splitlines()
    assert done.returncode != 0
    assert first.startswith(f"Port {port} of 127.0.0.1 is in use. Choose another: make run PORT=")
    assert all(line.startswith("make:") for line in others)
    assert done.stdout == ""
    assert not (ROOT / "no-such-folder").exists()


def test_the_port_that_is_proposed_is_free() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        told = problem(str(taken.getsockname()[1]))
        assert told is not None
        assert problem(told.rpartition("=")[2]) is None


@pytest.mark.parametrize("text", ["", "x", "-1", "65536", "\N{SUPERSCRIPT TWO}"])
def test_what_is_no_port_is_refused(text: str) -> None:
    assert (problem(text) or "").startswith(f"PORT={text} is no port")


def test_any_port_will_do_if_it_is_zero() -> None:
    assert problem("0") is None


def databases(folder: Path, **variables: str) -> tuple[int, str, list[str]]:
    """Exit status, output, and the calls of apt-get, where PostgreSQL is missing and the user is root."""
    calls = folder / "calls"
    for name, commands in {
        "apt-get": f'echo "apt-get $*" >> {calls}; echo called',
        "id": "echo 0",
    }.items():
        (folder / name).write_text(f"#!/bin/sh\n{commands}\n")
        (folder / name).chmod(0o755)
    (folder / ".venv" / "bin").mkdir(parents=True)
    (folder / ".venv" / "bin" / "python").write_text("#!/bin/sh\necho postgresql\n")
    (folder / ".venv" / "bin" / "python").chmod(0o755)
    (folder / "tools").mkdir()
    script = folder / "tools" / "ensure_databases.sh"
    script.write_bytes((ROOT / "tools" / "ensure_databases.sh").read_bytes())
    environment = {**os.environ, "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}", "CI": "", **variables}
    done = subprocess.run(
        ["bash", str(script)],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout, calls.read_text().splitlines() if calls.exists() else []


def test_packages_are_installed_after_it_was_said_which_and_how_to_avoid_it(tmp_path: Path) -> None:
    status, said, calls = databases(tmp_path, APT="yes")
    before, _, _ = said.partition("called")
    assert status == 0
    assert "postgresql" in before
    assert "make test APT=no" in before
    assert [call.split()[1] for call in calls] == ["update", "install"]


def test_nothing_is_installed_if_that_is_not_wanted(tmp_path: Path) -> None:
    status, said, calls = databases(tmp_path, APT="no")
    assert (status, calls) == (0, [])
    assert said.startswith("Not installed: postgresql.")
