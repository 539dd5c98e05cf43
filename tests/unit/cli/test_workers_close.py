"""When a client is told that its connection will be closed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from moorage.cli.slow_bodies import GIVEN_UP
from moorage.cli.workers import Draining


def headers_of(
    status: str, length: str | None, *, draining: bool = False, given_up: bool = False, chunks: bool = False
) -> list[tuple[str, str]]:
    """Headers of an answer of ``status`` to a request whose Content-Length is ``length``."""
    told: list[list[tuple[str, str]]] = []

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if given_up:
            environ[GIVEN_UP] = True
        start_response(status, [("X-Own", "1")])
        return []

    event = threading.Event()
    if draining:
        event.set()
    environ = {} if length is None else {"CONTENT_LENGTH": length}
    if chunks:
        environ["HTTP_TRANSFER_ENCODING"] = "chunked"
    Draining(application, event)(environ, lambda _status, headers: told.append(headers))
    (headers,) = told
    assert headers[0] == ("X-Own", "1")
    return headers[1:]


CLOSE = [("Connection", "close")]


def test_a_stranger_whose_body_was_not_read_is_told_that_the_connection_closes() -> None:
    assert headers_of("401 Unauthorized", "2") == CLOSE
    assert headers_of("401 Unauthorized", None, chunks=True) == CLOSE


@pytest.mark.parametrize("status", ["408 Request Timeout", "503 Service Unavailable"])
def test_who_sent_a_body_that_was_given_up_is_told_that_the_connection_closes(status: str) -> None:
    assert headers_of(status, "2", given_up=True) == CLOSE
    assert headers_of(status, None, given_up=True, chunks=True) == CLOSE
    assert headers_of(status, "2") == []


@pytest.mark.parametrize(
    ("status", "length"),
    [("401 Unauthorized", None), ("401 Unauthorized", ""), ("401 Unauthorized", "0"), ("200 OK", "2")],
)
def test_other_connections_stay_open(status: str, length: str | None) -> None:
    assert headers_of(status, length) == []


@pytest.mark.parametrize("length", [None, "2"])
def test_a_worker_that_is_to_go_has_all_connections_closed(length: str | None) -> None:
    assert headers_of("200 OK", length, draining=True) == CLOSE
