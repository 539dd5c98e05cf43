"""Verify the account and the index, from one snapshot of the database, while others write."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Self

from moorage.model.errors import UnavailableError
from moorage.model.findings import Check, Finding, Verification
from moorage.model.journal import JournalMode
from moorage.model.valueclass import valueclass
from moorage.model.values import ProviderRecord
from moorage.rules import audit
from moorage.rules.journal_audit import check_journal
from moorage.search.index.index import Index
from moorage.service.live_index import BUILD_ATTEMPTS, bring_up, built
from moorage.store.sql.errors import ConnectionLostError, WriteConflictError
from moorage.store.store import Examined, Store

CAUGHT_UP = "that caught up"
BUILT_ANEW = "built anew"


def verify(
    store: Store, follow_seconds: float = 0.0, wait: Callable[[float], None] = time.sleep
) -> Verification:
    """Build an index, let ``follow_seconds`` pass, and compare everything in one snapshot.

    Meanwhile the index learns of writes from the change log, as the index of a running service does. A
    write that the log has lost shows as a difference. Raises UnavailableError.
    """
    last: Exception | None = None
    for _ in range(BUILD_ATTEMPTS):
        try:
            with store.examined() as examined:
                followed = _Followed.begun(examined)
            wait(follow_seconds)
            with store.examined() as examined:
                return _verified(examined, followed, keeps_journal=store.journal is not JournalMode.OFF)
        except (ConnectionLostError, WriteConflictError) as error:
            last = error
            continue
    raise UnavailableError("the database cannot be reached") from last


@valueclass(frozen=True, slots=True)
class _Followed:
    """An index that must catch up; None where the account is too damaged to build one."""

    index: Index | None
    revision: int

    @classmethod
    def begun(cls, examined: Examined) -> Self:
        if not examined.can_be_indexed():
            return cls(None, max((row.revision for row in examined.counters()), default=0))
        everything = examined.everything()
        return cls(built(everything), everything.revision)


def _verified(examined: Examined, followed: _Followed, *, keeps_journal: bool) -> Verification:
    counters = examined.counters()
    revision = max((row.revision for row in counters), default=0)
    log = examined.log()
    facts = examined.facts()
    memberships = len(facts.provider_traits) + len(facts.provider_aggregates)
    generations = len(facts.providers) + len(facts.consumers)
    parts: list[tuple[str, int, str, Iterable[Finding]]] = [
        ("change log", len(log), "lines", audit.check_log(counters, log)),
        ("trees", len(facts.providers), "providers", audit.check_trees(facts)),
        ("inventories", len(facts.inventories), "inventories", audit.check_inventories(facts)),
        ("traits and aggregates", memberships, "memberships", audit.check_members(facts)),
        ("consumers", len(facts.consumers), "consumers", audit.check_consumers(facts)),
        ("allocations", len(facts.allocations), "allocations", audit.check_allocations(facts)),
        ("usage", len(facts.sums), "sums", audit.check_usage(facts)),
        ("generations", generations, "generations", audit.check_generations(facts)),
        ("index", len(facts.providers), "providers", _index_findings(examined, facts, followed)),
    ]
    if keeps_journal:
        journal = examined.journal()
        parts.insert(1, ("journal", journal.records, "records", check_journal(revision, journal, facts)))
    return Verification(
        revision,
        revision - followed.revision,
        tuple(Check(name, examined, of, tuple(findings)) for name, examined, of, findings in parts),
    )


def _index_findings(examined: Examined, facts: audit.Facts, followed: _Followed) -> Iterator[Finding]:
    index = followed.index
    if index is None or not examined.can_be_indexed():
        yield Finding("the index", "cannot be built: the revision counter or a root is missing")
        return
    wanted = audit.records_by_hand(facts)
    refresh = examined.refresh(followed.revision)
    if refresh is None:
        yield Finding(
            "the index",
            "could not be followed: the change log was compacted meanwhile, or the database put back",
            warning=True,
        )
    else:
        bring_up(index, refresh)
        yield from _compared(CAUGHT_UP, index, facts, wanted)
    yield from _compared(BUILT_ANEW, built(examined.everything()), facts, wanted)


def _compared(
    called: str, index: Index, facts: audit.Facts, wanted: Mapping[int, ProviderRecord]
) -> Iterator[Finding]:
    snapshot = index.snapshot()
    names = snapshot.resource_class_names | snapshot.trait_names
    yield from audit.check_names(called, names, facts)
    yield from audit.check_index(called, index.records(), wanted)
