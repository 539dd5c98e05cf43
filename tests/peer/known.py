"""The faults of the reference that docs/reference/differences.md lists, by the same names.

Each predicate is as narrow as it can be: where one holds, everything else about the answers has
been compared another way.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import parse_qsl

from tests.peer import compare, known_searches
from tests.peer.exchange import Answer, Request


@dataclass(frozen=True)
class Case:
    """A request whose answers differ, and in what. ``ask`` asks the reference something else."""

    request: Request
    ours: Answer
    theirs: Answer
    lines: list[str]
    ask: Callable[[Request], Answer]

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """Parameters of the query string."""
        return parse_qsl(self.request.query, keep_blank_values=True)


def _bad_class_name(case: Case) -> bool:
    """D8: names of classes in lower case pass the schema, and then fail in one way or another."""
    body = case.request.json
    if (
        case.ours.status != 400
        or case.theirs.status not in {400, 404, 409, 500}
        or not isinstance(body, dict)
    ):
        return False
    inventories = body.get("inventories")
    if not isinstance(inventories, dict):
        return False
    if case.request.path == "/reshaper":
        holders = [item.get("inventories") for item in inventories.values() if isinstance(item, dict)]
    else:
        holders = [inventories] if case.request.method == "PUT" else []
    names = [name for holder in holders if isinstance(holder, dict) for name in holder]
    return "JSON does not validate" in case.ours.detail and not all(
        re.fullmatch("[A-Z0-9_]+", name) for name in names
    )


def _shows_sql(case: Case) -> bool:
    """D9: a class that the provider has already is refused with a dump of the statement."""
    return (
        len(case.lines) == 1
        and case.request.method == "POST"
        and case.request.path.endswith("/inventories")
        and "UNIQUE constraint failed: inventories" in case.theirs.detail
        and "already exists" in case.ours.detail
    )


def _never_looked_at(case: Case) -> bool:
    """D11: unknown names are not noticed once something else has found nothing."""
    told = compare.UNKNOWN_NAME.search(case.ours.detail)
    return (
        case.request.path in {"/allocation_candidates", "/resource_providers"}
        and (case.ours.status, case.theirs.status) == (400, 200)
        and told is not None
        and all(any(name in value for _, value in case.pairs) for name in told[1].split(", "))
        and not any(case.theirs.json.values())
    )


def _undated(case: Case) -> bool:
    """D12: nothing dates an empty inventory, nor a provider by the first change of it."""
    if len(case.lines) != 1 or not case.lines[0].startswith("header last-modified"):
        return False
    if "last-modified" in case.theirs.headers or case.theirs.status != 200:
        return False
    if re.fullmatch("/resource_providers/[^/]+", case.request.path):
        return case.request.method == "PUT"
    return bool(case.theirs.json.get("inventories") == {})


def _nested_sharing(case: Case) -> bool:
    """D13: a sharing provider that is no root can be missing where it is looked up, by its id."""
    return (
        case.request.path == "/allocation_candidates"
        and (case.ours.status, case.theirs.status) == (200, 500)
        and re.fullmatch(r".*\n\n \d+  ", case.theirs.detail, re.DOTALL) is not None
    )


def _limit_twice(case: Case) -> bool:
    """D10: of two limits the last is judged and the first is used."""
    limits = [value for name, value in case.pairs if name == "limit"]
    return len(limits) > 1 and (case.ours.status, case.theirs.status) == (400, 500)


def _too_large(case: Case) -> bool:
    """D15: no database takes the number."""
    return (
        case.theirs.status == 500
        and case.ours.status < 500
        and "int too large to convert" in case.theirs.detail
    )


def _not_utf8(case: Case) -> bool:
    """D16: the text of a query string is no text."""
    return (case.ours.status, case.theirs.status) == (400, 500) and "codec can't decode" in case.theirs.detail


def _head(case: Case) -> bool:
    """D14: an error in answer to HEAD says that it is HTML, whatever is accepted."""
    return (
        case.request.method == "HEAD"
        and len(case.lines) == 1
        and case.lines[0].startswith("header content-type: 'application/json', 'text/html")
    )


def _long_aggregate(case: Case) -> bool:
    """D19: a UUID spelled in another way may be longer than the column that it goes into."""
    body = case.request.json
    aggregates = body.get("aggregates") if isinstance(body, dict) else body
    return (
        case.request.path.endswith("/aggregates")
        and isinstance(aggregates, list)
        and any(isinstance(aggregate, str) and len(aggregate) > 36 for aggregate in aggregates)
        and case.ours.status == 400
        and case.theirs.status in {200, 409}
        and "is too long" in case.ours.detail
    )


def _low_ratio(case: Case) -> bool:
    """D20: ratios have an upper bound only."""
    return (
        case.ours.status == 400
        and case.theirs.status in {200, 201, 204, 400, 404, 409}
        and re.search(r"\['allocation_ratio'\]", case.ours.detail) is not None
        and "is less than the minimum of -3.40282e+38" in case.ours.detail
    )


def _mojibake(case: Case) -> bool:
    """D18: text of a path is shown as if each of its bytes were a character."""
    if len(case.lines) != 1 or case.request.path.isascii():
        return False
    shown = case.request.path.encode("utf-8").decode("latin-1")
    parts = zip(case.request.path.split("/"), shown.split("/"), strict=True)
    detail = case.theirs.detail
    for right, wrong in parts:
        detail = detail.replace(wrong, right) if right else detail
    return detail == case.ours.detail


CONSUMER_LEFT_BEHIND = "D5"

KNOWN: dict[str, Callable[[Case], bool]] = {
    "D8": _bad_class_name,
    "D9": _shows_sql,
    "D10": _limit_twice,
    "D11": _never_looked_at,
    "D12": _undated,
    "D13": _nested_sharing,
    "D14": _head,
    "D15": _too_large,
    "D16": _not_utf8,
    "D18": _mojibake,
    "D19": _long_aggregate,
    "D20": _low_ratio,
}


def names_of(case: Case) -> list[str]:
    """Names of what differs, empty if something else does."""
    if case.request.path == "/allocation_candidates" and case.ours.status == case.theirs.status == 200:
        if any(line.startswith("header") for line in case.lines):
            return []
        return known_searches.explain(case.request, case.ours, case.theirs, case.ask)
    return next(([name] for name, holds in KNOWN.items() if holds(case)), [])


def may_leave_consumers(request: Request) -> bool:
    """D5: whether the reference may keep a consumer that holds nothing."""
    return request.path.startswith(("/allocations", "/reshaper"))
