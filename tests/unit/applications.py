"""Whole applications that end with their test."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import cache
from typing import Any
from unittest.mock import patch

from moorage.api.console import application as console
from moorage.api.console.files import StaticFile, packaged_files
from moorage.api.http.exchange import WsgiApplication
from moorage.service.facade import Service
from moorage.wiring import parts
from moorage.wiring.parts import build_application
from moorage.wiring.settings import Settings


@cache
def console_files() -> Mapping[str, StaticFile]:
    """The files of the console, compressed once for all applications."""
    return packaged_files()


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

        with (
            patch.object(parts, "Service", made),
            patch.object(console, "packaged_files", lambda: dict(console_files())),
        ):
            application = build_application(settings)
        yield application
