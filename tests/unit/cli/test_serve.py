"""What serve refuses before it starts anything."""

from __future__ import annotations

import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from moorage.cli import serve as serving
from moorage.cli.serve import announce_when_ready, require_guarded
from moorage.cli.shared.console import program
from moorage.model.errors import ConfigurationError
from moorage.serve.addresses import is_loopback
from moorage.wiring.settings import Chosen, resolve
from tests.servers.ports import free_port
from tests.table import each


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.10", "::1", "localhost", "LOCALHOST"])
def test_noauth2_is_served_on_loopback(host: str) -> None:
    assert is_loopback(host)
    require_guarded(host, "noauth2", insecure=False)


@each(
    "host",
    [
        "0.0.0.0",
        "::",
        "192.168.1.1",
        "128.0.0.1",
        "10.0.0.1",
        "fe80::1",
        "example.org",
        "localhost.evil",
        "",
    ],
)
def test_noauth2_is_refused_elsewhere_unless_told_to(host: str) -> None:
    assert not is_loopback(host)
    with pytest.raises(ConfigurationError, match="--insecure"):
        require_guarded(host, "noauth2", insecure=False)
    require_guarded(host, "noauth2", insecure=True)


@each("strategy", ["keystone", "token"])
@each("host", ["0.0.0.0", "::", "10.0.0.1", "example.org", "127.0.0.1"])
def test_who_asks_for_tokens_may_serve_everywhere(host: str, strategy: str) -> None:
    require_guarded(host, strategy, insecure=False)


class _Quiet(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def test_guide_is_shown_once_a_worker_answers(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with HTTPServer(("127.0.0.1", 0), _Quiet) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            announce_when_ready("127.0.0.1", server.server_port, "the [guide] " + "x" * 300)
        finally:
            server.shutdown()
            thread.join()
    # Commands to copy are neither broken into lines nor taken for markup.
    assert "the [guide] " + "x" * 300 + "\n" in capsys.readouterr().out
    monkeypatch.setattr(serving, "READY_SECONDS", 0.01)
    announce_when_ready("127.0.0.1", free_port(), "the guide")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "No worker has answered" in captured.err


def test_options_by_which_a_command_opens_the_database_of_the_service_show_no_password(
    tmp_path: Path,
) -> None:
    secret = "postgresql+psycopg://me:secret@h/n"

    def words(chosen: Chosen, **environment: str) -> list[str] | None:
        return serving.database_words(resolve(chosen, environment))

    assert words(Chosen(database="sqlite:///a.sqlite")) == [
        "--database",
        f"sqlite:///{Path('a.sqlite').absolute()}",
    ]
    assert words(Chosen(database="postgresql://me@h/n")) == ["--database", "postgresql://me@h/n"]
    assert words(Chosen(database=secret)) is None
    file = tmp_path / "p.conf"
    file.write_text(f"[placement_database]\nconnection = {secret}\n")
    assert words(Chosen((file,))) == ["--config-file", str(file)]
    parts = tmp_path / "parts"
    parts.mkdir()
    assert words(Chosen((file,), (parts,))) == ["--config-file", str(file), "--config-dir", str(parts)]
    # The file is not what names the database.
    assert words(Chosen((file,), database=secret)) is None
    assert words(Chosen((file,)), OS_PLACEMENT_PLACEMENT_DATABASE__CONNECTION=secret) is None


def test_program_is_called_as_a_shell_finds_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert program() == [sys.executable, "-m", "moorage"]
    script = tmp_path / "moorage"
    script.touch(mode=0o755)
    monkeypatch.setattr(sys, "argv", [str(script)])
    assert program() == [str(script)]
    monkeypatch.setenv("PATH", str(tmp_path))
    assert program() == ["moorage"]
