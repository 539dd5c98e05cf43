"""Moorage and the reference, side by side: what differs has to be a known fault of the reference."""

from __future__ import annotations

import os
import random
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.peer import sequence
from tests.peer.peers import Peers, running
from tests.peer.shrink import shrink
from tests.servers.databases import SQLITE, fresh_database

SEED_VARIABLE = "MOORAGE_PEER_SEED"
"""Runs the one sequence of this seed."""

SECONDS_VARIABLE = "MOORAGE_PEER_SECONDS"
"""Runs sequences of fresh seeds for so long."""

DATABASE_VARIABLE = "MOORAGE_PEER_DATABASE"
"""The kind of database that Moorage gets: postgresql or mariadb; otherwise SQLite."""

SEEDS = range(1, 6)
"""What runs otherwise: the same every time, and less than half a minute."""

pytestmark = pytest.mark.slow


def seeds() -> Iterator[int]:
    """Seeds of the sequences to run, as the environment says."""
    if SEED_VARIABLE in os.environ:
        yield int(os.environ[SEED_VARIABLE])
    elif SECONDS_VARIABLE in os.environ:
        end = time.monotonic() + float(os.environ[SECONDS_VARIABLE])
        while time.monotonic() < end:
            yield random.SystemRandom().getrandbits(32)
    else:
        yield from SEEDS


def failure(peers: Peers, seed: int, found: sequence.Difference) -> str:
    """What to tell of a difference: how to see it again, and the fewest requests that show it."""
    database = os.environ.get(DATABASE_VARIABLE)
    setting = f"{DATABASE_VARIABLE}={database} " if database else ""
    shortest = shrink(peers, sequence.steps(seed), found)
    requests = "\n".join(f"  {request}" for request in shortest.requests)
    lines = "\n".join(f"  {line}" for line in shortest.lines)
    return (
        f"To see it again: {setting}{SEED_VARIABLE}={seed} make peer\n"
        f"After the requests\n{requests}\nMoorage and the reference differ:\n{lines}"
    )


def test_random_sequences_are_answered_as_the_reference_answers_them(tmp_path: Path) -> None:
    tally = sequence.Tally()
    done = []
    kind = os.environ.get(DATABASE_VARIABLE, SQLITE)
    with ExitStack() as stack:
        url = None if kind == SQLITE else stack.enter_context(fresh_database(kind, tmp_path))
        peers = stack.enter_context(running(tmp_path, url))
        for seed in seeds():
            try:
                found = sequence.run(peers, sequence.steps(seed), tally)
            except Exception as error:
                error.add_note(f"{SEED_VARIABLE}={seed}")
                raise
            if found is not None:
                pytest.fail(failure(peers, seed, found), pytrace=False)
            done.append(seed)
    sys.stdout.write(f"Seeds without a difference: {' '.join(map(str, done))}\n{tally}\n")
    assert tally.searches["found"] > 0
    assert tally.statuses.keys() >= {200, 400}
