"""The faults of the reference that docs/reference/differences.md lists, by the same names.

Each predicate is as narrow as it can be: where one holds, everything else about the answers has
been compared another way.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import unquote

from tests.peer import compare, known_quotes, known_searches
from tests.peer.exchange import Answer, Request


@dataclass(frozen=True)
class Case:
    """A request whose answers differ, and in what. ``ask`` asks the reference something else."""

    request: Request
    ours: Answer
    theirs: Answer
    lines: list[str]
    ask: Callable[[Request], Answer]


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
    told = compare.unknown_names(case.ours)
    return (
        case.request.path in {"/allocation_candidates", "/resource_providers"}
        and (case.ours.status, case.theirs.status) == (400, 200)
        and bool(told)
        and compare.are_asked_for(case.request, told)
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
    """D13: a sharing provider that is no root can be missing where it is looked up, by its id.

    The id is all that the 500 says, in JSON, as plain text or in a page.
    """
    return (
        case.request.path == "/allocation_candidates"
        and (case.ours.status, case.theirs.status) == (200, 500)
        and re.fullmatch(r".*(\n\n *|<br />\n)\d+\s+(</body>\n</html>)?", case.theirs.detail, re.DOTALL)
        is not None
    )


def _limit_twice(case: Case) -> bool:
    """D10: of two limits the last is judged and the first is used."""
    limits = [value for name, value in case.request.pairs if name == "limit"]
    return len(limits) > 1 and (case.ours.status, case.theirs.status) == (400, 500)


def _too_large(case: Case) -> bool:
    """D15: no database takes the number, or Python does not read one of so many digits."""
    return (
        case.theirs.status == 500
        and case.ours.status < 500
        and re.search("int too large to convert|Exceeds the limit .* for integer string", case.theirs.detail)
        is not None
    )


def _not_utf8(case: Case) -> bool:
    """D16: a query string or a path is no text."""
    if case.request.path.encode("utf-8", "surrogateescape").decode("utf-8", "replace") != case.request.path:
        return case.ours.status == 404 and case.theirs.status < 500
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
        and (
            case.theirs.status in {200, 201, 204, 400, 404, 409}
            or "cannot convert float infinity" in case.theirs.detail
        )
        and re.search(r"\['allocation_ratio'\]", case.ours.detail) is not None
        and "is less than the minimum of -3.40282e+38" in case.ours.detail
    )


def _mojibake(case: Case) -> bool:
    """D18: text of a path is shown as if each of its bytes were a character."""
    if len(case.lines) != 1 or case.request.path.isascii():
        return False
    shown = case.request.path.encode("utf-8").decode("latin-1")
    parts = zip(case.request.path.split("/"), shown.split("/"), strict=True)
    mine, detail = (_characters(answer.detail) for answer in (case.ours, case.theirs))
    for right, wrong in parts:
        detail = detail.replace(wrong, right) if right else detail
    return detail == mine


def _newline(case: Case) -> bool:
    """D21: a newline at the end of a name or a number is ignored."""
    if case.request.path.endswith("\n"):
        return case.ours.status in {400, 404} and case.theirs.status < 500
    return (
        re.search(r"%0[aA](&|;|$)", case.request.query) is not None
        and case.ours.status == 400
        and case.theirs.status in {200, 400}
        and "\\n' does not match '^" in case.ours.detail
    )


def _nul(case: Case) -> bool:
    """D22: text with NUL, which PostgreSQL does not take."""
    if "\0" in case.request.path:
        return case.ours.status == 404 and case.theirs.status < 500
    return (
        ("%00" in case.request.query or b"\\u0000" in (case.request.body or b""))
        and case.ours.status == 400
        and "NUL characters are not allowed" in case.ours.detail
    )


def _not_json(case: Case) -> bool:
    """D23: NaN, the infinities, and half of a surrogate pair are taken for JSON."""
    return (
        re.search(rb"NaN|Infinity|\d[eE]\+?\d|\\u[dD]", case.request.body or b"") is not None
        and case.ours.status == 400
        and re.search("Malformed JSON: .*(is not JSON|is too large|surrogates not allowed)", case.ours.detail)
        is not None
    )


def _too_deep(case: Case) -> bool:
    """D24: the reader of JSON, or of its schema, gives up."""
    return (
        (case.ours.status, case.theirs.status) == (400, 500)
        and "nested too deeply" in case.ours.detail
        and "maximum recursion depth exceeded" in case.theirs.detail
    )


def _broken_off(case: Case) -> bool:
    """D25: less comes than was announced."""
    return (
        (case.ours.status, case.theirs.status) == (400, 500)
        and "The request body ended after" in case.ours.detail
        and "The client disconnected while sending the body" in case.theirs.detail
    )


def _odd_host(case: Case) -> bool:
    """D26: the host is neither a name nor an address."""
    return case.ours.status == 400 and "The Host header must be" in case.ours.detail


def _deep_quote(case: Case) -> bool:
    """D27: of a body that is nested deeply, eight levels are quoted, and nothing of the schema."""
    if len(case.lines) != 1 or not case.lines[0].startswith("body.errors[0].detail: "):
        return False
    return case.ours.detail == known_quotes.expected(case.request.json, case.theirs)


NOT_AGGREGATES = re.compile(r"Expected 'member_of' parameter to contain valid UUID\(s\)\. Got: (\S*)")


def _another_aggregate(case: Case) -> bool:
    """D29: of several aggregates that are no UUIDs, one is named."""
    ours, theirs = (NOT_AGGREGATES.search(answer.detail) for answer in (case.ours, case.theirs))
    return (
        len(case.lines) == 1
        and case.lines[0].startswith("body.errors[0].detail: ")
        and ours is not None
        and theirs is not None
        and case.ours.detail.replace(ours[1], "") == case.theirs.detail.replace(theirs[1], "")
        and ours[1] < theirs[1]
        and all(name in unquote(case.request.query) for name in (ours[1], theirs[1]))
    )


def _characters(text: str) -> str:
    """Without what HTML says by numbers, and without the request's own."""
    return re.sub(r"&#(\d+);", lambda match: chr(int(match[1])), compare.REQUEST_ID.sub("", text))


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
    "D21": _newline,
    "D22": _nul,
    "D23": _not_json,
    "D24": _too_deep,
    "D25": _broken_off,
    "D26": _odd_host,
    "D27": _deep_quote,
    "D29": _another_aggregate,
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
