"""Explanations of the native API, asked for and put into words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final
from urllib.parse import quote, urlencode

import requests

from moorage.cli.client.connection import Query, RefusedError, ServiceConnection, ServiceError
from moorage.cli.shared import show
from moorage.model.errors import MoorageError

EXPLANATIONS: Final = "/moorage/v1/explanations"

UNMET: Final = "/moorage/v1/unmet"

EXPLAIN_FEATURE: Final = "explain"
UNMET_FEATURE: Final = "unmet"
ORDER_FEATURE: Final = "order"
"""Features of a version of the native API: it explains; it keeps searches that found nothing; it puts
candidates in order."""

NOT_FOUND_CODE: Final = "not_found"
"""Code of a native answer of status 404."""

CLAIM: Final = "_claim"
"""The group of an Ask that stands for what a claim takes of one provider."""

FITS: Final = "fits"
"""Verdict of a request that finds room."""

DROP: Final = "drop"
"""A relaxation that leaves a constraint out; any other one changes its amount."""

Json = Mapping[str, Any]


def pasted(query: Query) -> Json:
    """An Ask with the parameters of a search."""
    return {"query": urlencode({name: each for name, each in query.items() if each is not None}, doseq=True)}


def explanation(service: ServiceConnection, ask: Json, **options: object) -> Any:
    """The service's explanation. Raises ServiceError if it gives none, RefusedError if it refuses."""
    given = {name: value for name, value in options.items() if value is not None}
    with needed(service, EXPLAIN_FEATURE):
        return service.post(EXPLANATIONS, {"ask": ask, **given})


def kept_explanation(service: ServiceConnection, request_id: str) -> Any:
    """Why the search of this request found nothing. Raises as ``explanation``."""
    with needed(service, UNMET_FEATURE):
        return service.get(f"{EXPLANATIONS}/{quote(request_id, safe='')}")


def unmet(service: ServiceConnection, since: str | None, limit: int | None) -> Any:
    """What searches did not find. Raises as ``explanation``."""
    with needed(service, UNMET_FEATURE):
        return service.get(UNMET, {"since": since, "limit": str(limit) if limit else None})


@contextmanager
def needed(service: ServiceConnection, feature: str, lacks: str = "explains nothing") -> Iterator[None]:
    """Say so if the service refuses this block because it lacks the feature."""
    try:
        yield
    except RefusedError as refusal:
        if refusal.status != requests.codes.not_found:
            raise
        if refusal.code != NOT_FOUND_CODE:
            raise ServiceError(
                f"{service.url} {lacks}: it has no native API. It is OpenStack Placement, or a Moorage "
                "without this API."
            ) from refusal
        if feature not in _features(service):
            raise ServiceError(f"{service.url} cannot do this: it is an older Moorage.") from refusal
        raise


def _features(service: ServiceConnection) -> set[str]:
    return {name for version in service.get("/moorage")["versions"] for name in version["features"]}


def reason(service: ServiceConnection, query: Query) -> str:
    """Why a search finds nothing, in some sentences; empty if the service does not say."""
    try:
        found = explanation(service, pasted(query), nearest=1, relaxations=1, holders=False)
    except MoorageError:
        return ""
    # Another client may have freed something since the search.
    return "" if found["verdict"] == FITS else str(found["summary"])


def shortage(service: ServiceConnection, provider: str, resources: Mapping[str, int]) -> str:
    """What one provider (its uuid) lacks for these amounts, and what holds it.

    If another provider has room at the same place, that one instead. Empty if neither is known.
    """
    ask = {"groups": {CLAIM: {"resources": dict(resources)}}}
    try:
        found = explanation(service, ask, at=provider, nearest=1, relaxations=0)
    except MoorageError:
        return ""
    chosen = found.get("chosen") or {"mappings": {CLAIM: [provider]}}
    [beside] = chosen["mappings"][CLAIM]
    if beside != provider:
        return f"{chosen.get('names', {}).get(beside, beside)} has room for it."
    for miss in found.get("nearest", ()):
        lacks = [each for each in miss["missing"] if each["provider"] == provider]
        if lacks:
            return f"{miss_line({**miss, 'missing': lacks}, found)}."
    return ""


# In words


def label(constraint: Json) -> str:
    """A constraint as the options of a search write it."""
    any_trait = "|".join(constraint.get("traits") or ())
    any_aggregate = "|".join(constraint.get("aggregates") or ())
    match constraint["kind"]:
        case "room" | "units":
            text = f"{constraint['resource_class']}={constraint['amount']}"
        case "required":
            text = any_trait
        case "forbidden":
            text = f"!{any_trait}"
        case "member_of":
            text = f"member_of={any_aggregate}"
        case "not_member_of":
            text = f"member_of=!{any_aggregate}"
        case "in_tree":
            text = f"in_tree={constraint['in_tree']}"
        case "root_required":
            text = f"root_required={any_trait}"
        case "root_forbidden":
            text = f"root_required=!{any_trait}"
        case "together":
            text = _rule(constraint)
        case kind:
            text = kind
    group = (constraint.get("group") or "").removeprefix("_")
    return f"{group}: {text}" if group else text


def _rule(constraint: Json) -> str:
    groups = ",".join(name.removeprefix("_") for name in constraint.get("groups") or ())
    match constraint.get("rule"):
        case "isolate":
            return "group_policy=isolate"
        case "sum":
            return f"{constraint['resource_class']}={constraint['amount']} of {groups} on one provider"
        case "one_provider_per_tree":
            return f"{groups} from one provider of each tree"
        case rule:
            return f"{rule}={groups}"


def ask_line(ask: Json) -> str:
    """An Ask as the options of a search write it, its groups separated by semicolons."""
    parts = [_group(suffix.removeprefix("_"), group) for suffix, group in ask["groups"].items()]
    if ask.get("group_policy"):
        parts.append(f"group_policy={ask['group_policy']}")
    on_root = [*ask.get("root_required", ()), *(f"!{name}" for name in ask.get("root_forbidden", ()))]
    if on_root:
        parts.append(f"root_required={','.join(on_root)}")
    parts += [
        f"same_subtree={','.join(name.removeprefix('_') for name in subtree)}"
        for subtree in ask.get("same_subtree", ())
    ]
    return "; ".join(parts)


def _group(name: str, group: Json) -> str:
    items = [f"{each}={amount}" for each, amount in group.get("resources", {}).items()]
    items += map(_choice, group.get("required", ()))
    items += [f"!{trait}" for trait in group.get("forbidden", ())]
    items += [f"member_of={_choice(each)}" for each in group.get("member_of", ())]
    items += [f"member_of=!{each}" for each in group.get("not_member_of", ())]
    items += [f"in_tree={group['in_tree']}"] if group.get("in_tree") else []
    return f"{name}:{','.join(items)}" if name else ",".join(items)


def _choice(choice: str | Json) -> str:
    return choice if isinstance(choice, str) else "|".join(choice["any"])


def _labels(explained: Json) -> dict[str, str]:
    return {each["id"]: label(each) for each in explained["constraints"]}


def trees(number: int) -> str:
    """A number of trees."""
    return f"{number} tree{'' if number == 1 else 's'}"


def relaxation_line(relaxation: Json, explained: Json) -> str:
    """What to give up, and what that brings."""
    labels = _labels(explained)
    changes = []
    for change in relaxation["changes"]:
        told = labels[change["constraint"]]
        if change["op"] == DROP:
            changes.append(f"without {told}")
        else:
            changes.append(f"{told.rpartition('=')[0]}={change['to']} instead of {change['from']}")
    return f"{', and '.join(changes)}: {trees(relaxation['feasible'])}"


def miss_line(miss: Json, explained: Json) -> str:
    """What a tree lacks, and who holds it."""
    kinds = {each["id"]: each["kind"] for each in explained["constraints"]}
    labels = _labels(explained)
    told = [_lack(each, kinds) for each in miss["missing"]]
    # Rules between groups have no provider of their own.
    listed = {each.get("constraint") for each in miss["missing"]}
    told += [
        f"fails {labels[each]}" for each in miss["fails"] if kinds[each] == "together" and each not in listed
    ]
    held = [_holder(each) for each in miss.get("held_by") or ()]
    more = " and others" if miss.get("held_by_more") else ""
    return "; ".join(told) + (f"; held by {', '.join(held)}{more}" if held else "")


def _lack(missing: Json, kinds: Mapping[str, str]) -> str:
    name = missing.get("name", missing["provider"])
    kind = kinds[missing["constraint"]]
    of = missing.get("traits") or missing.get("aggregates")
    if missing.get("resource_class"):
        resource_class = missing["resource_class"]
        parts = []
        if missing.get("short"):
            parts.append(
                f"lacks {missing['short']} {resource_class} (room for {missing['room']} of {missing['need']})"
            )
        if missing.get("units"):
            parts.append(f"does not take {missing['need']} {resource_class} ({', '.join(missing['units'])})")
        return f"{name} {' and '.join(parts)}"
    if of:
        verb = "has" if kind in ("forbidden", "root_forbidden", "not_member_of") else "lacks"
        return f"{name} {verb} {'|'.join(of)}"
    return f"{name} is not the right one"


def _holder(holder: Json) -> str:
    amounts = ", ".join(f"{amount} {name}" for name, amount in holder["resources"].items())
    kind = holder.get("consumer_type")
    owner = ", ".join(filter(None, (kind, f"project {holder['project_id']}")))
    return f"{holder['consumer']} ({owner}: {amounts})"


def event_line(event: Json) -> str:
    """A change of a provider that brings the request nearer."""
    name = event.get("name", event["provider"])
    resource_class, amount = event.get("resource_class"), event.get("amount")
    match event["event"]:
        case "freed":
            return f"{amount} {resource_class} freed on {name}"
        case "capacity_raised":
            return f"room for {amount} {resource_class} on {name}"
        case "units_changed":
            return f"other units of {resource_class} on {name}"
        case "trait_added":
            return f"{event['trait']} on {name}"
        case "trait_removed":
            return f"{name} without {event['trait']}"
        case "aggregate_joined":
            return f"{name} in aggregate {event['aggregate']}"
        case "aggregate_left":
            return f"{name} outside of aggregate {event['aggregate']}"
        case other:
            return f"{other} on {name}"


def wrapped(text: str, indent: str = "") -> Iterator[str]:
    """Lines of ``text`` that fit the terminal; those below the first begin with ``indent``.

    There is none for an empty text.
    """
    room = max(show.LEAST_CELL, show.width() - len(indent))
    for number, line in enumerate(show.broken(text, room, show.SPACES) if text else []):
        yield f"{indent if number else ''}{line}"
