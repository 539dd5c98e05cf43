"""``/moorage/v1/explanations``: why a request finds no room, or what it finds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from moorage.api.http.exchange import Answer
from moorage.api.http.validation import BODY_FORMATS, Schema, Validator
from moorage.api.http.wire_error import WireError
from moorage.api.native import ask, explanation_body
from moorage.api.native.endpoint import Endpoint, NativeCall, at_revision
from moorage.api.native.problems import NOT_FOUND, UNKNOWN_NAME, VERSION
from moorage.api.native.shapes import reference
from moorage.model.explanations import ExplainRequest

MOST_PARTS: Final = 20
"""Nearest trees, relaxations and alternatives of one answer at most."""

MOST_COPIES: Final = 1000
"""Most copies of an ask that one request may name."""

SEE_HOLDERS: Final = "moorage:holders:list"
"""Rule of seeing who holds what is missing, and so of seeing single trees at all."""

SEE_NAMES: Final = "placement:resource_providers:list"
"""Rule of seeing names of providers."""


def _bound(about: str) -> Schema:
    return {"type": "integer", "minimum": 0, "maximum": MOST_PARTS, "description": about}


BODY: Final[Schema] = {
    "type": "object",
    "properties": {
        "ask": {**ask.SCHEMA, "description": "The question: see [the Ask](#the-ask)."},
        "project_id": {
            "type": "string",
            "minLength": 1,
            "maxLength": 255,
            "description": "The project that asks, by default the requester's. A policy may let its members "
            "ask.",
        },
        "at": {
            "type": "string",
            "minLength": 1,
            "maxLength": 200,
            "description": "UUID or name of a provider: only its tree is asked.",
        },
        "count": {
            "type": "integer",
            "minimum": 1,
            "maximum": MOST_COPIES,
            "description": "How often to place the ask. The verdict is for all of these; 1 by default.",
        },
        "nearest": _bound("How many of the trees that come nearest to show."),
        "relaxations": _bound("How many smaller asks that fit to show."),
        "alternatives": _bound("How many further candidates to show if the ask fits."),
        "holders": {
            "type": "boolean",
            "description": "Whether to show who holds what is missing: true by default.",
        },
    },
    "required": ["ask"],
    "additionalProperties": False,
}


def check_trees(*, names_a_tree: bool, sees_holders: bool) -> None:
    """Check that no counts say how much of one tree is free. Raises WireError (403)."""
    if names_a_tree and not sees_holders:
        raise WireError(403, f"Policy does not allow {SEE_HOLDERS}, which at and in_tree need.")


def create(call: NativeCall) -> Answer:
    """Explain an Ask."""
    asked: Mapping[str, Any] = call.body
    decoded = ask.decode(asked["ask"], call.read_query, call.limits)
    usual = ExplainRequest()
    sees_holders = call.may(SEE_HOLDERS)
    names_a_tree = "at" in asked or any(group.in_tree for group in decoded.request.groups)
    check_trees(names_a_tree=names_a_tree, sees_holders=sees_holders)
    how = ExplainRequest(
        count=asked.get("count", usual.count),
        at=asked.get("at"),
        nearest=asked.get("nearest", usual.nearest) if sees_holders else 0,
        relaxations=asked.get("relaxations", usual.relaxations),
        alternatives=asked.get("alternatives", usual.alternatives),
    )
    found = call.service.explain(decoded.request, how, holders=sees_holders and asked.get("holders", True))
    explanation = replace(found.explanation, notes=(*decoded.notes, *found.explanation.notes))
    found = replace(found, explanation=explanation)
    if not sees_holders:
        body = explanation_body.redacted(found)
    else:
        body = explanation_body.whole(found, with_names=call.may(SEE_NAMES))
    return at_revision(found.revision, {**body, "request_id": call.requester.request_id})


ENDPOINTS: Final = (
    Endpoint(
        "POST",
        f"{VERSION}/explanations",
        create,
        summary="Explain why a request finds no room, or what it finds",
        rule="moorage:explanations:create",
        asks_also=(SEE_HOLDERS, SEE_NAMES),
        about=(
            "`ask` is the whole question, as JSON or as a pasted query. `verdict` says what holds. Each "
            "constraint has `alone`, the trees that meet it by itself, and `without`, the trees that meet "
            "all others. Neither depends on an order. `nearest` has what single trees lack and who holds it. "
            "`relaxations` are smaller asks that fit, and `unlocked_by` lists changes after which the ask "
            "fits. If it fits, `chosen` is the candidate that comes first. Without the rule "
            "`moorage:holders:list` the answer has counts and relaxations only, and neither `at` nor "
            "`in_tree` may name a tree."
        ),
        body=Validator(BODY, BODY_FORMATS),
        counts=ask.counts_within("ask"),
        projects=lambda call: [call.body.get("project_id", call.identity.project_id)],
        answer=reference("Explanation"),
        problems=(UNKNOWN_NAME, NOT_FOUND),
        examples=(
            {"ask": {"query": "resources=VCPU:4,PGPU:4&required=HW_NIC_SRIOV&limit=1000"}, "nearest": 3},
            {"ask": ask.EXAMPLES[0], "relaxations": 10},
        ),
    ),
)
