"""``moorage load`` and ``moorage status`` over HTTP as well as on a database."""

from __future__ import annotations

import functools
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from moorage.cli.client.connection import RefusedError, ServiceConnection, ServiceError
from moorage.cli.client.remote import RemoteAccount
from moorage.cli.client.totals import revision
from moorage.cli.main import main
from tests.table import each
from tests.unit.cli import machines
from tests.unit.cli.client.conftest import Terminal, answering
from tests.unit.cli.client.test_connection import stub

HOSTS = """
providers:
  - name: host
    inventories: {VCPU: 8, CUSTOM_THING: {total: 2, allocation_ratio: 1.1}}
    traits: [HW_CPU_X86_AVX2, CUSTOM_FAST]
    aggregates: [rack]
    children:
      - {name: numa, inventories: {MEMORY_MB: 1024}}
consumers:
  - {name: typed, project: p, user: u, type: INSTANCE, allocations: {host: {VCPU: 2}, numa: {MEMORY_MB: 512}}}
  - {name: untyped, project: p, user: u, allocations: {host: {VCPU: 1}}}
"""

CHANGED = (
    HOSTS.replace("CUSTOM_FAST", "CUSTOM_SLOW").replace("VCPU: 8", "VCPU: 9").replace("VCPU: 2}", "VCPU: 3}")
)


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


def write(text: str) -> str:
    Path("hosts.yaml").write_text(text)
    return "hosts.yaml"


def test_what_discover_prints_can_be_loaded_as_it_is(terminal: Terminal, tmp_path: Path) -> None:
    machine = machines.write(
        {**machines.SERVER, **machines.driver(0, machines.UUIDS[0])}, tmp_path / "machine"
    )
    arguments = ("discover", "--root", str(machine), "--numa", "--pci", "network")
    found = terminal.run(*arguments)
    assert found.exit_code == 0
    loaded = CliRunner().invoke(main, ["load", "-", "--url", terminal.url], input=found.stdout)
    assert (loaded.exit_code, loaded.stdout) == (0, "created 9\n")
    assert terminal.json("provider", "show", "gpu-7-nvidia0")["uuid"] == machines.UUIDS[0]
    assert terminal.run("candidates", "--resources", "PCPU=4", "--group", "gpu:PGPU=1").exit_code == 0
    again = CliRunner().invoke(main, ["load", "-", "--url", terminal.url], input=found.stdout)
    assert again.stdout == "Nothing to do: everything is as in the file.\n"


def generations(terminal: Terminal) -> dict[str, int]:
    return {each["name"]: each["generation"] for each in terminal.json("provider", "list")}


def test_file_is_loaded_over_http_and_a_second_run_writes_nothing(terminal: Terminal) -> None:
    assert terminal.does("load", write(HOSTS)) == "created 2, claimed 2\n"
    assert terminal.json("allocation", "show", "untyped")["consumer_type"] == "unknown"
    assert terminal.json("allocation", "show", "typed")["project_id"] == "p"
    before = generations(terminal)
    assert terminal.does("load", "hosts.yaml") == "Nothing to do: everything is as in the file.\n"
    assert generations(terminal) == before
    changed = (
        HOSTS.replace("CUSTOM_FAST", "CUSTOM_SLOW").replace("VCPU: 8", "VCPU: 9").replace("[rack]", "[]")
    )
    assert terminal.does("load", write(changed.replace("VCPU: 2}", "VCPU: 3}"))) == "updated 1, claimed 1\n"
    assert set(terminal.json("trait", "list", "--provider", "host")) == {"HW_CPU_X86_AVX2", "CUSTOM_SLOW"}
    assert list(terminal.json("aggregate", "list", "host")) == []
    assert terminal.json("allocation", "list", "numa")[0]["amount"] == 512


def test_same_file_says_the_same_of_a_service_and_of_its_database(
    terminal: Terminal, service_database: str
) -> None:
    terminal.does("load", write(HOSTS))
    again = CliRunner().invoke(main, ["load", "hosts.yaml", "--database", service_database])
    assert (again.exit_code, again.stdout) == (0, "Nothing to do: everything is as in the file.\n")
    assert again.stderr.startswith("Database: sqlite:///")


def test_renames_moves_and_deletions_go_over_http(terminal: Terminal) -> None:
    terminal.does("load", write(HOSTS))
    uuid = terminal.json("provider", "show", "numa")["uuid"]
    text = f"providers:\n  - name: host\n  - {{name: moved, uuid: {uuid}}}\nconsumers:\n"
    text += "  - {name: typed, allocations: {}}\n  - {name: untyped, allocations: {}}\n"
    assert terminal.does("load", write(text)) == "updated 1, released 2\n"
    assert terminal.json("provider", "show", "moved")["parent"] is None
    assert terminal.does("load", write("providers: []\n"), "--prune") == "deleted 2\n"
    assert terminal.json("provider", "list") == []


def test_refusals_over_http_are_told_with_their_lines(terminal: Terminal) -> None:
    terminal.does("load", write(HOSTS))
    result = terminal.run("load", write("providers: []\n"), "--prune")
    assert result.exit_code == 1
    assert "hosts.yaml: delete numa refused: consumers hold allocations of it\n" in result.stderr
    assert "hosts.yaml: delete host refused: it has child providers that stay\n" in result.stderr
    untyped = HOSTS.replace(" type: INSTANCE,", "")
    result = terminal.run("load", write(untyped))
    assert "claim typed refused: the API cannot remove a consumer's type" in result.stderr
    taken = HOSTS.replace(
        "  - name: host\n", "  - name: host\n    uuid: 11111111-0000-4000-8000-000000000001\n"
    )
    result = terminal.run("load", write(taken))
    assert "create host refused: Conflicting resource provider name: host already exists." in result.stderr
    gone = HOSTS.replace("VCPU: 8, ", "")
    result = terminal.run("load", write(gone), "-f", "json")
    refused = json.loads(result.stdout)["refused"]
    assert [each["reason"] for each in refused] == ["consumers hold some of an inventory that it removes"]


def test_change_by_another_client_is_seen_and_the_comparison_made_anew(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal.does("load", write(HOSTS))
    uuid, real, rivals = (
        terminal.json("provider", "show", "host")["uuid"],
        ServiceConnection.put,
        ["COMPUTE_NODE"],
    )

    def put(self: ServiceConnection, path: str, body: object, minor: int | None = None) -> object:
        if rivals and path == f"/resource_providers/{uuid}/inventories":
            terminal.does("trait", "add", "host", rivals.pop())
        return real(self, path, body, minor)

    monkeypatch.setattr(ServiceConnection, "put", put)
    assert terminal.does("load", write(HOSTS.replace("VCPU: 8", "VCPU: 9"))) == "updated 1\n"
    assert "COMPUTE_NODE" not in terminal.json("trait", "list", "--provider", "host")


def test_dry_run_shows_old_and_new_values_and_writes_nothing(terminal: Terminal) -> None:
    terminal.does("load", write(HOSTS))
    before = generations(terminal)
    changed = (
        HOSTS.replace("CUSTOM_FAST", "CUSTOM_SLOW")
        .replace("VCPU: 8", "VCPU: 9")
        .replace("VCPU: 2}", "VCPU: 3}")
    )
    assert terminal.does("load", write(changed), "--dry-run").splitlines() == [
        "update host: inventories, traits",
        "  VCPU total: 8 -> 9",
        "  traits: +CUSTOM_SLOW -CUSTOM_FAST",
        "claim typed",
        "  host VCPU: 2 -> 3",
        "would be: updated 1, claimed 1",
    ]
    assert generations(terminal) == before
    data = terminal.json("load", "hosts.yaml", "--dry-run")
    assert data["dry_run"] is True
    assert [(step["action"], step["line"]) for step in data["steps"]] == [("update", 3), ("claim", 10)]


def test_standard_input_is_loaded(terminal: Terminal) -> None:
    def piped(text: str) -> Result:
        return CliRunner().invoke(main, ["load", "-"], input=text, env={"MOORAGE_URL": terminal.url})

    assert piped(HOSTS).stdout == "created 2, claimed 2\n"
    assert "stdin:1: unknown key" in piped("provider: []\n").stderr


def test_service_that_fails_or_goes_away_ends_the_load(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    for fault in (RefusedError(503, "", "busy"), ServiceError("gone")):

        def post(*_: object, fault: Exception = fault) -> None:
            raise fault

        monkeypatch.setattr(ServiceConnection, "post", post)
        assert terminal.refused("load", write(HOSTS)).splitlines() == [str(fault)]


def test_provider_that_is_deleted_while_it_is_read_is_made_anew(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal.does("load", write("providers: [{name: host, inventories: {VCPU: 1}}]\n"))
    real, gone = RemoteAccount.provider_inventories, [True]

    def inventories(self: RemoteAccount, uuid: str) -> object:
        if gone and gone.pop():
            terminal.does("provider", "delete", "host")
        return real(self, uuid)

    monkeypatch.setattr(RemoteAccount, "provider_inventories", inventories)
    result = terminal.run("load", "hosts.yaml")
    assert (result.exit_code, result.stdout) == (0, "created 1\n"), result.stderr


def test_standard_input_that_is_too_large_is_refused(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("moorage.cli.loading.MAX_FILE_BYTES", 10)
    result = CliRunner().invoke(main, ["load", "-"], input=HOSTS, env={"MOORAGE_URL": terminal.url})
    assert "The standard input is larger than 10 bytes." in result.stderr


def test_service_that_knows_no_types_is_loaded_without_them(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("moorage.cli.client.connection.NEWEST_MINOR", 37)
    assert terminal.does("load", write(HOSTS.replace(" type: INSTANCE,", ""))) == "created 2, claimed 2\n"
    assert "Nothing to do" in terminal.does("load", "hosts.yaml")
    claim = ("allocation", "set", "new", "host:VCPU=1", "--project", "p", "--user", "u")
    assert "does not support types" in terminal.refused(*claim, "--type", "TASK", status=2)
    terminal.does(*claim)


@each("option", [("--database", "sqlite:///x.sqlite"), ("--data-dir", "x"), ("--config-file", "x")])
@each("command", [["load", "hosts.yaml"], ["status"]])
def test_service_and_database_are_not_named_together(option: tuple[str, str], command: list[str]) -> None:
    write(HOSTS)
    result = CliRunner().invoke(main, [*command, "--url", "http://h", *option])
    assert result.exit_code == 2
    assert "name one of them" in result.stderr
    assert not Path("x").exists()


def test_database_that_is_named_goes_before_the_variable_of_a_service(
    terminal: Terminal, service_database: str
) -> None:
    for command in (["load", write(HOSTS)], ["status"]):
        result = terminal.run(*command, "--database", service_database)
        assert result.stderr.startswith("Database: ")
        result = terminal.run(*command, OS_PLACEMENT_DATABASE__CONNECTION="sqlite:///none.sqlite")
        assert result.stderr.startswith(f"Service: {terminal.url} (MOORAGE_URL)\n")


# status


def test_status_of_a_service_is_what_the_api_tells(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal.does("load", write(HOSTS))
    found = terminal.json("status")
    assert sum(found["changes"]["kinds"].values()) == found["revision"]
    assert found["changes"]["kinds"]["provider.create"] == found["providers"]
    assert (found["service"], found["providers"], found["schema"]) == (terminal.url, 2, None)
    assert found["revision"] > 0
    assert {"name": "VCPU", "providers": 1, "capacity": 8, "used": 3} in found["classes"]
    text = terminal.does("status")
    assert "VCPU" in text
    assert "Schema" not in text
    monkeypatch.setattr("moorage.cli.status.MOST_ASKED", 1)
    assert "--all requests them one by one" in terminal.does("status")
    assert terminal.json("status")["classes"] is None
    assert terminal.json("status", "--all")["classes"] == found["classes"]


def test_revision_is_unknown_where_nothing_tells_it() -> None:
    with ServiceConnection("http://127.0.0.1:9", "x") as service:
        assert revision(service) is None
    for body in (b"[]", b'{"revision": "x"}', b"no"):
        answer = functools.partial(_answer, body)
        with answering(stub(answer)) as url, ServiceConnection(url, "x") as service:
            assert revision(service) is None


def _answer(body: bytes, _environ: object) -> tuple[str, bytes]:
    return "200 OK", body
