"""Handlers of signals in the process that manages the workers, from its start on.

SIGHUP has two meanings. A closing terminal sends it to its processes, which must end. A service manager sends
it to a daemon, which must reload. So the meaning depends on whether the process has a terminal.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from enum import Enum
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any, Final, Self

TERMINAL: Final = Path("/dev/tty")
"""The terminal of the process that opens it, whatever its standard streams are."""

NOT_FOR_WORKERS: Final = (signal.SIGHUP, signal.SIGINT)
"""A terminal sends these to the workers as well. The workers ignore them, because their manager controls
them."""


class Hangup(Enum):
    """The meaning of SIGHUP."""

    END = "end"
    RELOAD = "reload"
    NOTHING = "nothing"


def meaning_of_hangup() -> Hangup:
    """The meaning of SIGHUP for this process. ``nohup`` ignores the signal from the start."""
    if not has_terminal():
        return Hangup.RELOAD
    ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    return Hangup.NOTHING if ignored else Hangup.END


def has_terminal() -> bool:
    """Whether this process has a terminal that may close."""
    try:
        with TERMINAL.open("rb"):
            return True
    except OSError:
        return False


class Signals:
    """Handlers for the time before the workers start; then the server installs its own.

    ``wants_reload``: SIGHUP arrived meanwhile, so the workers may have an older configuration.
    """

    def __init__(self) -> None:
        self.hangup = meaning_of_hangup()
        self.wants_reload = False
        self._restored = ExitStack()

    def __enter__(self) -> Self:
        self._set(signal.SIGTERM, self._end)
        if self.hangup is not Hangup.NOTHING:
            self._set(signal.SIGHUP, self._end if self.hangup is Hangup.END else self._remember)
        return self

    def __exit__(self, *_: object) -> None:
        self._restored.close()

    def _set(self, number: signal.Signals, handler: Any) -> None:
        self._restored.callback(signal.signal, number, signal.signal(number, handler))

    def _end(self, *_: object) -> None:
        raise SystemExit(0)

    def _remember(self, *_: object) -> None:
        self.wants_reload = True


def begin_as_new_process() -> None:
    """Let SIGTERM end this process: a copy of the managing process has that one's handler at first.

    ``kept_from_workers`` has kept the signal back until now.
    """
    if callable(signal.getsignal(signal.SIGTERM)):
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])


@contextmanager
def kept_from_workers(*others: signal.Signals) -> Iterator[None]:
    """Block ``NOT_FOR_WORKERS`` for processes started in this block, even before they have handlers.

    So are ``others``, until such a process calls ``begin_as_new_process``.
    """
    # The resource tracker unblocks SIGINT when it starts, so it must start before.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (*NOT_FOR_WORKERS, *others))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
