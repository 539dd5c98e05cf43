"""A copy of the account that follows the service: queries cost no request, and each is true at a revision."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Callable, Union
from uuid import uuid4

from moorage_client.account import FIELDS, Account, MismatchError, check_is_whole
from moorage_client.answers import Claim, Provider
from moorage_client.changes import AccountChange, Bookmark, ChangePage, ChangeStream, End
from moorage_client.client import Moorage
from moorage_client.errors import (
    CompactedError,
    DifferentHistoryError,
    ForbiddenError,
    MirrorError,
    MoorageError,
    ProblemError,
    UnreachableError,
    UnusableAnswerError,
)

LOG = logging.getLogger(__name__)

PAGE_SIZE = 1_000
"""Items of a page, and changes of one."""

BUILDS = 5
"""How often a copy is begun, if the history that it follows goes away meanwhile."""

FIRST_PAUSE_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 30.0
"""Pauses after failures. They double until something is told again."""

SETTLED_SECONDS = 60.0
"""A copy that has lasted so long may be made anew at once."""

WAIT_SECONDS = 20
"""How long a page of changes is waited for, without a stream."""

END_SECONDS = 5.0
"""How long ``close`` waits for the thread. A request for a page is left alone: it may last longer."""

COMPACTED = "compacted"
DIFFERENT_HISTORY = "different_history"
MISMATCH = "mismatch"
"""Why a copy is made anew. The last one: a change did not go on from the copy."""

_GONE = Union[CompactedError, DifferentHistoryError, MismatchError]


class Mirror:
    """A consistent copy of providers, and of claims where the reader may list all. Threads may share it.

    with Mirror(moorage) as mirror:
        print(mirror.revision, mirror.free("VCPU"))

    ``start`` reads pages and the changes since the first one, and returns once all of it is true at one
    revision. Then a thread follows the changes. It goes on after cuts and restarts where it was. If the
    service does not know what came next, the thread makes the copy anew, counts that in ``rebuilds`` and
    calls ``on_rebuild`` with the reason. Until the new copy is whole, queries answer from the old one.

    ``claims``: whether to copy claims; None: if the reader may list those of all projects. ``most_items``
    bounds the memory: with more providers and claims ``TooLargeError`` is raised. ``stream=False`` asks for
    page after page, for proxies that hold streams back. ``on_change`` gets each change after the copy has
    taken it. Both functions are called on the mirror's thread and may query it. An error of theirs ends it.

    Queries raise ``MirrorError`` if there is no copy, or if it does not follow any longer: ``__cause__`` says
    why.
    """

    def __init__(
        self,
        moorage: Moorage,
        *,
        claims: bool | None = None,
        most_items: int | None = None,
        page_size: int = PAGE_SIZE,
        stream: bool = True,
        on_change: Callable[[AccountChange], None] | None = None,
        on_rebuild: Callable[[str], None] | None = None,
    ) -> None:
        self._moorage = moorage
        self._claims = claims
        self._most_items = most_items
        self._page_size = page_size
        self._streams = stream
        self._on_change = on_change
        self._on_rebuild = on_rebuild
        self._changed = threading.Condition(threading.RLock())
        self._account: Account | None = None
        self._failure: BaseException | None = None
        self._closing = threading.Event()
        self._stream: ChangeStream | None = None
        self._thread: threading.Thread | None = None
        self._rebuilds: Counter[str] = Counter()
        self._cuts = 0
        self._heard = time.monotonic()
        self._pause = FIRST_PAUSE_SECONDS
        self._rebuilt = -SETTLED_SECONDS
        self._rebuild_pause = 0.0

    # Its life

    def start(self) -> Mirror:
        """Copy the account and begin to follow it. Raises what the service refuses, and ``MirrorError``.

        A reader who sees changes in part only gets ``MirrorError``: the copy would not stay true.
        """
        if self._thread is not None:
            raise MirrorError("A mirror starts once.")
        account = self._built()
        with self._changed:
            self._account = account
        self._thread = threading.Thread(target=self._run, name="moorage-mirror", daemon=True)
        self._thread.start()
        return self

    def close(self) -> None:
        """Stop following. The copy stays as it is, and queries are refused."""
        self._closing.set()
        with self._changed:
            stream = self._stream
            self._changed.notify_all()
        if stream is not None:
            stream.close()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(END_SECONDS if self._streams else 0.0)

    def __enter__(self) -> Mirror:
        return self if self._thread is not None else self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # How it is

    @property
    def revision(self) -> int:
        """The revision that all answers are true at."""
        with self.still() as revision:
            return revision

    @property
    def epoch(self) -> str:
        """The history that the revision belongs to."""
        with self._changed:
            return self._present().epoch

    @property
    def has_claims(self) -> bool:
        """Whether it copies claims."""
        with self._changed:
            return self._present().claims is not None

    @property
    def rebuilds(self) -> Mapping[str, int]:
        """How often the copy was made anew, by reason: compacted, different_history, mismatch."""
        with self._changed:
            return dict(self._rebuilds)

    @property
    def cuts(self) -> int:
        """How often a connection broke, or the service could not answer."""
        return self._cuts

    @property
    def age(self) -> float:
        """Seconds since the service last said something. Without changes it does so every 15 to 20 s."""
        return time.monotonic() - self._heard

    def __len__(self) -> int:
        """Providers and claims: what its memory is in proportion to."""
        with self._changed:
            return len(self._present())

    def wait_for(self, revision: int, timeout: float | None = None) -> bool:
        """Wait until the copy is at a revision or beyond, such as that of a write. False: not in time.

        ``timeout`` is in s. Raises ``MirrorError`` if the mirror ends meanwhile.
        """
        with self._changed:
            return self._changed.wait_for(lambda: self._present().revision >= revision, timeout)

    @contextmanager
    def still(self) -> Iterator[int]:
        """Several queries at one revision: the copy takes no change within the block."""
        with self._changed:
            yield self._present().revision

    def _present(self) -> Account:
        if self._failure is not None:
            raise MirrorError(f"The mirror follows no longer: {self._failure}") from self._failure
        if self._account is None:
            raise MirrorError("The mirror has not started.")
        if self._closing.is_set():
            raise MirrorError("The mirror is closed.")
        return self._account

    # Queries

    def provider(self, uuid: str) -> Provider | None:
        """The provider with a UUID."""
        with self._changed:
            return self._present().providers.get(uuid)

    def provider_named(self, name: str) -> Provider | None:
        """The provider of a name."""
        with self._changed:
            account = self._present()
            uuid = account.by_name.get(name)
            return None if uuid is None else account.providers[uuid]

    def providers(self) -> tuple[Provider, ...]:
        """All providers."""
        with self._changed:
            return tuple(self._present().providers.values())

    def children(self, uuid: str) -> tuple[Provider, ...]:
        """The providers whose parent is a provider."""
        with self._changed:
            account = self._present()
            return tuple(account.providers[each] for each in account.children.get(uuid, ()))

    def tree(self, uuid: str) -> tuple[Provider, ...]:
        """All providers of the tree that a provider is in; none if it is not there."""
        with self._changed:
            account = self._present()
            provider = account.providers.get(uuid)
            uuids = () if provider is None else account.trees[provider.root]
            return tuple(account.providers[each] for each in uuids)

    def free(self, resource_class: str) -> Mapping[str, int]:
        """What is left of a class, by UUID of each provider that has it.

        Below 0 where an inventory was reduced below what is used.
        """
        return {
            provider.uuid: provider.inventories[resource_class].capacity
            - (provider.used or {}).get(resource_class, 0)
            for provider in self.providers()
            if provider.inventories and resource_class in provider.inventories
        }

    def claim(self, consumer: str) -> Claim | None:
        """What a consumer holds; None if that is nothing."""
        with self._changed:
            return self._its_claims().get(consumer)

    def claims(self) -> tuple[Claim, ...]:
        """All claims."""
        with self._changed:
            return tuple(self._its_claims().values())

    def claims_on(self, uuid: str) -> tuple[Claim, ...]:
        """Claims that hold something of a provider."""
        with self._changed:
            claims = self._its_claims()
            return tuple(claims[each] for each in self._present().holders.get(uuid, ()))

    def _its_claims(self) -> Mapping[str, Claim]:
        claims = self._present().claims
        if claims is None:
            raise MirrorError(
                "The mirror has no claims: the reader may not list them, or it was told not to."
            )
        return claims

    # Making a copy

    def _built(self) -> Account:
        for attempt in range(1, BUILDS + 1):
            try:
                return self._read()
            except (CompactedError, DifferentHistoryError, MismatchError) as error:
                if attempt == BUILDS or self._closing.wait(self._next_pause()):
                    raise MirrorError(f"The account cannot be copied: {error}") from error
        raise AssertionError("the last attempt has returned or raised")

    def _read(self) -> Account:
        now = self._moorage.change_page(after="now", limit=1)
        self._check_sees_all(now)
        account = Account(
            now.epoch, now.next_after, claims=self._copies_claims(), most_items=self._most_items
        )
        after: str | None = ""
        while after is not None:
            page = self._moorage.provider_page(
                fields=",".join(FIELDS), limit=self._page_size, after=after or None
            )
            account.add_providers(page.items, page.revision)
            after = page.next
        after = "" if account.claims is not None else None
        while after is not None:
            claims = self._moorage.claim_page(limit=self._page_size, after=after or None)
            account.add_claims(claims.items, claims.revision)
            after = claims.next
        while not account.is_whole:
            news = self._moorage.change_page(
                after=account.revision, epoch=account.epoch, limit=self._page_size
            )
            for change in news.changes:
                account.apply(change)
            account.pass_over(news.next_after)
            if not (news.more or account.is_whole):
                # The history was put back while it was read.
                raise MismatchError(f"the history ends at revision {news.revision}, before a page")
        account.settle()
        self._heard = time.monotonic()
        return account

    def _check_sees_all(self, now: ChangePage) -> None:
        """Look at the newest change. Raises MirrorError if the reader sees a part of it only."""
        # Where the journal does not have it any more, the next one shows it.
        with suppress(CompactedError):
            newest = self._moorage.change_page(after=max(0, now.next_after - 1), epoch=now.epoch, limit=1)
            for change in newest.changes:
                check_is_whole(change)

    def _copies_claims(self) -> bool:
        if self._claims is not False:
            try:
                # A reader who may list claims of its own project only is refused those of any other one.
                self._moorage.claim_page(limit=1, project_id=str(uuid4()))
            except ForbiddenError:
                if self._claims:
                    raise
                self._claims = False
            else:
                self._claims = True
        return self._claims

    # Following

    def _run(self) -> None:
        try:
            reason: str | None = None
            while not self._closing.is_set():
                try:
                    if reason is not None:
                        self._rebuild(reason)
                        reason = None
                    self._follow()
                except (CompactedError, DifferentHistoryError, MismatchError) as gone:
                    reason = reason or _reason(gone)
                    LOG.warning("The copy of the account is made anew: %s", gone)
                except MoorageError as error:
                    self._cut(error)
        except BaseException as failure:  # noqa: BLE001 - a thread has nobody to raise it to
            with self._changed:
                self._failure = failure
                self._changed.notify_all()

    def _cut(self, error: MoorageError) -> None:
        """Pause before the next attempt. Raises the error if no attempt can help."""
        if self._closing.is_set():
            return
        if not _may_pass(error):
            raise error
        self._cuts += 1
        pause = self._next_pause()
        if isinstance(error, ProblemError) and error.retry.after_seconds is not None:
            pause = max(pause, min(float(error.retry.after_seconds), LONGEST_PAUSE_SECONDS))
        self._closing.wait(pause)

    def _next_pause(self) -> float:
        pause, self._pause = self._pause, min(2 * self._pause, LONGEST_PAUSE_SECONDS)
        return pause * random.uniform(0.5, 1.0)  # noqa: S311

    def _rebuild(self, reason: str) -> None:
        """Make the copy anew. Raises what the service refuses, and as ``_read``."""
        # If copies do not last, reading the account must not be all that the service is busy with.
        now = time.monotonic()
        self._rebuild_pause = (
            0.0
            if now > self._rebuilt + SETTLED_SECONDS
            else min(max(FIRST_PAUSE_SECONDS, 2 * self._rebuild_pause), LONGEST_PAUSE_SECONDS)
        )
        self._rebuilt = now + self._rebuild_pause
        if self._closing.wait(self._rebuild_pause):
            return
        account = self._read()
        with self._changed:
            self._account = account
            self._rebuilds[reason] += 1
            self._changed.notify_all()
        if self._on_rebuild is not None:
            self._on_rebuild(reason)

    def _follow(self) -> None:
        account = self._present()
        if not self._streams:
            page = self._moorage.change_page(
                after=account.revision, epoch=account.epoch, wait=f"{WAIT_SECONDS}s", limit=self._page_size
            )
            for change in page.changes:
                self._take(account, change)
            self._told(account, page.next_after)
            return
        stream = self._moorage.change_stream(
            after=account.revision, epoch=account.epoch, limit=self._page_size
        )
        with self._changed:
            self._stream = stream
        try:
            self._follow_stream(account, stream)
        finally:
            with self._changed:
                self._stream = None
            stream.close()

    def _follow_stream(self, account: Account, stream: ChangeStream) -> None:
        if self._closing.is_set():
            return
        for news in stream:
            if isinstance(news, AccountChange):
                self._take(account, news)
            elif isinstance(news, Bookmark):
                self._told(account, news.revision)
            else:
                self._ended(news)

    def _ended(self, end: End) -> None:
        if end.reason in (COMPACTED, DIFFERENT_HISTORY):
            # The next request is told so by an error.
            return
        if end.reason != "again":
            # A service that stops needs a moment until another one takes its place.
            self._closing.wait(self._next_pause())

    def _take(self, account: Account, change: AccountChange) -> None:
        with self._changed:
            account.apply(change)
            self._changed.notify_all()
        self._told(account, change.revision)
        if self._on_change is not None:
            self._on_change(change)

    def _told(self, account: Account, revision: int) -> None:
        account.pass_over(revision)
        self._heard = time.monotonic()
        self._pause = FIRST_PAUSE_SECONDS


def _reason(gone: _GONE) -> str:
    if isinstance(gone, CompactedError):
        return COMPACTED
    return DIFFERENT_HISTORY if isinstance(gone, DifferentHistoryError) else MISMATCH


def _may_pass(error: MoorageError) -> bool:
    """Whether the same request may succeed later."""
    if isinstance(error, UnreachableError):
        return True
    if isinstance(error, (ProblemError, UnusableAnswerError)):
        return error.status >= 500
    return False
