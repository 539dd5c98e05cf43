"""``POST /moorage/v1/claims``: claims for new consumers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from moorage.api.http.exchange import Answer
from moorage.api.http.validation import BODY_FORMATS, Validator
from moorage.api.native import entries, problems, writes
from moorage.api.native.endpoint import Endpoint, NativeCall
from moorage.api.native.entries import WantedClaim
from moorage.api.native.problems import (
    ALREADY_HOLDS,
    KEY_REUSED,
    NEVER_FITS,
    NO_ROOM,
    OUTCOME_UNKNOWN,
    REVISION,
    UNKNOWN_NAME,
    VERSION,
)
from moorage.api.native.shapes import INTEGER, array, reference, written
from moorage.model.commands import GrantClaims
from moorage.model.errors import EntriesRefusedError, MoorageError
from moorage.model.placing import Granted, GrantedEntry


def create(call: NativeCall) -> Answer:
    """Claim."""
    wanted = entries.wanted(call.body)
    least = entries.least_of(call.body, len(wanted))
    command = GrantClaims(entries.exact(wanted, call.requester), least)
    return writes.carried_out(
        call,
        command,
        lambda granted: _shown(wanted, granted),
        _left,
        lambda outcome: _refused(wanted, outcome.error, outcome.revision),
        status=201,
    )


def _left(body: Mapping[str, Any]) -> dict[str, int]:
    return {claim["consumer"]: claim["generation"] for claim in body["claims"]}


def _refused(wanted: Sequence[WantedClaim], error: MoorageError | None, revision: int) -> Exception:
    """The first refusal, with the claim that it is about, and all others in ``unplaced``."""
    if not isinstance(error, EntriesRefusedError):
        return problems.refused(error, revision=revision)
    (first, why), *_ = error.refused
    unplaced = [_unplaced(wanted[number], each) for number, each in error.refused]
    return problems.refused(why, **wanted[first].shown(), unplaced=unplaced, revision=revision)


def _shown(wanted: Sequence[WantedClaim], granted: Granted) -> dict[str, object]:
    claims, unplaced = [], []
    for each, became in zip(wanted, granted.entries, strict=True):
        if isinstance(became, GrantedEntry):
            claims.append(_claim(each, became))
        else:
            unplaced.append(_unplaced(each, became))
    return {"claims": claims, "unplaced": unplaced}


def _claim(wanted: WantedClaim, granted: GrantedEntry) -> dict[str, object]:
    return {
        **wanted.shown(),
        "consumer": granted.consumer,
        "generation": granted.generation,
        "allocations": {
            provider: {"resources": resources} for provider, resources in granted.allocations.items()
        },
    }


def _unplaced(wanted: WantedClaim, error: MoorageError) -> dict[str, object]:
    problem = problems.problem_of(error)
    return {**wanted.shown(), "code": problem.code, "detail": str(error)}


_UUIDS: Final = ("5f0f2a55-8f6e-4d0e-9a35-6f6a1e0b7c22", "7d3c0a52-52b5-4a0c-9f6f-0c0ffee00009")

ENDPOINTS: Final = (
    Endpoint(
        "POST",
        f"{VERSION}/claims",
        create,
        summary="Claim for new consumers",
        rule="moorage:claims:create",
        about=(
            "Each entry of `claims` makes one claim, or `count` equal ones. All of them are decided one by "
            "one, in one commit. A refused request has changed nothing. Its problem is that of the "
            "first claim that does not fit, with `entry`, `name` and `index` of it; `unplaced` has all that "
            "were found not to fit. The policy is asked for the project of every entry."
        ),
        body=Validator(entries.SCHEMA, BODY_FORMATS),
        counts=entries.COUNTS,
        projects=lambda call: entries.owners(call.body, call.identity.project_id),
        writes=True,
        status=201,
        answer=written(
            {
                REVISION: INTEGER,
                "claims": array(reference("NewClaim")),
                "unplaced": array(reference("Unplaced")),
            }
        ),
        problems=(UNKNOWN_NAME, NO_ROOM, NEVER_FITS, ALREADY_HOLDS, KEY_REUSED, OUTCOME_UNKNOWN),
        examples=(
            {
                "claims": [
                    {
                        "name": "database",
                        "consumers": [_UUIDS[0]],
                        "consumer_type": "INSTANCE",
                        "project_id": "p1",
                        "allocations": {_UUIDS[1]: {"resources": {"VCPU": 1}}},
                    }
                ]
            },
            {
                "claims": [
                    {"name": "worker", "count": 3, "allocations": {_UUIDS[1]: {"resources": {"VCPU": 1}}}}
                ],
                "mode": {"at_least": 2},
            },
        ),
    ),
)
