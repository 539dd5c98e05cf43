"""Hold each room to its share of covered lines and branches.

Usage: ``coverage_gate.py FILE`` with the file that ``coverage json`` writes. The exit status is 1
if a room is below its threshold.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any

PACKAGE = "moorage"
CLIENT = "moorage_client"

DEFAULT_PERCENT = 95.0
"""For rooms that do I/O: some failures are not worth simulating."""

PERCENT: Mapping[str, float] = {"model": 100.0, "rules": 100.0, "search": 100.0}
"""Pure rooms: all code there is easy to reach, so code that no test reaches should be removed."""

SHOWN_PLACES = 25
"""Places shown per file: enough to see what is missing, short enough to read."""

TOP = "(top)"
"""Modules outside of the rooms: the entry points."""


@dataclass
class Room:
    """Counts of lines and branches together, and where some are missing."""

    covered: int = 0
    total: int = 0
    missing: list[str] = field(default_factory=list)

    @property
    def percent(self) -> float:
        return 100.0 * self.covered / self.total if self.total else 100.0


def measure(report: Mapping[str, Any]) -> dict[str, Room]:
    """Rooms by name from coverage's JSON report, which must hold branches."""
    if not report["meta"]["branch_coverage"]:
        raise ValueError("the report has no branches: set branch = true")
    rooms: dict[str, Room] = defaultdict(Room)
    for file, details in sorted(report["files"].items()):
        summary = details["summary"]
        room = rooms[room_of(file)]
        room.covered += summary["covered_lines"] + summary["covered_branches"]
        room.total += summary["num_statements"] + summary["num_branches"]
        never_run = details["missing_lines"]
        places = [str(line) for line in never_run]
        # A branch from or to a line that never ran says nothing that the line does not say.
        places += [
            f"{start}->{end}"
            for start, end in details["missing_branches"]
            if start not in never_run and end not in never_run
        ]
        if places:
            more = f" and {len(places) - SHOWN_PLACES} more" if len(places) > SHOWN_PLACES else ""
            room.missing.append(f"{file}: {', '.join(places[:SHOWN_PLACES])}{more}")
    return dict(rooms)


def room_of(file: str) -> str:
    """``src/moorage/store/tables.py`` is in ``store``; the client is a room of its own."""
    parts = PurePath(file).parts
    if CLIENT in parts:
        return CLIENT
    inside = parts[len(parts) - parts[::-1].index(PACKAGE) :]
    return inside[0] if len(inside) > 1 else TOP


def failures(rooms: Mapping[str, Room]) -> list[str]:
    """One message for each room below its threshold, and for a pure room that was not measured."""
    messages = [f"{name}: not measured at all" for name in PERCENT if name not in rooms]
    for name, room in rooms.items():
        wanted = PERCENT.get(name, DEFAULT_PERCENT)
        if room.percent < wanted:
            messages.append(f"{name}: {room.percent:.2f} % is below {wanted:g} %")
            messages.extend(f"  {missing}" for missing in room.missing)
    return messages


def main(path: Path) -> int:
    """Print a table of rooms and what is missing; 0 if all is well."""
    rooms = measure(json.loads(path.read_text()))
    for name, room in sorted(rooms.items()):
        wanted = PERCENT.get(name, DEFAULT_PERCENT)
        print(
            f"{name:14} {room.percent:6.2f} %   (at least {wanted:g} %, of {room.total} lines and branches)"
        )
    messages = failures(rooms)
    for message in messages:
        print(message, file=sys.stderr)
    return 1 if messages else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
