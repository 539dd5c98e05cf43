"""``moorage import`` from a Moorage: whole, interrupted and resumed, and with whatever goes wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from click.testing import CliRunner

from moorage.cli import copying
from moorage.cli.client.connection import ServiceConnection, ServiceError
from moorage.cli.copying import Source, consumers_here, provider_here
from moorage.cli.main import main
from moorage.model.commands import (
    KEEP,
    Claim,
    CreateProvider,
    CreateTrait,
    ReplaceAllocations,
    SetInventories,
    UpdateProvider,
)
from moorage.model.values import Inventory, Requester
from moorage.service.facade import Service
from moorage.wiring.parts import opened_service
from moorage.wiring.settings import Chosen, resolve
from tests.databases.prepared import (
    OpenService,
    Prepare,
    open_service,
    open_store,
    prepare,
    prepare_schema,
    prepared_databases,
    sqlite_template,
)
from tests.property.strategies_account import BEGINNING, CONSUMERS, PROVIDERS
from tests.servers.databases import SQLITE
from tests.unit.applications import built
from tests.unit.cli.client.conftest import Terminal, answering

__all__ = ["open_service", "open_store", "prepare", "prepared_databases", "sqlite_template"]

ANYBODY = Requester("test")

MORE = (
    # Over its capacity, and of no type.
    SetInventories(PROVIDERS[1], None, {"VCPU": Inventory(4), "CUSTOM_GOLD": Inventory(4)}),
    ReplaceAllocations(
        (
            Claim(
                CONSUMERS[1],
                {PROVIDERS[2]: {"VCPU": 2}, PROVIDERS[4]: {"VCPU": 1}},
                "blue",
                "bob",
                None,
                "VM",
            ),
        )
    ),
    ReplaceAllocations((Claim(CONSUMERS[1], {PROVIDERS[2]: {"VCPU": 3}}, "blue", "bob", 1, "VM"),)),
)


class World:
    """A service to copy from, which answers at ``url``, and a database to copy to."""

    def __init__(self, url: str, source: Service, target: str) -> None:
        self.terminal = Terminal("nowhere")
        self.url = url
        self.source = source
        self.target = target

    def run(self, *options: str) -> tuple[int, str, str]:
        result = self.terminal.run("import", "--from", self.url, "--database", self.target, *options)
        return result.exit_code, result.stdout, result.stderr

    def copies(self) -> tuple[Any, ...]:
        """All that the target holds, as copies."""
        settings = resolve(Chosen(database=self.target), {}).settings
        with opened_service(settings, migrate=False) as target:
            return (
                [provider_here(target, uuid) for uuid in PROVIDERS],
                [copying.consumer_here(target, uuid) for uuid in CONSUMERS],
            )

    def originals(self) -> tuple[Any, ...]:
        return (
            [provider_here(self.source, uuid) for uuid in PROVIDERS],
            [copying.consumer_here(self.source, uuid) for uuid in CONSUMERS],
        )


@pytest.fixture
def world(prepare: Prepare, open_service: OpenService, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setattr(copying, "AT_A_TIME", 2)
    there = prepare(SQLITE)
    source = open_service(there)
    for command in (*BEGINNING, *MORE):
        source.execute(command, ANYBODY)
    settings = resolve(Chosen(database=there), {}, serving=True).settings
    with built(settings) as application, answering(application) as url:
        yield World(url, source, prepare(SQLITE))


def test_everything_is_copied_with_its_generations_and_compared(world: World) -> None:
    status, told, progress = world.run()
    assert (status, world.copies()) == (0, world.originals())
    assert told.startswith(f"Copied 5 providers and 2 consumers from {world.url}.\n")
    assert "Compared 7 providers and consumers: no difference." in told
    assert "The API does not show" in told
    assert progress.partition("\n")[2] == "providers: 5 to do\nconsumers: 5 to do\ncomparison: 5 to do\n"
    assert world.terminal.run("verify", "--follow", "0", "--database", world.target).exit_code == 0


def test_second_run_writes_nothing(world: World) -> None:
    world.run()
    _, told, _ = world.run("--connections", "1")
    assert told.startswith(
        f"Copied 0 providers and 0 consumers from {world.url} (5 providers existed already).\n"
    )


@pytest.mark.slow
@pytest.mark.parametrize("requests", range(1, 46, 4))
def test_interrupted_import_goes_on_where_it_stopped(
    world: World, requests: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, asked = Source.get, [0]

    def get(source: Source, path: str) -> Any:
        asked[0] += 1
        if asked[0] > requests:
            raise ServiceError("the network is gone")
        return real(source, path)

    with monkeypatch.context() as patch:
        patch.setattr(Source, "get", get)
        status, told, problems = world.run()
        assert (status, told) == (1, "")
        assert "Not finished. The same command continues where it stopped.\nthe network is gone\n" in problems
    status, told, _ = world.run()
    assert (status, world.copies()) == (0, world.originals())
    assert "no difference" in told


def test_hint_names_the_option_that_failed(sqlite_url: str) -> None:
    prepare_schema(sqlite_url)
    result = CliRunner().invoke(main, ["import", "--from", "http://127.0.0.1:9", "--database", sqlite_url])
    assert result.exit_code == 1
    assert "--from names another address." in result.stderr
    assert "--url" not in result.stderr


@pytest.mark.slow
def test_database_that_holds_something_else_is_left_alone(world: World, open_service: OpenService) -> None:
    target = open_service(world.target)
    for number in range(4):
        target.execute(
            CreateProvider(f"0000000{number}-0000-4000-8000-000000000000", f"own{number}"), ANYBODY
        )
    status, _, problems = world.run()
    assert status == 1
    assert "it holds 4 providers that the source does not have (own0, own1, own2, ...)" in problems
    assert provider_here(target, PROVIDERS[0]) is None


@pytest.mark.slow
def test_differences_are_told(
    world: World, open_service: OpenService, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert world.run()[0] == 0
    monkeypatch.setattr("moorage.cli.import_account.SHOWN_DIFFERENCES", 2)
    target = open_service(world.target)
    for command in (
        UpdateProvider(PROVIDERS[0], "renamed"),
        ReplaceAllocations((Claim(CONSUMERS[0], {}, "red", "ann", KEEP),)),
        ReplaceAllocations((Claim(CONSUMERS[2], {PROVIDERS[4]: {"VCPU": 1}}, "red", "ann", KEEP),)),
    ):
        target.execute(command, ANYBODY)
    monkeypatch.setattr(copying, "copy_consumers", lambda *_: None)
    status, told, _ = world.run()
    assert status == 1
    assert "DIFFERENCE: provider host differs in name: host there, renamed here\n" in told
    assert told.count("DIFFERENCE") == 2
    assert "more\n" in told
    assert "differences." in told


def compared(world: World, target: Service) -> list[str]:
    """The comparison alone."""

    class Silent:
        def begin(self, stage: str, total: int) -> None:
            assert (stage, total) == ("comparison", 5)

        def advance(self, steps: int) -> None:
            assert steps

    with Source(lambda: ServiceConnection(world.url, "admin"), 2) as source:
        return list(copying.compared(source, target, Silent(), copying.Copied()))


@pytest.mark.slow
def test_comparison_sees_what_is_missing_and_what_is_too_much(
    world: World, open_service: OpenService
) -> None:
    target = open_service(world.target)
    lines = compared(world, target)
    assert "provider host is there, but not here" in lines
    assert f"consumer {CONSUMERS[0]} is there, but not here" in lines
    world.run()
    assert compared(world, target) == []
    target.execute(CreateProvider(PROVIDERS[6], "stranger"), ANYBODY)
    target.execute(
        ReplaceAllocations((Claim(CONSUMERS[2], {PROVIDERS[4]: {"VCPU": 1}}, "red", "ann", KEEP),)), ANYBODY
    )
    lines = compared(world, target)
    assert "provider stranger is here, but not there any more" in lines
    assert f"consumer {CONSUMERS[2]} is here, but not there" in lines
    assert consumers_here(target, PROVIDERS[5]) == set()


Edit = Callable[[str, Any], Any]


@pytest.fixture
def edited(monkeypatch: pytest.MonkeyPatch) -> Callable[[Edit], None]:
    """Call it with what shall become of each answer of the source."""

    def install(edit: Edit) -> None:
        real = Source.get
        monkeypatch.setattr(Source, "get", lambda source, path: edit(path, real(source, path)))

    return install


@pytest.mark.slow
def test_provider_that_is_changed_while_it_is_read_is_read_anew(
    world: World, edited: Callable[[Edit], None]
) -> None:
    changes = [1, 1]

    def edit(path: str, answer: Any) -> Any:
        if path.endswith("/traits") and path != "/traits" and changes:
            answer["resource_provider_generation"] += changes.pop()
        return answer

    edited(edit)
    assert world.run()[0] == 0
    changes[:] = [1] * 1000
    status, _, problems = world.run()
    assert status == 1
    assert "changes while it is read: stop the services that write first" in problems


@pytest.mark.slow
def test_consumer_that_lets_go_meanwhile_is_left_out(world: World, edited: Callable[[Edit], None]) -> None:
    def edit(path: str, answer: Any) -> Any:
        return {"allocations": {}} if path == f"/allocations/{CONSUMERS[0]}" else answer

    edited(edit)
    status, told, _ = world.run()
    assert "and 1 consumers" in told
    assert status == 0


@pytest.mark.slow
def test_service_without_consumer_types_is_told_of(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Source, "has_consumer_types", lambda _: False)
    assert "types of consumers (before 1.38)" in world.run()[1]


@pytest.mark.slow
def test_names_that_are_standard_there_and_unknown_here_show_where_they_are_used(
    world: World, edited: Callable[[Edit], None]
) -> None:
    def edit(path: str, answer: Any) -> Any:
        if path == "/traits":
            answer["traits"].append("HW_FROM_THE_FUTURE")
        if path == "/resource_classes":
            answer["resource_classes"].append({"name": "QUBIT"})
        return answer

    edited(edit)
    assert world.run()[0] == 0

    def used(path: str, answer: Any) -> Any:
        answer = edit(path, answer)
        if path == f"/resource_providers/{PROVIDERS[0]}/traits":
            answer["traits"] = ["HW_FROM_THE_FUTURE"]
        return answer

    edited(used)
    world.target = world.target.replace(".sqlite", ".other.sqlite")
    assert world.terminal.run("db", "sync", "--database", world.target).exit_code == 0
    status, _, problems = world.run()
    assert (status, "No such trait(s): HW_FROM_THE_FUTURE." in problems) == (1, True)


@pytest.mark.slow
def test_custom_traits_that_nobody_has_come_too(world: World, open_service: OpenService) -> None:
    world.source.execute(CreateTrait("CUSTOM_LONELY"), ANYBODY)
    world.run()
    assert "CUSTOM_LONELY" in {each.name for each in open_service(world.target).traits()}
