"""Hosts that a request may name where every client is believed."""

from __future__ import annotations

import json
import socket

import pytest

from moorage.auth import noauth
from moorage.auth.identity import UnauthorisedError
from moorage.auth.noauth import NoAuth, OwnHosts


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LOCALHOST:8778",
        "localhost.",
        "127.0.0.1:8778",
        "127.1.2.3",
        "[::1]:8778",
        "[::1]",
        socket.gethostname(),
        f"{socket.gethostname().upper()}:80",
        "placement.example",
        "placement.example:8778",
    ],
)
def test_names_and_addresses_of_this_machine_and_those_configured_are_its_own(host: str) -> None:
    assert OwnHosts(["Placement.example"]).has(host)


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8778",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "192.0.2.1",
        "[2001:db8::1]:8778",
        "0.0.0.0",
        "[::]",
        "224.0.0.1",
        "",
        "[",
        "127.0.0.1\x00",
    ],
)
def test_all_other_hosts_are_those_of_others(host: str) -> None:
    assert not OwnHosts().has(host)
    assert OwnHosts(["*"]).has(host)


@pytest.mark.parametrize("host", ["127.0.0.1:8778", "localhost", "[::1]:8778"])
def test_the_usual_hosts_are_found_without_reading_an_address(
    host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(noauth, "_is_own_address", None)
    assert OwnHosts().has(host)


def test_a_page_that_had_its_name_resolve_to_this_machine_is_refused() -> None:
    guarded = NoAuth(OwnHosts())
    with pytest.raises(UnauthorisedError) as refused:
        guarded.identify({"HTTP_X_AUTH_TOKEN": "admin", "HTTP_HOST": "evil.example:8778"})
    assert "[moorage] noauth_hosts" in json.loads(refused.value.body or b"")["message"]
    for host in ({"HTTP_HOST": "127.0.0.1:8778"}, {"HTTP_HOST": ""}, {}):
        assert guarded.identify({"HTTP_X_AUTH_TOKEN": "admin", **host}).user_id == "admin"
    believing = NoAuth()
    assert believing.identify({"HTTP_X_AUTH_TOKEN": "admin", "HTTP_HOST": "evil.example"}).user_id == "admin"
