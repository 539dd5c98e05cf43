"""Copies of the test process, as a server that forks makes them."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager


def told_by_a_copy(function: Callable[[], str]) -> str:
    """What ``function`` returns in a copy of this process, or nothing if it fails there."""
    reading, writing = os.pipe()
    with os.fdopen(reading) as told:
        child = os.fork()
        if child == 0:
            with ending():
                os.write(writing, function().encode())
        os.close(writing)
        try:
            return told.read()
        finally:
            os.waitpid(child, 0)


@contextmanager
def ending() -> Iterator[None]:
    """End the process after this block, whatever happens in it.

    A copy that goes on would run the tests a second time, and take the messages that are for its parent.
    """
    try:
        yield
    finally:
        os.kill(os.getpid(), signal.SIGKILL)
