"""The application that is built at the first request."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from moorage.api.http.exchange import WsgiApplication
from moorage.model.errors import ConfigurationError
from moorage.serve.lazy_application import LazyApplication
from tests.copies import told_by_a_copy


def answering(text: bytes) -> WsgiApplication:
    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        start_response("200 OK", [])
        return [text]

    return application


def ask(application: WsgiApplication) -> tuple[str, bytes]:
    statuses: list[str] = []
    body = b"".join(application({}, lambda status, headers: statuses.append(status)))
    return statuses[0], body


def test_application_is_built_once_however_many_ask_first() -> None:
    built: list[int] = []
    together = threading.Barrier(8)

    def build() -> WsgiApplication:
        built.append(1)
        return answering(b"hello")

    application = LazyApplication(build)
    answers: list[tuple[str, bytes]] = []

    def first() -> None:
        together.wait()
        answers.append(ask(application))

    threads = [threading.Thread(target=first) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [("200 OK", b"hello")] * 8
    assert built == [1]


def test_application_that_cannot_start_answers_503_and_tries_again(caplog: pytest.LogCaptureFixture) -> None:
    outcomes: list[WsgiApplication | Exception] = [ConfigurationError("no such database"), answering(b"now")]

    def build() -> WsgiApplication:
        outcome = outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    application = LazyApplication(build)
    status, body = ask(application)
    assert status.startswith("503")
    assert b"no such database" not in body
    assert "no such database" in caplog.text
    assert ask(application) == ("200 OK", b"now")


def test_forked_process_builds_its_own_application() -> None:
    application = LazyApplication(lambda: answering(str(os.getpid()).encode()))
    assert ask(application)[1] == str(os.getpid()).encode()
    own, built_by = told_by_a_copy(lambda: f"{os.getpid()} {ask(application)[1].decode()}").split()
    assert own == built_by
    assert own != str(os.getpid())
