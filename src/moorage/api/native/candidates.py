"""``/moorage/v1/candidates``: the best places for a request, in order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from moorage.api.http.exchange import Answer
from moorage.api.http.validation import BODY_FORMATS, Schema, Validator
from moorage.api.http.wire_error import WireError
from moorage.api.native import ask, orders
from moorage.api.native.endpoint import Endpoint, NativeCall, at_revision
from moorage.api.native.problems import REVISION, TOO_HARD, UNKNOWN_NAME, VERSION
from moorage.api.native.shapes import AMOUNT, INTEGER, TEXT, array, mapping, record, reference
from moorage.model.orders import Ranked
from moorage.model.requests import ProviderSummary

SEARCH: Final = "moorage:candidates:list"
"""Rule of a search."""

USUAL_LIMIT: Final = 10

MOST: Final = 10_000
"""Candidates of one answer at most. There are no pages: at another revision the ranking is another one."""

BEST: Final = "best"
ALL: Final = "all"
"""What is shown of a tree: its best candidate, or all of them."""

BODY: Final[Schema] = {
    "type": "object",
    "properties": {
        "ask": {**ask.SCHEMA, "description": "The question: see [the Ask](#the-ask)."},
        "order": {**orders.SCHEMA, "description": "What makes one candidate better than another."},
        "limit": {
            "type": "integer",
            "minimum": 1,
            "maximum": MOST,
            "description": f"How many candidates to show: {USUAL_LIMIT} by default.",
        },
        "per_tree": {
            "type": "string",
            "enum": [BEST, ALL],
            "description": "`best`: each tree of providers once, with its best candidate. `all`: all "
            "candidates of a tree. `best` is the default.",
        },
        "summaries": {
            "type": "boolean",
            "description": "Whether to show the providers of all trees that the candidates take from.",
        },
    },
    "required": ["ask"],
    "additionalProperties": False,
}


def list_(call: NativeCall) -> Answer:
    """List the best candidates."""
    asked: Mapping[str, Any] = call.body
    decoded = ask.decode(asked["ask"], call.read_query, call.limits)
    per_tree, summaries = asked.get("per_tree", BEST), asked.get("summaries", False)
    is_confined = call.own_project is not None
    if is_confined and (summaries or any(group.in_tree for group in decoded.request.groups)):
        raise WireError(403, _CONFINED)
    order = orders.chosen(call, asked.get(orders.ORDER))
    revision, found = call.service.ranking(
        decoded.request,
        order.order,
        asked.get("limit", USUAL_LIMIT),
        all_of_tree=per_tree == ALL,
        summaries=summaries,
        requester=call.requester,
    )
    body: dict[str, object] = {
        "exact": found.exact,
        "feasible_trees": found.feasible_trees,
        "per_tree": per_tree,
        "order": orders.named(order) if is_confined else orders.shown(order, found),
        "candidates": list(map(_place_shown if is_confined else ranked_shown, found.candidates)),
        "notes": list(decoded.notes),
    }
    if summaries:
        body["summaries"] = {each.uuid: _summary(each) for each in found.summaries}
    return at_revision(revision, body)


_CONFINED: Final = (
    "A client that is confined to its project may not ask for summaries, and in_tree may name no tree: both "
    "say how much of a tree others use."
)


def _place_shown(ranked: Ranked) -> dict[str, object]:
    """A candidate without what depends on how full its tree is."""
    return {
        "allocations": ranked.candidate.allocations,
        "mappings": ranked.candidate.mappings,
        "root": ranked.root,
    }


def ranked_shown(ranked: Ranked) -> dict[str, object]:
    """A candidate with its score."""
    return {
        **_place_shown(ranked),
        "score": ranked.score,
        "parts": ranked.parts,
        "tie": ranked.tie,
    }


def _summary(summary: ProviderSummary) -> dict[str, object]:
    return {
        "root": summary.root_uuid,
        "parent": summary.parent_uuid,
        "resources": {
            name: {"capacity": capacity, "used": used} for name, (capacity, used) in summary.resources.items()
        },
        "traits": summary.traits,
    }


ENDPOINTS: Final = (
    Endpoint(
        "POST",
        f"{VERSION}/candidates",
        list_,
        summary="List the best candidates for a request, in order",
        rule=SEARCH,
        asks_also=(orders.INLINE,),
        about=(
            "`score` begins with the part of the strategy. The weights of what is preferred are added, those "
            "of what is avoided taken off, and so is `spare_special` times the share of the tree that is "
            "special. `parts` has each of them. No part depends on other candidates, so a score means the "
            "same tomorrow. `tie` decides between equal scores. `feasible_trees` counts all trees that can "
            "serve the request. `exact` is false if a better candidate may have been left out. `order` is "
            "the order that was used, with the drawn seed and with what was compared. Sent again, it gives "
            "the same list at the same revision. Without the rule `moorage:order:inline`, `order` may have "
            "`profile` and `seed` only. A client that is confined to its project gets the candidates in "
            "their order, without what says how full trees are: no scores and no summaries, and `in_tree` "
            "may name no tree."
        ),
        owned=True,
        body=Validator(BODY, BODY_FORMATS),
        counts=ask.counts_within("ask"),
        answer=record(
            {
                REVISION: INTEGER,
                "exact": {"type": "boolean"},
                "feasible_trees": AMOUNT,
                "per_tree": {"type": "string", "enum": [BEST, ALL]},
                "order": orders.SCHEMA,
                "candidates": array(reference("RankedCandidate")),
                "summaries": mapping(reference("ProviderSummary")),
                "notes": array(TEXT),
            },
            optional=("summaries",),
        ),
        problems=(UNKNOWN_NAME, TOO_HARD),
        examples=(
            {"ask": ask.EXAMPLES[1], "order": {"strategy": "spread"}, "limit": 1, "summaries": True},
            {"ask": ask.EXAMPLES[0], "order": orders.EXAMPLE, "limit": 100, "per_tree": "all"},
        ),
    ),
)
