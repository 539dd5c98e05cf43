"""The process that holds one throw-away server for as long as the test session lives.

A server belongs to the session, not to the worker process that asked for it first, and it must
go even when the session is killed. So it is held by a process of its own, which waits for a file
lock that the session's first process keeps: the kernel lets go of it however that process ends.
"""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.servers.throwaway import ServerError, server_of

ALIVE_FILE = "alive"
"""Locked by the session's first process from beginning to end."""


def launch(kind: str, session: Path) -> None:
    """Start the keeper of a server of ``kind``; returns before the server answers."""
    root = Path(__file__).parents[2]
    subprocess.run(
        [sys.executable, "-m", "tests.servers.keeper", kind, str(session)],
        cwd=root,
        env=without_coverage(os.environ),
        check=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )


def report_of(kind: str, session: Path) -> Path:
    """The file in which the keeper says ``{"url": ...}`` or ``{"error": ...}``."""
    return session / f"{kind}.json"


def folder_of(kind: str, session: Path) -> Path:
    """The server's folder; it is there until the keeper is done."""
    return session / kind


def keep(kind: str, session: Path) -> None:
    """Serve until the session is over, then remove the server and its folder."""
    server = server_of(kind, folder_of(kind, session))
    try:
        try:
            server.start()
        except (ServerError, OSError) as failure:
            _report(kind, session, {"error": str(failure)})
            return
        _report(kind, session, {"url": server.url})
        with (session / ALIVE_FILE).open() as alive:
            fcntl.flock(alive, fcntl.LOCK_EX)
    finally:
        server.remove()


def _report(kind: str, session: Path, report: Mapping[str, str]) -> None:
    target = report_of(kind, session)
    draft = target.with_suffix(".draft")
    draft.write_text(json.dumps(report))
    draft.rename(target)


def without_coverage(environment: Mapping[str, str]) -> dict[str, str]:
    """For a process that is not what is tested: measuring would only make it slow."""
    return {name: value for name, value in environment.items() if not name.startswith("COVERAGE_")}


if __name__ == "__main__":
    # The parent goes at once, so that nobody has to wait for the keeper as for a child, and
    # neither Ctrl-C nor the end of a terminal reaches it.
    if os.fork():
        os._exit(0)
    os.setsid()
    keep(sys.argv[1], Path(sys.argv[2]))
