"""Placing: the leader of a group of writes chooses places for claims, one after the other.

It chooses on an overlay: the index as the last group left it, with what this group has placed so far. So the
claims of a group come out as if they had been placed alone, one after the other.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice, permutations
from typing import Any, Final, Protocol

from moorage.model.commands import Command, GrantClaims, PlaceClaims
from moorage.model.errors import (
    EntriesRefusedError,
    GangTooHardError,
    HardToPlaceError,
    MoorageError,
    NothingFitsError,
    SearchLimitError,
)
from moorage.model.orders import Order
from moorage.model.placing import Choice, ChosenOn
from moorage.model.requests import CandidateRequest, SearchSettings
from moorage.search.index.index import Place, Snapshot
from moorage.search.match.candidates import find
from moorage.search.match.outcomes import Memory
from moorage.search.match.plan import Work
from moorage.search.order.board import Amounts, Board, NotLoneError
from moorage.search.order.chances import Prices
from moorage.search.order.ranking import OrderMemory, best
from moorage.service.binding import Bind, PutOffError
from moorage.service.live_index import Indexed, LiveIndex

MOST_HARD: Final = 20
"""Places of one command that may take all the steps of a place. A command that has taken more steps is
searched in the thread of its own request."""

Chosen = tuple[Mapping[str, Mapping[str, int]], Choice]
"""What a claim holds, and how that was chosen."""

Choose = Callable[[Snapshot, CandidateRequest, Order | None], Chosen | None]
"""The best candidate on a snapshot; None if there is none. Raises SearchLimitError, and NotFoundErrors for
unknown names."""


def limited(request: CandidateRequest) -> CandidateRequest:
    """A request for one candidate. A caller that needs it often keeps it."""
    return request if request.limit == 1 else replace(request, limit=1)


class Chooser:
    """Chooses the best candidate of a request, the first one where no order is given."""

    def __init__(
        self, memory: Memory, prices: Callable[[Order], Prices | None] = lambda _order: None
    ) -> None:
        """``prices`` gives the present ones of an order."""
        self._memory = memory
        self._prices = prices
        self._orders = OrderMemory(memory)
        self._random = random.Random(0)  # noqa: S311 - nothing is drawn from it

    def board(self) -> Board:
        """A board for places that are chosen one after the other."""
        return Board(self._orders, prices=self._prices)

    def within(self, step_limit: int, tally: Work | None = None) -> Choose:
        """The choice of a search that may take so many steps. ``tally`` counts those of all searches."""
        settings = SearchSettings(step_limit=step_limit)

        def choose(
            snapshot: Snapshot, request: CandidateRequest, order: Order | None, work: Work
        ) -> Chosen | None:
            if order is not None:
                ranking = best(
                    snapshot,
                    request,
                    order,
                    1,
                    memory=self._orders,
                    step_limit=step_limit,
                    prices=self._prices(order),
                    work=work,
                )
                for ranked in ranking.candidates:
                    chosen = ranked.candidate
                    choice = Choice(chosen.mappings, ranked.score, ranked.parts, ranking.feasible_trees)
                    return chosen.allocations, choice
                return None
            found = find(snapshot, limited(request), settings, self._random, work, self._memory)
            for first in found.candidates:
                return first.allocations, Choice(first.mappings)
            return None

        def counted(snapshot: Snapshot, request: CandidateRequest, order: Order | None) -> Chosen | None:
            work = Work()
            chosen = choose(snapshot, request, order, work)
            if tally is not None:
                tally.done += work.done
            return chosen

        return counted


class Stock(Protocol):
    """What is free, while claims are placed one after the other."""

    @property
    def snapshot(self) -> Snapshot:
        """All providers, with what has been claimed so far."""
        ...

    def choose(self, request: CandidateRequest, order: Order | None) -> Chosen | None:
        """See ``Choose``."""
        ...

    def claim(self, amounts: Amounts) -> None:
        """Count ``amounts`` as in use; an amount below 0 as free."""
        ...

    def mark(self) -> int:
        """The present state, to come back to."""
        ...

    def back(self, mark: int) -> None:
        """Take back all claims since ``mark``."""
        ...


class SnapshotStock:
    """The stock of a single command."""

    def __init__(self, snapshot: Snapshot, choose: Choose) -> None:
        self._made = [snapshot]
        self._choose = choose
        self._places: dict[str, Place | None] = {}

    @property
    def snapshot(self) -> Snapshot:
        """See ``Stock``."""
        return self._made[-1]

    def choose(self, request: CandidateRequest, order: Order | None) -> Chosen | None:
        """See ``Stock``."""
        return self._choose(self.snapshot, request, order)

    def claim(self, amounts: Amounts) -> None:
        """See ``Stock``."""
        self._made.append(self.snapshot.with_more(amounts, self._places))

    def mark(self) -> int:
        """See ``Stock``."""
        return len(self._made)

    def back(self, mark: int) -> None:
        """See ``Stock``."""
        del self._made[mark:]


IN_TURN: Final = Order(seed=0)
"""The order of requests that have none: their first candidate is the best."""


class BoardStock:
    """The stock of the groups of writes: their leaders know the best places of usual requests."""

    def __init__(self, board: Board, choose: Choose, steps: int, tally: Work) -> None:
        """``tally`` has the steps of ``choose``. ``steps`` are those of one place at most."""
        self._board = board
        self._choose = choose
        self._steps = steps
        self._tally = tally
        self._most = 0
        self.claim = board.claim
        self.mark = board.mark
        self.back = board.back

    @property
    def snapshot(self) -> Snapshot:
        """See ``Stock``."""
        return self._board.snapshot

    def begin(self) -> None:
        """Another command begins."""
        self._most = self._taken + MOST_HARD * self._steps

    @property
    def _taken(self) -> int:
        return self._board.taken + self._tally.done

    def choose(self, request: CandidateRequest, order: Order | None) -> Chosen | None:
        """See ``Stock``. Raises SearchLimitError too if the command has taken too many steps."""
        if self._taken > self._most:
            raise SearchLimitError(self._steps)
        try:
            best_one = self._board.best(request, order or IN_TURN, self._steps)
        except NotLoneError:
            return self._choose(self.snapshot, request, order)
        if best_one is None:
            return None
        candidate = best_one.candidate
        if order is None:
            return candidate.allocations, Choice(candidate.mappings)
        choice = Choice(candidate.mappings, best_one.score, best_one.parts, best_one.feasible)
        return candidate.allocations, choice


class UnsettledError(Exception):
    """A gang does not fit in one order. In another one it might."""


def is_gang(command: PlaceClaims) -> bool:
    """Whether several claims must have places together."""
    return command.least == len(command.claims) > 1


def largest_first(requests: Sequence[CandidateRequest | None]) -> list[int]:
    """Numbers of requests, the one that asks for most first; equal ones in their order.

    What is asked of a class counts by its part of the most that one of the requests asks. Claims without a
    request come first.
    """
    # Equal claims of one entry have the same request.
    distinct = {id(request): request for request in requests}
    asked = {key: Counter[str]() for key in distinct}
    for key, request in distinct.items():
        for group in () if request is None else request.groups:
            asked[key].update(group.resources)
    most: Counter[str] = Counter()
    for amounts in asked.values():
        most |= amounts
    sizes = {
        key: math.inf if request is None else sum([asked[key][name] / most[name] for name in asked[key]])
        for key, request in distinct.items()
    }
    return sorted(range(len(requests)), key=lambda number: -sizes[id(requests[number])])


ORDERS: Final = 8
"""Orders in which a gang is tried."""

FEW: Final = 5
"""Claims of a gang of which all orders are looked at."""


def orders(requests: Sequence[CandidateRequest | None]) -> Iterator[list[int]]:
    """Different orders of a gang, the largest first and then by chance; of few claims all that there are."""
    order = largest_first(requests)
    if len(order) <= FEW:
        seen = set()
        for each in permutations(order):
            asked = tuple([requests[number] for number in each])
            if asked not in seen:
                seen.add(asked)
                yield list(each)
        return
    chance = random.Random(0)  # noqa: S311 - the same orders each time
    while True:
        yield list(order)
        chance.shuffle(order)


def searched(
    revision: int, snapshot: Snapshot, choose: Choose, command: PlaceClaims, refused: frozenset[int]
) -> GrantClaims:
    """Places for a command, in the time of its own request. For ``refused`` see ``ChoiceGoneError``.

    If claims take from one provider each, some order places a gang that fits at all. Raises
    EntriesRefusedError, SearchLimitError, and GangTooHardError if a gang fits in no order that was tried.
    """
    chosen_on = ChosenOn(revision)
    try:
        return Placement(revision, SnapshotStock(snapshot, choose), refused).of(command, chosen_on)
    except UnsettledError:
        pass
    refusal: EntriesRefusedError | None = None
    # Only the first place that fits, and not the best one, is the same in some order of any arrangement.
    each_alone = not any(command.orders)
    ways = orders(command.requests)
    for order in islice(ways, ORDERS):
        placement = Placement(revision, SnapshotStock(snapshot, choose), refused)
        try:
            return placement.in_order(command, order, chosen_on)
        except EntriesRefusedError as error:
            refusal = refusal or error
            each_alone &= not placement.spread
    if refusal is not None and each_alone and next(ways, None) is None:
        raise refusal
    raise GangTooHardError(ORDERS)


class Placement:
    """Places for the claims of one command, on a stock that is at ``revision``.

    ``uncounted``: numbers of claims that take no room from the others, as truth refused them last time.
    """

    def __init__(self, revision: int, stock: Stock, uncounted: frozenset[int] = frozenset()) -> None:
        # Whether a claim takes from several providers, so that an order does not settle where equal ones fit.
        self.spread = False
        self.refused: list[tuple[int, MoorageError]] = []
        self._revision = revision
        self._stock = stock
        self._uncounted = uncounted

    def of(self, command: PlaceClaims, decision: ChosenOn) -> GrantClaims:
        """The command with places; of a gang the largest asks are placed first.

        Raises EntriesRefusedError once too few claims can have a place, whatever truth refuses of the others;
        UnsettledError if another order might place a gang; SearchLimitError.
        """
        if not is_gang(command):
            return self.in_order(command, range(len(command.claims)), decision)
        mark = self._stock.mark()
        try:
            return self.in_order(command, largest_first(command.requests), decision)
        except EntriesRefusedError as refusal:
            [(number, error)] = refusal.refused
            request = command.requests[number]
            if isinstance(error, NothingFitsError) and request is not None:
                self._stock.back(mark)
                if self._stock.choose(request, _order_of(command, number)) is None:
                    alone = NothingFitsError(self._revision, request, self._stock.snapshot)
                    raise EntriesRefusedError(((number, alone),)) from None
                if self.spread or len(set(command.requests)) > 1:
                    raise UnsettledError from None
            raise

    def in_order(self, command: PlaceClaims, order: Iterable[int], decision: ChosenOn) -> GrantClaims:
        """As ``of``, with claims placed in this order."""
        claims = list(command.claims)
        places: list[Choice | MoorageError | None] = [None] * len(claims)
        counted = False
        for number in order:
            request = command.requests[number]
            mark = self._stock.mark()
            if command.freed and command.freed[number]:
                self._stock.claim(_negative(command.freed[number]))
            if request is None:
                self._stock.claim(claims[number].allocations)
            else:
                try:
                    allocations, choice = self._choice(request, _order_of(command, number))
                except MoorageError as error:
                    if isinstance(error, SearchLimitError):
                        raise
                    self._stock.back(mark)
                    places[number] = error
                    self.refused.append((number, error))
                    if len(claims) - len(self.refused) >= command.least:
                        continue
                    if counted and not is_gang(command):
                        # Truth may refuse what took the room.
                        break
                    raise EntriesRefusedError(tuple(self.refused)) from error
                if command.explained:
                    choice = replace(choice, found_on=self._stock.snapshot)
                self._stock.claim(allocations)
                self.spread |= len(allocations) > 1
                claims[number] = claims[number].of(allocations)
                places[number] = choice
            if number in self._uncounted:
                self._stock.back(mark)
            else:
                counted = True
        return GrantClaims(
            tuple(claims), command.least, tuple(places), decision, command.passed_on, self._uncounted
        )

    def _choice(self, request: CandidateRequest, order: Order | None) -> Chosen:
        chosen = self._stock.choose(request, order)
        if chosen is None:
            raise NothingFitsError(self._revision, request, self._stock.snapshot)
        return chosen


def _order_of(command: PlaceClaims, number: int) -> Order | None:
    return command.orders[number] if command.orders else None


def _negative(held: Mapping[str, Mapping[str, int]] | None) -> dict[str, dict[str, int]]:
    return {
        provider: {name: -amount for name, amount in amounts.items()}
        for provider, amounts in (held or {}).items()
    }


class Placer:
    """Binds the claims of a group to places; see ``service.binding.Binder``. For one leader at a time."""

    def __init__(self, index: LiveIndex, chooser: Chooser, steps: int) -> None:
        self._index = index
        self._choose = chooser.within(steps)
        self._board = chooser.board()
        tally = Work()
        self._stock = BoardStock(self._board, chooser.within(steps, tally), steps, tally)

    def of_group(self) -> Bind:
        """See ``Binder``. Raises UnavailableError."""
        at = self._index.now()
        self._board.follow(at.snapshot)
        return _Group(at, self._stock, self._choose).bind


class _Group:
    """The commands of one group so far. ``_writes`` of them will be written, if truth allows."""

    def __init__(self, at: Indexed, stock: BoardStock, choose: Choose) -> None:
        self._at = at
        self._stock = stock
        self._choose = choose
        self._writes = 0

    def bind(self, command: Command[Any], refused: frozenset[int]) -> GrantClaims:
        """See ``Bind``."""
        assert isinstance(command, PlaceClaims), "no other command binds late"
        mark = self._stock.mark()
        self._stock.begin()
        try:
            bound = self._bound(command, refused)
        except BaseException:
            self._stock.back(mark)
            raise
        self._writes += 1
        return bound

    def _bound(self, command: PlaceClaims, uncounted: frozenset[int]) -> GrantClaims:
        placement = Placement(self._at.revision, self._stock, uncounted)
        try:
            bound = placement.of(command, ChosenOn(self._at.revision, self._writes))
        except (SearchLimitError, UnsettledError):
            raise HardToPlaceError from None
        except EntriesRefusedError:
            if not self._writes:
                raise
            self._refuse_for_sure(command, uncounted)
            raise PutOffError from None
        if placement.refused and self._writes:
            # What was placed before it in this group is not decided yet.
            raise PutOffError
        return bound

    def _refuse_for_sure(self, command: PlaceClaims, uncounted: frozenset[int]) -> None:
        """Raises EntriesRefusedError if the command cannot be placed on what is committed, either."""
        clean = SnapshotStock(self._at.snapshot, self._choose)
        try:
            Placement(self._at.revision, clean, uncounted).of(command, ChosenOn(self._at.revision))
        except (SearchLimitError, UnsettledError):
            raise HardToPlaceError from None
