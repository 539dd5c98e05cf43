"""A random sequence of requests, sent to both, up to the first difference that nobody explains."""

from __future__ import annotations

import random
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import cache, partial

from tests.peer import compare, known, state
from tests.peer.exchange import Answer, Request
from tests.peer.peers import Peers
from tests.peer.queries import READS
from tests.peer.spoil import spoiled
from tests.peer.world import NEWEST_MINOR, Build, Peek, World
from tests.peer.world import request as request_of
from tests.peer.writes import WRITES, prepare

SPOILED = 0.15
"""How many of the requests are made odd."""

LENGTH = 150
"""Requests after the forest is there: enough for it to change beyond recognition."""


@dataclass
class Difference:
    """What differed, and the requests up to it."""

    requests: list[Request]
    lines: list[str]


@dataclass
class Tally:
    """What was compared."""

    sequences: int = 0
    requests: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    explained: Counter[str] = field(default_factory=Counter)
    searches: Counter[str] = field(default_factory=Counter)

    def __str__(self) -> str:
        statuses = ", ".join(f"{status}: {count}" for status, count in sorted(self.statuses.items()))
        explained = ", ".join(f"{name}: {count}" for name, count in sorted(self.explained.items()))
        return (
            f"{self.sequences} sequences, {self.requests} requests; statuses {statuses}; "
            f"searches {dict(self.searches)}; known differences {explained or 'none'}"
        )


def steps(seed: int) -> list[Build]:
    """The sequence that ``seed`` stands for."""
    world = World(random.Random(seed), size=random.Random(seed).randint(3, 10))
    new_defaults = world.chance(0.5)
    made = prepare(world)
    kinds = [kind for _, kind in (*WRITES, *READS)]
    weights = [weight for weight, _ in (*WRITES, *READS)]
    for _ in range(LENGTH):
        build = world.random.choices(kinds, weights)[0](world)
        made.append(spoiled(world, build) if world.chance(SPOILED) else build)
    return [_under_policy(build, new_defaults, world.chance(0.95)) for build in made]


def _under_policy(build: Build, new_defaults: bool, heeded: bool) -> Build:
    """``build`` where the policy is so; if it is ``heeded``, who reshapes has the role that may."""

    def build_under_policy(peek: Peek) -> Request:
        request = replace(build(peek), new_defaults=new_defaults)
        if new_defaults and heeded and request.path == "/reshaper":
            request = replace(request, headers={"X-Roles": "service"} | request.headers)
        return request

    return build_under_policy


def run(peers: Peers, builds: list[Build], tally: Tally) -> Difference | None:
    """Send a sequence to both, from an empty database; None if they agree."""
    peers.reset()
    tally.sequences += 1
    sent: list[Request] = []
    for build in builds:
        request = build(peers.reference.send)
        sent.append(request)
        lines = step(peers, request, tally)
        if lines:
            return Difference(sent, lines)
    return None


def step(peers: Peers, request: Request, tally: Tally) -> list[str]:
    """Send one request to both; lines for what differs and is not known."""
    if request.path == "/allocation_candidates" and (
        "limit=" in request.query or request.max_candidates >= 0
    ):
        return _bounded_step(peers, request, tally)
    if request.writes:
        return _writing_step(peers, request, tally)
    ours, theirs = _send(peers, request, tally)
    return _unexplained(peers, request, ours, theirs, tally)


def _writing_step(peers: Peers, request: Request, tally: Tally) -> list[str]:
    """A write, and whether both hold the same after it."""
    with closing(state.keep(peers.reference.database)) as before:
        ours, theirs = _send(peers, request, tally)
        lines = _unexplained(peers, request, ours, theirs, tally)
        if lines:
            return lines
        if theirs.status < 300 and ours.status >= 400:
            # A known fault made the reference take what Moorage refuses. Both held the same before:
            # from there they go on, and Moorage must still be there.
            state.restore(peers.reference.database, before)
    return _state_differences(peers, request, tally)


def _send(peers: Peers, request: Request, tally: Tally) -> tuple[Answer, Answer]:
    ours, theirs = peers.send(request)
    tally.requests += 1
    tally.statuses[theirs.status] += 1
    if request.path == "/allocation_candidates" and theirs.status == 200:
        tally.searches["found" if theirs.json["allocation_requests"] else "found nothing"] += 1
    return ours, theirs


def _unexplained(peers: Peers, request: Request, ours: Answer, theirs: Answer, tally: Tally) -> list[str]:
    lines = compare.differences(request, ours, theirs)
    if lines:
        names = known.names_of(known.Case(request, ours, theirs, lines, peers.reference.send))
        tally.explained.update(names)
        if names:
            return []
    return lines


def _bounded_step(peers: Peers, request: Request, tally: Tally) -> list[str]:
    """The same search twice: all that there is, and then what is kept of it."""
    whole, their_whole = _send(peers, compare.unbounded(request), tally)
    lines = _unexplained(peers, compare.unbounded(request), whole, their_whole, tally)
    if lines:
        return lines
    ours, theirs = _send(peers, request, tally)
    if not whole.status == their_whole.status == ours.status == theirs.status == 200:
        return _unexplained(peers, request, ours, theirs, tally)
    lines = compare.bounded_differences(request, ours, theirs, whole)
    root_of = cache(partial(_root_of, peers))
    lines += [f"Moorage: {line}" for line in compare.shown_differences(request, ours, whole, root_of)]
    lines += [
        f"the reference: {line}" for line in compare.shown_differences(request, theirs, their_whole, root_of)
    ]
    if not compare.differences(request, whole, their_whole):
        lines += compare.counts_differ(request, ours, theirs, whole)
    return lines


def _root_of(peers: Peers, provider: str) -> str:
    """The root of a provider's tree."""
    asked = request_of("GET", f"/resource_providers/{provider}", NEWEST_MINOR)
    return str(peers.moorage.send(asked).json["root_provider_uuid"])


def _state_differences(peers: Peers, request: Request, tally: Tally) -> list[str]:
    lines = _compare_states(peers)
    if lines and known.may_leave_consumers(request):
        # What is left behind would make every later answer about these consumers differ.
        state.drop_idle_consumers(peers.reference.database)
        lines = _compare_states(peers)
        tally.explained[known.CONSUMER_LEFT_BEHIND] += not lines
    return lines


def _compare_states(peers: Peers) -> list[str]:
    return state.differences(peers.moorage.state(), state.read(peers.reference.database))
