"""The side of ``moorage run`` that talks to the guard of its command."""

from __future__ import annotations

import errno
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from types import FrameType
from typing import Any, Final

from moorage.cli.client.supervision.guard import (
    FORWARDED,
    NOT_EXECUTABLE,
    NOT_FOUND,
    RunOrder,
    foreground_terminal,
    give_terminal,
    guard,
)
from moorage.cli.client.supervision.kernel import adopt_orphans, kill_below

SIGNALLED: Final = 128
"""Exit status of a command that a signal has ended, without the number of the signal."""

Tell = Callable[[str], None]
"""Says something to the user."""


class StoppedError(BaseException):
    """A signal came before the command was started. ``number`` is the signal's."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


@contextmanager
def stoppable() -> Iterator[None]:
    """Signals that end a process raise StoppedError in this block, so that what it holds is given back."""

    def stop(number: int, _frame: FrameType | None) -> None:
        raise StoppedError(number)

    ending = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)
    before = [signal.signal(number, stop) for number in ending]
    try:
        yield
    finally:
        for number, handler in zip(ending, before, strict=True):
            signal.signal(number, handler)


class GuardedCommand:
    """A command that runs under a guard. ``extend`` and ``end`` may be called from any thread.

    ``ending`` is called once the guard has sent TERM because the lease ends, while the command still runs.
    """

    def __init__(self, order: RunOrder, tell: Tell, ending: Callable[[], None]) -> None:
        self._tell = tell
        self._ending = ending
        self._terminal = foreground_terminal()
        self._is_stopped = False
        self._is_over = False
        self._writing = threading.RLock()
        order = replace(order, terminal=self._terminal)
        orders, self._orders = os.pipe()
        self._answers, answers = os.pipe()
        adopt_orphans()
        with _blocked():
            self._before = {number: signal.signal(number, self._forward) for number in FORWARDED}
            self._guard = os.fork()
            if not self._guard:
                os.close(self._orders)
                os.close(self._answers)
                signal.pthread_sigmask(signal.SIG_UNBLOCK, FORWARDED)
                guard(order, orders, answers)
        os.close(orders)
        os.close(answers)

    def extend(self, until: float) -> None:
        """The lease holds until this time of ``boot_clock``."""
        self._order(f"until {until!r}")

    def end(self) -> None:
        """End the command: TERM, and KILL after the pause."""
        self._order("end")

    def wait(self) -> int:
        """Wait for the end of the command, and of all that it has left behind; its exit status.

        That is 128 and the number of a signal that has ended it, 126 or 127 if it cannot be executed.
        """
        status = None
        try:
            for line in self._lines():
                match line.split():
                    case ["failed", number]:
                        status = self._failed(int(number))
                    case ["ending"]:
                        self._ending()
                    case ["stopped"]:
                        self._stopped()
                    case ["continued"]:
                        self._is_stopped = False
                    case ["exited", code]:
                        status = _exit_status(int(code))
            os.waitpid(self._guard, 0)
            if status is None:
                self._tell("The process that guards the command was killed: the command is killed too.")
                status = SIGNALLED + signal.SIGKILL
        finally:
            # Nothing is left if the guard has done its work.
            while kill_below(os.getpid(), signal.SIGKILL):
                with suppress(ChildProcessError):
                    os.waitpid(-1, 0)
            self._take_terminal()
            for each, handler in self._before.items():
                signal.signal(each, handler)
            with self._writing:
                self._is_over = True
                os.close(self._orders)
            os.close(self._answers)
        return status

    def _lines(self) -> Iterator[str]:
        heard = b""
        while said := os.read(self._answers, 4096):
            *lines, heard = (heard + said).split(b"\n")
            yield from (line.decode() for line in lines)

    def _failed(self, number: int) -> int:
        self._tell(f"The command cannot be executed: {os.strerror(number)}.")
        return NOT_FOUND if number in (errno.ENOENT, errno.ENOTDIR) else NOT_EXECUTABLE

    def _stopped(self) -> None:
        self._is_stopped = True
        if self._terminal is not None:
            self._take_terminal()
        self._tell(
            "The command is stopped, and still holds what was claimed. CONT continues it (on a terminal "
            "Ctrl-Z again)."
        )

    def _take_terminal(self) -> None:
        if self._terminal is not None:
            before = signal.signal(signal.SIGTTOU, signal.SIG_IGN)
            give_terminal(self._terminal, os.getpgrp())
            signal.signal(signal.SIGTTOU, before)

    def _forward(self, number: int, _frame: FrameType | None) -> None:
        if self._is_stopped and number in (signal.SIGTSTP, signal.SIGCONT):
            if self._terminal is not None:
                self._order("foreground")
            number = signal.SIGCONT
        self._order(f"signal {number}")
        if self._is_stopped and number != signal.SIGCONT:
            # What is stopped hears nothing.
            self._order(f"signal {int(signal.SIGCONT)}")

    def _order(self, line: str) -> None:
        # A thread may renew while the command ends.
        with self._writing, suppress(BrokenPipeError):
            if not self._is_over:
                os.write(self._orders, f"{line}\n".encode())


@contextmanager
def _blocked() -> Iterator[None]:
    """No signal that is passed on arrives within this block."""
    before: Any = signal.pthread_sigmask(signal.SIG_BLOCK, FORWARDED)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _exit_status(code: int) -> int:
    return SIGNALLED + os.WTERMSIG(code) if os.WIFSIGNALED(code) else os.WEXITSTATUS(code)
