"""How straight requests run through the package: files crossed, moves between them, transactions."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import FrameType
from typing import Any
from uuid import uuid4

import falcon.testing
import pytest
import sqlalchemy as sa

from moorage.api.http.exchange import WsgiApplication
from moorage.rules.decide import touch
from moorage.serve.lazy_application import LazyApplication
from moorage.wiring.config_files import CONFIG_FILE_VARIABLE
from moorage.wiring.parts import build_application
from moorage.wiring.settings import settings_of_process
from tests.databases.orders import claim, new_uuid
from tests.tidy.sources import PACKAGE

NAMELESS = {"<listcomp>", "<dictcomp>", "<setcomp>", "<genexpr>", "<lambda>"}
"""Functions within functions, which stand where they are called from or are passed on."""


class Journey:
    """Files of the package that an action crosses, and how often control goes from one of them to another.

    A call and its return are one move. ``path`` is the order of files, for a message.
    """

    def __init__(self, action: Callable[[], object]) -> None:
        self.path: list[str] = []
        self._stack: list[str | None] = []
        before = sys.getprofile()
        sys.setprofile(self._on_event)
        try:
            action()
        finally:
            sys.setprofile(before)

    @property
    def files(self) -> set[str]:
        return set(self.path)

    @property
    def moves(self) -> int:
        return (len(self.path) - 1) // 2

    def _on_event(self, frame: FrameType, event: str, _argument: object) -> None:
        if event == "call":
            self._stack.append(self._file_of(frame))
            self._be_at(self._stack[-1])
        elif event == "return" and self._stack:
            self._stack.pop()
            self._be_at(next((file for file in reversed(self._stack) if file), None))

    @staticmethod
    def _file_of(frame: FrameType) -> str | None:
        """The frame's file within the package; None for anything else."""
        file = frame.f_code.co_filename
        if not file.startswith(f"{PACKAGE}/") or frame.f_code.co_name in NAMELESS:
            return None
        return str(Path(file).relative_to(PACKAGE))

    def _be_at(self, file: str | None) -> None:
        if file and self.path[-1:] != [file]:
            self.path.append(file)


@dataclass
class World:
    """An application with all its parts, on a file of its own, and a provider that has room."""

    application: WsgiApplication
    provider: str = field(default_factory=new_uuid)

    def ask(self, method: str, target: str, body: object = None) -> str:
        """The status of an answer."""
        path, _, query = target.partition("?")
        environ = falcon.testing.create_environ(
            path=path,
            query_string=query,
            method=method,
            headers={
                "x-auth-token": "admin",
                "host": "localhost",
                "openstack-api-version": "placement 1.39",
                "accept": "application/json",
                **({} if body is None else {"content-type": "application/json"}),
            },
            body="" if body is None else falcon.media.JSONHandler().serialize(body, "").decode(),
        )
        started = falcon.testing.StartResponseMock()
        list(self.application(environ, started))
        return str(started.status)[:3]


@dataclass(frozen=True)
class Case:
    """A request, and how far it may go. ``before`` leads up to it; it gets the same consumer.

    What is remembered of such requests is remembered already.

    ``commits``: how many transactions write something.
    """

    method: str
    target: str
    body: Callable[[World], Mapping[str, Any]] | None
    files: int
    moves: int
    commits: int
    before: Callable[[World, str], object] = lambda _world, _consumer: None


def claimed(world: World, generation: int | None = None) -> dict[str, Any]:
    return {
        "allocations": {world.provider: {"resources": {"VCPU": 1, "MEMORY_MB": 512}}},
        "project_id": "p",
        "user_id": "u",
        "consumer_generation": generation,
        "consumer_type": "INSTANCE",
    }


def claim_first(world: World, consumer: str) -> None:
    assert world.ask("PUT", f"/allocations/{consumer}", claimed(world)) == "204"


CASES = {
    "a claim of a new consumer": Case("PUT", "/allocations/{consumer}", claimed, 28, 62, 1),
    "a claim of a known consumer": Case(
        "PUT", "/allocations/{consumer}", lambda world: claimed(world, 1), 28, 67, 1, claim_first
    ),
    "a release": Case("DELETE", "/allocations/{consumer}", None, 26, 56, 1, claim_first),
    "a search for what was not asked before": Case(
        "GET", "/allocation_candidates?resources=VCPU:{amount},MEMORY_MB:512&limit=10", None, 25, 60, 0
    ),
}
"""The first and the last are what the layout is measured by. The journal of a write takes three files."""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    folder = tmp_path_factory.mktemp("journeys")
    path = folder / "placement.conf"
    path.write_text(
        f"[api]\nauth_strategy = noauth2\n[placement_database]\nconnection = sqlite:///{folder}/p.sqlite\n"
    )
    settings = replace(settings_of_process({CONFIG_FILE_VARIABLE: str(path)}), sync_on_startup=True)
    world = World(LazyApplication(lambda: build_application(settings)))
    provider = {"name": "provider", "uuid": world.provider}
    assert world.ask("POST", "/resource_providers", provider) == "200"
    totals = {"VCPU": {"total": 64}, "MEMORY_MB": {"total": 65536}}
    inventories = {"resource_provider_generation": 0, "inventories": totals}
    assert world.ask("PUT", f"/resource_providers/{world.provider}/inventories", inventories) == "200"
    for _ in range(3):
        claim_first(world, str(uuid4()))
    return world


@pytest.mark.parametrize("name", CASES)
def test_a_request_crosses_few_files_and_seldom_moves_between_them(name: str, world: World) -> None:
    case, consumer = CASES[name], str(uuid4())
    body = None if case.body is None else case.body(world)
    for each in (str(uuid4()), consumer):
        case.before(world, each)
        if each != consumer:
            world.ask(case.method, case.target.format(consumer=each, amount=1), body)
    commits: list[object] = []
    statuses: list[str] = []
    target = case.target.format(consumer=consumer, amount=2)
    own_thread = threading.get_ident()

    def note(connection: object) -> None:
        # What other threads of the process write goes by no request.
        if threading.get_ident() == own_thread:
            commits.append(connection)

    sa.event.listen(sa.engine.Engine, "commit", note)
    try:
        journey = Journey(lambda: statuses.append(world.ask(case.method, target, body)))
    finally:
        sa.event.remove(sa.engine.Engine, "commit", note)
    assert statuses[0] in ("200", "204")
    assert len(journey.files) <= case.files, " > ".join(journey.path)
    assert journey.moves <= case.moves, " > ".join(journey.path)
    assert len(commits) == case.commits


def test_calls_between_files_are_counted() -> None:
    command = claim(new_uuid(), {new_uuid(): {"VCPU": 1}})
    journey = Journey(lambda: touch(command))
    assert journey.path == ["rules/decide.py", "rules/claims.py", "rules/decide.py"]
    assert journey.moves == 1
