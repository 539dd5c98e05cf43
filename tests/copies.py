"""Copies of the test process, as a server that forks makes them."""

from __future__ import annotations

import os
import signal
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import ParamSpec

P = ParamSpec("P")


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


def in_a_copy(test: Callable[P, None]) -> Callable[P, None]:
    """Run ``test`` in a copy of this process, in which none of the other threads go on."""

    @wraps(test)
    def run(*arguments: P.args, **named: P.kwargs) -> None:
        def outcome() -> str:
            try:
                test(*arguments, **named)
            except BaseException:
                return traceback.format_exc()
            return "passed"

        told = told_by_a_copy(outcome)
        assert told == "passed", told

    return run


@contextmanager
def ending() -> Iterator[None]:
    """End the process after this block, whatever happens in it.

    A copy that goes on would run the tests a second time, and take the messages that are for its parent.
    """
    try:
        yield
    finally:
        os.kill(os.getpid(), signal.SIGKILL)
