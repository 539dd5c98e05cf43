"""``make faults``: rounds on one database, or on all one after the other, until the time is over."""

from __future__ import annotations

import argparse
import random
import sys
from datetime import UTC, datetime

from tests.faults.opening import DATABASES, STANDBY, opened
from tests.faults.record import Session, add_row, commit_at_hand
from tests.faults.runs import SEED, Plan, chosen_seed, run
from tests.faults.serving import ServingError
from tests.servers.throwaway import ServerError

ROUND_SECONDS = 120.0
"""How long the clients of one round are under fire; each round has a database of its own."""

MOST_ABANDONED = 10
"""Rounds that the harness could not bring to an end."""


def main() -> int:
    """Exit status 1 if there was a violation."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--database", choices=(*DATABASES, STANDBY, "all"), default="all")
    parser.add_argument("--seconds", type=float, default=600.0, help="under faults, for each database")
    parser.add_argument("--hosts", type=int, choices=(1, 2), default=1, help="2: behind HAProxy")
    parser.add_argument("--record", action="store_true", help="add a row to docs/reliability/record.md")
    asked = parser.parse_args()
    seed = chosen_seed()
    databases: tuple[str, ...] = DATABASES if asked.database == "all" else (asked.database,)
    violations = 0
    for database in databases:
        commit = commit_at_hand()
        session = rounds(database, seed, asked.seconds, asked.hosts)
        violations += session.violations
        say(session.row(commit, datetime.now(UTC)))
        if asked.record:
            add_row(session, commit)
    return 1 if violations else 0


def rounds(database: str, seed: int, seconds: float, hosts: int) -> Session:
    """One round after the other, at least one, each with the next seed.

    Only the time under faults counts. A round takes longer: it starts a database, and audits it in the end.
    """
    session = Session(database if hosts == 1 else f"{database}, {hosts} hosts", seed)
    while True:
        plan = Plan(seed, min(ROUND_SECONDS, seconds), random.Random(seed).choice((1, 2, 2, 3)), hosts=hosts)
        try:
            with opened(database) as target:
                report = run(target, plan)
        except (ServerError, ServingError) as failure:
            # The harness could not bring something back in time: this says nothing of the service.
            session.abandoned.append(seed)
            say(f"{database}: {SEED}={seed}: abandoned: {failure}")
        else:
            session.reports.append(report)
            say(str(report))
        seed += 1
        # Where the harness never comes to an end, it shall not try for ever.
        if session.seconds >= seconds or len(session.abandoned) > MOST_ABANDONED:
            return session


def say(text: str) -> None:
    """A line that is seen at once, also in a file."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
