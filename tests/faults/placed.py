"""Placed claims and releases: their requests, and what their answers must be.

Their clients send a request again with its key until they know its outcome. So one that was done twice has
two revisions. What an answer that nobody got says is kept beside its key, in the transaction of the claim.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from base64 import b64decode
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from typing import Any

from moorage.model.commands import Claim, Command, GrantClaims, PlaceClaims, ReleaseClaims, Released
from moorage.model.errors import MoorageError
from moorage.model.requests import CandidateRequest
from tests.faults.history import Operation
from tests.faults.leased import ABOUT_LEASES, ACTIVE, LEASE_GONE_CODE, LeasedAccount
from tests.oracle.account import limit
from tests.oracle.candidates import Oracle, canonical

NATIVE = (PlaceClaims, ReleaseClaims, *ABOUT_LEASES)
"""Commands that only the native API has."""

NO_ROOM_CODES = ("no_room", "never_fits")
STALE_CODES = ("generation_conflict", "already_holds")
UNDECIDED_CODE = "too_hard"


def is_native(command: Command[Any]) -> bool:
    """Whether it is sent to the native API, with a key."""
    return isinstance(command, NATIVE)


def place_body(command: PlaceClaims) -> dict[str, object]:
    """The request of a command, one entry for each claim."""
    entries = []
    for number, (claim, request) in enumerate(zip(command.claims, command.requests, strict=True)):
        assert request is not None
        (group,) = request.groups
        entry: dict[str, object] = {
            "ask": {"groups": {"": {"resources": dict(group.resources)}}},
            "project_id": claim.project_id,
            "user_id": claim.user_id,
            "consumer_type": claim.consumer_type,
        }
        if claim.lease is not None:
            entry["lease"] = claim.lease
        if claim.generation is None:
            entry["consumers"] = [claim.consumer]
        else:
            entry |= {"consumer": claim.consumer, "generation": claim.generation}
        if command.orders and (order := command.orders[number]) is not None:
            entry["order"] = {"strategy": order.strategy}
        entries.append(entry)
    mode = "all" if command.least == len(command.claims) else {"at_least": command.least}
    return {"claims": entries, "mode": mode, "explain": "never"}


def key_id(project: str, key: str) -> str:
    """By what the database knows a key."""
    digest = hashlib.sha256()
    for part in (project, key):
        digest.update(b"%d:" % len(part.encode()) + part.encode())
    return digest.hexdigest()


def kept_answer(text: str) -> Any:
    """An answer as it is kept beside a key."""
    return json.loads(zlib.decompress(b64decode(text[1:])) if text.startswith("z") else text)


def told_twice(first: Any, again: Any) -> str | None:
    """What is wrong with the second answer to one key."""
    if not isinstance(first, dict) or not isinstance(again, dict):
        return "an answer is missing"
    about = {"replayed", "state_now"}
    parts = [{name: value for name, value in each.items() if name not in about} for each in (first, again)]
    return None if parts[0] == parts[1] else f"another answer to the same key: {again}"


def done_on(account: LeasedAccount, operation: Operation, revision: int) -> str | None:
    """Carry a native command out on the twin. What is wrong with the answer to it; None for nothing."""
    command, answer = operation.command, operation.body
    if isinstance(command, PlaceClaims):
        return _placed(account, command, answer, revision)
    if isinstance(command, ABOUT_LEASES):
        return account.order(command, answer, revision, operation.tag)
    try:
        result = account.execute(command)
    except MoorageError as refusal:
        return f"against the rules: {refusal!r}"
    assert isinstance(result, Released)
    told = (answer.get("released"), answer.get("absent"))
    return None if told == (list(result.released), list(result.absent)) else f"it should be {result}"


def _placed(account: LeasedAccount, command: PlaceClaims, answer: Any, revision: int) -> str | None:
    found = {item["consumer"]: item for item in answer["claims"]}
    if len(found) < command.least:
        return f"only {len(found)} of {command.least} claims have a place"
    decided = answer.get("decided_at")
    at = sum(decided) if isinstance(decided, list) else decided
    before = deepcopy(account)
    for claim, request in zip(command.claims, command.requests, strict=True):
        item = found.pop(claim.consumer, None)
        if item is None:
            continue
        assert request is not None
        allocations = {uuid: given["resources"] for uuid, given in item["allocations"].items()}
        # If other processes wrote meanwhile, what was chosen need not be a candidate any more.
        if at == revision - 1 and not is_candidate(_freed(before, claim), request, allocations):
            return f"{allocations} is no candidate"
        try:
            account.execute(GrantClaims((replace(claim, allocations=allocations),), 1))
        except MoorageError as refusal:
            return f"against the rules: {refusal!r}"
        if account.holders[claim.consumer].generation != item["generation"]:
            return f"it should have the generation {account.holders[claim.consumer].generation}"
        if claim.lease is not None and (fault := account.claimed(claim.consumer, claim.lease, revision)):
            return f"against the rules: {fault}"
    return f"nobody asked for {sorted(found)}" if found else None


def _freed(account: LeasedAccount, claim: Claim) -> LeasedAccount:
    """What a move finds: its own holding is free for it."""
    if claim.generation is None:
        return account
    found = deepcopy(account)
    found.holders.pop(claim.consumer, None)
    return found


def is_candidate(
    account: LeasedAccount, request: CandidateRequest, allocations: Mapping[str, Mapping[str, int]]
) -> bool:
    """Whether a search on this state finds these allocations."""
    from tests.faults.answers import records_of

    wanted = canonical(allocations, {})[0]
    return any(held == wanted for held, _ in Oracle(records_of(account)).candidates(request))


def unfounded(account: LeasedAccount, operation: Operation, revision: int) -> str | None:
    """Why a native command would not have been refused so on this state; None if it would."""
    command, code = operation.command, operation.code
    if isinstance(command, ABOUT_LEASES):
        return account.unfounded(command, code, revision)
    if not isinstance(command, PlaceClaims):
        return f"{code} is no answer to a release"
    if code == UNDECIDED_CODE:
        return None
    if code in STALE_CODES:
        holders = {claim.consumer: account.holders.get(claim.consumer) for claim in command.claims}
        generations = {name: None if held is None else held.generation for name, held in holders.items()}
        fresh = all(generations[claim.consumer] == claim.generation for claim in command.claims)
        return "all generations are right" if fresh else None
    if code == LEASE_GONE_CODE:
        named = [claim.lease for claim in command.claims if claim.lease is not None]
        states = [account.leases[uuid].state for uuid in named if uuid in account.leases]
        active = states == [ACTIVE] * len(named)
        return "all its leases are active" if active else None
    if code not in NO_ROOM_CODES:
        return f"{code} is no answer to a claim"
    return "it fits" if fits(account, command) else None


def fits(account: LeasedAccount, command: PlaceClaims) -> bool:
    """Whether as many claims as it needs have places; several ask for one class each."""
    from tests.faults.answers import records_of

    if len(command.claims) == 1:
        (claim,), (request,) = command.claims, command.requests
        assert request is not None
        return bool(Oracle(records_of(_freed(account, claim))).candidates(request))
    asked = []
    for request in command.requests:
        assert request is not None
        [(name, amount)] = request.groups[0].resources.items()
        asked.append((name, amount))
    room = {}
    for uuid, node in account.nodes.items():
        for name, inventory in node.inventories.items():
            room[uuid, name] = limit(inventory) - account.used(uuid).get(name, 0)

    def takes(uuid: str, name: str, amount: int) -> bool:
        inventory = account.nodes[uuid].inventories[name]
        right = inventory.min_unit <= amount <= inventory.max_unit and not amount % inventory.step_size
        return right and room[uuid, name] >= amount

    def more(left: Sequence[tuple[str, int]], missing: int) -> bool:
        if missing <= 0:
            return True
        if len(left) < missing:
            return False
        name, amount = left[0]
        for place in [key for key in room if key[1] == name]:
            if takes(place[0], name, amount):
                room[place] -= amount
                done = more(left[1:], missing - 1)
                room[place] += amount
                if done:
                    return True
        return more(left[1:], missing)

    return more(sorted(asked, key=lambda each: -each[1]), command.least)
