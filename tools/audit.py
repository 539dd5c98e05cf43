"""Look every locked distribution up in a database of known vulnerabilities, by pip-audit.

    python tools/audit.py requirements/run.txt ...

Exit status: 0 if all were looked up and none is known to be vulnerable, 1 if one is, 2 if some could not
be looked up (without the network, for example): then nothing is known, which is not the same as none.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

CLEAN: Final = 0
VULNERABLE: Final = 1
UNKNOWN: Final = 2

SERVICES: Final = ("pypi", "osv")
"""Databases in the order in which they are asked: the second only if the first cannot answer."""

Report = Mapping[str, Any]
Ask = Callable[[Path, str], Report | None]


def ask(lock: Path, service: str) -> Report | None:
    """pip-audit's report on a lock; None if it has none, for want of the network for example."""
    command = [
        str(Path(sys.executable).parent / "pip-audit"),
        *("--require-hashes", "--disable-pip", "--progress-spinner", "off"),
        *("--vulnerability-service", service, "--format", "json", "--requirement", str(lock)),
    ]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    try:
        report: Report = json.loads(done.stdout)
    except ValueError:
        lines = done.stderr.strip().splitlines()
        print(f"{lock}: {service} cannot be asked: {lines[-1] if lines else 'no reason given'}")
        return None
    return report


def judge(report: Report) -> tuple[int, list[str]]:
    """Exit status for a report, and what to say."""
    lines: list[str] = []
    skipped = 0
    for item in report.get("dependencies", ()):
        if "skip_reason" in item:
            skipped += 1
        for found in item.get("vulns", ()):
            fixed = ", ".join(found.get("fix_versions", ())) or "no version yet"
            lines.append(f"{item['name']} {item.get('version', '')}: {found['id']}, fixed in {fixed}")
    if lines:
        return VULNERABLE, lines
    looked_up = len(report.get("dependencies", ())) - skipped
    if skipped or not looked_up:
        return UNKNOWN, [f"{skipped} of {skipped + looked_up} distributions could not be looked up"]
    return CLEAN, [f"{looked_up} distributions, none known to be vulnerable"]


def audit(lock: Path, ask: Ask = ask) -> tuple[int, list[str]]:
    """Exit status for one lock, from the first service that knows all of it, and what to say."""
    status, said = UNKNOWN, ["nobody could be asked"]
    for service in SERVICES:
        report = ask(lock, service)
        if report is None:
            continue
        status, said = judge(report)
        if status != UNKNOWN:
            break
    return status, said


def main(locks: Sequence[str]) -> int:
    """Audit all locks; the worst of what was found: a vulnerability before what is not known."""
    statuses = set()
    for lock in map(Path, locks):
        status, said = audit(lock)
        statuses.add(status)
        for line in said:
            print(f"{lock}: {line}")
    if VULNERABLE in statuses:
        return VULNERABLE
    if UNKNOWN in statuses:
        print("The audit is incomplete: it needs the network. Nothing is known of what was not looked up.")
        return UNKNOWN
    return CLEAN


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
