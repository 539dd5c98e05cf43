"""Binding: commands that choose late what they touch become ordinary ones when their group begins."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from moorage.model.commands import Command
from moorage.model.errors import MoorageError
from moorage.model.keys import IdempotencyKey
from moorage.rules.decide import RULES
from moorage.rules.state import Changes, State, Touch

if TYPE_CHECKING:
    from moorage.service.committer import Ticket

LOG = logging.getLogger(__name__)

Bind = Callable[[Command[Any], frozenset[int]], Command[Any]]
"""Makes an ordinary command of one that binds late.

The numbers are those of its parts that truth refused when it was last decided. Raises a ``MoorageError`` that
refuses it, and PutOffError.
"""


class PutOffError(Exception):
    """What becomes of a command depends on commands of its group that are not decided yet."""


class Binder(Protocol):
    """Binds the late commands of one group after the other."""

    def of_group(self) -> Bind:
        """What binds the commands of the group that begins now, one after the other.

        The last group is committed, and the index knows it. Raises a ``MoorageError`` that refuses all of
        them, and what ``LiveIndex.now`` raises.
        """
        ...


class NoBinder:
    """Stands in where no command binds late."""

    def of_group(self) -> Bind:
        """Raises TypeError."""
        raise TypeError("no binder was given")


class Bound(NamedTuple):
    """A ticket with the ordinary command that is decided.

    ``error`` refused it while it was bound. ``is_late``: it was bound as if all late ones before it succeed.
    """

    ticket: Ticket
    command: Command[Any]
    touch: Touch
    error: Exception | None = None
    is_late: bool = False


def touch_of(command: Command[Any], key: IdempotencyKey | None) -> Touch:
    """What a command and its key touch."""
    touch = RULES[type(command)].touches(command)
    return touch if key is None else replace(touch, keys=frozenset((key.id,)))


def bound_late(binder: Binder, late: Sequence[Ticket]) -> Iterator[Bound]:
    """Bind tickets one after the other. Those that are put off are left out."""
    try:
        bind = binder.of_group()
    except MoorageError as refusal:
        yield from (_refused(ticket, refusal) for ticket in late)
        return
    for ticket in late:
        try:
            command = bind(ticket.command, ticket.refused)
            yield Bound(ticket, command, touch_of(command, ticket.key), is_late=True)
        except PutOffError:
            continue
        except MoorageError as refusal:
            yield _refused(ticket, refusal)
        except Exception as fault:
            LOG.exception("A %s could not be bound.", type(ticket.command).__name__)
            yield _refused(ticket, fault)


def _refused(ticket: Ticket, error: Exception) -> Bound:
    """A ticket that was refused while it was bound. Its key may say that it was carried out before."""
    return Bound(ticket, ticket.command, Touch(keys=ticket.touch.keys), error)


def changes_of(state: State, bound: Bound) -> Changes[Any]:
    """What the command changes. Raises what refused it while it was bound, and what its rule raises."""
    if bound.error is not None:
        raise bound.error
    return RULES[type(bound.command)].decide(state, bound.command)
