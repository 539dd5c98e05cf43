"""The commands with a token of a project's member, against a service of which projects help themselves."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from moorage.wiring.settings import Chosen, resolve
from tests.unit.applications import built
from tests.unit.cli.client.conftest import Terminal, answering

VARIABLES = {
    "OS_PLACEMENT_API__AUTH_STRATEGY": "token",
    "OS_PLACEMENT_MOORAGE__SELF_SERVICE": "true",
}


@dataclass(frozen=True)
class Lab:
    """A service with a host of eight cores, and the tokens of two projects' members."""

    terminal: Terminal
    tokens: dict[str, str]

    def run(self, project: str, *arguments: str, status: int = 0) -> str:
        """What a command of a member prints."""
        result = self.terminal.run(*arguments, MOORAGE_TOKEN=self.tokens[project])
        assert result.exit_code == status, result.output
        return result.output

    def json(self, project: str, *arguments: str) -> Any:
        """The answer of a member's command, as data."""
        return json.loads(self.run(project, *arguments, "--json"))


@pytest.fixture
def lab(host_template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    path = tmp_path / "host.sqlite"
    shutil.copy(host_template, path)
    database = f"sqlite:///{path}"
    for variable in ("MOORAGE_URL", "MOORAGE_TOKEN"):
        monkeypatch.delenv(variable, raising=False)
    settings = resolve(Chosen(database=database), VARIABLES, serving=True).settings
    with built(settings) as application, answering(application) as url:
        terminal = Terminal(url)
        create = ("token", "create", "--role", "member", "--database", database)
        tokens = {
            project: terminal.run(*create, "--project", project).stdout.strip()
            for project in ("vision", "speech")
        }
        yield Lab(terminal, tokens)


def test_a_member_claims_looks_and_releases_with_the_usual_commands(lab: Lab) -> None:
    told = lab.run("vision", "claim", "create", "--resources", "VCPU=2")
    assert "host1" in told
    consumer = lab.json("vision", "claim", "create", "--resources", "VCPU=2")["claims"][0]["consumer"]
    assert "host1" in lab.run("vision", "claim", "show", consumer)
    assert "vision" in lab.run("vision", "history", "project", "vision")
    assert "VCPU" in lab.run("vision", "claim", "move", consumer, "--resources", "VCPU=3")
    assert "holds nothing" in lab.run("speech", "claim", "show", consumer, status=3)
    assert "holds nothing" in lab.run("speech", "claim", "release", consumer, status=3)
    assert "holds nothing any more" in lab.run("vision", "claim", "release", consumer)


def test_a_member_is_told_why_there_is_no_place(lab: Lab) -> None:
    lab.run("speech", "claim", "create", "--resources", "VCPU=6")
    told = lab.run("vision", "claim", "create", "--resources", "VCPU=3", status=3)
    assert "VCPU:2" in told
    assert "held by others" in lab.run("vision", "why", "--resources", "VCPU=3", status=3)
    unknown = lab.run("vision", "claim", "create", "--resources", "VCPUS=3", status=1)
    assert "VCPUS" in unknown
    assert "resource_classes:list" not in unknown
