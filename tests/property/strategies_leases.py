"""Commands about leases, for the account's slow twin with leases."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from moorage.model.commands import AttachClaim, Command, DetachClaim, EndLease, GrantLease
from tests.oracle.leased import LeasedTwin
from tests.property.strategies_account import CONSUMERS

LEASES = tuple(f"1ea5e000-0000-4000-8000-00000000000{number}" for number in range(3))


def lease_commands(account: LeasedTwin) -> st.SearchStrategy[Command[Any]]:
    """One that the present state of ``account`` allows more often than not."""
    running = [lease for lease, is_running in account.running.items() if is_running]
    holders = sorted(account.holders)
    hung = sorted((lease, consumer) for consumer, (lease, _) in account.attached.items())
    found: list[st.SearchStrategy[Command[Any]]] = [st.sampled_from(LEASES).map(_granted)]
    if running:
        end = st.sampled_from(running).map(lambda lease: EndLease(lease, keeps_claims=True))
        attach = st.builds(AttachClaim, st.sampled_from(running), st.sampled_from(holders or CONSUMERS))
        found += [end, attach, attach, attach]
    if hung:
        found.append(st.sampled_from(hung).map(lambda pair: DetachClaim(*pair)))
    return st.one_of(found)


def _granted(lease: str) -> GrantLease:
    return GrantLease(lease, "agent", "red", "ann", 60_000, 0)
