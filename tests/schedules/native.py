"""Native writes on a schedule: places that the service chooses, gangs, and idempotency keys."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any

from hypothesis import strategies as st

from moorage.model.commands import Claim, Command, GrantClaims, PlaceClaims
from moorage.model.errors import (
    ConsumerGenerationError,
    EntriesRefusedError,
    HardToPlaceError,
    MoorageError,
    NothingFitsError,
)
from moorage.model.keys import IdempotencyKey
from moorage.model.orders import PACK, Order
from moorage.model.placing import ClaimOrigin, Granted, GrantedEntry
from moorage.model.requests import CandidateRequest, RequestGroup
from tests.faults.answers import records_of
from tests.oracle.account import Account
from tests.oracle.candidates import Oracle, canonical
from tests.oracle.compare import comparable
from tests.property.strategies_account import DELETES_A_NAME, identifiers

PLACED = identifiers(0xEEEE, 4)
"""Consumers whose places the service chooses."""


@dataclass(frozen=True, slots=True)
class Sent:
    """A command with the name of its key, None without one."""

    command: Command[Any]
    key: str | None = None

    def idempotency_key(self) -> IdempotencyKey | None:
        """Of this request."""
        return None if self.key is None else IdempotencyKey(self.key, repr(self.command), text_of)


def text_of(result: object) -> str:
    """What is remembered of a result."""
    if not isinstance(result, Granted):
        return repr(comparable(result))
    return json.dumps(
        [
            [each.generation, each.allocations] if isinstance(each, GrantedEntry) else str(each)
            for each in result.entries
        ]
    )


@st.composite
def places(draw: st.DrawFn, account: Account) -> PlaceClaims:
    """Up to three claims of one size, or of several: all of them, or what fits."""
    consumers = draw(st.lists(st.sampled_from(PLACED), min_size=1, max_size=3, unique=True))
    claims = []
    least = draw(st.sampled_from([len(consumers)] * 3 + [1]))
    for consumer in consumers:
        holder = account.holders.get(consumer)
        stale = draw(st.sampled_from([False] * 9 + [True]))
        generation = 9 if stale else None if holder is None else holder.generation
        claims.append(Claim(consumer, {}, "red", "ann", generation, None, ClaimOrigin("{}")))
    sizes = st.sampled_from([1, 2, 3, 5])
    requests = tuple(CandidateRequest((RequestGroup("", {"VCPU": draw(sizes)}),), limit=1) for _ in claims)
    orders = draw(st.sampled_from([(), tuple(Order(PACK) for _ in claims)]))
    return PlaceClaims(tuple(claims), requests, least, orders=orders)


@st.composite
def sent(
    draw: st.DrawFn, account: Account, group: Sequence[Command[Any]], earlier: Sequence[Sent], number: int
) -> tuple[Sent, ...]:
    """A group, some of it with keys, with placed claims, and with what was sent before."""
    found: list[Sent] = []
    for place, command in enumerate(group):
        how = draw(st.sampled_from(["plain"] * 4 + ["keyed", "placed", "placed", "again", "reused"]))
        key = f"key {number}-{place}"
        if command.stands_alone or how == "plain":
            found.append(Sent(command))
        elif how == "placed":
            found.append(Sent(draw(places(account)), key))
        elif how == "keyed" or not earlier:
            found.append(Sent(command, key))
        else:
            other = draw(st.sampled_from(list(earlier)))
            found.append(other if how == "again" else Sent(command, other.key))
    return tuple(sorted(found, key=lambda each: not isinstance(each.command, DELETES_A_NAME)))


# What must be true of placed claims.


def misplaced(account: Account, command: PlaceClaims, text: str) -> str | None:
    """Carry a placed command out on the twin. Says what is wrong with its answer, None for nothing."""
    entries = json.loads(text)
    placed = [number for number, entry in enumerate(entries) if not isinstance(entry, str)]
    if len(placed) < command.least:
        return f"only {len(placed)} of {command.least} claims have a place"
    before = deepcopy(account)
    for number in placed:
        request, claim = command.requests[number], command.claims[number]
        generation, allocations = entries[number]
        assert request is not None
        # What the consumer holds is not free for it: only a move frees it.
        if not any(option[0] == canonical(allocations, {})[0] for option in options(before, request)):
            return f"{allocations} is no candidate for claim {number}"
        try:
            account.execute(GrantClaims((replace(claim, allocations=allocations),), 1))
        except MoorageError as refusal:
            return f"claim {number} is against the rules: {refusal!r}"
        if account.holders[claim.consumer].generation != generation:
            return f"claim {number} has the generation {generation}"
    return None


def options(account: Account, request: CandidateRequest) -> Iterator[Any]:
    """All candidates on the state of an account."""
    yield from Oracle(records_of(account)).candidates(request)


def fits(account: Account, command: PlaceClaims, without: Collection[int]) -> bool:
    """Whether as many claims as the command needs have places, in any arrangement of theirs.

    ``without``: numbers of claims that are refused for another reason, and so take no room.
    """

    def more(account: Account, number: int, missing: int) -> bool:
        if missing == 0:
            return True
        if len(command.claims) - number < missing:
            return False
        if number in without:
            return more(account, number + 1, missing)
        request = command.requests[number]
        assert request is not None
        for held, _ in options(account, request):
            after = deepcopy(account)
            allocations: dict[str, dict[str, int]] = {}
            for provider, name, amount in held:
                allocations.setdefault(provider, {})[name] = amount
            after.execute(GrantClaims((Claim(f"new {number}", allocations, "red", "ann"),), 1))
            if more(after, number + 1, missing - 1):
                return True
        return more(account, number + 1, missing)

    return more(account, 0, command.least)


def unfounded(command: PlaceClaims, error: Exception, at: Account, past: dict[int, Account]) -> str | None:
    """What is wrong with the refusal of a placed command on the state ``at``; None for nothing.

    ``past``: states by revision.
    """
    if isinstance(error, HardToPlaceError):
        return None
    if not isinstance(error, EntriesRefusedError):
        return f"{error!r} is no refusal of a placed claim"
    stale = [number for number, reason in error.refused if isinstance(reason, ConsumerGenerationError)]
    for number, reason in error.refused:
        consumer = command.claims[number].consumer
        if isinstance(reason, ConsumerGenerationError):
            holder = at.holders.get(consumer)
            if (None if holder is None else holder.generation) != reason.actual:
                return f"{reason!r}, but it is {holder}"
        elif not isinstance(reason, NothingFitsError):
            return f"{reason!r} is no reason"
        elif reason.revision not in past:
            return f"nothing fitted at revision {reason.revision}, which is not of the time of the request"
        elif fits(past[reason.revision], command, stale):
            return f"at revision {reason.revision} it fitted"
    return None
