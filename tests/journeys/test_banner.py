"""Every command that ``moorage serve`` prints works, as printed, with the very service that printed it."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.certificates import issued

pytestmark = pytest.mark.journey

START_SECONDS = 120.0
LAST_LINE = "Stop it with Ctrl-C."

BINARIES = Path(sys.executable).parent

# A refused request is an error of curl here, which ends the script.
STRICT_CURL = 'set -euo pipefail\ncurl() { command curl --fail-with-body "$@"; }\n'

Prepare = Callable[[Path], tuple[list[str], dict[str, str]]]


def sample_cloud(folder: Path) -> tuple[list[str], dict[str, str]]:
    """As ``make run``: noauth2, and a database that nobody named."""
    return ["--demo"], {}


def empty(folder: Path) -> tuple[list[str], dict[str, str]]:
    return ["--data-dir", "data of mine"], {}


def relative_database(folder: Path) -> tuple[list[str], dict[str, str]]:
    return ["--demo", "--database", "sqlite:///here.sqlite"], {"OS_PLACEMENT_API__AUTH_STRATEGY": "token"}


def tokens_by_a_file(folder: Path) -> tuple[list[str], dict[str, str]]:
    connection = f"[placement_database]\nconnection = sqlite:///{folder}/c.sqlite\nsync_on_startup = true\n"
    (folder / "p.conf").write_text(f"{connection}[api]\nauth_strategy = token\n")
    return ["--demo", "--config-file", "p.conf"], {}


def https(folder: Path) -> tuple[list[str], dict[str, str]]:
    certificate, key = issued(folder, "service", issued(folder, "authority"))
    return ["--demo", "--tls-certificate", str(certificate), "--tls-key", str(key)], {}


@contextmanager
def printed(folder: Path, arguments: list[str], variables: dict[str, str]) -> Iterator[list[str]]:
    """The commands that a service prints, while it runs."""
    log = folder / "serve.log"
    with log.open("wb") as output:
        server = subprocess.Popen(
            [BINARIES / "moorage", "serve", "--port", "0", *arguments],
            cwd=folder,
            env=os.environ | variables,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        deadline = time.monotonic() + START_SECONDS
        while LAST_LINE not in (text := log.read_text()):
            assert server.poll() is None, text
            assert time.monotonic() < deadline, text
            time.sleep(0.05)
        assert text.count("Database: ") == 1, text
        yield [line.strip() for line in text.splitlines() if line.startswith("  ")]
    finally:
        server.terminate()
        server.wait()


def run_all(commands: list[str], folder: Path, variables: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run commands in one shell; the first that is refused ends it."""
    return subprocess.run(
        ["bash", "-c", STRICT_CURL + "\n".join(commands)],
        cwd=folder,
        env=os.environ | variables,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    "prepare",
    [sample_cloud, empty, relative_database, tokens_by_a_file, https],
    ids=lambda function: function.__name__,
)
def test_every_printed_command_works_with_the_service_that_printed_it(
    prepare: Prepare, tmp_path: Path
) -> None:
    served, elsewhere = tmp_path / "served", tmp_path / "elsewhere"
    served.mkdir()
    elsewhere.mkdir()
    with printed(served, *prepare(served)) as commands:
        assert len(commands) >= 3
        # As in another terminal: another folder, and no variable of the service.
        result = run_all(commands, elsewhere, {})
    assert result.returncode == 0, f"{commands}\n{result.stdout}\n{result.stderr}"
    assert list(elsewhere.iterdir()) == []
    assert any(shlex.split(command)[0] == "curl" for command in commands)
    # A claim among them is granted.
    assert (prepare is empty) or "HTTP/1.1 204" in result.stdout
