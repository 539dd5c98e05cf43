"""Pricing: what the usual requests make places worth, for orders with the strategy ``slots``.

Each mix of requests has a market. Markets count arrivals, and a thread of their own works prices out anew as
arrivals and claims change the cloud. Between two such moments prices stay, so that blocks can keep scores.
"""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Final

from moorage.model.errors import MoorageError
from moorage.model.mixes import Mix, Shape, with_arrivals
from moorage.model.orders import SLOTS, Order
from moorage.model.requests import CandidateRequest
from moorage.search.index.columns import FloatArray
from moorage.search.index.index import Snapshot
from moorage.search.order.chances import Prices, demand_of, prices_of
from moorage.search.order.residuals import values_of
from moorage.store.mixes import MixTable

LOG = logging.getLogger(__name__)

FIRST_ARRIVALS: Final = 500
"""A mix that is learnt is worked out anew after every ``FIRST_STEP`` of so many arrivals."""

FIRST_STEP: Final = 50
STEP: Final = 500
"""Later after so many, and prices of a given mix after so many claims. In a large cloud as many claims change
less, so that it is a share of the trees if that is more: one in ``TREES_PER_ARRIVAL``."""

TREES_PER_ARRIVAL: Final = 4

RESIDUAL_STEP: Final = 1_000
"""Arrivals after which residuals are worked out anew, from ``FIRST_ARRIVALS`` on."""

LITTLE: Final = 0.02
"""Part of the demand that may be another one, with the same residuals."""

MOST_PENDING: Final = 2_000
"""Different requests that wait to be counted. More are left out until the thread has counted these."""

KEPT_TOGETHER: Final = 500
KEEP_SECONDS: Final = 60.0
"""Arrivals that the database gets at once, and how long fewer of them wait."""

STOP_SECONDS: Final = 5.0
"""How long an ending process waits for its last arrivals to be kept."""

MOST_MARKETS: Final = 64
"""Markets at once. Beyond that the oldest is dropped: a changed profile begins a new one."""


NOTHING_LEARNT: Final[Mapping[Shape, float]] = MappingProxyType({})

MarketKey = tuple[str | None, str | None, str | None]
"""See ``Order.market``."""


class Market:
    """One mix of requests with its present prices. Safe for several threads; one of them settles."""

    def __init__(
        self,
        mix: Mix | None,
        *,
        learns: bool,
        scored: str | None,
        learnt: Mapping[Shape, float] = NOTHING_LEARNT,
    ) -> None:
        """``mix`` holds until enough is learnt, if the market ``learns``. ``learnt`` was so earlier."""
        self.prices: Prices | None = None
        self._given = mix
        self.learns = learns
        self._scored = scored
        self._lock = threading.Lock()
        self._pending: Counter[CandidateRequest] = Counter()
        self._learnt = dict(learnt)
        # Arrivals that the database has not got.
        self._unkept: dict[Shape, float] = {}
        self._kept_at = time.monotonic()
        self._residuals: FloatArray | None = None
        self._residuals_of: tuple[Mix, str] | None = None
        self._residuals_at = 0
        # What the residuals were worked out for.
        self._demand: Mapping[int, float] = {}
        self.arrived = int(sum(learnt.values()))
        self.knows = mix is not None or bool(learnt)
        """Whether there is a mix before any arrival."""
        self._due = 0 if self.knows else FIRST_STEP

    def count(self, requests: Sequence[CandidateRequest | None]) -> bool:
        """Count arrivals; returns whether prices are due."""
        with self._lock:
            for request in requests:
                if request is None:
                    continue
                self.arrived += 1
                if self.learns and (request in self._pending or len(self._pending) < MOST_PENDING):
                    self._pending[request] += 1
            return self.arrived >= self._due

    @property
    def is_due(self) -> bool:
        """Whether prices are due."""
        return self.arrived >= self._due

    def settle(self, snapshot: Snapshot) -> None:
        """Work prices out on a snapshot."""
        arrived = self._absorb()
        mix = self._mix()
        if mix is not None:
            self.prices = self._priced(snapshot, mix, arrived)
        if self.learns and arrived < FIRST_ARRIVALS:
            step = FIRST_STEP
        else:
            step = max(STEP, sum([block.trees.count for block in snapshot.blocks]) // TREES_PER_ARRIVAL)
        self._due = arrived - arrived % step + step

    def keep(self, add: Callable[[Mapping[Shape, float]], dict[Shape, float]], *, at_once: bool) -> None:
        """``add`` arrivals to those of other processes if they are many or old, and go on from all of these.

        Raises what ``add`` does; then they wait for the next time.
        """
        self._absorb()
        is_old = at_once or time.monotonic() >= self._kept_at + KEEP_SECONDS
        if self._unkept and (is_old or sum(self._unkept.values()) >= KEPT_TOGETHER):
            self._kept_at = time.monotonic()
            self._learnt = add(self._unkept)
            self._unkept = {}

    def _absorb(self) -> int:
        """Learn from the arrivals that were counted; returns how many these were since the start."""
        with self._lock:
            pending, self._pending = self._pending, Counter()
            arrived = self.arrived
        shapes: dict[Shape, float] = {}
        for request, count in pending.items():
            shape = Shape.of(request)
            shapes[shape] = shapes.get(shape, 0.0) + count
        if shapes:
            self._learnt = with_arrivals(self._learnt, shapes)
            self._unkept = with_arrivals(self._unkept, shapes)
        return arrived

    def _mix(self) -> Mix | None:
        total = sum(self._learnt.values())
        if self._given is not None and (not self.learns or total < FIRST_ARRIVALS):
            return self._given
        return Mix(self._learnt) if total else None

    def _priced(self, snapshot: Snapshot, mix: Mix, arrived: int) -> Prices | None:
        found = prices_of(snapshot, mix, self._scored, self._residuals)
        if found is None:
            return None
        given = mix is self._given
        if given:
            stale = self._residuals_of != (mix, found.scored)
        else:
            learnt_enough = arrived >= FIRST_ARRIVALS
            stale = learnt_enough and (self._residuals is None or arrived >= self._residuals_at)
        if not stale:
            return found
        demand = demand_of(found.terms, found.scored, found.whole)
        if given or self._residuals is None or _distance(demand, self._demand) > LITTLE:
            self._residuals = values_of(demand)
            self._demand = demand
        self._residuals_of = mix, found.scored
        self._residuals_at = arrived + RESIDUAL_STEP
        return found.with_residuals(self._residuals)


class Markets:
    """The markets of a process. Safe for several threads."""

    def __init__(self, snapshot: Callable[[], Snapshot], mixes: MixTable | None = None) -> None:
        """``snapshot`` gives the cloud as it is now, and may raise a ``MoorageError``.

        ``mixes`` keep what is learnt.
        """
        self._snapshot = snapshot
        self._mixes = mixes
        self._thread: threading.Thread | None = None
        self._markets: dict[MarketKey, Market] = {}
        self._lock = threading.Lock()
        self._settling = threading.Lock()
        self._wake = threading.Event()
        self._ending = threading.Event()

    def start(self) -> None:
        """Start the thread, which ends with the process, or with ``stop``."""
        self._thread = threading.Thread(target=self._run, name="moorage-prices", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Work out no further prices, and keep what was learnt."""
        self._ending.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(STOP_SECONDS)

    def prices(self, order: Order | None) -> Prices | None:
        """The present prices for an order; None if it has none, or nothing is known of its mix yet."""
        if order is None or order.strategy != SLOTS:
            return None
        return self._market(order).prices

    def arrive(self, requests: Sequence[CandidateRequest | None], orders: Sequence[Order | None]) -> None:
        """Count requests that have come to be placed, each with its order, before it is decided."""
        by_order: dict[Order, list[CandidateRequest | None]] = {}
        for request, order in zip(requests, orders, strict=False):
            if order is not None and order.strategy == SLOTS:
                by_order.setdefault(order, []).append(request)
        for order, some in by_order.items():
            if self._market(order).count(some):
                self._wake.set()

    def ready(self, orders: Sequence[Order | None]) -> None:
        """Work out the first prices of mixes that are given or kept, before anything is chosen by them.

        Raises what ``snapshot`` does.
        """
        for order in orders:
            if order is not None and order.strategy == SLOTS:
                market = self._market(order)
                if market.prices is None and market.knows:
                    self._settle(market)

    def settle(self) -> None:
        """Work out all prices that are due."""
        for market in list(self._markets.values()):
            if market.is_due and not self._ending.is_set():
                self._settle(market)

    def keep(self, *, at_once: bool = False) -> None:
        """Keep arrivals that are many or old, or all ``at_once``. Raises what ``MixTable`` does."""
        if self._mixes is None:
            return
        for key, market in list(self._markets.items()):
            if market.learns:
                with self._settling:
                    market.keep(partial(self._mixes.add, _digest(key)), at_once=at_once)

    def _settle(self, market: Market) -> None:
        with self._settling:
            if market.is_due or market.prices is None:
                market.settle(self._snapshot())

    def _market(self, order: Order) -> Market:
        key = order.market
        market = self._markets.get(key)
        if market is None:
            with self._lock:
                market = self._markets.get(key)
                if market is None:
                    learns = order.learned is not None
                    learnt = self._learnt(key) if learns else NOTHING_LEARNT
                    market = Market(order.mix, learns=learns, scored=order.scored, learnt=learnt)
                    while len(self._markets) >= MOST_MARKETS:
                        del self._markets[next(iter(self._markets))]
                    self._markets[key] = market
        return market

    def _learnt(self, key: MarketKey) -> Mapping[Shape, float]:
        """What was learnt earlier, or elsewhere; nothing if that cannot be read now."""
        if self._mixes is None:
            return NOTHING_LEARNT
        try:
            return self._mixes.learnt(_digest(key))
        except MoorageError as error:
            LOG.debug("A mix begins without what was learnt: %r.", error)
            return NOTHING_LEARNT

    def _run(self) -> None:
        while not self._ending.is_set():
            self._wake.wait(KEEP_SECONDS)
            self._wake.clear()
            try:
                self.settle()
                self.keep(at_once=self._ending.is_set())
            except MoorageError as error:
                LOG.debug("Prices could not be worked out, or arrivals not be kept: %r.", error)
            except Exception:
                LOG.exception("Prices could not be worked out, or arrivals not be kept.")


def _distance(one: Mapping[int, float], other: Mapping[int, float]) -> float:
    """The part of two demands, each of which sums to 1, that differs."""
    return sum([abs(one.get(each, 0.0) - other.get(each, 0.0)) for each in one.keys() | other.keys()]) / 2


def _digest(key: MarketKey) -> str:
    """What the database keeps a mix under."""
    return hashlib.sha256(repr(key).encode()).hexdigest()
