"""The commands as a user runs them, on SQLite files."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest
from click.testing import CliRunner, Result
from granian.constants import Interfaces

import moorage
from moorage.cli import serve as serving
from moorage.cli.loading import MAX_PASSES, load, read_document
from moorage.cli.main import main
from moorage.cli.plan import Step
from moorage.cli.serve import load_demo, start_up
from moorage.cli.welcome import GPU_NEXT_TO_CORES, Served
from moorage.model.commands import (
    Batch,
    Claim,
    Command,
    CreateProvider,
    ReplaceAllocations,
    SetTraits,
)
from moorage.model.errors import (
    ConfigurationError,
    ProviderNotFoundError,
    SchemaError,
    StaleGenerationError,
    UnavailableError,
)
from moorage.model.requests import CandidateRequest, ProviderFilter, RequestGroup
from moorage.model.values import Requester
from moorage.serve import server
from moorage.serve.front import BRINGERS, Front, serve_front
from moorage.serve.signals import Signals
from moorage.serve.worker import THREADS_PER_WORKER, worker_application
from moorage.service.facade import Service
from moorage.wiring.parts import build_application, opened_service
from moorage.wiring.settings import Chosen, resolve, settings_of_process, without_password

ResultT = TypeVar("ResultT")
ANYBODY = Requester(user_id="test")

HOSTS = """
providers:
  - name: host
    inventories:
      VCPU: 8
      CUSTOM_THING: {total: 2, allocation_ratio: 1.1}
    traits: [HW_CPU_X86_AVX2, CUSTOM_FAST]
    aggregates: [rack]
    children:
      - name: numa
        inventories: {MEMORY_MB: 1024}
  - name: other
consumers:
  - name: server
    project: p
    user: u
    type: INSTANCE
    allocations:
      host: {VCPU: 2}
      numa: {MEMORY_MB: 512}
"""


pytestmark = pytest.mark.usefixtures("default_database")


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


def load_file(*arguments: str) -> Result:
    """Load into the database where ``service`` looks."""
    return run("load", *arguments, "--data-dir", "moorage-data")


def write(text: str, name: str = "hosts.yaml") -> str:
    Path(name).write_text(text)
    return name


@contextmanager
def service() -> Iterator[Service]:
    with opened_service(resolve(Chosen(), {}).settings, migrate=True) as opened:
        yield opened


def snapshot(opened: Service) -> dict[str, Any]:
    """All that is there, by names, with every generation."""
    providers = opened.providers(ProviderFilter())
    return {
        provider.name: (
            provider,
            opened.provider_inventories(provider.uuid).inventories,
            opened.provider_traits(provider.uuid).traits,
            opened.provider_aggregates(provider.uuid),
            opened.provider_allocations(provider.uuid).consumers,
        )
        for provider in providers
    }


# The frame.


def test_version_and_help_of_every_command_are_shown() -> None:
    assert run("--version").output == f"moorage, version {moorage.__version__}\n"
    for arguments in ([], ["serve"], ["db"], ["db", "sync"], ["db", "version"], ["load"]):
        result = run(*arguments, "--help")
        assert result.exit_code == 0
        assert "Usage: moorage" in result.output


def test_error_is_one_line_and_a_traceback_only_if_asked_for() -> None:
    result = run("load", "nowhere.yaml")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "nowhere.yaml cannot be read: No such file or directory.\n"
    result = run("--debug", "load", "nowhere.yaml")
    assert result.exit_code == 1
    assert "Traceback" in result.stderr


def test_error_that_nobody_foresaw_is_one_line_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: Path) -> None:
        raise RuntimeError("first line\nsecond line")

    monkeypatch.setattr("moorage.cli.load.read_document", broken)
    result = run("load", "x")
    assert result.exit_code == 1
    assert result.stderr.startswith("Unexpected RuntimeError: first line (moorage --debug")
    assert "Traceback" not in result.stderr


def test_unknown_option_is_clicks_own_error() -> None:
    assert run("load", "--frobnicate").exit_code == 2


def test_password_of_a_url_is_not_shown() -> None:
    assert without_password("mysql+pymysql://me:secret@host/n") == "mysql+pymysql://me:***@host/n"
    assert without_password("postgresql://me@host/n") == "postgresql://me@host/n"
    assert without_password("mysql://me:se@cret@host/n") == "mysql://me:***@host/n"
    assert without_password("sqlite:///file") == "sqlite:///file"


# The schema.


def test_sync_makes_the_schema_and_may_be_repeated() -> None:
    for _ in range(2):
        result = run("db", "sync", "--database", "sqlite:///some.sqlite")
        assert (result.exit_code, result.stdout) == (0, "Up to date: sqlite:///some.sqlite\n")
    shown = run("db", "version", "--database", "sqlite:///some.sqlite")
    assert shown.exit_code == 0
    assert shown.stdout.strip().isalnum()


def test_version_of_an_empty_database_says_what_to_do() -> None:
    Path("empty.sqlite").touch()
    result = run("db", "version", "--database", "sqlite:///empty.sqlite")
    assert result.exit_code == 1
    assert result.stdout == "no schema\n"
    assert "moorage db sync" in result.stderr


def test_database_that_was_named_is_not_changed_by_load() -> None:
    Path("empty.sqlite").touch()
    result = run("load", write(HOSTS), "--database", "sqlite:///empty.sqlite")
    assert result.exit_code == 1
    assert "run 'moorage db sync --database sqlite:///empty.sqlite'" in result.stderr
    assert run("db", "version", "--database", "sqlite:///empty.sqlite").stdout == "no schema\n"


def test_database_of_the_configuration_file_is_the_one_loaded(tmp_path: Path) -> None:
    conf = write(
        f"[placement_database]\nconnection = sqlite:///{tmp_path}/c.sqlite\nsync_on_startup = true\n",
        "p.conf",
    )
    assert run("load", write(HOSTS), "--config-file", conf).exit_code == 0
    assert (tmp_path / "c.sqlite").exists()
    with service() as opened:
        assert snapshot(opened) == {}


# Loading.


def test_second_load_writes_nothing() -> None:
    first = load_file(write(HOSTS))
    assert (first.exit_code, first.stdout) == (0, "created 3, claimed 1\n")
    with service() as opened:
        before = snapshot(opened)
    assert before["host"][1]["CUSTOM_THING"].allocation_ratio == pytest.approx(1.1)
    assert before["numa"][0].parent_uuid == before["host"][0].uuid
    second = load_file(write(HOSTS))
    assert (second.exit_code, second.stdout) == (0, "Nothing to do: everything is as in the file.\n")
    with service() as opened:
        assert snapshot(opened) == before


def test_only_differences_are_written() -> None:
    load_file(write(HOSTS))
    with service() as opened:
        before = snapshot(opened)
    changed = HOSTS.replace("CUSTOM_FAST", "CUSTOM_SLOW")
    assert load_file(write(changed)).stdout == "updated 1\n"
    with service() as opened:
        after = snapshot(opened)
    assert set(after["host"][2]) == {"HW_CPU_X86_AVX2", "CUSTOM_SLOW"}
    assert after["host"][1] == before["host"][1]
    assert {name: after[name] for name in ("numa", "other")} == {
        name: before[name] for name in ("numa", "other")
    }


def test_dry_run_shows_the_plan_and_writes_nothing() -> None:
    result = load_file(write(HOSTS), "--dry-run")
    assert result.stdout.splitlines() == [
        "create host",
        "create numa",
        "create other",
        "claim server",
        *("  host: VCPU 2 (new)", "  numa: MEMORY_MB 512 (new)", "  project: p (new)"),
        *("  type: INSTANCE (new)", "  user: u (new)"),
        "would be: created 3, claimed 1",
    ]
    with service() as opened:
        assert snapshot(opened) == {}
    load_file("hosts.yaml")
    assert load_file("hosts.yaml", "--dry-run", "--prune").stdout == "Nothing to do.\n"


def test_file_with_a_mistake_writes_nothing_at_all() -> None:
    result = load_file(write(HOSTS + "  - name: bad\n    allocations: {host: {VCPU: none}}\n"))
    assert result.exit_code == 1
    assert result.stderr.startswith("hosts.yaml:22: ")
    with service() as opened:
        assert snapshot(opened) == {}


def test_file_that_is_not_utf8_or_too_large_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("latin.yaml").write_bytes(b"providers:\n  - name: h\xf6st\n")
    assert load_file("latin.yaml").stderr == "latin.yaml:2: not valid UTF-8\n"
    monkeypatch.setattr("moorage.cli.loading.MAX_FILE_BYTES", 10)
    assert "larger than 10 bytes" in load_file("latin.yaml").stderr


def test_refused_provider_is_named_and_the_others_go_on() -> None:
    load_file(write(HOSTS))
    # The inventory that is used cannot go; the trait of the same provider must not come either.
    changed = HOSTS.replace("      VCPU: 8\n", "").replace("CUSTOM_FAST", "CUSTOM_NEW")
    changed = changed.replace("  - name: other", "  - name: third\n    children: [{name: fourth}]")
    result = load_file(write(changed))
    assert result.exit_code == 1
    assert "hosts.yaml:3: update host refused: Inventory for 'VCPU'" in result.stderr
    assert result.stdout == "created 2; 1 refused\n"
    with service() as opened:
        there = snapshot(opened)
        assert "CUSTOM_NEW" not in {item.name for item in opened.traits()}
    assert set(there["host"][2]) == {"HW_CPU_X86_AVX2", "CUSTOM_FAST"}
    assert {"third", "fourth"} <= there.keys()


def test_new_providers_below_a_refused_one_are_refused_too() -> None:
    with service() as opened:
        opened.execute(CreateProvider("00000000-0000-0000-0000-000000000001", "a"), ANYBODY)
    text = """
providers:
  - name: a
    uuid: 00000000-0000-0000-0000-000000000002
    children: [{name: b}]
  - name: c
consumers:
  - {name: x, allocations: {b: {VCPU: 1}}}
"""
    result = load_file(write(text))
    assert result.exit_code == 1
    refused = result.stderr.splitlines()[1:]
    assert refused[0].startswith("hosts.yaml:3: create a refused: A resource provider with")
    assert refused[1:] == [
        "hosts.yaml:5: create b refused: it needs a provider that was refused",
        "hosts.yaml:8: claim x refused: it needs a provider that was refused",
    ]
    assert result.stdout == "created 1; 3 refused\n"


def test_claim_beyond_capacity_is_refused_with_its_line() -> None:
    result = load_file(write(HOSTS.replace("{VCPU: 2}", "{VCPU: 200}")))
    assert result.exit_code == 1
    assert result.stderr.splitlines()[1].startswith(
        "hosts.yaml:14: claim server refused: Unable to create allocation"
    )


def test_nothing_done_and_something_refused_is_said_so() -> None:
    text = "providers:\n  - name: a\nconsumers:\n  - {name: x, allocations: {a: {VCPU: 1}}}\n"
    load_file(write(text))
    assert load_file(write(text)).stdout == "nothing written; 1 refused\n"


def test_prune_removes_what_the_file_no_longer_names_but_not_what_is_held() -> None:
    load_file(write(HOSTS))
    with service() as opened:
        for name, parent in (("stray", None), ("below", "stray")):
            parent_uuid = next(
                (each.uuid for each in opened.providers(ProviderFilter()) if each.name == parent), None
            )
            opened.execute(
                CreateProvider(f"{name:0<8}-0000-0000-0000-000000000000", name, parent_uuid), ANYBODY
            )
    result = load_file(write(HOSTS), "--prune")
    assert (result.exit_code, result.stdout) == (0, "deleted 2\n")
    result = load_file(write("providers: []\n"), "--prune")
    assert result.exit_code == 1
    assert result.stderr.splitlines()[1:] == [
        "hosts.yaml: delete numa refused: consumers hold allocations of it",
        "hosts.yaml: delete host refused: it has child providers that stay",
    ]
    assert result.stdout == "deleted 1; 2 refused\n"


def test_consumer_that_the_file_empties_makes_room_for_another() -> None:
    load_file(write(HOSTS))
    text = HOSTS.replace("{VCPU: 2}", "{VCPU: 8}").replace("name: server", "name: newcomer")
    text += "  - {name: server, allocations: {}}\n"
    result = load_file(write(text.replace("      numa: {MEMORY_MB: 512}\n", "")))
    assert (result.exit_code, result.stdout) == (0, "claimed 1, released 1\n")


# Other clients at the same time.


class Interfered(Service):
    """A service whose ``execute`` first does something else."""

    before: Callable[[Command[Any]], None] = staticmethod(lambda command: None)

    def execute(self, command: Command[ResultT], requester: Requester) -> ResultT:
        self.before(command)
        return super().execute(command, requester)


def interfered(opened: Service, before: Callable[[Command[Any]], None]) -> Interfered:
    other = Interfered(opened._store, opened._settings)
    other.before = before
    return other


def test_change_by_another_client_in_between_is_not_overwritten() -> None:
    load_file(write(HOSTS))
    document = read_document(Path(write(HOSTS.replace("VCPU: 8", "VCPU: 9"))))
    with service() as opened:
        host = next(each for each in opened.providers(ProviderFilter()) if each.name == "host")
        traits = iter(["HW_NUMA_ROOT"])

        def meddle(command: Command[Any]) -> None:
            for trait in traits:
                opened.execute(SetTraits(host.uuid, None, frozenset({trait})), ANYBODY)

        passes: list[int] = []

        def begin(steps: Sequence[Step]) -> Callable[[], None]:
            passes.append(len(steps))
            return lambda: None

        outcome = load(interfered(opened, meddle), document, begin=begin)
        assert (len(passes), len(outcome.done), outcome.refused) == (2, 1, [])
        there = snapshot(opened)
    assert there["host"][1]["VCPU"].total == 9
    assert set(there["host"][2]) == {"HW_CPU_X86_AVX2", "CUSTOM_FAST"}


def test_load_gives_up_after_some_passes() -> None:
    document = read_document(Path(write("providers:\n  - name: host\n")))
    tries: list[Command[Any]] = []

    def stale(command: Command[Any]) -> None:
        tries.append(command)
        raise StaleGenerationError("u", 2, 1)

    with service() as opened:
        outcome = load(interfered(opened, stale), document)
    assert len(tries) == MAX_PASSES
    assert [refusal.stale for refusal in outcome.refused] == [True]


def test_database_that_goes_away_ends_the_load() -> None:
    document = read_document(Path(write(HOSTS)))

    def away(command: Command[Any]) -> None:
        raise UnavailableError("no database")

    with service() as opened, pytest.raises(UnavailableError):
        load(interfered(opened, away), document)


def test_provider_that_is_deleted_while_it_is_read_is_made_anew() -> None:
    load_file(write("providers:\n  - name: host\n"))
    document = read_document(Path("hosts.yaml"))
    with service() as opened:
        [host] = opened.providers(ProviderFilter())

        class Deleted(Interfered):
            gone = False

            def provider_inventories(self, uuid: str) -> Any:
                if not self.gone:
                    self.gone = True
                    raise ProviderNotFoundError(uuid)
                return super().provider_inventories(uuid)

        outcome = load(Deleted(opened._store, opened._settings), document)
        assert outcome.refused == []
        assert [each.uuid for each in opened.providers(ProviderFilter())] == [host.uuid]


# Serving.


@pytest.mark.slow
def test_start_loads_the_sample_cloud_once_and_shows_a_claim_that_works() -> None:
    resolved = resolve(Chosen(), {}, serving=True)
    text = start_up(resolved, Served("http://127.0.0.1:8778"), demo=True)
    assert "same_subtree=_GPU,_NUMA" in text
    with service() as opened:
        before = snapshot(opened)
        assert not load_demo(opened)
        [candidate, _] = opened.candidates(GPU_NEXT_TO_CORES).candidates
        claim = Claim("c", candidate.allocations, "p", "u")
        opened.execute(ReplaceAllocations((claim,)), ANYBODY)
    assert len(before) == 105
    assert start_up(resolved, Served("http://x"), demo=True).count("curl") == 5


def test_sample_cloud_shares_its_storage_with_the_hosts_that_are_in_its_aggregate() -> None:
    with service() as opened:
        assert load_demo(opened)
        request = CandidateRequest((RequestGroup(resources={"VCPU": 2, "MEMORY_MB": 4096, "DISK_GB": 10}),))
        found = opened.candidates(request).candidates
        names = {provider.uuid: provider.name for provider in opened.providers(ProviderFilter())}
        projects = [sum(opened.usages(project).values()) for project in ("astronomy", "genomics")]
    providers = [{names[uuid] for uuid in each.allocations} for each in found]
    assert all("storage-pool" in each or any(name.startswith("rack2") for name in each) for each in providers)
    assert any("storage-pool" in each for each in providers)
    assert all(projects)


def test_sample_cloud_that_is_refused_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with service() as opened:

        def full(command: Command[Any]) -> None:
            raise ProviderNotFoundError("x")

        with pytest.raises(ConfigurationError, match="sample cloud is incomplete: create "):
            load_demo(interfered(opened, full))


def test_start_on_a_database_without_providers_shows_how_to_begin() -> None:
    text = start_up(resolve(Chosen(), {}, serving=True), Served("http://x"), demo=False)
    assert "nothing to claim yet" in text


def test_start_on_a_large_database_does_not_search_for_an_example(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "EXAMPLE_PROVIDERS", 100)
    text = start_up(resolve(Chosen(), {}, serving=True), Served("http://x"), demo=True)
    assert "allocation_candidates" not in text
    assert "nothing to claim" not in text


def test_start_on_a_named_database_does_not_change_its_schema() -> None:
    Path("named.sqlite").touch()
    resolved = resolve(Chosen(database="sqlite:///named.sqlite"), {}, serving=True)
    with pytest.raises(SchemaError, match="moorage db sync"):
        start_up(resolved, Served("http://x"), demo=False)


def test_a_provider_that_an_old_placement_left_without_a_root_is_told_of_and_completed(
    default_database: Path,
) -> None:
    row = ("00000000-0000-4000-8000-000000000001", "old", 1)
    with closing(sqlite3.connect(default_database)) as foreign, foreign:
        foreign.execute("INSERT INTO resource_providers (uuid, name, generation) VALUES (?, ?, ?)", row)
    named = ["--database", f"sqlite:///{default_database}"]
    resolved = resolve(Chosen(database=named[1]), {}, serving=True)
    refused = rf"1 providers have no root .* run 'moorage db sync {' '.join(named)}'"
    with pytest.raises(SchemaError, match=refused):
        start_up(resolved, Served("http://x"), demo=False)
    for prepared in (True, False):
        with pytest.raises(SchemaError, match=refused):
            build_application(resolved.settings, prepared=prepared)
    assert "has none recorded as its root" in run("verify", "--follow", "0").stdout
    result = run("db", "sync", *named)
    assert result.stdout.splitlines()[0] == "Completed: 1 providers without a root."
    assert "nothing to claim yet" not in start_up(resolved, Served("http://x"), demo=False)
    assert run("verify", "--follow", "0").exit_code == 0


def test_serve_hands_its_settings_to_the_server_and_its_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[dict[str, Any]] = []

    class Recorder:
        def __init__(self, target: str, directory: Path, signals: Signals, **options: Any) -> None:
            assert directory.is_dir()
            assert not signals.wants_reload
            started.append({"target": target, **options})

        def serve(self, spawn_target: Any) -> None:
            assert spawn_target is serve_front
            started[0]["settings"] = settings_of_process()
            started[0]["application"] = worker_application()

    monkeypatch.setattr(server, "Workers", Recorder)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setattr(serving, "announce_when_ready", lambda *_: None)
    monkeypatch.setattr(multiprocessing, "set_start_method", lambda *_, **__: None)
    monkeypatch.setattr(os, "environ", os.environ.copy())
    result = run("serve", "--port", "0", "--workers", "3", "--stop-seconds", "7", "--demo")
    assert result.exit_code == 0, result.output
    [options] = started
    assert (options["address"], options["workers"], options["factory"]) == ("127.0.0.1", 3, True)
    assert options["workers_kill_timeout"] == 7
    # Of both it is the interface that lets Granian have several threads.
    assert options["interface"] is Interfaces.WSGI
    assert options["blocking_threads"] == THREADS_PER_WORKER + BRINGERS
    assert options["settings"].store.url.endswith("moorage-data/moorage.sqlite")
    assert isinstance(options["application"], Front)


def test_serve_refuses_other_hosts_before_it_touches_a_database() -> None:
    result = run("serve", "--host", "0.0.0.0")
    assert result.exit_code == 1
    assert "--insecure" in result.stderr


def test_application_is_not_built_on_a_database_without_a_schema() -> None:
    settings = resolve(Chosen(database="sqlite:///none.sqlite"), {}, serving=True).settings
    with pytest.raises(SchemaError):
        build_application(settings)
    with pytest.raises(SchemaError):
        build_application(settings, prepared=True)


def test_application_for_any_wsgi_server_answers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    conf = tmp_path / "placement.conf"
    conf.write_text(
        f"[placement_database]\nconnection = sqlite:///{tmp_path}/w.sqlite\nsync_on_startup = true\n"
        "[api]\nauth_strategy = noauth2\n"
    )
    monkeypatch.setenv("OS_PLACEMENT_CONFIG_DIR", str(tmp_path))
    from moorage.wsgi import application

    statuses: list[str] = []
    environ = {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": "/",
        "QUERY_STRING": "",
        "SERVER_NAME": "x",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.url_scheme": "http",
        "wsgi.input": None,
        "wsgi.errors": None,
    }
    body = b"".join(application(environ, lambda status, headers, *rest: statuses.append(status)))
    assert statuses == ["200 OK"]
    assert b"versions" in body


def test_batch_of_a_refused_provider_leaves_no_names_behind() -> None:
    with service() as opened:
        commands = (CreateProvider("00000000-0000-0000-0000-000000000001", "a"),)
        opened.execute(Batch(commands), ANYBODY)
    text = (
        "providers:\n  - name: a\n    uuid: 00000000-0000-0000-0000-000000000002\n"
        "    traits: [CUSTOM_LEFTOVER]\n    inventories: {CUSTOM_LEFT: 1}\n"
    )
    assert load_file(write(text)).exit_code == 1
    with service() as opened:
        assert "CUSTOM_LEFTOVER" not in {item.name for item in opened.traits()}
        assert "CUSTOM_LEFT" not in {item.name for item in opened.resource_classes()}


def test_a_new_history_begins_on_request_and_at_each_db_sync() -> None:
    named = ("--database", "sqlite:///some.sqlite")

    def begun() -> dict[str, Any]:
        result = run("db", "new-history", "-f", "json", *named)
        assert result.exit_code == 0
        found: dict[str, Any] = json.loads(result.stdout)
        return found

    assert run("db", "sync", *named).exit_code == 0
    first = begun()
    assert run("db", "sync", *named).exit_code == 0
    second = begun()
    assert second["revision"] == first["revision"] + 2
    assert second["epoch"] != first["epoch"]
    assert "A new history begins at revision" in run("db", "new-history", *named).stdout
