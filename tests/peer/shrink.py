"""Make a failing sequence short enough to read."""

from __future__ import annotations

from tests.peer.peers import Peers
from tests.peer.sequence import Difference, Tally, run
from tests.peer.world import Build

MOST_RUNS = 80
"""Runs of a sequence: more shorten it hardly any further, and each takes a second or so."""


def shrink(peers: Peers, builds: list[Build], found: Difference) -> Difference:
    """The shortest sequence found, by leaving out ever smaller parts, that still ends in a difference."""
    kept = builds[: len(found.requests)]
    shortest = found
    runs = 0
    size = len(kept) // 2
    while size and runs < MOST_RUNS:
        at = len(kept) - 1
        while at > 0 and runs < MOST_RUNS:
            fewer = kept[: max(at - size, 0)] + kept[at:]
            difference = run(peers, fewer, Tally())
            runs += 1
            if difference is not None:
                kept = fewer[: len(difference.requests)]
                shortest = difference
                at = min(at - size, len(kept) - 1)
            else:
                at -= size
        size //= 2
    return shortest
