"""The auditor: replays what the change log says on the account's slow twin, and compares everything.

What an answer may be depends on when it was asked for. A request sees a state that was there at some
moment between its beginning and its end: no older than the last write that was acknowledged before it
began, and no newer than the first write that began after it ended.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from itertools import accumulate
from typing import Any

from moorage.model.commands import EndLease, ResolveLease
from moorage.model.errors import MoorageError
from tests.faults.answers import misanswered, misread
from tests.faults.history import History, Operation, Outcome, Reading, Renewal
from tests.faults.leased import ABOUT_LEASES, EXPIRE_KIND, TAKE_AWAY_KIND, LeasedAccount, misrenewed
from tests.faults.ledger import Entry, Ledger, differences
from tests.faults.placed import done_on, is_native, kept_answer, key_id, unfounded

MAY_BE_WRITTEN = {Outcome.ACKNOWLEDGED, Outcome.UNKNOWN, Outcome.FAILED}
"""Outcomes after which a write may stand in the change log."""


AWAY = (None, 408, 502, 503, 504)
"""Statuses of a renewal whose outcome is not known: no answer, or one that says that there is none."""


SETTLED = "settled"
"""Kind of an entry that the service makes by itself, and that changes nothing."""


@dataclass(frozen=True, slots=True)
class Beginning:
    """The account before the first client, and the revision that it was at."""

    account: LeasedAccount
    revision: int


@dataclass(slots=True)
class Verdict:
    """What an audit found; ``violations`` are sentences, each begins with its kind and a colon."""

    violations: list[str] = field(default_factory=list)
    revisions: int = 0
    account: LeasedAccount = field(default_factory=LeasedAccount)
    windows: Windows | None = None
    written: Mapping[str, Written] = field(default_factory=dict)

    def take(self, other: Verdict) -> None:
        """All that another one says."""
        for each in fields(self):
            setattr(self, each.name, getattr(other, each.name))

    def add(self, kind: str, text: object) -> None:
        """One more violation."""
        self.violations.append(f"{kind}: {text}")

    @property
    def kinds(self) -> set[str]:
        """What kinds of violations there are."""
        return {violation.partition(":")[0] for violation in self.violations}


Judge = Callable[[LeasedAccount, int], str | None]
"""Says of a state, and its revision, why something is not true of it; None if it is."""


@dataclass(slots=True)
class _Pending:
    """Something that must be true of one of the states from revision ``low`` to ``high``."""

    kind: str
    what: object
    low: int
    high: int
    judge: Judge
    latest: str | None = "no state of its time was there"


def audit(
    history: History, beginning: Beginning, ledger: Ledger, moments: Mapping[int, float] | None = None
) -> Verdict:
    """Everything that can be told from history, change log and tables. ``moments``: when a watcher was told
    of a revision, which was committed before that.
    """
    verdict = Verdict(revisions=ledger.revision - beginning.revision, account=beginning.account)
    entries = [entry for entry in ledger.entries if entry.revision > beginning.revision]
    _check_density(beginning.revision, ledger, entries, verdict)
    operations = {operation.tag: operation for operation in history.operations}
    written = _written(entries, operations, verdict)
    _check_presence(history.operations, written, verdict)
    _check_renewals(history, verdict)
    _check_keys(history.operations, written, ledger, verdict)
    windows = Windows(written.values(), beginning.revision, ledger.revision, moments or {})
    verdict.windows, verdict.written = windows, written
    beginning.account.revivals = revivals(history, windows)
    _check_order(written.values(), windows, verdict)
    pending = _pending(history, set(written), windows)
    _replay(beginning, entries, operations, ledger.journal, pending, verdict)
    for text in (*ledger.doubtful, *differences(verdict.account, ledger.account)):
        verdict.add("final state", text)
    return verdict


def _check_density(base: int, ledger: Ledger, entries: Sequence[Entry], verdict: Verdict) -> None:
    """Every number from the beginning to the end, each once; a transaction's follow each other."""
    found = Counter(entry.revision for entry in entries)
    for revision in range(base + 1, ledger.revision + 1):
        if found[revision] != 1:
            verdict.add("density", f"revision {revision} is {found[revision]} times in the change log")
    for revision in sorted(found):
        if revision > ledger.revision:
            verdict.add("density", f"revision {revision} is beyond the counter, {ledger.revision}")
    seen: set[str] = set()
    previous = ""
    for entry in entries:
        if entry.transaction_id != previous and entry.transaction_id in seen:
            verdict.add("density", f"revision {entry.revision} is apart from the rest of its transaction")
        previous = entry.transaction_id
        seen.add(previous)


@dataclass(frozen=True, slots=True)
class Written:
    """A write that the change log knows, with its revision."""

    operation: Operation
    revision: int


def _written(
    entries: Sequence[Entry], operations: dict[str, Operation], verdict: Verdict
) -> dict[str, Written]:
    """Writes of the change log by tag."""
    written: dict[str, Written] = {}
    for entry in entries:
        if (entry.kind, entry.user, entry.tag) == (SETTLED, "", "") or is_of_time(entry, operations):
            continue
        operation = operations.get(entry.tag)
        if operation is None:
            verdict.add("stranger", f"nobody sent what revision {entry.revision} logs: {entry}")
            continue
        if entry.tag in written:
            first = written[entry.tag].revision
            verdict.add("done twice", f"in revisions {first} and {entry.revision}: {operation}")
            continue
        if operation.request_id not in (None, entry.request_id):
            verdict.add("stranger", f"revision {entry.revision} logs another request: {operation}, {entry}")
        written[entry.tag] = Written(operation, entry.revision)
    return written


def is_of_time(entry: Entry, operations: Mapping[str, Operation]) -> bool:
    """Whether the service makes an entry by itself, since time has ended a lease or its claims are to go."""
    if (entry.user, entry.tag) == ("", ""):
        return entry.kind in (EXPIRE_KIND, TAKE_AWAY_KIND)
    # The request that ends a lease takes its claims away as well, in commits of their own.
    operation = operations.get(entry.tag)
    ends = operation is not None and isinstance(operation.command, EndLease | ResolveLease)
    return ends and entry.kind == TAKE_AWAY_KIND


def _check_presence(operations: Iterable[Operation], written: dict[str, Written], verdict: Verdict) -> None:
    for operation in operations:
        found = written.get(operation.tag)
        if found and operation.outcome not in MAY_BE_WRITTEN:
            verdict.add(f"{operation.outcome.value} yet done", f"in revision {found.revision}: {operation}")
        if operation.outcome is Outcome.FAILED:
            verdict.add("unforeseen answer", operation)


def _check_renewals(history: History, verdict: Verdict) -> None:
    for renewal in history.renewals:
        if renewal.status not in (*AWAY, 200):
            verdict.add("unforeseen answer", renewal)


def _check_keys(
    operations: Iterable[Operation], written: dict[str, Written], ledger: Ledger, verdict: Verdict
) -> None:
    """A claim and what is remembered under its key are there together, or neither is."""
    for operation in operations:
        if not is_native(operation.command):
            continue
        found, kept = written.get(operation.tag), ledger.answers.get(key_id(operation.tag, operation.tag))
        if (None if found is None else found.revision) != (None if kept is None else kept[0]):
            verdict.add("key", f"revision {found}, remembered {kept}: {operation}")
        for text in operation.problems:
            verdict.add("key", f"{text}: {operation}")
        if kept is not None and operation.outcome is not Outcome.ACKNOWLEDGED:
            operation.body = kept_answer(kept[1])


class Windows:
    """Which revisions a request may have seen."""

    def __init__(
        self, written: Iterable[Written], base: int, last: int, moments: Mapping[int, float]
    ) -> None:
        self._base, self._last = base, last
        ended = sorted(
            [
                *((moment, revision) for revision, moment in moments.items()),
                *(
                    (each.operation.ended, each.revision)
                    for each in written
                    if each.operation.ended is not None and each.operation.outcome is Outcome.ACKNOWLEDGED
                ),
            ]
        )
        begun = sorted((each.operation.begun, each.revision) for each in written)
        self._revisions = sorted(revision for _, revision in begun)
        begins = {revision: moment for moment, revision in begun}
        self._latest = list(accumulate((begins[each] for each in self._revisions), max))
        self._ends = [moment for moment, _ in ended]
        self._highest = _running([revision for _, revision in ended], max)
        self._begins = [moment for moment, _ in begun]
        self._lowest = _running([revision for _, revision in reversed(begun)], min)[::-1]

    def low(self, begun: float) -> int:
        """The newest revision that was acknowledged, or told to a watcher, before ``begun``."""
        count = bisect_left(self._ends, begun)
        return self._highest[count - 1] if count else self._base

    def after(self, revision: int) -> float | None:
        """A moment after which a revision was committed: one that comes before it began then."""
        place = bisect_left(self._revisions, revision)
        return self._latest[place - 1] if place else None

    def high(self, ended: float) -> int:
        """The newest revision below all that began after ``ended``."""
        place = bisect_right(self._begins, ended)
        return self._lowest[place] - 1 if place < len(self._begins) else self._last


def revivals(history: History, windows: Windows) -> dict[str, list[tuple[int, float]]]:
    """Between which revisions each lease was renewed, or may have been."""
    found: dict[str, list[tuple[int, float]]] = defaultdict(list)
    for renewal in history.renewals:
        high = float("inf") if renewal.ended is None else windows.high(renewal.ended)
        for uuid in renewal.renewed:
            found[uuid].append((windows.low(renewal.begun), high))
    return found


def _running(numbers: Iterable[int], choose: Callable[[int, int], int]) -> list[int]:
    found: list[int] = []
    for number in numbers:
        found.append(choose(found[-1], number) if found else number)
    return found


def _check_order(written: Iterable[Written], windows: Windows, verdict: Verdict) -> None:
    """What was acknowledged before another began has the smaller revision."""
    for each in written:
        low = windows.low(each.operation.begun)
        if each.revision <= low:
            text = f"revision {low} was acknowledged before revision {each.revision} began: {each.operation}"
            verdict.add("order", text)


def _pending(history: History, written: set[str], windows: Windows) -> list[_Pending]:
    """Refusals, acknowledged writes that left no trace, and readings."""
    pending = []
    for operation in history.operations:
        if operation.ended is None or operation.tag in written:
            continue
        low, high = windows.low(operation.begun), windows.high(operation.ended)
        if operation.outcome is Outcome.REFUSED:
            pending.append(_Pending("refusal", operation, low, high, _refusal_judge(operation)))
        elif operation.outcome is Outcome.ACKNOWLEDGED:
            pending.append(_Pending("acknowledged yet lost", operation, low, high, _trace_judge(operation)))
    for reading in history.readings:
        low, high = windows.low(reading.begun), windows.high(reading.ended)
        pending.append(_Pending("reading", reading, low, high, _reading_judge(reading)))
    for renewal in history.renewals:
        if renewal.ended is not None and renewal.answer is not None:
            low, high = windows.low(renewal.begun), windows.high(renewal.ended)
            pending.append(_Pending("renewal", renewal, low, high, _renewal_judge(renewal)))
    return pending


def _refusal_judge(operation: Operation) -> Judge:
    if is_native(operation.command):
        return lambda account, revision: unfounded(account, operation, revision)

    def judge(account: LeasedAccount, _revision: int) -> str | None:
        result, refusal, _ = account.rehearse(operation.command)
        return misanswered(operation, result, refusal)

    return judge


def _trace_judge(operation: Operation) -> Judge:
    if is_native(operation.command):
        return lambda _account, _revision: "a native write that was done always changes something"

    def judge(account: LeasedAccount, _revision: int) -> str | None:
        result, refusal, changes = account.rehearse(operation.command)
        if changes:
            return "it would have changed something"
        return misanswered(operation, result, refusal)

    return judge


def _reading_judge(reading: Reading) -> Judge:
    return lambda account, _revision: misread(account, reading)


def _renewal_judge(renewal: Renewal) -> Judge:
    return lambda account, _revision: misrenewed(account, renewal.answer)


def _replay(
    beginning: Beginning,
    entries: Sequence[Entry],
    operations: dict[str, Operation],
    journal: Mapping[int, Any],
    pending: Sequence[_Pending],
    verdict: Verdict,
) -> None:
    """Carry out every write in the order of revisions; judge all else between two of them."""
    account = beginning.account
    waiting = defaultdict(list)
    for item in pending:
        if item.low > item.high:
            verdict.add("order", f"no revision is between {item.low} and {item.high} for {item.what}")
        else:
            waiting[item.low].append(item)
    active = _judged(waiting.pop(beginning.revision, []), account, beginning.revision, verdict)
    for entry in entries:
        operation = operations.get(entry.tag)
        if is_of_time(entry, operations):
            _let_time_pass(account, entry, journal, verdict)
        elif operation is not None:
            _apply(account, entry, operation, verdict)
        active += waiting.pop(entry.revision, [])
        active = _judged(active, account, entry.revision, verdict)
    for item in (*active, *(item for items in waiting.values() for item in items)):
        verdict.add(item.kind, f"{item.what}: {item.latest}")


def _let_time_pass(
    account: LeasedAccount, entry: Entry, journal: Mapping[int, Any], verdict: Verdict
) -> None:
    body = journal.get(entry.revision)
    if body is None:
        verdict.add("lease", f"revision {entry.revision}: the journal has no record of {entry}")
        return
    for fault in account.made_by_the_service(entry.kind, body, entry.revision):
        verdict.add("lease", f"revision {entry.revision}: {fault}")


def _apply(account: LeasedAccount, entry: Entry, operation: Operation, verdict: Verdict) -> None:
    if is_native(operation.command):
        if not isinstance(operation.body, dict):
            verdict.add("key", f"revision {entry.revision}: what was done is not remembered: {operation}")
            return
        fault = done_on(account, operation, entry.revision)
        if fault is not None:
            kind = "lease" if isinstance(operation.command, ABOUT_LEASES) else "placed"
            verdict.add(kind, f"revision {entry.revision}: {fault}: {operation} {operation.body}")
        return
    try:
        result = account.execute(operation.command)
    except MoorageError as refusal:
        verdict.add("against the rules", f"revision {entry.revision}: {refusal!r}: {operation}")
        return
    if operation.outcome is Outcome.ACKNOWLEDGED:
        fault = misanswered(operation, result, None)
        if fault is not None:
            verdict.add("answer", f"revision {entry.revision}: {fault}: {operation}")


def _judged(
    items: Iterable[_Pending], account: LeasedAccount, revision: int, verdict: Verdict
) -> list[_Pending]:
    """What is still to be judged after this revision."""
    left = []
    for item in items:
        item.latest = item.judge(account, revision)
        if item.latest is None:
            continue
        if revision >= item.high:
            verdict.add(item.kind, f"{item.what}: {item.latest} (revisions {item.low} to {item.high})")
        else:
            left.append(item)
    return left


def check_readings(account: LeasedAccount, readings: Iterable[Reading]) -> list[str]:
    """Readings of a time when nobody wrote."""
    return [f"{reading}: {fault}" for reading in readings if (fault := misread(account, reading)) is not None]
