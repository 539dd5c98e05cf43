"""The journal: what is kept of each write beside the change log."""

from __future__ import annotations

from enum import Enum


class JournalMode(Enum):
    """How much the journal keeps of a write.

    ``FULL``: each value that changed, before and after. ``REFS``: only which providers and consumers
    changed. ``OFF``: nothing.
    """

    FULL = "full"
    REFS = "refs"
    OFF = "off"


NEW_HISTORY = "history.new"
"""Kind of a write that begins a new history: what was known of an earlier one may no longer hold."""
