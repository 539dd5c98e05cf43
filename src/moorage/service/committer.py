"""The committer: writes that wait together are committed together.

A thread that finds no leader becomes the leader. It takes all waiting commands and decides them one after
the other on the evolving state. It writes the difference in one transaction and answers all commands. So
the commit's fsync and the revision's lock are paid once per group. A refused command gets its refusal and
leaves no trace in its neighbours. While a group is on its way, the next one gathers. Then only the thread
of its first command is woken, to lead it.

A command may choose what it touches as late as possible. The leader binds it to an ordinary command at the
beginning of the group, on the index as the last group left it.
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
from functools import partial
from typing import Any, TypeVar, cast
from uuid import uuid4

from moorage.model.commands import Batch, Command, CreateProvider, UpdateProvider, WriteOutcome
from moorage.model.errors import (
    ChoiceGoneError,
    EqualNameError,
    MoorageError,
    OutcomeUnknownError,
    ProviderExistsError,
    UnavailableError,
    UnstorableError,
)
from moorage.model.journal import JournalMode
from moorage.model.keys import IdempotencyKey, RememberedAnswer
from moorage.model.values import Requester
from moorage.rules.decide import RULES
from moorage.rules.journal import recorded
from moorage.rules.keys import once
from moorage.rules.state import Changes, State, Touch
from moorage.service.binding import Binder, Bound, NoBinder, bound_late, changes_of, touch_of
from moorage.service.live_index import Announcer, Audience, SharedPoll
from moorage.service.lookalikes import Lookalikes
from moorage.service.observer import Observer, Setback
from moorage.service.settings import CommitSettings
from moorage.store.changes.news import OwnClaims
from moorage.store.nouns.noun import GroupWork
from moorage.store.sql.errors import ConnectionLostError, ConstraintError, WriteConflictError
from moorage.store.store import Store
from moorage.store.transaction import Write, WriteTransaction

ResultT = TypeVar("ResultT")

LOG = logging.getLogger(__name__)

FIRST_PAUSE_SECONDS = 0.005
"""Wait after the first conflict with another process: about the length of a transaction."""

LONGEST_PAUSE_SECONDS = 0.5
"""Pauses double up to this. Each is shortened at random so that rivals do not meet again."""


CONSTRAINT_ATTEMPTS = 5
"""How often a single command is decided again because a row is in the way. Another process has written the
row since the read, and may do so several times in a row."""

GRACE_SECONDS = 5.0
"""How long a command waits for its leader beyond its deadline. A database that does not answer at all may
block the leader. Then the command fails with the error that its outcome is not known."""


class _NoAudience(SharedPoll):
    """Stands in where no index polls."""

    revision = None

    def __init__(self) -> None:
        super().__init__(int)

    def put_back(self) -> None:
        pass

    def learn(self, claims: OwnClaims) -> None:
        pass


def _locked() -> threading.Lock:
    lock = threading.Lock()
    lock.acquire()
    return lock


@dataclass(eq=False, slots=True)
class Ticket:
    """A command that waits, and later its answer.

    ``touch`` of a command that binds late names what is known of it, the names of new rows above all.
    ``wake`` is released when there is an answer, or when ``leads`` says that this command's thread must lead.
    ``deadline`` is a time of ``time.monotonic``. ``asks_revision``: the answer comes with ``revision``, at
    which the command was done, or on which it was refused. ``refused``: see ``ChoiceGoneError``.
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
    asks_revision: bool = False
    key: IdempotencyKey | None = None
    revision: int | None = None
    refused: frozenset[int] = frozenset()

    def answer(self, result: object, error: Exception | None, revision: int | None = None) -> None:
        """Let the command's thread go on."""
        self.result, self.error, self.revision = result, error, revision
        self.answered = True
        self.wake.release()

    def is_late(self) -> bool:
        """Whether its deadline has passed."""
        return time.monotonic() > self.deadline


Answer = tuple[object, Exception | None, int]
"""Result or refusal of one command, and the number of the group's writes up to it, its own included."""


@dataclass(eq=False, slots=True)
class _Done:
    """A group that was decided, its answers, and the announcer of its revision.

    ``before``: the revision before its writes, if one of its tickets asks for a revision.
    """

    group: Sequence[Ticket]
    answers: list[Answer]
    announcer: Announcer
    before: int | None = None


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
        binder: Binder | None = None,
    ) -> None:
        """``audience`` learns what was committed before the next group begins."""
        self._store = store
        self._audience = audience or _NoAudience()
        self._binder = binder or NoBinder()
        self._observer = observer
        self._settings = settings
        # Guards the waiting commands and whether a thread leads; held for moments only.
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
        ticket = self._carried_out(command, requester)
        if ticket.error is not None:
            raise ticket.error
        return cast("ResultT", ticket.result)

    def outcome(
        self, command: Command[ResultT], requester: Requester, key: IdempotencyKey | None = None
    ) -> WriteOutcome[ResultT]:
        """As ``execute``, once for each ``key``, with the revision.

        Raises what leaves no outcome to tell, as UnavailableError.
        """
        ticket = self._carried_out(command, requester, asks_revision=True, key=key)
        result, error, revision = ticket.result, ticket.error, ticket.revision
        if revision is None or not (error is None or isinstance(error, MoorageError)):
            raise error or OutcomeUnknownError("the revision of a write is not known")
        if isinstance(result, RememberedAnswer):
            return WriteOutcome(
                revision if result.revision is None else result.revision, replayed=result.text
            )
        return WriteOutcome(revision, cast("ResultT | None", result), error)

    def _carried_out(
        self,
        command: Command[Any],
        requester: Requester,
        *,
        asks_revision: bool = False,
        key: IdempotencyKey | None = None,
    ) -> Ticket:
        deadline = time.monotonic() + self._settings.deadline_seconds
        touch = RULES[type(command)].touches(command) if key is None else touch_of(command, key)
        ticket = Ticket(command, requester, touch, deadline, asks_revision=asks_revision, key=key)
        with self._mutex:
            if len(self._waiting) >= self._settings.queue_length:
                raise UnavailableError("too many writes are waiting")
            self._waiting.append(ticket)
            leads = ticket.leads = not self._led
            self._led = True
        while not ticket.answered:
            if not leads:
                self._wait(ticket)
            if not ticket.answered:
                self._lead()
            # Its own group may have put it off.
            leads = False
        return ticket

    def _wait(self, ticket: Ticket) -> None:
        """Wait for an answer, or for the ticket's turn to lead.

        Once waiting longer is useless, it raises UnavailableError, or OutcomeUnknownError if a leader has
        taken the ticket.
        """
        patience = max(0.0, ticket.deadline - time.monotonic()) + GRACE_SECONDS
        if not ticket.wake.acquire(timeout=patience):
            self._wait_no_longer(ticket)

    def _wait_no_longer(self, ticket: Ticket) -> None:
        """Raise as ``_wait`` does, unless the answer or the turn has come at the very last moment."""
        with self._mutex:
            if ticket.answered or ticket.leads:
                return
            if ticket in self._waiting:
                self._waiting.remove(ticket)
                raise UnavailableError("the database does not answer")
        raise OutcomeUnknownError("the database does not answer")

    def _hand_over(self) -> bool:
        """Make the thread of the first waiting command the leader. False: none waits."""
        with self._mutex:
            self._led = bool(self._waiting)
            if self._led:
                following = self._waiting[0]
                following.leads = True
                following.wake.release()
            return self._led

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
            # Whatever the error is: no thread may be left waiting, and the next group must go on.
            LOG.exception("A group of %d writes failed.", len(group))
            _refuse(group, error if isinstance(error, Exception) else UnavailableError("it is ending"))
            if not isinstance(error, Exception):
                raise
        finally:
            waiting = len(self._waiting)
            if done is None or len(done.group) < len(group):
                self._put_off(group, () if done is None else done.group)
            # The next group can be on its way to the database while the clients of this one are answered.
            follows = self._hand_over()
            if done is not None:
                _answer(done, follows=follows)
            elif not follows:
                self._audience.rest()
            if self._observer is not None:
                self._observer.group_ended(len(group), waiting, time.perf_counter() - begun)

    def _put_off(self, group: Sequence[Ticket], done: Sequence[Ticket]) -> None:
        """Let tickets of a group that it has left out lead the next group. Late ones are refused.

        ``done``: those that will be answered. Those of a lost COMMIT that had happened are answered already.
        """
        decided = set(map(id, done))
        left = [ticket for ticket in group if not ticket.answered and id(ticket) not in decided]
        left = _in_time(left, UnavailableError("other writes kept taking the place"))
        with self._mutex:
            for ticket in left:
                ticket.leads = False
            self._waiting.extendleft(reversed(left))

    def _next_group(self) -> list[Ticket]:
        group: list[Ticket] = []
        later: list[Ticket] = []
        names = Lookalikes() if self._store.ignores_case else None
        keys: set[str] = set()
        while self._waiting and len(group) < self._settings.group_size:
            if self._waiting[0].command.stands_alone:
                if not group:
                    group.append(self._waiting.popleft())
                break
            ticket = self._waiting.popleft()
            # Reading says which names the database holds equal to an existing one. It does not say so of a
            # group's new names: the second one waits until the first exists.
            # A key is known to others once its group has ended: the second request of it waits as well.
            if not keys.isdisjoint(ticket.touch.keys) or (
                names is not None and not names.take({*ticket.touch.provider_names, *ticket.touch.consumers})
            ):
                later.append(ticket)
            else:
                keys |= ticket.touch.keys
                group.append(ticket)
        self._waiting.extendleft(reversed(later))
        return group

    def _commit_group(self, group: Sequence[Ticket]) -> _Done | None:
        """Commit the group as one, or else each command alone. None: all that it has decided are answered."""
        try:
            return self._commit_as_one(group)
        except (UnavailableError, OutcomeUnknownError):
            raise
        except Exception as error:
            if len(group) == 1:
                raise
            # One of the commands is to blame, and only the database knows which. So each is committed
            # alone, and all others are done after one more attempt.
            if not isinstance(error, ConstraintError | UnstorableError):
                LOG.exception("A group of %d writes failed.", len(group))
        self._commit_singly([ticket for ticket in group if not ticket.answered])
        return None

    def _commit_singly(self, group: Sequence[Ticket]) -> None:
        for ticket in group:
            try:
                done = self._commit_as_one((ticket,))
            except MoorageError as refusal:
                _refuse((ticket,), refusal)
            except Exception as fault:
                LOG.exception("A %s failed.", type(ticket.command).__name__)
                _refuse((ticket,), fault)
            else:
                if done is not None:
                    _answer(done, follows=True)

    def _commit_as_one(self, group: Sequence[Ticket]) -> _Done | None:
        """Try until the group is done or refused, or the deadline has passed. None: all decided are answered.

        Raises ConstraintError if the group has several commands.
        """
        pause = FIRST_PAUSE_SECONDS
        constraints_met = 0
        while True:
            transaction_id = uuid4().hex
            try:
                return self._attempt(group, transaction_id)
            except ConstraintError as error:
                self._set_back(Setback.CONSTRAINT)
                constraints_met += 1
                if len(group) > 1:
                    raise
                if constraints_met == CONSTRAINT_ATTEMPTS:
                    raise in_the_way(group[0].command, error.columns) from error
                # The row in the way is committed: reading again sees it, without a pause.
                continue
            except _LostInCommitError as lost:
                self._set_back(Setback.LOST_COMMIT)
                if self._settled(lost.done, transaction_id):
                    return None
                if isinstance(lost.__cause__, UnavailableError):
                    # The commit did not happen, and will not: a disk is full, for example.
                    raise lost.__cause__ from lost
            except (WriteConflictError, ConnectionLostError) as error:
                LOG.debug("A group of %d writes is tried again: %r.", len(group), error)
                lost_connection = isinstance(error, ConnectionLostError)
                self._set_back(Setback.CONNECTION if lost_connection else Setback.CONFLICT)
            group = _in_time(
                group, UnavailableError("the write kept losing against others, or the database is away")
            )
            if not group:
                return None
            self._audience.rest()
            time.sleep(pause * self._random.uniform(0.5, 1))
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)

    def _set_back(self, reason: Setback) -> None:
        if self._observer is not None:
            self._observer.group_set_back(reason)

    def _attempt(self, group: Sequence[Ticket], transaction_id: str) -> _Done:
        """Bind, read, decide, write, commit. Each statement that learns the revision announces it."""
        bound = self._bound(group)
        announcer = Announcer(self._audience)
        try:
            with WriteTransaction(self._store) as transaction:
                state = transaction.read(_all_touched(bound))
                announcer.learned(transaction.revision)
                decided, answers, writes = _decided(state, bound, self._store.journal)
                done = _Done(decided, answers, announcer)
                if writes:
                    writer = transaction.write(state, writes, transaction_id)
                    raised = transaction.raised
                    # No other process can write until this transaction ends.
                    before = transaction.before() if raised is None else raised.before
                    after = before + len(writes)
                    announcer.learned(before, another=bool(self._waiting))
                    _learn_before(transaction, done)
                    _commit(transaction, writer, done)
                    announcer.committed(transaction.own_claims, after)
                else:
                    _learn_before(transaction, done)
        except BaseException:
            announcer.end(follows=True)
            raise
        return done

    def _bound(self, group: Sequence[Ticket]) -> list[Bound]:
        """The group in the order in which it is decided, with its ordinary commands.

        Commands that bind late come first: only the locks show what the others will do, but any order of
        commands that wait together will do.
        """
        late = [ticket for ticket in group if ticket.command.binds_late]
        ordinary = [
            Bound(ticket, ticket.command, ticket.touch) for ticket in group if not ticket.command.binds_late
        ]
        return [*bound_late(self._binder, late), *ordinary] if late else ordinary

    def _settled(self, done: _Done, transaction_id: str) -> bool:
        """Whether a lost COMMIT happened; if so, the group is answered.

        If the database stays away, each command fails with the error that its outcome is not known. Then
        this returns True: nothing is left to do.
        """
        pause = FIRST_PAUSE_SECONDS
        waiting = done.group
        while waiting:
            try:
                happened = self._store.was_committed(transaction_id)
            except (WriteConflictError, ConnectionLostError, UnavailableError):
                waiting = _in_time(waiting, OutcomeUnknownError("the database went away in COMMIT"))
            except Exception:
                # The write may have happened, so that no other error may reach its client.
                LOG.exception("Whether a lost COMMIT had happened could not be read.")
                waiting = _in_time(waiting, OutcomeUnknownError("the database went away in COMMIT"))
            else:
                LOG.warning("A COMMIT got lost; it had %shappened.", "" if happened else "not ")
                if happened:
                    _give(done)
                return happened
            time.sleep(pause * self._random.uniform(0.5, 1))
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
        return True


def _in_time(group: Sequence[Ticket], error: Exception) -> list[Ticket]:
    """The tickets that may wait longer. All others are refused."""
    late = [ticket for ticket in group if ticket.is_late()]
    _refuse(late, error)
    return [ticket for ticket in group if not ticket.answered]


def _refuse(group: Sequence[Ticket], error: Exception) -> None:
    for ticket in group:
        if not ticket.answered:
            ticket.answer(None, error)


def _give(done: _Done) -> None:
    before = done.before
    for ticket, (result, error, writes) in zip(done.group, done.answers, strict=True):
        if not ticket.answered:
            ticket.answer(result, error, None if before is None else before + writes)


def _answer(done: _Done, *, follows: bool) -> None:
    """First end the announcements, so that the clients' next searches find the writes; then answer.

    ``follows``: another group does.
    """
    done.announcer.end(follows=follows)
    _give(done)


def _all_touched(bound: Sequence[Bound]) -> Touch:
    return bound[0].touch if len(bound) == 1 else Touch.union(each.touch for each in bound)


def _learn_before(transaction: WriteTransaction, done: _Done) -> None:
    """Learn the revision before the group, if a ticket asks for a revision."""
    if any(ticket.asks_revision for ticket in done.group):
        done.before = transaction.before()


def _commit(transaction: WriteTransaction, writer: GroupWork, done: _Done) -> None:
    """Raises _LostInCommitError unless it is known whether the commit happened."""
    try:
        transaction.commit(writer)
    except (WriteConflictError, ConstraintError, UnstorableError):
        raise  # the database itself says that the commit did not happen
    except Exception as error:
        raise _LostInCommitError(done) from error


def _decided(
    state: State, bound: Sequence[Bound], mode: JournalMode
) -> tuple[list[Ticket], list[Answer], list[Write]]:
    """Decide on the evolving state: each command sees what the commands before it did.

    A command that was bound late is left out if its choice is gone. So is one that follows a late one that
    has not done what it was bound to. Both wait for the next group.
    """
    decided: list[Ticket] = []
    answers: list[Answer] = []
    writes: list[Write] = []
    astray = False
    for each in bound:
        if astray and each.is_late:
            continue
        ticket, found = each.ticket, _decision(state, each)
        if isinstance(found, Exception):
            astray |= each.is_late
            if each.is_late and isinstance(found, ChoiceGoneError):
                ticket.refused = found.refused
                continue
            decided.append(ticket)
            answers.append((None, found, len(writes)))
            continue
        record = recorded(state, found, mode)
        providers = state.take_over(found)
        if providers is not None:
            key = None if ticket.key is None else ticket.key.id
            leases = tuple(found.leases)
            writes.append(
                Write(found.kind, providers, found.changes_names, ticket.requester, key, record, leases)
            )
        astray |= each.is_late and providers is None
        decided.append(ticket)
        answers.append((found.result, None, len(writes)))
    return decided, answers, writes


def _decision(state: State, bound: Bound) -> Changes[Any] | Exception:
    """What a command changes, or what refuses it."""
    ticket, command, _, error, _ = bound
    if ticket.key is None and error is not None:
        return error
    try:
        if ticket.key is None:
            return RULES[type(command)].decide(state, command)
        return once(state, ticket.key, partial(changes_of, state, bound))
    except MoorageError as refusal:
        return refusal
    except Exception as fault:
        if fault is not error:
            LOG.exception("A %s could not be decided.", type(command).__name__)
        return fault


def in_the_way(command: Command[Any], columns: Sequence[str]) -> MoorageError:
    """The refusal of a command that met a row which reading had not found.

    A collation may hold two names equal that differ in case, so the name looked free.
    """
    for part in command.commands if isinstance(command, Batch) else (command,):
        if isinstance(part, CreateProvider | UpdateProvider) and "name" in columns:
            return ProviderExistsError(None, part.name)
        if isinstance(part, CreateProvider) and "uuid" in columns:
            return ProviderExistsError(part.uuid, None)
    return EqualNameError()
