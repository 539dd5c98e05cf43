"""``PUT /moorage/v1/reports/{source}``: what a source knows to be there."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from moorage.api.http import intake
from moorage.api.http.exchange import Answer
from moorage.api.http.validation import BODY_FORMATS, Schema, Validator
from moorage.api.native import findings
from moorage.api.native.claims import moment
from moorage.api.native.endpoint import Endpoint, NativeCall, at_revision
from moorage.api.native.pages import UUID
from moorage.api.native.problems import INVALID_REQUEST, NOT_FOUND, REVISION, VERSION, refusal
from moorage.api.native.shapes import AMOUNT, INTEGER, TEXT, array, mapping, nullable, record, reference
from moorage.model.reports import KINDS, Carried, ClaimOwner, FindingSelection, Report
from moorage.model.values import MAX_INT

MOST_TREES: Final = 1_000
"""Trees of one report. A source with more reports them in several requests."""

MOST_SHOWN: Final = 500
"""Findings in the answer to a report. The list has the rest."""

_SOURCE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def list_(call: NativeCall) -> Answer:
    """List sources."""
    revision = call.service.revision()
    sources = [
        {
            "source": each.source,
            "last_at": moment(datetime.fromtimestamp(each.at, UTC).replace(tzinfo=None)),
            "findings": {kind: each.findings.get(kind, 0) for kind in KINDS},
            "suspect_trees": each.suspect,
        }
        for each in call.service.reports.figures()
    ]
    return at_revision(revision, {"sources": sources})


def forget(call: NativeCall) -> Answer:
    """Forget a source."""
    source = call.path["source"]
    call.service.reports.forget(source)
    return at_revision(call.service.revision(), {"source": source})


def receive(call: NativeCall) -> Answer:
    """Receive a report."""
    source = call.path["source"]
    if _SOURCE.fullmatch(source) is None:
        detail = (
            "The name of a source has 1 to 64 letters, digits and . _ -, and begins with none of the last."
        )
        raise refusal(INVALID_REQUEST, detail)
    received = call.service.reports.receive(_report(source, call.body), call.requester)
    page = call.service.reports.page(FindingSelection(MOST_SHOWN, source=source))
    return at_revision(
        call.service.revision(),
        {
            "source": source,
            "compared_at": received.revision,
            "suspect": sorted(received.suspect),
            "actions": [_carried(each) for each in received.carried],
            "held_back": received.held_back,
            "findings": [findings.shown(call, each, page.now) for each in page.findings],
            "total": page.total,
        },
    )


def _report(source: str, body: Mapping[str, Any]) -> Report:
    covers = body["covers"]
    types = covers.get("consumer_types")
    return Report(
        source=source,
        trees=frozenset(covers["trees"]),
        consumers=body["consumers"],
        complete=body["complete"],
        consumer_types=None if types is None else frozenset(types),
        owners={
            consumer: ClaimOwner(owner["project_id"], owner["user_id"], owner.get("consumer_type"))
            for consumer, owner in body.get("owners", {}).items()
        },
        accept_shrink=body.get("accept_shrink", False),
    )


def _carried(carried: Carried) -> dict[str, object]:
    return {
        "finding": carried.finding.id,
        "kind": carried.finding.kind,
        "consumer": carried.finding.consumer,
        "action": carried.action,
        REVISION: carried.revision,
        "trouble": carried.trouble,
    }


_NAME: Final[Schema] = {"type": "string", "minLength": 1, "maxLength": 255}

_TYPE: Final[Schema] = {"type": "string", "pattern": "^[A-Z0-9_]+$", "minLength": 1, "maxLength": 255}

_OF_UUIDS: Final = "^.{1,36}$"

BODY: Final[Schema] = {
    "type": "object",
    "properties": {
        "covers": {
            "type": "object",
            "properties": {
                "trees": {
                    "type": "array",
                    "items": UUID,
                    "minItems": 1,
                    "maxItems": MOST_TREES,
                },
                "consumer_types": {
                    "type": "array",
                    "items": {"anyOf": [_TYPE, {"enum": ["unknown"]}]},
                    "minItems": 1,
                    "maxItems": 50,
                },
            },
            "required": ["trees"],
            "additionalProperties": False,
            "description": "`trees`, the UUIDs of the roots that the report is about. If `consumer_types` is "
            "there, only consumers of these types are the source's business; `unknown` is for those without "
            "one.",
        },
        "complete": {
            "type": "boolean",
            "description": "Whether a consumer that is not named is not there. false makes nothing leaked.",
        },
        "consumers": {
            "type": "object",
            "patternProperties": {
                _OF_UUIDS: {
                    "anyOf": [
                        {"type": "null"},
                        {
                            "type": "object",
                            "minProperties": 1,
                            "patternProperties": {
                                _OF_UUIDS: {
                                    "type": "object",
                                    "minProperties": 1,
                                    "patternProperties": {
                                        "^[A-Z0-9_]{1,255}$": {
                                            "type": "integer",
                                            "minimum": 1,
                                            "maximum": MAX_INT,
                                        }
                                    },
                                    "additionalProperties": False,
                                }
                            },
                            "additionalProperties": False,
                        },
                    ]
                }
            },
            "additionalProperties": False,
            "description": "What each consumer has: amounts by provider and resource class. null: it is "
            "there, and the source does not know its amounts.",
        },
        "owners": {
            "type": "object",
            "patternProperties": {
                _OF_UUIDS: {
                    "type": "object",
                    "properties": {
                        "project_id": _NAME,
                        "user_id": _NAME,
                        "consumer_type": {"anyOf": [_TYPE, {"type": "null"}]},
                    },
                    "required": ["project_id", "user_id"],
                    "additionalProperties": False,
                }
            },
            "additionalProperties": False,
            "description": "Whose consumers are. Only a missing one with an owner can be claimed.",
        },
        "accept_shrink": {
            "type": "boolean",
            "description": "Believe the report although it has far fewer consumers than the last one.",
        },
    },
    "required": ["covers", "complete", "consumers"],
    "additionalProperties": False,
}


def _amounts(body: object) -> int:
    """How many amounts a report names; a consumer without any counts as one."""
    return sum(
        max(1, sum(map(intake.size, intake.items(providers))))
        for providers in intake.items(intake.part(body, "consumers"))
    )


_TREE: Final = "7d3c0a52-52b5-4a0c-9f6f-0c0ffee00009"

ENDPOINTS: Final = (
    Endpoint(
        "GET",
        f"{VERSION}/reports",
        list_,
        summary="List the sources that have reported",
        rule="moorage:reports:list",
        about="When each source last reported, its findings by kind, and how many of its trees are suspect.",
        answer=record(
            {
                REVISION: INTEGER,
                "sources": array(
                    record(
                        {
                            "source": TEXT,
                            "last_at": {"type": "string", "format": "date-time"},
                            "findings": mapping(AMOUNT),
                            "suspect_trees": AMOUNT,
                        }
                    )
                ),
            }
        ),
        examples=("",),
    ),
    Endpoint(
        "PUT",
        f"{VERSION}/reports/{{source}}",
        receive,
        summary="Report what is really there",
        rule="moorage:reports:update",
        about=(
            "The report is compared with what is held of the trees that it covers. What they disagree about "
            "are the `findings`. A finding goes when the next report no longer shows it. `suspect` names the "
            "trees whose findings cause nothing, because the report has less than four fifths of the "
            "consumers of the last one. `actions` are those that the service has taken of itself while it "
            "received the report, as far as `audit_heal` in `[moorage]` allows. `held_back` counts findings "
            "that are due, and wait because of `audit_max_actions`. The same report may be sent again: it "
            f"needs no idempotency key. A report has {MOST_TREES:,} trees at most; several reports of one "
            "source may cover other trees."
        ),
        body=Validator(BODY, BODY_FORMATS),
        counts=((intake.ALLOCATIONS, _amounts),),
        answer=record(
            {
                REVISION: INTEGER,
                "source": TEXT,
                "compared_at": INTEGER,
                "suspect": array(TEXT),
                "actions": array(
                    record(
                        {
                            "finding": TEXT,
                            "kind": TEXT,
                            "consumer": TEXT,
                            "action": TEXT,
                            REVISION: nullable(INTEGER),
                            "trouble": nullable(TEXT),
                        }
                    )
                ),
                "held_back": AMOUNT,
                "findings": array(reference("Finding")),
                "total": AMOUNT,
            }
        ),
        examples=(
            {
                "covers": {"trees": [_TREE], "consumer_types": ["INSTANCE", "unknown"]},
                "complete": True,
                "consumers": {
                    "0b9f1c4e-3f5b-4a52-9d38-1f8f6f0c2a11": {_TREE: {"VCPU": 4}},
                    "5f0f2a55-8f6e-4d0e-9a35-6f6a1e0b7c22": None,
                },
                "owners": {
                    "0b9f1c4e-3f5b-4a52-9d38-1f8f6f0c2a11": {
                        "project_id": "p1",
                        "user_id": "u1",
                        "consumer_type": "INSTANCE",
                    }
                },
                "accept_shrink": False,
            },
        ),
    ),
    Endpoint(
        "DELETE",
        f"{VERSION}/reports/{{source}}",
        forget,
        summary="Forget a source",
        rule="moorage:reports:delete",
        about=(
            "For a source that reports no longer: its findings go, and what it has reported is not compared "
            "with any more. What was done about findings stays done. It needs no idempotency key."
        ),
        answer=record({REVISION: INTEGER, "source": TEXT}),
        problems=(NOT_FOUND,),
        examples=("",),
    ),
)
