"""Whether a client has gone, as the environ of a server says."""

from __future__ import annotations

import socket

import pytest

from moorage.api.http import departures
from moorage.api.http.departures import GUNICORN, gone_in
from moorage.api.http.exchange import GONE


def test_a_connection_of_gunicorn_says_when_its_client_closes_it() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        gone = gone_in({GUNICORN: ours})
        assert not gone()
        theirs.sendall(b"a request that follows")
        assert not gone()
        theirs.close()
        assert gone()
        ours.close()
        assert gone()


def test_a_client_that_has_sent_all_that_it_will_counts_as_gone() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.shutdown(socket.SHUT_WR)
        assert gone_in({GUNICORN: ours})()


def test_where_nothing_tells_a_client_is_never_seen_to_go(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not gone_in({})()
    monkeypatch.setattr(departures, "_CLOSING", 0)
    ours, theirs = socket.socketpair()
    theirs.close()
    with ours:
        assert not gone_in({GUNICORN: ours})()


def test_what_the_server_in_front_says_comes_first() -> None:
    assert gone_in({GONE: lambda: True, GUNICORN: None})()
