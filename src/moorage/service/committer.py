"""The committer: writes that wait together are committed together.

Whichever thread finds nobody at work becomes the leader: it takes all commands that wait, has
them decided one after the other on the evolving state, writes the difference in one transaction
and answers all. The commit's fsync and the revision's lock are paid once per group. A command
that is refused is answered so and leaves no trace in its neighbours. While a group is on its way
the next one gathers by itself; its first command's thread is woken to lead it, and nobody else is.
"""

from __future__ import annotations

import logging
import math
import random
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar, cast
from uuid import uuid4

from moorage.model.commands import Batch, Command, CreateProvider, UpdateProvider
from moorage.model.errors import (
    EqualNameError,
    MoorageError,
    OutcomeUnknownError,
    ProviderExistsError,
    UnavailableError,
)
from moorage.model.values import Requester
from moorage.rules.decide import decide, must_stand_alone, touch
from moorage.rules.state import State, Touch
from moorage.service.observer import Observer, Setback, Unobserved
from moorage.service.settings import CommitSettings
from moorage.service.shared_poll import Question, SharedPoll
from moorage.store.errors import ConnectionLostError, ConstraintError, WriteConflictError
from moorage.store.store import Store
from moorage.store.transaction import Raised, Write
from moorage.store.usage_news import OwnClaims

ResultT = TypeVar("ResultT")

LOG = logging.getLogger(__name__)

FIRST_PAUSE_SECONDS = 0.005
"""Wait after the first conflict with another process: about the length of a transaction."""

LONGEST_PAUSE_SECONDS = 0.5
"""Pauses double up to this, each shortened at random so that rivals do not meet again."""


CONSTRAINT_ATTEMPTS = 5
"""How often a row in the way is taken for one that others have just written, and will be seen when
the group is read again. Other processes may be that quick several times in a row."""

GRACE_SECONDS = 5.0
"""Beyond its deadline a command waits so long for its leader, which may be blocked by a database
that does not answer at all; then its client is told that the outcome is not known."""


class Audience(Protocol):
    """Who asks for the revision all the time, and need not where a group of writes learns it anyway."""

    def begin(self, *, another: bool) -> Question:
        """A statement is sent now that will tell the revision. ``another``: one more will come after it."""
        ...

    def learn(self, claims: OwnClaims) -> None:
        """This was committed. Neither raises nor takes long; called in the order of the commits."""
        ...

    def rest(self) -> None:
        """No such statement is on its way for a while."""
        ...


class _Nobody(SharedPoll):
    """Nobody asks."""

    def __init__(self) -> None:
        super().__init__(int)

    def learn(self, claims: OwnClaims) -> None:
        pass


def _locked() -> threading.Lock:
    lock = threading.Lock()
    lock.acquire()
    return lock


@dataclass(eq=False, slots=True)
class Ticket:
    """A command that waits, and its answer once it has one.

    ``wake`` is released when there is an answer, or when ``leads`` says that it is this command's
    thread's turn to lead. ``deadline`` is a time of ``time.monotonic``.
    """

    command: Command[Any]
    requester: Requester
    touch: Touch
    deadline: float = math.inf
    wake: threading.Lock = field(default_factory=_locked)
    leads: bool = False
    result: object = None
    error: Exception | None = None
    answered: bool = False

    def answer(self, result: object, error: Exception | None) -> None:
        """Let the command's thread go on."""
        self.result, self.error = result, error
        self.answered = True
        self.wake.release()

    def is_late(self) -> bool:
        """Whether its client has waited as long as it shall."""
        return time.monotonic() > self.deadline


Answer = tuple[object, Exception | None]
"""Result or refusal of one command."""


@dataclass(eq=False, slots=True)
class _Done:
    """A group that was decided, and what is to be said of it.

    ``own_claims`` and ``raised`` as in ``WriteTransaction``; ``question`` is to be told ``raised``.
    """

    group: Sequence[Ticket]
    answers: list[Answer]
    own_claims: OwnClaims | None = None
    raised: Raised | None = None
    question: Question | None = None


class _LostInCommitError(Exception):
    """The connection broke in COMMIT: only the change log knows whether ``done`` happened."""

    def __init__(self, done: _Done) -> None:
        super().__init__()
        self.done = done


class Committer:
    """Carries out commands for all threads of a process."""

    def __init__(
        self,
        store: Store,
        settings: CommitSettings,
        observer: Observer | None = None,
        audience: Audience | None = None,
    ) -> None:
        """``audience`` hears of what was committed before the clients are answered."""
        self._store = store
        self._audience = audience or _Nobody()
        self._observer: Observer = observer or Unobserved()
        self._settings = settings
        # Guards what waits and whether anybody leads; held for moments only.
        self._mutex = threading.Lock()
        self._waiting: deque[Ticket] = deque()
        self._led = False
        self._random = random.Random()  # noqa: S311 - only spreads retries in time

    @property
    def waiting(self) -> int:
        """How many commands wait for a group."""
        return len(self._waiting)

    def execute(self, command: Command[ResultT], requester: Requester) -> ResultT:
        """Returns when the command is durable. Raises the ``MoorageError`` that refuses it."""
        deadline = time.monotonic() + self._settings.deadline_seconds
        ticket = Ticket(command, requester, touch(command), deadline)
        with self._mutex:
            if len(self._waiting) >= self._settings.queue_length:
                raise UnavailableError("too many writes are waiting")
            self._waiting.append(ticket)
            ticket.leads = not self._led
            self._led = True
        if not ticket.leads:
            self._wait(ticket)
        if not ticket.answered:
            self._lead()
        if ticket.error is not None:
            raise ticket.error
        return cast("ResultT", ticket.result)

    def _wait(self, ticket: Ticket) -> None:
        """Until there is an answer, or the ticket's turn to lead has come.

        Raises UnavailableError, or OutcomeUnknownError if a leader has taken it, once there is no
        point in waiting any longer.
        """
        patience = max(0.0, ticket.deadline - time.monotonic()) + GRACE_SECONDS
        if not ticket.wake.acquire(timeout=patience):
            self._wait_no_longer(ticket)

    def _wait_no_longer(self, ticket: Ticket) -> None:
        """As ``_wait``, unless its end has come at the very last moment."""
        with self._mutex:
            if ticket.answered or ticket.leads:
                return
            if ticket in self._waiting:
                self._waiting.remove(ticket)
                raise UnavailableError("the database does not answer")
        raise OutcomeUnknownError("the database does not answer")

    def _hand_over(self) -> None:
        """Let the thread of the first command that waits lead, if there is one."""
        with self._mutex:
            self._led = bool(self._waiting)
            if self._led:
                following = self._waiting[0]
                following.leads = True
                following.wake.release()
        if not self._led:
            self._audience.rest()

    def _lead(self) -> None:
        with self._mutex:
            group = self._next_group()
        begun = time.perf_counter()
        done: _Done | None = None
        try:
            done = self._commit_group(group)
        except MoorageError as error:
            _refuse(group, error)
        except BaseException as error:
            # Whatever it is: nobody may be left waiting, and the next group is not to blame.
            LOG.exception("A group of %d writes failed.", len(group))
            _refuse(group, error if isinstance(error, Exception) else UnavailableError("it is ending"))
            if not isinstance(error, Exception):
                raise
        finally:
            waiting = len(self._waiting)
            # The next group can be on its way to the database while the clients of this one are answered.
            self._hand_over()
            if done is not None:
                self._tell_of(done)
            self._observer.group_ended(len(group), waiting, time.perf_counter() - begun)

    def _next_group(self) -> list[Ticket]:
        group: list[Ticket] = []
        while self._waiting and len(group) < self._settings.group_size:
            if must_stand_alone(self._waiting[0].command):
                return group or [self._waiting.popleft()]
            group.append(self._waiting.popleft())
        return group

    def _commit_group(self, group: Sequence[Ticket]) -> _Done | None:
        """Try until it is done, refused, or the deadline has passed. None: all have been answered."""
        pause = FIRST_PAUSE_SECONDS
        constraints_met = 0
        while True:
            transaction_id = uuid4().hex
            try:
                return self._attempt(group, transaction_id)
            except ConstraintError as error:
                # Somebody else's row got in between: read it, and decide again. If it still is in
                # the way, it cannot be seen by its name (a collation holds them equal), or two
                # commands of the group are: each is to answer for itself.
                constraints_met += 1
                if constraints_met == CONSTRAINT_ATTEMPTS:
                    self._commit_singly(group, error)
                    return None
                self._observer.group_set_back(Setback.CONSTRAINT)
            except _LostInCommitError as lost:
                self._observer.group_set_back(Setback.LOST_COMMIT)
                if self._settled(lost.done, transaction_id):
                    return None
                if isinstance(lost.__cause__, UnavailableError):
                    # It did not happen, and will not: a disk is full, or the like.
                    raise lost.__cause__ from lost
            except (WriteConflictError, ConnectionLostError) as error:
                LOG.debug("A group of %d writes is tried again: %r.", len(group), error)
                lost_connection = isinstance(error, ConnectionLostError)
                self._observer.group_set_back(Setback.CONNECTION if lost_connection else Setback.CONFLICT)
            group = _in_time(
                group, UnavailableError("the write kept losing against others, or the database is away")
            )
            if not group:
                return None
            self._audience.rest()
            time.sleep(pause * self._random.uniform(0.5, 1))
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)

    def _commit_singly(self, group: Sequence[Ticket], error: ConstraintError) -> None:
        if len(group) == 1:
            raise in_the_way(group[0].command, error.columns)
        for ticket in group:
            try:
                done = self._commit_group((ticket,))
            except MoorageError as refusal:
                _refuse((ticket,), refusal)
            else:
                if done is not None:
                    self._tell_of(done)

    def _attempt(self, group: Sequence[Ticket], transaction_id: str) -> _Done:
        """One transaction. It learns the revision three times, each time for those who came before."""
        wanted = Touch.union(ticket.touch for ticket in group)
        question = self._audience.begin(another=True)
        try:
            with self._store.transaction() as transaction:
                state = transaction.read(wanted)
                question.end(transaction.revision)
                answers, writes = _decided(state, group)
                done = _Done(group, answers)
                if writes:
                    question = self._audience.begin(another=True)
                    writer = transaction.write(state, writes, transaction_id)
                    # Nobody else can write until this transaction ends.
                    raised = transaction.raised
                    question.end(None if raised is None else raised.before)
                    question = done.question = self._audience.begin(another=bool(self._waiting))
                    try:
                        transaction.commit(writer)
                    except (WriteConflictError, ConstraintError):
                        raise  # the database says itself that it did not happen
                    except Exception as error:
                        raise _LostInCommitError(done) from error
                    done.own_claims, done.raised = transaction.own_claims, raised
        except BaseException:
            question.end()
            raise
        return done

    def _tell_of(self, done: _Done) -> None:
        """Tell whoever wants to know, so that the clients' next questions find it; then the clients."""
        if done.own_claims is not None:
            self._audience.learn(done.own_claims)
        if done.question is not None:
            done.question.end(None if done.raised is None else done.raised.after)
        _give(done.group, done.answers)

    def _settled(self, done: _Done, transaction_id: str) -> bool:
        """Whether a lost COMMIT happened; if so, its answers are given.

        If the database stays away, all are told that the outcome is not known, and it is over.
        """
        pause = FIRST_PAUSE_SECONDS
        waiting = done.group
        while waiting:
            try:
                happened = self._store.was_committed(transaction_id)
            except (WriteConflictError, ConnectionLostError, UnavailableError):
                waiting = _in_time(waiting, OutcomeUnknownError("the database went away in COMMIT"))
            else:
                LOG.warning("A COMMIT got lost; it had %shappened.", "" if happened else "not ")
                if happened:
                    _give(done.group, done.answers)
                return happened
            time.sleep(pause * self._random.uniform(0.5, 1))
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
        return True


def _in_time(group: Sequence[Ticket], error: Exception) -> list[Ticket]:
    """Those who may wait longer; all others are refused."""
    late = [ticket for ticket in group if ticket.is_late()]
    _refuse(late, error)
    return [ticket for ticket in group if not ticket.answered]


def _refuse(group: Sequence[Ticket], error: Exception) -> None:
    for ticket in group:
        if not ticket.answered:
            ticket.answer(None, error)


def _give(group: Sequence[Ticket], answers: Sequence[Answer]) -> None:
    for ticket, (result, error) in zip(group, answers, strict=True):
        if not ticket.answered:
            ticket.answer(result, error)


def _decided(state: State, group: Sequence[Ticket]) -> tuple[list[Answer], list[Write]]:
    """Decide on the evolving state: every command sees what those before it did."""
    answers: list[Answer] = []
    writes: list[Write] = []
    for ticket in group:
        try:
            changes = decide(state, ticket.command)
        except MoorageError as refusal:
            answers.append((None, refusal))
        except Exception as fault:
            LOG.exception("A %s could not be decided.", type(ticket.command).__name__)
            answers.append((None, fault))
        else:
            answers.append((changes.result, None))
            if changes:
                state.apply(changes)
                providers = frozenset(changes.touched_providers())
                writes.append(Write(changes.kind, providers, changes.changes_names, ticket.requester))
    return answers, writes


def in_the_way(command: Command[Any], columns: Sequence[str]) -> MoorageError:
    """What a row that only the database can see means for a command.

    A collation may hold two names equal that differ in case, so that the name looked free.
    """
    for part in command.commands if isinstance(command, Batch) else (command,):
        if isinstance(part, CreateProvider | UpdateProvider) and "name" in columns:
            return ProviderExistsError(None, part.name)
        if isinstance(part, CreateProvider) and "uuid" in columns:
            return ProviderExistsError(part.uuid, None)
    return EqualNameError()
