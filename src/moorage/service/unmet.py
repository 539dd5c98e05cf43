"""The unmet recorder: explains searches that found nothing, in the background, and keeps what it finds.

A search hands over the snapshot that it was asked of, which no later change alters. So an explanation says
what held at that moment, however late it is made.
"""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from contextlib import suppress
from typing import Final, Protocol

from moorage.model.cache import MIB, Cache
from moorage.model.errors import UnavailableError
from moorage.model.explanations import FITS, Explained
from moorage.model.requests import CandidateRequest
from moorage.model.unmet import UnmetRecord
from moorage.model.valueclass import valueclass
from moorage.model.values import Requester
from moorage.search.index.index import Snapshot
from moorage.service.observer import Observer
from moorage.store.sql.errors import ConnectionLostError, WriteConflictError
from moorage.store.unmet import MOST_BYTES, UnmetTable

LOG = logging.getLogger(__name__)

NOT_EXPLAINED: Final = "not_explained"
"""Stands for the verdict of searches that are only counted."""

ROUND_SECONDS: Final = 0.2
"""Pause after each round, which explains one ask at most: so there are five explanations a second at most."""

SHARE: Final = 0.03
BURST_SECONDS: Final = 1.0
"""The part of a processor that the thread takes, and how much processor time it takes at once after a quiet
time. Requests wait for each other's interpreter lock, and for this thread's too.
"""

WRITE_SECONDS: Final = 1.0
"""Pause between two writes: claims go first."""

TRIM_PAUSE_SECONDS: Final = 0.05

MOST_HANDED: Final = 256
"""Searches that wait for the next round. Beyond that they are only counted."""

MOST_WAITING: Final = 32
"""Asks that wait for their explanation, and equal searches that wait for it together."""

MOST_ROWS: Final = 50
"""Records of one write. Beyond that equal searches are only counted."""

KNOWN_BYTES: Final = 4 * MIB
"""Bytes of the last explanations, which are for equal searches at the same revision too."""

MOST_UNLOGGED: Final = 1_000
"""Asks whose equal searches are counted for the log."""

LOGGED_CHARACTERS: Final = 1_000
"""Characters of an ask in the log."""

NAME_LENGTH: Final = 255
"""Characters of a project's id that are kept, as everywhere in the database."""


class UnmetForms(Protocol):
    """The forms in which asks and explanations are kept, which the service does not read."""

    def ask(self, request: CandidateRequest) -> str:
        """What a request asks for, without its limit: the same text for equal requests."""
        ...

    def explanation(self, found: Explained) -> bytes:
        """An explanation as it is kept."""
        ...


Explain = Callable[[int, Snapshot, CandidateRequest], Explained]
"""Explains a request on the snapshot of a revision."""


@valueclass(frozen=True, slots=True)
class UnmetSearch:
    """A search that found nothing. ``at``: seconds since 1970."""

    revision: int
    snapshot: Snapshot
    request: CandidateRequest
    requester: Requester
    at: int


@valueclass(frozen=True, slots=True)
class ExplainedAsk:
    """The last explanation of an ask, and the request whose record has it ("" for none)."""

    revision: int
    verdict: str
    explanation: bytes
    request_id: str


def _size_of(key: str, known: ExplainedAsk) -> int:
    return len(key) + len(known.explanation) + len(known.request_id)


class UnmetRecorder:
    """Explains and keeps searches that found nothing, from a thread of its own once it is started.

    Every process that serves has one. Whatever is still waiting when the process ends is lost.
    """

    def __init__(
        self,
        table: UnmetTable,
        kept: int,
        explain: Explain,
        forms: UnmetForms,
        observer: Observer | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``kept``: how many records the table keeps, at least 1."""
        self._table = table
        self._most_kept = kept
        self._explain = explain
        self._forms = forms
        self._observer = observer
        self._clock = clock
        self._handed: deque[UnmetSearch] = deque()
        self._waiting: dict[str, list[UnmetSearch]] = {}
        self._known: Cache[str, ExplainedAsk] = Cache(KNOWN_BYTES, _size_of)
        self._rows: list[UnmetRecord] = []
        self._repeats: Counter[str] = Counter()
        self._unlogged: Counter[str] = Counter()
        self._next_write = self._last_round = clock()
        self._allowance = BURST_SECONDS
        self._wake = threading.Event()
        self._ending = threading.Event()

    def offer(
        self, revision: int, snapshot: Snapshot, request: CandidateRequest, requester: Requester
    ) -> None:
        """Hand over a search that found nothing. Costs the caller next to nothing, and never raises."""
        if len(self._handed) >= MOST_HANDED:
            self._count(NOT_EXPLAINED)
            return
        self._handed.append(UnmetSearch(revision, snapshot, request, requester, int(time.time())))
        if not self._wake.is_set():
            self._wake.set()

    def start(self) -> None:
        """Start the thread, which ends with the process, or with ``stop``."""
        threading.Thread(target=self._run, name="moorage-unmet", daemon=True).start()

    def stop(self) -> None:
        """Begin no further round."""
        self._ending.set()
        self._wake.set()

    @property
    def has_work(self) -> bool:
        """Whether anything waits for a round."""
        return bool(self._handed or self._waiting or self._rows or self._repeats)

    def settle(self, *, writes: bool = False) -> None:
        """One round: sort what was handed over, explain one ask at most, and write if it is time.

        ``writes``: it is time.
        """
        while self._handed:
            self._sort(self._handed.popleft())
        if self._waiting:
            key = next(iter(self._waiting))
            try:
                self._explain_together(key, self._waiting.pop(key))
            except Exception:
                self._count(NOT_EXPLAINED)
                LOG.exception("A search that found nothing could not be explained.")
        if (self._rows or self._repeats) and (writes or self._clock() >= self._next_write):
            self._write()

    def _run(self) -> None:
        while not self._ending.is_set():
            self._wake.wait()
            self._wake.clear()
            while self.has_work and not self._ending.is_set():
                begun = time.thread_time()
                try:
                    self.settle()
                except Exception:
                    LOG.exception("Searches that found nothing could not be kept.")
                self._ending.wait(self.pause_after(time.thread_time() - begun))

    def pause_after(self, spent: float) -> float:
        """Seconds to wait after a round that took ``spent`` seconds of processor time."""
        now = self._clock()
        earned = SHARE * (now - self._last_round)
        self._allowance = min(BURST_SECONDS, self._allowance + earned) - spent
        self._last_round = now
        return max(ROUND_SECONDS, -self._allowance / SHARE)

    def _sort(self, search: UnmetSearch) -> None:
        ask = _hash(self._forms.ask(search.request), search.request)
        known = self._known.get(ask)
        key = f"{search.revision} {ask}"
        if known is not None and known.revision == search.revision:
            self._note_unlogged(ask, 1)
            self._keep(search, ask, known)
            return
        equal = self._waiting.get(key)
        if equal is None and len(self._waiting) < MOST_WAITING:
            equal = self._waiting[key] = []
        if equal is not None and len(equal) < MOST_WAITING:
            equal.append(search)
            return
        self._note_unlogged(ask, 1)
        self._count(NOT_EXPLAINED)
        if known is not None:
            self._repeat(known)

    def _explain_together(self, key: str, searches: list[UnmetSearch]) -> None:
        """Explain equal searches at one revision."""
        first = searches[0]
        ask = key.partition(" ")[2]
        found = self._explain(first.revision, first.snapshot, first.request)
        verdict = found.explanation.verdict
        text = self._forms.ask(first.request)
        # A search that the steps cut short may have found nothing where something is.
        explanation = b"" if verdict == FITS else self._forms.explanation(found)
        fits_a_row = 0 < len(explanation) <= MOST_BYTES and len(text) <= MOST_BYTES
        known = ExplainedAsk(
            first.revision, verdict, explanation, first.requester.request_id if fits_a_row else ""
        )
        self._known.put(ask, known)
        if verdict != FITS:
            self._log(first, verdict, text, self._unlogged.pop(ask, 0))
            self._note_unlogged(ask, len(searches) - 1)
        for search in searches:
            self._keep(search, ask, known)

    def _note_unlogged(self, ask: str, count: int) -> None:
        if len(self._unlogged) >= MOST_UNLOGGED:
            self._unlogged.clear()
        self._unlogged[ask] += count

    def _log(self, search: UnmetSearch, verdict: str, ask: str, equal: int) -> None:
        requester = search.requester
        LOG.info(
            "No candidates, %s: %s (request %s, global request %s, revision %d; equal searches since the "
            "last such line: %d)",
            verdict,
            ask[:LOGGED_CHARACTERS],
            requester.request_id or "-",
            requester.global_request_id or "-",
            search.revision,
            equal,
        )

    def _keep(self, search: UnmetSearch, ask: str, known: ExplainedAsk) -> None:
        """Make a record of a search whose explanation is known, or count it if there are too many."""
        if known.verdict == FITS:
            return
        self._count(known.verdict)
        if not known.request_id:
            return
        if len(self._rows) >= MOST_ROWS:
            self._repeat(known)
            return
        requester = search.requester
        self._rows.append(
            UnmetRecord(
                ask_hash=ask,
                ask=self._forms.ask(search.request),
                verdict=known.verdict,
                explanation=known.explanation,
                revision=search.revision,
                request_id=requester.request_id,
                global_request_id=requester.global_request_id or None,
                at=search.at,
                project_id=requester.project_id[:NAME_LENGTH] or None,
            )
        )

    def _repeat(self, known: ExplainedAsk) -> None:
        if known.request_id and (known.request_id in self._repeats or len(self._repeats) < MOST_ROWS):
            self._repeats[known.request_id] += 1

    def _count(self, verdict: str) -> None:
        if self._observer is not None:
            self._observer.search_unmet(verdict)

    def _write(self) -> None:
        self._next_write = self._clock() + WRITE_SECONDS
        rows, repeats = self._rows, self._repeats
        try:
            self._table.add(rows, repeats)
        except (UnavailableError, ConnectionLostError, WriteConflictError) as error:
            LOG.debug("Searches that found nothing could not be written now: %r.", error)
            return
        except Exception:
            self._rows, self._repeats = [], Counter()
            raise
        self._rows, self._repeats = [], Counter()
        with suppress(UnavailableError, ConnectionLostError, WriteConflictError):
            while self._table.trim(self._most_kept) and not self._ending.wait(TRIM_PAUSE_SECONDS):
                pass


def _hash(ask: str, request: CandidateRequest) -> str:
    kind = "one provider of each tree" if request.one_provider_per_tree else ""
    return hashlib.sha256(f"{ask}{kind}".encode()).hexdigest()
