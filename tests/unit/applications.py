"""Whole applications that end with their test."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

from moorage.api.http.exchange import WsgiApplication
from moorage.service.facade import Service
from moorage.wiring import parts
from moorage.wiring.parts import build_application
from moorage.wiring.settings import Settings


@contextmanager
def built(settings: Settings) -> Iterator[WsgiApplication]:
    """The whole application, whose service is closed afterwards.

    In a process that serves it lives as long as the process. A service that a test leaves would catch its
    index up once a second until the last test.
    """
    with ExitStack() as stack:

        def made(*arguments: Any) -> Service:
            service = Service(*arguments)
            stack.callback(service.close)
            return service

        with patch.object(parts, "Service", made):
            application = build_application(settings)
        yield application
