"""``/moorage/v1/claims`` and ``/moorage/v1/releases``: what consumers hold, and its end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

import orjson

from moorage.api.http import intake
from moorage.api.http.exchange import Answer
from moorage.api.http.validation import BODY_FORMATS, Schema, Validator
from moorage.api.native import pages, past, problems, writes
from moorage.api.native.endpoint import Endpoint, NativeCall, at_revision
from moorage.api.native.parameters import Parameter
from moorage.api.native.problems import KEY_REUSED, NOT_FOUND, OUTCOME_UNKNOWN, REVISION, VERSION
from moorage.api.native.shapes import INTEGER, TEXT, array, mapping, nullable, record, reference, written
from moorage.model.commands import ReleaseClaims
from moorage.model.errors import AllocationsNotFoundError
from moorage.model.placing import ClaimOrigin
from moorage.model.values import ClaimSelection, ListedClaim


def list_(call: NativeCall) -> Answer:
    """List claims."""
    wanted = ClaimSelection(
        limit=call.query.get(pages.LIMIT.name, pages.USUAL),
        after=call.query.get(pages.AFTER.name, ""),
        project_id=call.query.get("project_id", call.own_project),
        provider=call.query.get("provider"),
        consumer_type=call.query.get("type"),
        lease=call.query.get("lease"),
    )
    revision, page = call.service.claim_page(wanted)
    last = page.claims[-1].consumer if page.has_more else None
    return at_revision(revision, {"claims": [_shown(claim) for claim in page.claims], pages.NEXT: last})


def show(call: NativeCall) -> Answer:
    """Show one claim."""
    consumer = call.path["consumer"]
    at, epoch = past.asked(call)
    if at is None:
        revision, claim = call.service.claim(consumer)
    else:
        revision, claim = call.service.past.claim(consumer, at, epoch)
        if claim is None or not call.reaches(claim.project_id):
            return at_revision(revision, {**_NOTHING, "consumer": consumer})
    if claim is None or not call.reaches(claim.project_id):
        raise problems.refusal(NOT_FOUND, str(AllocationsNotFoundError(consumer)), revision=revision)
    return at_revision(revision, {**_shown(claim), **_origin(claim.origin or ClaimOrigin())})


def release(call: NativeCall) -> Answer:
    """Release one claim."""
    consumer = call.path["consumer"]
    return writes.carried_out(
        call,
        ReleaseClaims((consumer,), absent_too=False, project_id=call.own_project),
        lambda _: {"consumer": consumer},
        _left_nothing,
    )


def release_many(call: NativeCall) -> Answer:
    """Release several claims at once."""
    return writes.carried_out(
        call,
        ReleaseClaims(tuple(call.body["consumers"]), project_id=call.own_project),
        lambda done: {"released": list(done.released), "absent": list(done.absent)},
        _left_nothing,
    )


def _left_nothing(body: Mapping[str, Any]) -> dict[str, int]:
    """The consumers of a release, none of which should hold anything."""
    consumers = [body["consumer"]] if "consumer" in body else body["released"]
    return dict.fromkeys(consumers, 0)


def _shown(claim: ListedClaim) -> dict[str, object]:
    resources: Counter[str] = Counter()
    for amounts in claim.held.values():
        resources.update(amounts)
    return {
        "consumer": claim.consumer,
        "consumer_type": claim.consumer_type,
        "project_id": claim.project_id,
        "user_id": claim.user_id,
        "generation": claim.generation,
        "since": moment(claim.since),
        "resources": dict(sorted(resources.items())),
        "providers": claim.held,
        "lease": claim.lease,
    }


def _origin(origin: ClaimOrigin) -> dict[str, object]:
    return {
        "ask": None if origin.ask is None else orjson.loads(origin.ask),
        "profile": origin.profile,
        "labels": origin.labels,
        "decided_at": origin.decided_at,
    }


_NOTHING: Final[Mapping[str, object]] = {
    **dict.fromkeys(("consumer_type", "project_id", "user_id", "generation", "since")),
    "resources": {},
    "providers": {},
    **_origin(ClaimOrigin()),
    "lease": None,
}
"""What is shown of a consumer that held nothing."""


def moment(time: datetime | None) -> str | None:
    """A naive UTC time in ISO 8601; None if it is not known."""
    return None if time is None else f"{time.isoformat(timespec='seconds')}Z"


CONSUMER: Final[Schema] = {"type": "string", "minLength": 1, "maxLength": 36}

RELEASES: Final[Schema] = {
    "type": "object",
    "properties": {
        "consumers": {
            "type": "array",
            "items": CONSUMER,
            "minItems": 1,
            "description": "UUIDs of the consumers.",
        },
    },
    "required": ["consumers"],
    "additionalProperties": False,
}

_TEXT: Final = {"type": "string", "minLength": 1, "maxLength": 255}

ENDPOINTS: Final = (
    Endpoint(
        "GET",
        f"{VERSION}/claims",
        list_,
        summary="List consumers with what they hold",
        rule="moorage:claims:list",
        about=(
            "All given parameters must hold. `resources` adds up what the consumer holds of all `providers`. "
            "`since` is when the consumer was made, null if that is not known. `lease` is the one that it "
            "hangs on, null for none. A client that is confined to its project sees the claims of that "
            "project."
        ),
        projects=lambda call: (call.query.get("project_id", call.identity.project_id),),
        owned=True,
        parameters=(
            Parameter("project_id", "Claims of this project.", _TEXT),
            Parameter("provider", "Claims that hold something of the provider with this UUID.", pages.UUID),
            Parameter("type", "Claims of consumers of this type; `unknown` for those without one.", _TEXT),
            Parameter("lease", "Claims that hang on the lease with this UUID.", pages.UUID),
            pages.LIMIT,
            pages.AFTER,
        ),
        answer=record(
            {
                REVISION: {"type": "integer"},
                "claims": array(reference("Claim")),
                pages.NEXT: pages.NEXT_SCHEMA,
            }
        ),
        problems=(NOT_FOUND,),
        examples=("project_id=p1&limit=100", "type=INSTANCE"),
    ),
    Endpoint(
        "GET",
        f"{VERSION}/claims/{{consumer}}",
        show,
        summary="Show what a consumer holds",
        rule="moorage:claims:show",
        about=(
            "As one item of the list, with what a claim over this API asked for, and its `labels`. Both stay "
            "until the consumer is moved or holds nothing, also if a client of Placement changes what it "
            "holds. A consumer that holds nothing is not found; with `at` it is shown with null in place of "
            "its owner. An ask and `labels` that were replaced since `at` are not known. For a client that "
            f"is confined to its project, consumers of other projects hold nothing. {past.ABOUT}"
        ),
        owned=True,
        parameters=past.PARAMETERS,
        answer={
            "allOf": [
                record({REVISION: INTEGER}),
                {"anyOf": [reference("Claim"), reference("NoClaim")]},
                record(
                    {
                        "ask": nullable({"type": "object"}),
                        "profile": nullable(TEXT),
                        "labels": mapping(TEXT),
                        "decided_at": nullable(INTEGER),
                    }
                ),
            ]
        },
        problems=past.PROBLEMS,
        examples=("",),
    ),
    Endpoint(
        "DELETE",
        f"{VERSION}/claims/{{consumer}}",
        release,
        summary="Release what a consumer holds",
        rule="moorage:claims:delete",
        about=(
            "Takes away all that the consumer holds, whatever its generation, and the consumer with it. For "
            "a client that is confined to its project, consumers of other projects hold nothing."
        ),
        owned=True,
        writes=True,
        answer=written({REVISION: INTEGER, "consumer": TEXT}),
        problems=(NOT_FOUND, KEY_REUSED, OUTCOME_UNKNOWN),
        examples=("",),
    ),
    Endpoint(
        "POST",
        f"{VERSION}/releases",
        release_many,
        summary="Release what several consumers hold, in one commit",
        rule="moorage:claims:delete",
        about=(
            "Consumers that hold nothing are named in `absent`; they are no reason to refuse the request. "
            "For a client that is confined to its project, consumers of other projects hold nothing."
        ),
        owned=True,
        body=Validator(RELEASES, BODY_FORMATS),
        counts=((intake.ALLOCATIONS, intake.part_size("consumers")),),
        writes=True,
        answer=written({REVISION: INTEGER, "released": array(TEXT), "absent": array(TEXT)}),
        problems=(KEY_REUSED, OUTCOME_UNKNOWN),
        examples=(
            {
                "consumers": [
                    "0b9f1c4e-3f5b-4a52-9d38-1f8f6f0c2a11",
                    "5f0f2a55-8f6e-4d0e-9a35-6f6a1e0b7c22",
                ]
            },
        ),
    ),
)
