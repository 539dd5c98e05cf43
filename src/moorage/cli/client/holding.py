"""Until when leases hold, by this machine's clock, and when to renew them.

A lease holds until the time at which its last renewal was sent, plus what the service said remains. The
service counts from a later moment, so the holder's end always comes first.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from moorage.cli.client import spans
from moorage.cli.client.address import Address
from moorage.cli.client.connection import RefusedError, ServiceConnection, ServiceError
from moorage.cli.client.supervision.kernel import boot_clock

LEASES: Final = "/moorage/v1/leases"
RENEWALS: Final = f"{LEASES}/renewals"

LEASES_FEATURE: Final = "leases"
"""Feature of a version of the native API: claims end with leases."""

LACKS: Final = "has no leases"

EACH: Final = 3.0
"""A lease is renewed so often while it lasts: two renewals may fail."""

SHORTEST_PAUSE_SECONDS: Final = 0.1
LONGEST_PAUSE_SECONDS: Final = 5.0
"""Pause after a renewal that failed: a sixth of what is left, within these."""

LEAST_PATIENCE_SECONDS: Final = 0.5
"""A renewal waits for its answer at least so long, and a third of what is left if that is more."""

USUAL_PATIENCE_SECONDS: Final = 10.0
"""How long to wait for an answer about a lease whose end is not known."""

STEP_SECONDS: Final = 0.2
"""A wait that a signal should end takes so long at most."""

LOOK_SECONDS: Final = 1.0
"""The clock is looked at so often, because waits stand still while the machine sleeps."""


@dataclass(slots=True)
class Holding:
    """A lease that is held until ``deadline``, and to be renewed at ``due``; both of ``boot_clock``."""

    lease: str
    deadline: float
    due: float

    @classmethod
    def granted(cls, lease: str, sent: float, remaining: float) -> Holding:
        """A lease of which ``remaining`` seconds are left to a request that was sent at ``sent``."""
        holding = cls(lease, 0.0, 0.0)
        holding.extend(sent, remaining)
        return holding

    def extend(self, sent: float, remaining: float) -> None:
        """Note a renewal."""
        self.deadline = sent + remaining
        self.due = sent + remaining / EACH

    def postpone(self, now: float) -> None:
        """Note that a renewal failed, for the next attempt."""
        left = self.deadline - now
        # Past the deadline nothing is urgent: only a grace may be left, which is not known here.
        pause = max(SHORTEST_PAUSE_SECONDS, left / 6) if left > 0 else LONGEST_PAUSE_SECONDS
        self.due = now + min(LONGEST_PAUSE_SECONDS, pause)

    def patience(self, now: float) -> float:
        """How long to wait for the answer to a renewal, in seconds."""
        left = self.deadline - now
        return max(LEAST_PATIENCE_SECONDS, left / EACH) if left > 0 else USUAL_PATIENCE_SECONDS


def renew(service: ServiceConnection, leases: list[str], patience: float) -> Any:
    """The answer of one request that renews leases. Raises ServiceError, RefusedError."""
    return service.request("POST", RENEWALS, {"leases": leases}, timeout=patience)


class Renewing:
    """A thread that renews one lease until it is stopped, or the lease may have ended.

    ``renewed`` is called with the new deadline, ``lost`` with the reason; ``troubled`` with the first failure
    of several. All are called in the thread.
    """

    def __init__(
        self,
        address: Address,
        holding: Holding,
        renewed: Callable[[float], None],
        lost: Callable[[str], None],
        troubled: Callable[[str], None],
    ) -> None:
        self._address = address
        self._holding = holding
        self._renewed = renewed
        self._lost = lost
        self._troubled = troubled
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="moorage-renewing", daemon=True)

    def start(self) -> None:
        """Begin. No signal is delivered to the thread, because only the main thread can handle it."""
        before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            self._thread.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def stop(self) -> None:
        """Renew no more. A request that is on its way may still renew it."""
        self._stop.set()

    def _run(self) -> None:
        holding, is_troubled = self._holding, False
        with ServiceConnection(self._address.url, self._address.token) as service:
            while not self._stop.wait(min(LOOK_SECONDS, max(0.0, holding.due - boot_clock()))):
                now = boot_clock()
                if now >= holding.deadline:
                    self._lost("no renewal was confirmed in time")
                    return
                if now < holding.due:
                    continue
                try:
                    found = renew(service, [holding.lease], holding.patience(now))
                except (ServiceError, RefusedError) as error:
                    holding.postpone(boot_clock())
                    if not is_troubled:
                        self._troubled(first_line(error))
                    is_troubled = True
                    continue
                is_troubled = False
                for gone in found["gone"]:
                    self._lost(f"the service says that it is {gone['state'] or 'not known'}")
                    return
                holding.extend(now, spans.seconds(found["renewed"][0]["remaining"]))
                self._renewed(holding.deadline)


def end(service: ServiceConnection, lease: str, claims: str, timeout: float = USUAL_PATIENCE_SECONDS) -> Any:
    """End a lease; its claims are taken away (``release``), or stay without it (``keep``).

    The answer, None if it has ended already. Raises ServiceError, RefusedError.
    """
    try:
        return service.once("DELETE", f"{LEASES}/{lease}", query={"claims": claims}, timeout=timeout)
    except RefusedError as refusal:
        if refusal.code not in ("lease_gone", "not_found"):
            raise
        return None


def first_line(error: Exception) -> str:
    """What an error says, without its advice."""
    return str(error).partition("\n")[0]
