"""The end of a run's leases: in a short run clients end them, in a long one time does."""

from __future__ import annotations

import time

from moorage.model.commands import EndLease
from tests.faults.clients import Recorder
from tests.faults.history import History
from tests.faults.leased import RELEASING
from tests.faults.ledger import unended_leases
from tests.faults.serving import Serving
from tests.faults.targets import Target


def end_leases(target: Target, host: Serving, history: History, by_time: bool, seconds: float) -> list[str]:
    """Returns once no lease waits for service time, or after so many seconds with what is wrong.

    A minute is more than any ttl and grace, with all that may come before a lease ends.
    """
    recorder = Recorder(history, host.port, "lease-end", host.address)
    until = time.monotonic() + seconds
    try:
        while left := unended_leases(target.direct_url):
            if time.monotonic() > until:
                return [f"lease late: {uuid} is still {state} in the end" for uuid, state in left]
            for uuid, state in [] if by_time else left:
                if state != RELEASING:
                    recorder.order(EndLease(uuid, keeps_claims=False))
            time.sleep(0.1)
    finally:
        recorder.close()
    return []
