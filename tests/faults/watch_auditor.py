"""The auditor of watches: what each watcher was told, against the change log and against the account.

The properties are those that etcd promises of its watches, and one more.

bookmarkable
    after a bookmark comes nothing that is older.
ordered, unique
    revisions grow, over all connections of a watcher, and none comes twice.
reliable
    no revision is missing that passes the filter, unless the watcher was told that it is gone.
resumable
    a watcher goes on after any cut, and records are gone only if somebody has deleted them.
filter
    nothing comes that does not pass.
atomic
    each record is a whole write that the change log has: all watchers are told the same of it.
before
    each value was before what the record before it left, from the first revision to the last.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from moorage_client import Claim, Mirror

from tests.faults.history import Operation
from tests.faults.leased import RELEASED, LeasedAccount
from tests.faults.ledger import Ledger
from tests.faults.watchers import BOOKMARK, GONE, ODD, Told, Watcher
from tests.oracle.history import View, view_of
from tests.oracle.mirrored import claims_of, comparable_claims, comparable_providers, providers_of

Json = Mapping[str, Any]
Path = tuple[str, ...]
Values = dict[Path, Any]

MOST_MISSING = 5
"""Revisions that one sentence names."""


class WatchAudit:
    """Everything that can be told of the watches of a run. ``compacted``: none up to it need be there."""

    def __init__(
        self,
        watchers: Sequence[Watcher],
        operations: Sequence[Operation],
        ledger: Ledger,
        compacted: int,
    ) -> None:
        self.violations: list[str] = []
        self._watchers = watchers
        self._operations = {operation.tag: operation for operation in operations}
        self._ledger = ledger
        self._entries = {entry.revision: entry for entry in ledger.entries}
        self._compacted = compacted
        self._records: dict[int, Json] = {}
        self.moments: dict[int, float] = {}
        """When a revision was first told to any watcher: it was committed before that."""

    def run(self, beginning: LeasedAccount) -> list[str]:
        """All violations, each a sentence with its kind. ``beginning``: the account where watchers began."""
        told = [(watcher, *self._followed(watcher)) for watcher in self._watchers]
        for watcher, received, excused in told:
            self._check_reliable(watcher, received, excused)
        self._check_before(beginning)
        return self.violations

    def _add(self, kind: str, text: str) -> None:
        self.violations.append(f"watch {kind}: {text}")

    def _followed(self, watcher: Watcher) -> tuple[set[int], set[int]]:
        """The revisions that a watcher was told of, and those that it was told are gone."""
        received: set[int] = set()
        excused: set[int] = set()
        position = bookmark = watcher.start
        for told in watcher.told:
            if told.what == BOOKMARK:
                if told.revision < position:
                    self._add("bookmarkable", f"{watcher.name}: {told.revision} after {position}")
                if told.revision > self._ledger.revision:
                    self._add("bookmarkable", f"{watcher.name}: {told.revision} is beyond the end")
                bookmark = told.revision
            elif told.what == GONE:
                self._check_gone(watcher, told, position)
                excused.update(range(position + 1, told.revision + 1))
            elif told.what == ODD:
                self._add("resumable", f"{watcher.name} was answered {told.body}")
                continue
            elif told.revision in received:
                self._add("unique", f"{watcher.name}: {told.revision} came twice")
            elif told.revision <= bookmark:
                self._add("bookmarkable", f"{watcher.name}: {told.revision} after the bookmark {bookmark}")
            elif told.revision <= position:
                self._add("ordered", f"{watcher.name}: {told.revision} after {position}")
            else:
                received.add(told.revision)
                self._check_record(watcher, told)
            position = max(position, told.revision)
        return received, excused

    def _check_gone(self, watcher: Watcher, told: Told, position: int) -> None:
        body = told.body
        if body.get("code") != "compacted" or not position < body.get("compacted", 0) <= self._compacted:
            self._add(
                "resumable",
                f"{watcher.name}: 410 after {position}, and {self._compacted} was compacted: {body}",
            )

    def _check_record(self, watcher: Watcher, told: Told) -> None:
        entry = self._entries.get(told.revision)
        if entry is None:
            self._add("atomic", f"{watcher.name}: {told.revision} is not in the change log: {told.body}")
            return
        self.moments[told.revision] = min(told.moment, self.moments.get(told.revision, told.moment))
        if _author(told.body) != (entry.kind, entry.tag, entry.user, entry.request_id):
            self._add("atomic", f"{watcher.name}: {told.revision} is of another write: {told.body}, {entry}")
        operation = self._operations.get(entry.tag)
        if operation is not None and told.moment < operation.begun:
            self._add("atomic", f"{watcher.name}: {told.revision} came before it was sent")
        if not watcher.passes(told.body):
            self._add("filter", f"{watcher.name}: {told.body}")
        if self._records.setdefault(told.revision, told.body) != told.body:
            other = self._records[told.revision]
            self._add("atomic", f"{watcher.name}: {told.body}, and to another watcher {other}")

    def _check_reliable(self, watcher: Watcher, received: set[int], excused: set[int]) -> None:
        missing = [
            revision
            for revision in range(watcher.start + 1, watcher.after + 1)
            if revision not in received and revision not in excused and self._should_come(watcher, revision)
        ]
        if missing:
            named = ", ".join(map(str, missing[:MOST_MISSING]))
            self._add("reliable", f"{watcher.name} was never told of {len(missing)} revisions: {named}")

    def _should_come(self, watcher: Watcher, revision: int) -> bool:
        """Only another watcher's record tells whether a filter looks inside."""
        if not watcher.query:
            return True
        body = self._records.get(revision)
        return body is not None and watcher.passes(body)

    def _check_before(self, beginning: LeasedAccount) -> None:
        """Walk forward over the records that were told to anybody."""
        values = flat(view_of(beginning))
        for revision in range(self._watchers[0].start + 1, self._ledger.revision + 1):
            body = self._records.get(revision)
            if body is None:
                return
            if "renamed" in body:
                values = _renamed(values, body["renamed"])
            for path, (before, after) in pairs_of(body):
                if values.get(path) != before:
                    had = values.get(path)
                    self._add("before", f"revision {revision}: {path} was {had}, and not {before}")
                _put(values, path, after)
            _let_go(values, body)
        present = flat(view_of(self._ledger.account))
        attached = self._ledger.account.attached
        present |= {("consumers", uuid, "lease"): lease for uuid, lease in attached.items()}
        for path in sorted({*values, *present}, key=str):
            if values.get(path) != present.get(path):
                told, there = values.get(path), present.get(path)
                self._add("before", f"at the end: {path} is {there}, and the records tell of {told}")


def _let_go(values: Values, body: Json) -> None:
    """A lease that is released has no claims any more; those that stay are not in its record."""
    for lease, parts in body.get("leases", {}).items():
        if parts["state"][1] == RELEASED:
            for path in [path for path, value in values.items() if path[-1] == "lease" and value == lease]:
                del values[path]


def _author(body: Json) -> tuple[str, str, str, str]:
    by = body["by"]
    return body["kind"], by["project_id"] or "", by["user_id"] or "", by["request_id"] or ""


def flat(view: View) -> Values:
    """A view with one value at each path; what is nothing, or empty, is left out."""
    values: Values = {}
    for part in ("providers", "consumers"):
        for uuid, fields in view[part].items():
            for name, value in fields.items():
                if name in ("used", "held"):
                    for key, amount in value.items():
                        _put(values, (part, uuid, name, *((key,) if isinstance(key, str) else key)), amount)
                else:
                    _put(values, (part, uuid, name), value)
    for part in ("resource_classes", "traits"):
        for name in view[part]:
            _put(values, (part, name), True)
    return values


def _put(values: Values, path: Path, value: Any) -> None:
    if value or (value is not None and path[-1] == "generation"):
        values[path] = value
    else:
        values.pop(path, None)


def pairs_of(body: Json) -> Iterator[tuple[Path, tuple[Any, Any]]]:
    """Each value that a record changes, with its path: before and after."""
    for part in ("providers", "consumers"):
        for uuid, fields in body.get(part, {}).items():
            for name, value in fields.items():
                if name == "used":
                    for each, pair in value.items():
                        yield (part, uuid, name, each), _pair((part, uuid, name, each), pair)
                elif name == "held":
                    for provider, amounts in value.items():
                        for each, pair in amounts.items():
                            path = (part, uuid, name, provider, each)
                            yield path, _pair(path, pair)
                elif name != "tree":
                    yield (part, uuid, name), _pair((part, uuid, name), value)
    for part in ("resource_classes", "traits"):
        for name, pair in body.get(part, {}).items():
            yield (part, name), _pair((part, name), pair)


def _pair(path: Path, pair: Sequence[Any]) -> tuple[Any, Any]:
    """With nothing in place of what is empty; a generation may be 0."""
    before, after = (value if value or path[-1] == "generation" else None for value in pair)
    return before, after


def _renamed(values: Values, names: Mapping[str, str]) -> Values:
    found: Values = {}
    for path, value in values.items():
        if path[0] not in ("providers", "consumers"):
            found[path] = value
        elif path[2] == "inventories":
            found[path] = {names.get(name, name): each for name, each in value.items()}
        elif path[2] in ("used", "held"):
            found[(*path[:-1], names.get(path[-1], path[-1]))] = value
        else:
            found[path] = value
    return found


def _with_leases(account: LeasedAccount) -> dict[str, Claim]:
    claims = claims_of(account)
    return {uuid: replace(claim, lease=account.attached.get(uuid)) for uuid, claim in claims.items()}


def mirror_faults(mirror: Mirror, rebuilt: Sequence[str], ledger: Ledger, compacted: int) -> list[str]:
    """What a mirror has that the account has not, and the reverse; and copies made anew without a cause."""
    allowed = {"compacted"} if compacted else set()
    found = [f"mirror: the copy was made anew: {reason}" for reason in rebuilt if reason not in allowed]
    with mirror.still() as revision:
        if revision != ledger.revision:
            found.append(f"mirror: it is at {revision}, and the account at {ledger.revision}")
        pairs: Sequence[tuple[Mapping[str, object], Mapping[str, object]]] = (
            (providers_of(ledger.account), comparable_providers(mirror.providers())),
            (_with_leases(ledger.account), comparable_claims(mirror.claims())),
        )
    for expected, has in pairs:
        found += [
            f"mirror: {uuid} is {has.get(uuid)}, but should be {expected.get(uuid)}"
            for uuid in sorted({*expected, *has})
            if expected.get(uuid) != has.get(uuid)
        ]
    return found
