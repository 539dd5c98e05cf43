"""A clock that moves when it is told to."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any


@dataclass(slots=True)
class Clock:
    """Stands in for the module ``time``: who sleeps moves it."""

    now: float = 1_000.0

    def monotonic(self) -> float:
        """Seconds since some moment."""
        return self.now

    def sleep(self, seconds: float) -> None:
        """Let time pass, at once."""
        self.now += seconds

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)
