"""What two answers to one request have in common has to be everything that a client can mean."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from tests.peer.exchange import Answer, Request

SAME_HEADERS = ("location", "allow", "openstack-api-version", "content-type")
"""Headers whose values are compared."""

LAST_MODIFIED = "last-modified"
REQUEST_ID_HEADER = "x-openstack-request-id"

PRESENT_HEADERS = ("cache-control", LAST_MODIFIED, REQUEST_ID_HEADER)
"""Headers of which the presence is compared, and of times whether they are about the same."""

AT_ONCE = timedelta(minutes=30)
"""What both did within so long has happened at the same time; another time zone is farther away."""

WHERE_GIVEN = ("vary",)
"""Headers that only have to be there where the reference has them."""

UNSAID: tuple[tuple[re.Pattern[str], str], ...] = (
    # Which schema was broken is said by the words before; its own text is no more than a dump.
    (re.compile(r" in schema.*On instance", re.DOTALL), " in schema ... On instance"),
    # Why a version cannot be read is said in Python's words for the way it was read.
    (re.compile(r"(invalid version string: .*?); .*", re.DOTALL), r"\1"),
    # All classes of the request, in any order, where a provider has none of them.
    (re.compile(r"Inventory for (?:'|&#x27;).*?(?:'|&#x27;) on resource"), "Inventory for ... on resource"),
    # Of a name and a UUID that are both taken, one database tells one and another tells both.
    (re.compile(r"(Conflicting resource provider uuid: \S+), name: .* already exists"), r"\1 already exists"),
)
"""Parts of messages that may differ, and what is put in their place before they are compared."""

UNKNOWN_NAME = re.compile(r"No such (?:resource class|trait\(s\):) (.*?)\.(?=\s)")
"""What a search says of a name that is not there."""

CONTRADICTION = re.compile(r"required[\w-]*: \([^)]*\)")
"""Traits that a group of a search both requires and forbids."""

FIRST_FAULT = re.compile(r"(Unable to allocate inventory:? ).*", re.DOTALL)
"""Of several amounts that cannot be had, which one is named first depends on chance."""

REQUEST_ID = re.compile(r"req-[0-9a-f-]{36}")


def plain(value: Any) -> Any:
    """JSON with its lists in one order: nothing of this API says more by the order of a list."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items() if key != "request_id"}
    if isinstance(value, list):
        return sorted((plain(item) for item in value), key=_in_order)
    return value


def _in_order(item: Any) -> str:
    return json.dumps(item, sort_keys=True, default=repr)


def differences(request: Request, ours: Answer, theirs: Answer) -> list[str]:
    """A line for everything in which the answers differ; Moorage's value first."""
    found = []
    if ours.status != theirs.status:
        found.append(f"status: {ours.status} {ours.body[:400]!r}, {theirs.status} {theirs.body[:400]!r}")
        return found
    found += _headers(ours, theirs)
    if _names_others(request, ours, theirs):
        return found
    our_body, their_body = _body(request, ours), _body(request, theirs)
    if our_body is None or their_body is None:
        mine, other = (
            _message(request, REQUEST_ID.sub("", answer.body.decode())) for answer in (ours, theirs)
        )
        if mine != other:
            found.append(f"body: {mine!r}, {other!r}")
    elif plain(our_body) != plain(their_body):
        found += _bodies("body", plain(our_body), plain(their_body))
    return found


def _body(request: Request, answer: Answer) -> Any:
    """JSON of an answer, numbers as they are spelled; what messages do not have to say alike is taken out."""
    body = answer.spelled
    if answer.error:
        body["errors"][0]["detail"] = _message(request, answer.detail)
    return body


def _names_others(request: Request, ours: Answer, theirs: Answer) -> bool:
    """Whether both refuse a search for names that are not there, of which each tells another."""
    if request.path not in {"/allocation_candidates", "/resource_providers"}:
        return False
    told = [unknown_names(answer) for answer in (ours, theirs)]
    return all(told) and told[0] != told[1] and all(are_asked_for(request, names) for names in told)


def unknown_names(answer: Answer) -> set[str]:
    """Names that a search is refused for, since there are no such classes or traits."""
    match = UNKNOWN_NAME.search(answer.detail)
    return set(match[1].split(", ")) if match else set()


def are_asked_for(request: Request, names: set[str]) -> bool:
    """Whether a query string has each of ``names``."""
    return all(any(name in value for _, value in request.pairs) for name in names)


def _message(request: Request, text: str) -> str:
    for pattern, instead in UNSAID:
        text = pattern.sub(instead, text)
    if "same_subtree" in text or "No such trait" in text:
        # These list names in any order.
        text = " ".join(sorted(text.replace("[", " ").replace("]", " ").replace(",", " ").split()))
    if "Conflicting required and forbidden traits found in the following" in text:
        # A trait that was asked for twice is told of once, or twice.
        text = " ".join(sorted(set(CONTRADICTION.findall(text))))
    if len(_asked_amounts(request.json)) > 1:
        text = FIRST_FAULT.sub(r"\1...", text)
    return text


def _asked_amounts(value: Any) -> list[Any]:
    """All amounts of all ``resources`` within a body."""
    if isinstance(value, list):
        return [amount for item in value for amount in _asked_amounts(item)]
    if not isinstance(value, dict):
        return []
    found = []
    for key, item in value.items():
        found += (
            list(item.values()) if key == "resources" and isinstance(item, dict) else _asked_amounts(item)
        )
    return found


def _headers(ours: Answer, theirs: Answer) -> list[str]:
    found = [
        f"header {name}: {ours.headers.get(name)!r}, {theirs.headers.get(name)!r}"
        for name in SAME_HEADERS
        if ours.headers.get(name) != theirs.headers.get(name)
    ]
    found += [
        f"header {name}: {ours.headers.get(name)!r}, {theirs.headers.get(name)!r}"
        for name in PRESENT_HEADERS
        if (name in ours.headers) != (name in theirs.headers)
    ]
    found += [
        f"header {name}: {ours.headers.get(name)!r}, {theirs.headers.get(name)!r}"
        for name in WHERE_GIVEN
        if name in theirs.headers and theirs.headers[name] != ours.headers.get(name)
    ]
    times = [answer.headers[LAST_MODIFIED] for answer in (ours, theirs) if LAST_MODIFIED in answer.headers]
    if len(times) > 1 and abs(_time(times[0]) - _time(times[1])) > AT_ONCE:
        found.append(f"header {LAST_MODIFIED}: {times[0]!r}, {times[1]!r}")
    if ours.error and ours.error.get("request_id") != ours.headers.get(REQUEST_ID_HEADER):
        found.append(f"id of the request: {ours.error.get('request_id')!r} and {ours.headers}")
    return found


def _time(stated: str) -> datetime:
    """A time of HTTP."""
    return datetime.strptime(stated, "%a, %d %b %Y %H:%M:%S GMT").replace(tzinfo=UTC)


def _bodies(where: str, ours: Any, theirs: Any) -> list[str]:
    """The smallest parts that differ."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        found = []
        for key in sorted(ours.keys() | theirs.keys()):
            if key not in ours or key not in theirs:
                who = "Moorage" if key in ours else "the reference"
                found.append(f"{where}.{key}: only {who} has {str(ours.get(key, theirs.get(key)))[:300]}")
            elif ours[key] != theirs[key]:
                found += _bodies(f"{where}.{key}", ours[key], theirs[key])
        return found
    if isinstance(ours, list) and isinstance(theirs, list):
        if len(ours) == len(theirs) == 1:
            return _bodies(f"{where}[0]", ours[0], theirs[0])
        only_ours = [item for item in ours if item not in theirs]
        only_theirs = [item for item in theirs if item not in ours]
        if only_ours or only_theirs or len(ours) != len(theirs):
            extra = (
                f"only Moorage has {str(only_ours)[:1500]}; only the reference has {str(only_theirs)[:1500]}"
            )
            return [f"{where}: {len(ours)} items, {len(theirs)} items; {extra}"]
        return []
    return [f"{where}: {ours!r}, {theirs!r}"]


def unbounded(request: Request) -> Request:
    """The same search for all that there is."""
    pairs = [pair for pair in request.pairs if pair[0] != "limit"]
    return replace(request, query=urlencode(pairs), max_candidates=-1)


def bounded_differences(request: Request, ours: Answer, theirs: Answer, whole: Answer) -> list[str]:
    """Differences of bounded lists of candidates. ``whole`` is Moorage's unbounded answer.

    Which candidates are kept is not said; so as many as there may be, all of the unbounded answer.
    """
    found = _headers(ours, theirs)
    mine, everything = plain(ours.spelled), plain(whole.spelled)
    # One candidate has been made before it is looked whether there are enough.
    bound = [max(request.max_candidates, 1)] if request.max_candidates >= 0 else []
    most = min([len(everything["allocation_requests"]), *_limit(request), *bound])
    count = len(mine["allocation_requests"])
    if count > most or (count < most and not _leaves_out_later(request, whole)):
        found.append(f"candidates: {count} of {most}")
    found += [
        f"candidate that is none without the bound: {candidate}"
        for candidate in mine["allocation_requests"]
        if candidate not in everything["allocation_requests"]
    ]
    return found


def shown_differences(
    request: Request, bounded: Answer, whole: Answer, root_of: Callable[[str], str]
) -> list[str]:
    """Where the providers that are shown are not those that follow from the candidates that were kept.

    Both answers are of one service; ``whole`` is the unbounded one. A bound of all trees' candidates and
    a limit together leave it to chance, before 1.29, which of the others have been seen.
    """
    shown: dict[str, Any] = plain(bounded.spelled)["provider_summaries"]
    everything: dict[str, Any] = plain(whole.spelled)["provider_summaries"]
    candidates = bounded.json["allocation_requests"]
    giving = {provider for candidate in candidates for provider in _providers(candidate["allocations"])}
    touched = {root_of(provider) for provider in giving}
    most = {provider for provider in everything if root_of(provider) in touched}
    least = most
    if _leaves_out_later(request, whole):
        least = giving
        if not any(limit <= len(candidates) for limit in _limit(request)):
            most = giving
    found = [f"no summary of {provider}" for provider in sorted(least - shown.keys())]
    found += [f"summary of {provider}, of which nothing is kept" for provider in sorted(shown.keys() - most)]
    found += [
        f"summary: {shown[provider]}, {everything[provider]}"
        for provider in sorted(shown.keys() & everything.keys())
        if shown[provider] != everything[provider]
    ]
    return found


def _limit(request: Request) -> list[int]:
    """The limit that counts, if there is one."""
    return [int(value) for name, value in request.pairs if name == "limit"][:1]


def _leaves_out_later(request: Request, whole: Answer) -> bool:
    """Whether some of the candidates that were made may be left out afterwards: before 1.29."""
    return request.max_candidates >= 0 and b"parent_provider_uuid" not in whole.body


def counts_differ(request: Request, ours: Answer, theirs: Answer, whole: Answer) -> list[str]:
    """Whether one kept more candidates than the other, where it is said how many are kept."""
    if _leaves_out_later(request, whole):
        return []
    counts = [len(answer.json["allocation_requests"]) for answer in (ours, theirs)]
    return [f"candidates: {counts[0]}, {counts[1]}"] if counts[0] != counts[1] else []


def _providers(allocations: Any) -> list[str]:
    if isinstance(allocations, dict):
        return list(allocations)
    return [item["resource_provider"]["uuid"] for item in allocations]
