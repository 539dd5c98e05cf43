"""A process between ``moorage run`` and its command: it ends the command in time, whatever befalls the first.

It knows until when the lease holds, and needs no network. It hears a new time with each renewal. At that
time, or when its parent has ended, it sends TERM to the command, and KILL after a pause. Once the command has
ended, it does the same to all that the command has left behind. Then it says how the command ended.
"""

from __future__ import annotations

import errno
import math
import os
import select
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Final, NoReturn

from moorage.cli.client.supervision.kernel import adopt_orphans, boot_clock, die_with_parent, kill_below
from moorage.model.valueclass import valueclass

FORWARDED: Final = (
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGHUP,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGTSTP,
    signal.SIGCONT,
)
"""Signals that ``moorage run`` passes on to the command. The guard itself obeys none of them."""

_PYTHONS_OWN: Final = (signal.SIGPIPE, signal.SIGXFSZ)
"""Signals that Python ignores, and that a command expects as they are."""

NOT_FOUND: Final = 127
NOT_EXECUTABLE: Final = 126
"""Exit statuses of a command that cannot be executed, as shells have them."""

LOOK_SECONDS: Final = 1.0
"""The guard looks at the clock so often, because its waits stand still while the machine sleeps."""

LEFT_SECONDS: Final = 0.05
"""It looks so often whether what the command has left behind has ended."""


@valueclass(frozen=True, slots=True)
class RunOrder:
    """What to run: words of a command, its environment, and the pause between TERM and KILL in seconds.

    ``until`` is the time of ``boot_clock`` at which the lease ends without a renewal. ``terminal`` is the
    descriptor of a terminal whose foreground the command gets, None for none.
    """

    command: Sequence[str]
    environment: Mapping[str, str]
    kill_after: float
    until: float
    terminal: int | None = None


def guard(order: RunOrder, orders: int, answers: int) -> NoReturn:
    """Run the command, and end as a process. ``orders`` and ``answers`` are ends of pipes.

    Orders are lines: ``until TIME``, ``signal NUMBER``, ``foreground``, ``end``. Answers are ``started PID``,
    ``failed ERRNO``, ``ending``, ``stopped``, ``continued`` and ``exited STATUS`` as wait(2) has it.
    """
    status = 1
    try:
        # Not of the group that a terminal signals, or that is killed as one with the parent.
        os.setpgid(0, 0)
        for number in FORWARDED:
            signal.signal(number, signal.SIG_IGN)
        for number in (signal.SIGTTOU, signal.SIGTTIN):
            signal.signal(number, signal.SIG_IGN)
        _close_all_but(orders, answers)
        adopt_orphans()
        _Guard(order, orders, answers).run()
        status = 0
    finally:
        os._exit(status)


def _close_all_but(*kept: int) -> None:
    """Close what the parent had open, but for its standard streams: connections end with the parent."""
    low = 3
    for descriptor in (*sorted(kept), os.sysconf("SC_OPEN_MAX")):
        os.closerange(low, descriptor)
        low = descriptor + 1


class _Guard:
    def __init__(self, order: RunOrder, orders: int, answers: int) -> None:
        self._order = order
        self._orders = orders
        self._answers = answers
        self._until = order.until
        self._kill_at = math.inf
        self._killed = False
        self._pid = 0
        self._status: int | None = None
        self._heard = b""
        self._has_parent = True
        self._woken, waking = os.pipe()
        os.set_blocking(waking, False)
        os.set_blocking(self._woken, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(waking, warn_on_full_buffer=False)

    def run(self) -> None:
        failure = self._start()
        if failure:
            self._say(f"failed {failure}")
            return
        self._say(f"started {self._pid}")
        while self._status is None:
            self._wait()
            self._collect()
            self._end_in_time()
        self._end_what_is_left()
        self._say(f"exited {self._status}")

    def _start(self) -> int:
        """Start the command; the errno of its failure, or 0."""
        seen, told = os.pipe()
        guard_pid = os.getpid()
        self._pid = os.fork()
        if not self._pid:
            _become(self._order, guard_pid, told)
        os.close(told)
        with suppress(OSError):
            # The child does it as well, because either may come first.
            os.setpgid(self._pid, self._pid)
        failure = os.read(seen, 16)
        os.close(seen)
        if failure:
            os.waitpid(self._pid, 0)
        return int(failure or 0)

    def _wait(self) -> None:
        """Wait until there is something to do."""
        now = boot_clock()
        left = min(self._until, self._kill_at) - now
        listening = [self._woken, *([self._orders] if self._has_parent else [])]
        ready, _, _ = select.select(listening, [], [], max(0.0, min(left, LOOK_SECONDS)))
        if self._woken in ready:
            with suppress(BlockingIOError):
                os.read(self._woken, 4096)
        if self._orders in ready:
            self._hear(os.read(self._orders, 4096))

    def _hear(self, said: bytes) -> None:
        if not said:
            # The parent has ended without a word.
            self._has_parent = False
            self._begin_to_end()
            return
        *lines, self._heard = (self._heard + said).split(b"\n")
        for line in lines:
            match line.decode().split():
                case ["until", time]:
                    self._until = math.inf if self._is_ending else float(time)
                case ["signal", number]:
                    self._signal(int(number))
                case ["foreground"]:
                    give_terminal(self._order.terminal, self._pid)
                case ["end"]:
                    self._begin_to_end()

    @property
    def _is_ending(self) -> bool:
        return self._kill_at < math.inf or self._killed

    def _end_in_time(self) -> None:
        now = boot_clock()
        if now >= self._until and not self._is_ending:
            self._begin_to_end()
        if now >= self._kill_at:
            self._kill_at = math.inf
            self._killed = True
            self._signal(signal.SIGKILL)
            kill_below(os.getpid(), signal.SIGKILL)

    def _begin_to_end(self) -> None:
        if self._is_ending or self._status is not None:
            return
        self._until = math.inf
        self._kill_at = boot_clock() + self._order.kill_after
        self._say("ending")
        self._signal(signal.SIGTERM)
        # What is stopped hears nothing.
        self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        """Send a signal to the command's group. It cannot be another one: the command has not been reaped."""
        if self._status is None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._pid, number)

    def _collect(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG | os.WUNTRACED | os.WCONTINUED)
            except ChildProcessError:
                return
            if not pid:
                return
            if pid != self._pid:
                continue
            if os.WIFSTOPPED(status):
                self._say("stopped")
            elif os.WIFCONTINUED(status):
                self._say("continued")
            else:
                self._status = status

    def _end_what_is_left(self) -> None:
        """End processes that the command has left behind: they may still use what is given back next."""
        if not kill_below(os.getpid(), signal.SIGTERM):
            return
        kill_below(os.getpid(), signal.SIGCONT)
        self._kill_at = min(self._kill_at, boot_clock() + self._order.kill_after)
        while True:
            self._collect()
            number = signal.SIGKILL if boot_clock() >= self._kill_at else 0
            if not kill_below(os.getpid(), number):
                return
            select.select([self._woken], [], [], LEFT_SECONDS)
            with suppress(BlockingIOError):
                os.read(self._woken, 4096)

    def _say(self, line: str) -> None:
        with suppress(BrokenPipeError):
            os.write(self._answers, f"{line}\n".encode())


def _become(order: RunOrder, parent: int, told: int) -> NoReturn:
    """Become the command. The errno goes to ``told`` if that fails."""
    failure = errno.EINVAL
    try:
        os.setpgid(0, 0)
        give_terminal(order.terminal, os.getpid())
        signal.set_wakeup_fd(-1)
        for number in (*FORWARDED, *_PYTHONS_OWN, signal.SIGTTOU, signal.SIGTTIN, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        die_with_parent()
        if os.getppid() != parent:
            os._exit(128 + signal.SIGKILL)
        os.execvpe(order.command[0], list(order.command), dict(order.environment))  # noqa: S606  # nosec B606
    except OSError as error:
        failure = error.errno or failure
    except ValueError:
        # A word of the command has a zero byte in it.
        failure = errno.EINVAL
    finally:
        os.write(told, str(failure).encode())
        os._exit(NOT_FOUND)


def give_terminal(terminal: int | None, group: int) -> None:
    """Put a process group into the foreground of a terminal."""
    if terminal is not None:
        with suppress(OSError):
            os.tcsetpgrp(terminal, group)


def foreground_terminal() -> int | None:
    """The descriptor of the terminal whose foreground this process is in; None if it is in none."""
    try:
        if os.tcgetpgrp(sys.__stdin__.fileno()) == os.getpgrp():  # type: ignore[union-attr]
            return sys.__stdin__.fileno()  # type: ignore[union-attr]
    except (OSError, ValueError, AttributeError):
        pass
    return None
