from __future__ import annotations

import socket
from pathlib import Path

import pytest

from tests.servers import ports
from tests.servers.ports import EPHEMERAL_ELSEWHERE, ephemeral_ports, free_port, is_free


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the system says of the ports that it gives away by itself."""
    file = tmp_path / "ip_local_port_range"
    monkeypatch.setattr(ports, "EPHEMERAL", file)
    return file


def test_no_connection_gets_a_servers_port_by_chance(told: Path) -> None:
    told.write_text("10243\t65533\n")
    assert {free_port() for _ in range(100)} <= {10240, 10241, 10242, 65534, 65535}


def test_a_port_that_is_taken_is_not_given(told: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    only = free_port()
    monkeypatch.setattr(ports, "LOWEST", only)
    told.write_text(f"{only + 1} 65535")
    assert free_port() == only
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", only))
        assert not is_free(only)
        assert free_port() != only


def test_if_the_system_gives_all_away_it_is_asked_for_one(told: Path) -> None:
    told.write_text("1024 65535")
    assert is_free(free_port())


@pytest.mark.parametrize("text", ["", "no ports", "1 2 3"])
def test_a_system_that_does_not_tell_is_taken_for_a_common_one(told: Path, text: str) -> None:
    assert ephemeral_ports() == EPHEMERAL_ELSEWHERE
    told.write_text(text)
    assert ephemeral_ports() == EPHEMERAL_ELSEWHERE
