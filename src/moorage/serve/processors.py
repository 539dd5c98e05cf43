"""The threads of a worker that answer requests stay on one processor, each worker's on another.

Only one of them computes at a time: the one that has the interpreter's lock. Where the system spreads them
over processors, each handing over of the lock wakes another processor, and takes longer than many a request
computes. The HTTP server's own threads, which read, write and decipher without that lock, go where they like.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import zlib
from collections.abc import Callable, Collection, Iterable
from typing import Any, Final

from moorage.api.http.exchange import WsgiApplication

LOG: Final = logging.getLogger(__name__)

VARIABLE: Final = "MOORAGE_WORKER_PROCESSOR"
"""Environment of a worker: the number of the processor that it is to stay on."""

IS_POSSIBLE: Final = hasattr(os, "sched_setaffinity")
"""Whether the system lets a thread be kept on a processor: Linux does."""


def allowed_processors() -> Collection[int]:
    """Numbers of the processors that this process may use; none if they need, or can, not be chosen from.

    A Python without the lock (PEP 703) computes in several threads at a time.
    """
    has_lock = getattr(sys, "_is_gil_enabled", lambda: True)()
    return os.sched_getaffinity(0) if IS_POSSIBLE and has_lock else ()


def beginning_of(host: str, port: int) -> int:
    """A number by which services begin at different processors.

    Those of one host differ by their ports, those in containers, which may all have the same port, by
    their hosts' names.
    """
    return zlib.crc32(os.fsencode(host)) + port


def processor_of(worker: int, workers: int, beginning: int, allowed: Collection[int]) -> int | None:
    """The processor for a worker (from 0) of a service; None if it had better move about.

    That is so where there are fewer processors than workers: some of them would have to share one, while
    another may be idle.
    """
    if len(allowed) < max(2, workers):
        return None
    return sorted(allowed)[(beginning + worker) % len(allowed)]


class OnOneProcessor:
    """``application``, with each thread that calls it kept on ``processor`` from then on."""

    def __init__(self, application: WsgiApplication, processor: int) -> None:
        self._application = application
        self._processor = processor
        self._local = threading.local()

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if not hasattr(self._local, "was_told"):
            self._local.was_told = True
            self._keep_this_thread()
        return self._application(environ, start_response)

    def _keep_this_thread(self) -> None:
        try:
            os.sched_setaffinity(0, {self._processor})
        except OSError as error:
            # It may have been taken from this process meanwhile, or the call be forbidden.
            LOG.debug("A thread cannot be kept on processor %d: %s", self._processor, error)


def on_its_processor(application: WsgiApplication) -> WsgiApplication:
    """``application`` on the processor that the environment names; itself if that names none."""
    told = os.environ.get(VARIABLE)
    return OnOneProcessor(application, int(told)) if told else application
