"""Exit statuses of all commands. ``moorage-status`` has those of oslo.upgradecheck."""

from __future__ import annotations

from typing import Final

DONE: Final = 0

REFUSED: Final = 1
"""A request was refused, or the command failed; stderr says why."""

USAGE: Final = 2
"""The command line is wrong; nothing was done."""

NO: Final = 3
"""The answer is no: there is no candidate, nothing is held, or the account has differences."""
