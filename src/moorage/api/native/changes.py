"""``/moorage/v1/changes``: every write by its revision, with what changed and by which request."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

import orjson

from moorage.api.http import accept
from moorage.api.http.exchange import JSON, Answer
from moorage.api.http.wire_error import WireError
from moorage.api.native import problems
from moorage.api.native.candidates import SEARCH
from moorage.api.native.endpoint import Endpoint, NativeCall, at_revision
from moorage.api.native.pages import MOST, UUID
from moorage.api.native.parameters import Parameter
from moorage.api.native.past import EPOCH
from moorage.api.native.problems import (
    BUSY,
    COMPACTED,
    DIFFERENT_HISTORY,
    NOT_FOUND,
    REVISION,
    VERSION,
)
from moorage.api.native.shapes import INTEGER, TEXT, array, nullable, record, reference
from moorage.model.journal import ChangePage, ChangeSelection, HistoryPage, JournalMode, KeptChange
from moorage.model.valueclass import valueclass
from moorage.rules.journal import as_seen_by, references
from moorage.service.watching import Following, Unfilled

LINES: Final = "application/x-ndjson"
EVENTS: Final = "text/event-stream"
"""Media types of streams: JSON in lines, and events as browsers take them (SSE)."""

USUAL: Final = 1_000
"""Records of a page, if the request does not say."""

USUAL_HISTORY: Final = 100
"""Records of a page of one thing's history, if the request does not say."""

MOST_SECONDS: Final = 30
"""Longest wait for a record."""

SHOW_PROVIDERS: Final = "moorage:changes:show_providers"
"""Rule of a reader who sees records whole, and not only a project's own consumers."""


def list_(call: NativeCall) -> Answer:
    """List changes."""
    _check_kept(call)
    query, epoch = call.query, call.query.get("epoch")
    own = None if call.may(SHOW_PROVIDERS) else query.get("project_id", "")
    if own is not None and "frees" in query:
        _check_sees_room(call)
    short = query.get("view") == "refs"
    accepted = call.accept or ""
    for media_type in (EVENTS, LINES):
        if media_type in accepted:
            wanted = _wanted(call, call.last_event_id or query["after"])
            form = Form(own, short, is_events=media_type == EVENTS)
            stream = Stream(call.service.follow(wanted, epoch, call.is_gone), form)
            return Answer(media_type=media_type, stream=stream, headers={"cache-control": "no-store"})
    accept.check(call.accept)
    form = Form(own, short)
    wait = float(query.get("wait", "0s")[:-1])
    page = call.service.changes(_wanted(call, query["after"]), epoch, wait, call.is_gone)
    if isinstance(page, Unfilled):
        return Answer(stream=LatePage(page, form))
    return at_revision(page.revision, form.page(page))


def _check_sees_room(call: NativeCall) -> None:
    """Check that what frees room may be known to a reader of one project: what a search would show it.

    Raises WireError (403).
    """
    if not call.may(SEARCH):
        raise WireError(403, f"Policy does not allow {SEARCH}, which frees needs.")
    if "tree" in call.query:
        raise WireError(403, f"Policy does not allow {SHOW_PROVIDERS}, which frees of one tree needs.")


def _wanted(call: NativeCall, after: str) -> ChangeSelection:
    query = call.query
    return ChangeSelection(
        None if _AFTER.value(after) == "now" else int(after),
        query.get("limit", USUAL),
        frozenset(query["kinds"]) if "kinds" in query else None,
        query.get("tree"),
        query.get("consumer"),
        query.get("project_id"),
        frees=frozenset(query["frees"]) if "frees" in query else None,
    )


@valueclass(frozen=True, slots=True)
class Form:
    """How a client sees changes.

    ``own``: the project that the reader belongs to, "" if it names none, None for a reader of everything.
    ``short``: without values. ``is_events``: as events (SSE), or else each as a line.
    """

    own: str | None
    short: bool
    is_events: bool = False

    def record(self, change: KeptChange) -> bytes:
        """One change in JSON."""
        return shown(change, self.own, short=self.short)

    def page(self, page: ChangePage) -> dict[str, object]:
        """The fields of a page beside its revision."""
        return {
            "epoch": page.epoch,
            "next_after": page.next_after,
            "more": page.more,
            "freed_at": page.freed_at,
            "changes": [orjson.Fragment(self.record(change)) for change in page.changes],
        }

    def records(self, page: ChangePage) -> bytes:
        """The changes of a page as a part of a stream."""
        return b"".join(self._told(self.record(change), change.revision) for change in page.changes)

    def bookmark(self, page: ChangePage) -> bytes:
        """How far a stream is."""
        told = orjson.dumps({"bookmark": page.next_after, "epoch": page.epoch})
        return self._told(told, page.next_after, b"event: bookmark\n")

    def end(self, reason: str) -> bytes:
        """Why a stream ends."""
        return self._told(orjson.dumps({"end": reason}), None, b"event: end\n")

    def _told(self, told: bytes, revision: int | None, event: bytes = b"") -> bytes:
        if not self.is_events:
            return told + b"\n"
        known = b"" if revision is None else f"id: {revision}\n".encode()
        return event + known + b"data: " + told + b"\n\n"


class Stream:
    """The parts of an answer that goes on."""

    def __init__(self, following: Following, form: Form) -> None:
        self.following = following
        self.form = form

    def __iter__(self) -> Iterator[bytes]:
        try:
            for page in self.following:
                yield self.form.end(page) if isinstance(page, str) else part_of(page, self.form)
        finally:
            self.close()

    def close(self) -> None:
        """Let another client take the place."""
        self.following.close()


def part_of(page: ChangePage, form: Form) -> bytes:
    """A page as a part of a stream. If it ends with what is not wanted, it says how far it is."""
    records = form.records(page)
    if page.changes and page.changes[-1].revision == page.next_after:
        return records
    return records + form.bookmark(page)


class LatePage:
    """A page that is held where no thread may wait: the server makes the answer later, with ``body``."""

    def __init__(self, unfilled: Unfilled, form: Form) -> None:
        self.unfilled = unfilled
        self.form = form

    def body(self, page: ChangePage) -> tuple[bytes, dict[str, str]]:
        """The body of the answer, and headers that it has besides."""
        answer = at_revision(page.revision, self.form.page(page))
        return orjson.dumps(answer.body), dict(answer.headers)

    def __iter__(self) -> Iterator[bytes]:
        """The page as it is, for a server that does not hold it."""
        yield self.body(self.unfilled.page)[0]


def of_consumer(call: NativeCall) -> Answer:
    """List what changed of a consumer."""
    _check_kept(call)
    query = call.query
    limit, before = query.get("limit", USUAL_HISTORY), query.get("before")
    if call.own_project is None:
        return _history(call, call.service.history_of_consumer(call.path["consumer"], before, limit))
    return _history(call, _own_history(call, before, limit))


def _own_history(call: NativeCall, before: int | None, limit: int) -> HistoryPage:
    """What changed of a consumer while the client's project held something as it.

    Where the page ends does not depend on records of others.
    """
    found: list[KeptChange] = []
    while True:
        # One more tells whether there is a further page.
        page = call.service.history_of_consumer(
            call.path["consumer"], before, limit + 1 - len(found), call.own_project
        )
        found += page.changes
        before = page.next_before
        if len(found) > limit:
            found = found[:limit]
            return replace(page, changes=tuple(found), next_before=found[-1].revision)
        if before is None:
            return replace(page, changes=tuple(found))


def of_provider(call: NativeCall) -> Answer:
    """List what changed of a provider."""
    _check_kept(call)
    query = call.query
    return _history(
        call,
        call.service.history_of_provider(
            call.path["uuid"], query.get("tree"), query.get("before"), query.get("limit", USUAL_HISTORY)
        ),
    )


def _history(call: NativeCall, page: HistoryPage) -> Answer:
    short = call.query.get("view") == "refs"
    return at_revision(
        page.revision,
        {
            "begins": page.begins,
            "next_before": page.next_before,
            "changes": [
                orjson.Fragment(shown(change, call.own_project, short=short)) for change in page.changes
            ],
        },
    )


def _check_kept(call: NativeCall) -> None:
    if call.service.journal is JournalMode.OFF:
        raise problems.refusal(NOT_FOUND, "This service keeps no journal: [moorage] journal is off.")


_TIMES: Final = orjson.OPT_NAIVE_UTC | orjson.OPT_UTC_Z | orjson.OPT_OMIT_MICROSECONDS


def shown(change: KeptChange, own: str | None, *, short: bool) -> bytes:
    """A record in JSON. ``own``: the project that the reader belongs to, None for a reader of everything."""
    # A request of no project is not that of a reader who names none.
    is_seen = own is None or change.project_id == own != ""
    head = orjson.dumps(
        {
            "revision": change.revision,
            "kind": change.kind,
            "at": change.at,
            "path": change.path,
            "by": {
                "user_id": change.user_id or None,
                "project_id": change.project_id or None,
                "request_id": change.request_id or None,
                "global_request_id": change.global_request_id or None,
            }
            if is_seen
            else None,
        },
        option=_TIMES,
    )
    text = change.body.encode()
    if own is not None or short:
        body = orjson.loads(text)
        if own is not None:
            body = as_seen_by(body, own)
        text = orjson.dumps(references(body) if short else body)
    return head if text == b"{}" else head[:-1] + b"," + text[1:]


def _projects(call: NativeCall) -> tuple[str | None]:
    return (call.query.get("project_id"),)


_NAME: Final = {"type": "string", "minLength": 1, "maxLength": 255}

_CLASS: Final = {"type": "string", "pattern": "^[A-Z0-9_]{1,255}$"}

_AFTER: Final = Parameter(
    "after",
    "Changes after this revision; `now` for those from now on.",
    {"type": "string", "pattern": "^([0-9]{1,18}|now)$"},
    required=True,
)

_VIEW: Final = Parameter(
    "view",
    "`refs`: which providers and consumers changed, without values.",
    {"type": "string", "enum": ["full", "refs"]},
)

_PAGE: Final = (
    Parameter("before", "Changes before this revision.", {"type": "integer", "minimum": 1}),
    Parameter(
        "limit",
        f"The most changes of the page; {USUAL_HISTORY} if it is missing.",
        {"type": "integer", "minimum": 1, "maximum": MOST},
    ),
    _VIEW,
)

_HISTORY: Final = record(
    {
        REVISION: INTEGER,
        "begins": INTEGER,
        "next_before": nullable(INTEGER),
        "changes": array(reference("Change")),
    }
)

_ABOUT: Final = (
    "Each change is as in the list of changes, whole. Changes that concern everything are among them. "
    "`begins` is the first revision that the journal still has. `next_before` is the `before` of the next "
    "page."
)

ENDPOINTS: Final = (
    Endpoint(
        "GET",
        f"{VERSION}/claims/{{consumer}}/history",
        of_consumer,
        summary="List what changed of a consumer, the newest first",
        rule="moorage:claims:show_history",
        about=(
            f"{_ABOUT} The history has changes of a lease as well, while the claim hung on it; such a change "
            "names no other lease here. `path` is `service` where no client asked: the keeper ends leases. "
            "A client that is confined to its project sees what changed while that held something, "
            "and no providers."
        ),
        owned=True,
        parameters=_PAGE,
        answer=_HISTORY,
        problems=(NOT_FOUND,),
        examples=("", "limit=10"),
    ),
    Endpoint(
        "GET",
        f"{VERSION}/providers/{{uuid}}/history",
        of_provider,
        summary="List what changed of a provider, the newest first",
        rule="moorage:history:show",
        about=(
            f"{_ABOUT} Without `tree` these are changes in the provider's present tree. A provider that came "
            "from another tree has its earlier history there."
        ),
        parameters=(
            Parameter("tree", "UUID of the root of the tree that the provider was in.", UUID),
            *_PAGE,
        ),
        answer=_HISTORY,
        problems=(NOT_FOUND,),
        examples=("", "limit=10"),
    ),
    Endpoint(
        "GET",
        f"{VERSION}/changes",
        list_,
        summary="List what changed after a revision",
        rule="moorage:changes:list",
        about=(
            "One item for each write, in the order of the commits. Each value that changed is a list of "
            "two: before and after. `next_after` is the `after` of the next request, also under a "
            "filter that nothing passed. With `wait` an empty page is held until a change that passes "
            "the filter was committed. If the journal does not go back to `after`, the answer is 410 "
            "`compacted`. If the revision is not one of this history, it is 410 `different_history`. "
            "Then read the state, and go on from its revision. A reader of one project names it, and "
            "sees of a change its own consumers only. `freed_at` is for `frees`: the first revision up to "
            "`next_after` that may have made room, whatever the project. It ends the wait as well. So a "
            "client without a place knows when to ask again, even one that must not see the change."
        ),
        asks_also=(SHOW_PROVIDERS, SEARCH),
        projects=_projects,
        parameters=(
            _AFTER,
            EPOCH,
            Parameter(
                "limit",
                f"The most changes of the page; {USUAL} if it is missing.",
                {"type": "integer", "minimum": 1, "maximum": MOST},
            ),
            Parameter(
                "wait",
                f"How long to wait for a change, such as `10s`; {MOST_SECONDS} seconds at most.",
                {"type": "string", "pattern": "^([12]?[0-9]|30)s$"},
            ),
            Parameter(
                "kinds",
                "Changes of these kinds only. The part before the point stands for all that begin with it.",
                {"type": "array", "items": {"type": "string", "pattern": r"^[a-z_]+(\.[a-z_]+)?$"}},
            ),
            Parameter("tree", "Changes of the tree whose root has this UUID.", UUID),
            Parameter("consumer", "Changes of the consumer with this UUID.", UUID),
            Parameter("project_id", "Changes of consumers of this project.", _NAME),
            Parameter(
                "frees",
                "Changes that may make room for some of these resource classes: a claim gives some back, "
                "or a provider changes other than by claims.",
                {"type": "array", "items": _CLASS},
            ),
            _VIEW,
        ),
        answer=record(
            {
                REVISION: INTEGER,
                "epoch": TEXT,
                "next_after": INTEGER,
                "more": {"type": "boolean"},
                "freed_at": nullable(INTEGER),
                "changes": array(reference("Change")),
            }
        ),
        media_types=(JSON, LINES, EVENTS),
        problems=(NOT_FOUND, COMPACTED, DIFFERENT_HISTORY, BUSY),
        examples=("after=now", "after=now&kinds=allocations&view=refs"),
    ),
)
