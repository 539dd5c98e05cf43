"""Look every locked distribution up in a database of known vulnerabilities, by pip-audit.

    python tools/audit.py requirements/run.txt ...

Exit status: 0 if all were looked up and none is known to be vulnerable; 1 if one is known to be vulnerable;
2 if some could not be looked up, for example without the network.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

CLEAN: Final = 0
VULNERABLE: Final = 1
UNKNOWN: Final = 2

SERVICES: Final = ("pypi", "osv")
"""Databases in order of use: the second only if the first does not answer."""

PIN: Final = re.compile(r"^([^\s#=]+==[^\s;\\]+)", re.MULTILINE)
"""A distribution and its version, at the start of a lock's entry. Which Python an entry is for follows it."""

Report = Mapping[str, Any]
Ask = Callable[[Path, str], Report | None]


def layers(text: str) -> list[list[str]]:
    """The pins of a lock, for all versions of Python, in lists without repeated distributions.

    pip-audit skips pins for other versions of Python, and accepts one version of each distribution.
    """
    found: list[dict[str, str]] = []
    for pin in PIN.findall(text):
        name = pin.partition("==")[0]
        layer = next((each for each in found if name not in each), None)
        if layer is None:
            layer = {}
            found.append(layer)
        layer[name] = pin
    return [list(layer.values()) for layer in found]


def ask(lock: Path, service: str) -> Report | None:
    """pip-audit's report on all of a lock; None if it has none, for example without the network."""
    dependencies: list[Any] = []
    for layer in layers(lock.read_text()):
        report = ask_layer(lock, layer, service)
        if report is None:
            return None
        dependencies += report.get("dependencies", ())
    return {"dependencies": dependencies}


def ask_layer(lock: Path, pins: Sequence[str], service: str) -> Report | None:
    """The same for some of a lock's pins."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write("\n".join(pins))
        file.flush()
        command = [
            str(Path(sys.executable).parent / "pip-audit"),
            *("--no-deps", "--disable-pip", "--progress-spinner", "off"),
            *("--vulnerability-service", service, "--format", "json", "--requirement", file.name),
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
    status, said = UNKNOWN, ["no service could be reached"]
    for service in SERVICES:
        report = ask(lock, service)
        if report is None:
            continue
        status, said = judge(report)
        if status != UNKNOWN:
            break
    return status, said


def main(locks: Sequence[str]) -> int:
    """Audit all locks, and return the worst status: a vulnerability is worse than an unknown result."""
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
