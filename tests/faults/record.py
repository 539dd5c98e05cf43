"""The record of runs: one row for all rounds that were made in one go on one database."""

from __future__ import annotations

import fcntl
import subprocess
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from tests.faults.runs import Report, counted

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "reliability" / "record.md"

HEADING = "| Date | Commit | Database | Rounds | Minutes | Seeds | Operations | Faults | Violations |"
"""The head of the table to which rows are added."""


@dataclass
class Session:
    """The rounds of one go on one database."""

    database: str
    first_seed: int
    reports: list[Report] = field(default_factory=list)
    abandoned: list[int] = field(default_factory=list)
    """Seeds of rounds that the harness could not bring to an end."""

    @property
    def violations(self) -> int:
        """Of all rounds."""
        return sum(len(report.violations) for report in self.reports)

    @property
    def seconds(self) -> float:
        """Under faults, of all rounds that came to an end."""
        return sum(report.seconds for report in self.reports)

    def row(self, commit: str, now: datetime) -> str:
        """The session as a row of the record's table."""
        last = self.first_seed + len(self.reports) + len(self.abandoned) - 1
        bad = [report.seed for report in self.reports if report.violations]
        cells = (
            f"{now:%Y-%m-%d %H:%M}",
            f"`{commit}`",
            self.database,
            str(len(self.reports)) + (f" ({len(self.abandoned)} abandoned)" if self.abandoned else ""),
            f"{self.seconds / 60:.0f}",
            f"{self.first_seed} to {last}",
            counted(_sum(report.operations for report in self.reports)),
            counted(_sum(report.faults for report in self.reports)),
            f"{self.violations}" + (f" (seeds {', '.join(map(str, bad))})" if bad else ""),
        )
        return f"| {' | '.join(cells)} |"


def _sum(counts: Iterable[Mapping[str, int]]) -> Counter[str]:
    found: Counter[str] = Counter()
    for each in counts:
        found.update(each)
    return found


def commit_at_hand() -> str:
    """The commit that is tested, with a plus if the files differ from it."""
    command = ["git", "describe", "--always", "--dirty=+", "--abbrev=10"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def add_row(session: Session, commit: str, page: Path = PAGE) -> None:
    """Put the session's row at the end of the table; several processes may do so at once."""
    row = session.row(commit, datetime.now(UTC))
    with page.open("r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        lines = file.read().splitlines()
        place = lines.index(HEADING) + 2
        while place < len(lines) and lines[place].startswith("|"):
            place += 1
        lines.insert(place, row)
        file.seek(0)
        file.truncate()
        file.write("\n".join(lines) + "\n")
