"""An installed Moorage, as someone meets it who has nothing else: serve the sample cloud, run what it prints.

    python -m tests.packaging.served /somewhere/bin/moorage

Needs Python, bash and curl only, so that any environment can be looked at.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

START_SECONDS = 300.0
STOP_SECONDS = 60.0
END_OF_GUIDE = "Stop it with Ctrl-C."
COMMAND = re.compile(r"^  (?=\S)(.*)$", re.MULTILINE)
"""A line of the guide that is to be copied is indented by two spaces."""

KEPT = ("HOME", "LANG", "PATH", "PIP_CERT", "TMPDIR")


@dataclass(frozen=True)
class Ran:
    """A printed command, and what came of it."""

    command: str
    status: int
    output: str

    @property
    def is_fine(self) -> bool:
        """Whether it did what it is printed for: it ended well, and no answer is a refusal."""
        refused = re.search(r'"errors": ?\[|^HTTP/\S+ [45]', self.output, re.MULTILINE)
        return self.status == 0 and bool(self.output.strip()) and refused is None


def variables(folder: Path) -> dict[str, str]:
    """An environment without anything of a checkout, of a virtual environment, or of a configuration."""
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    return {**kept, "HOME": str(folder), "NO_COLOR": "1"}


def guide_in(log: Path, server: subprocess.Popen[bytes]) -> str:
    """What the server has printed up to the end of its guide. Raises AssertionError if that does not come."""
    until = time.monotonic() + START_SECONDS
    while END_OF_GUIDE not in (text := log.read_text()):
        assert server.poll() is None, text
        assert time.monotonic() < until, text
        time.sleep(0.2)
    return text


def run_printed(binary: Path, folder: Path) -> list[Ran]:
    """Serve the sample cloud from ``folder`` with ``binary``; what came of each printed command elsewhere.

    Raises AssertionError if it does not serve, or does not end when it is told to.
    """
    here, elsewhere = folder / "served", folder / "elsewhere"
    for each in (here, elsewhere):
        each.mkdir(parents=True)
    log = folder / "log"
    with log.open("wb") as output:
        server = subprocess.Popen(
            [binary, "serve", "--demo", "--port", "0"],
            cwd=here,
            env=variables(folder),
            stdout=output,
            stderr=output,
        )
    try:
        commands = COMMAND.findall(guide_in(log, server).partition("Moorage answers at")[2])
        ran = [run(command, elsewhere, variables(folder)) for command in commands]
        assert list(elsewhere.iterdir()) == [], "a printed command leaves something behind"
        server.send_signal(signal.SIGTERM)
        assert server.wait(STOP_SECONDS) == 0, log.read_text()
    finally:
        server.kill()
        server.wait()
    return ran


def run(command: str, folder: Path, environment: dict[str, str]) -> Ran:
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", command],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return Ran(command, done.returncode, done.stdout)


def main(words: Sequence[str]) -> int:
    with tempfile.TemporaryDirectory() as folder:
        ran = run_printed(Path(words[0]).absolute(), Path(folder))
    lines = [f"{'fine' if each.is_fine else 'FAILED'}: {each.command}" for each in ran]
    lines += [each.output for each in ran if not each.is_fine]
    sys.stdout.write("\n".join([*lines, f"{len(ran)} printed commands"]) + "\n")
    return 0 if ran and all(each.is_fine for each in ran) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
