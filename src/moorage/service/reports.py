"""Reports of what is really there: compared with the account, kept as findings, and acted on within bounds.

An action is carried out while a report is received that still shows its finding. So a source that has fallen
silent causes nothing, however long ago it complained.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Final, Protocol, Self, TypeVar
from uuid import NAMESPACE_OID, uuid5

from moorage.model.commands import HealClaim, Healed, WriteOutcome
from moorage.model.errors import (
    FindingNotFoundError,
    OutcomeUnknownError,
    ReportFaultError,
    SourceNotFoundError,
    UnavailableError,
)
from moorage.model.keys import IdempotencyKey
from moorage.model.reports import (
    CLAIM,
    IGNORED,
    OPEN,
    QUARANTINE,
    RELEASE,
    Carried,
    FindingPage,
    FindingSelection,
    Judgement,
    KnownFinding,
    Received,
    Report,
    ReportFinding,
    Safeguards,
    SourceFigures,
)
from moorage.model.values import Requester
from moorage.rules.reports import due_in, judge, outside, remedy_of
from moorage.service.observer import Observer
from moorage.service.settings import AuditSettings
from moorage.store.reports import ReportTable
from moorage.store.sql.errors import ConnectionLostError, ConstraintError, WriteConflictError
from moorage.store.store import Store

ResultT = TypeVar("ResultT")

LOG = logging.getLogger(__name__)

ATTEMPTS: Final = 5
"""How often a report is compared anew because another one of its source was faster, or a write was lost."""

STATE_OF: Final = {"ignore": IGNORED, "reopen": OPEN}
"""The state that an answer of an operator leads to."""

PASSING: Final = (ConnectionLostError, ConstraintError, WriteConflictError)


class Execute(Protocol):
    """Carries out a command: see ``Committer.outcome``."""

    def __call__(
        self, command: HealClaim, requester: Requester, key: IdempotencyKey | None = None
    ) -> WriteOutcome[Healed]: ...


class ReportDesk:
    """Receives reports, and answers for findings. For several threads.

    Every method may raise UnavailableError.
    """

    def __init__(
        self, table: ReportTable, execute: Execute, settings: AuditSettings, observer: Observer | None = None
    ) -> None:
        self._table = table
        self._execute = execute
        self._settings = settings
        self._observer = observer
        self._settle_ms = int(settings.settle_seconds * 1000)

    @classmethod
    def on(
        cls, store: Store, execute: Execute, settings: AuditSettings, observer: Observer | None = None
    ) -> Self:
        """A desk whose findings a store keeps."""
        return cls(ReportTable(store), execute, settings, observer)

    def receive(self, report: Report, requester: Requester) -> Received:
        """Compare a report with the account, keep what they disagree about, and act on what is due.

        Raises ReportFaultError if the report covers what is no tree, or names what it does not cover.
        """
        revision, judgement = self._judged(report)
        if self._observer is not None:
            self._observer.report_received(report.source, len(judgement.suspect))
        by = replace(requester, path="service")
        carried = []
        taken = _again(lambda: self._table.take(judgement.due, self._settings.most_actions))
        for number, finding in taken:
            done = self._carried(finding, by)
            carried.append(done)
            _again(partial(self._table.end, number, done))
        return Received(revision, judgement.suspect, tuple(carried), len(judgement.due) - len(taken))

    def _judged(self, report: Report) -> tuple[int, Judgement]:
        """What the report means, which is kept, and the revision that it was compared with."""
        safeguards = Safeguards(self._settle_ms, self._settings.heal_of(report.source))
        for _ in range(ATTEMPTS):
            read = self._table.compared(report)
            astray = outside(report, read.comparison.roots)
            if astray is not None:
                consumer, provider = astray
                fault = f"Consumer {consumer} has something of {provider}, which is in no tree of the report."
                raise ReportFaultError(fault)
            judgement = judge(report, read.comparison, safeguards)
            try:
                if self._table.keep(report, read, judgement):
                    return read.comparison.revision, judgement
            except PASSING as error:
                LOG.debug("A report of %s is compared anew: %r.", report.source, error)
        raise UnavailableError("other reports of the source were faster")

    def _carried(self, finding: ReportFinding, requester: Requester) -> Carried:
        """What came of the action of a finding that is due."""
        assert finding.action is not None, "what is due has an action"
        trouble: str | None = None
        revision: int | None = None
        try:
            lease = _lease_of(finding) if finding.action == QUARANTINE else None
            outcome = self._execute(
                HealClaim(finding.id, finding, self._settings.over_capacity, lease), requester
            )
        except (UnavailableError, OutcomeUnknownError) as error:
            trouble = str(error)
        else:
            revision = outcome.revision if outcome.error is None else None
            trouble = None if outcome.error is None else str(outcome.error)
        if self._observer is not None:
            self._observer.finding_acted_on(finding.kind, finding.action, done=trouble is None)
        LOG.info(
            "Finding %s of %s, %s: %s of consumer %s %s.",
            finding.id,
            finding.source,
            finding.kind,
            finding.action,
            finding.consumer,
            f"done at revision {revision}" if trouble is None else f"refused: {trouble}",
        )
        return Carried(finding, finding.action, revision, trouble)

    def page(self, wanted: FindingSelection) -> FindingPage:
        """A page of findings, by id."""
        return self._table.page(wanted)

    def find(self, id_: str) -> KnownFinding:
        """Raises FindingNotFoundError."""
        found = self._table.find(id_)
        if found is None:
            raise FindingNotFoundError(id_)
        return found

    def now(self) -> int:
        """The service time in milliseconds, by which findings age."""
        return self._table.now()

    def due_in(self, finding: ReportFinding, now: int) -> int | None:
        """See ``rules.reports``."""
        return due_in(finding, now, self._settle_ms)

    def figures(self) -> list[SourceFigures]:
        """All sources that have ever reported."""
        return self._table.figures()

    def forget(self, source: str) -> None:
        """Forget a source that reports no longer, with its findings. Raises SourceNotFoundError."""
        if not source or not _again(lambda: self._table.forget(source)):
            raise SourceNotFoundError(source)

    def answer(self, id_: str, answer: str) -> KnownFinding:
        """Ignore a finding as long as it stays as it is, or open it again. Raises FindingNotFoundError."""
        known = self.find(id_)
        state = STATE_OF[answer]
        if not _again(lambda: self._table.set_state(known.finding, state)):
            raise FindingNotFoundError(id_)
        return replace(known, finding=replace(known.finding, state=state))

    def heal(
        self,
        id_: str,
        requester: Requester,
        key: IdempotencyKey | None,
        *,
        over_capacity: bool = False,
        quarantines: bool = False,
    ) -> WriteOutcome[Healed]:
        """Heal a finding now, for an operator: neither the settle time nor the number of actions matters.

        ``quarantines``: what is leaked is not released, but hangs on a quarantined lease.

        The outcome may be refused with FindingNotFoundError, CannotHealError, FindingChangedError, and with
        what refuses a claim.
        """
        known = self._table.find(id_)
        finding = None if known is None else known.finding
        lease = _lease_of(finding) if quarantines and finding is not None else None
        outcome = self._execute(HealClaim(id_, finding, over_capacity, lease), requester, key)
        if finding is not None and outcome.error is None and outcome.replayed is None:
            remedy = remedy_of(finding) or ()
            action = QUARANTINE if quarantines else CLAIM if CLAIM in remedy else RELEASE
            done = Carried(finding, action, outcome.revision)
            try:
                _again(lambda: self._table.end(None, done))
            except UnavailableError as error:
                # The claim is healed. The next report no longer shows the finding.
                LOG.warning("That finding %s is healed could not be noted: %s", id_, error)
        return outcome


def _lease_of(finding: ReportFinding) -> str:
    """The lease that quarantines what a finding is about: the same one, however often that is tried."""
    return str(uuid5(NAMESPACE_OID, f"{finding.id} {finding.version}"))


def _again(action: Callable[[], ResultT]) -> ResultT:
    """Repeat what lost against another process, or its connection. Raises UnavailableError."""
    last: Exception | None = None
    for _ in range(ATTEMPTS):
        try:
            return action()
        except PASSING as error:
            last = error
    raise UnavailableError("findings could not be written") from last
