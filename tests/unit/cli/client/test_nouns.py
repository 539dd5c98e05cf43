"""Every client command as a person types it, against a service that answers."""

from __future__ import annotations

import json
import re
from pathlib import Path
from uuid import uuid4, uuid5

import pytest

from moorage.cli.client import provider
from moorage.cli.client.connection import ServiceConnection
from moorage.cli.shared.names import NAMESPACE
from tests.table import each
from tests.unit.cli.client.conftest import Terminal

CONSUMER = "cccc0000-0000-4000-8000-000000000001"
OTHER = "cccc0000-0000-4000-8000-000000000002"
AGGREGATES = ("aaaa0000-0000-4000-8000-000000000001", "aaaa0000-0000-4000-8000-000000000002")


def lines(text: str) -> list[str]:
    """Lines with one blank between words."""
    return [re.sub(r"\s+", " ", line).strip() for line in text.splitlines()]


def claim(terminal: Terminal, amounts: str = "VCPU=2,MEMORY_MB=512") -> None:
    terminal.does("allocation", "set", CONSUMER, f"host1:{amounts}", "--project", "p", "--user", "u")


# provider


def test_providers_are_created_with_a_uuid_of_ones_own_or_a_new_one(terminal: Terminal) -> None:
    uuid = str(uuid4())
    text = terminal.does("provider", "create", "one", "--uuid", uuid)
    assert text == f"Created one with UUID {uuid}.\n"
    made = terminal.json("provider", "create", "two", "--parent", "one")
    assert made["parent_provider_uuid"] == uuid


def test_providers_are_listed_by_what_they_are_and_have_room_for(
    host: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = lines(host.does("provider", "list"))
    assert text[0] == "NAME UUID GENERATION PARENT"
    assert [line.split()[0] for line in text[1:]] == ["gpu1", "host1"]
    assert text[1].endswith(" host1")

    def names(*options: str) -> list[str]:
        return [each["name"] for each in host.json("provider", "list", *options)]

    assert names("--name", "host1") == ["host1"]
    assert names("--resources", "VCPU=4,MEMORY_MB=1") == ["host1"]
    assert names("--resources", "VCPU=9") == []
    assert names("--required", "CUSTOM_A100") == ["gpu1"]
    assert names("--in-tree", "host1", "--required", "!CUSTOM_A100") == ["host1"]
    host.does("aggregate", "set", "host1", AGGREGATES[0])
    assert names("--member-of", f"{AGGREGATES[0]}|{AGGREGATES[1]}") == ["host1"]
    assert host.does("provider", "list", "--name", "nobody") == "None.\n"
    assert lines(host.does("provider", "list", "--name", "gpu1"))[1].endswith(" host1")
    # A parent that is not in the list costs a request: if there are too many, it is shown by its UUID.
    monkeypatch.setattr(provider, "MOST_NAMED", 0)
    assert host.json("provider", "show", "host1")["uuid"] in host.does("provider", "list", "--name", "gpu1")


def test_provider_is_shown_with_all_that_it_has(host: Terminal) -> None:
    claim(host)
    text = lines(host.does("provider", "show", "host1"))
    assert "held by 1 consumer" in text
    assert "root host1" in text
    [cores] = [line for line in text if line.startswith("VCPU")]
    assert cores == "VCPU 2 8 ██░░░░░░ 25% 8 0 1.0 1 any 1"
    assert "parent host1" in lines(host.does("provider", "show", "gpu1"))
    data = host.json("provider", "show", "host1")
    assert data["consumers"] == [CONSUMER]
    assert data["usages"] == {"VCPU": 2, "MEMORY_MB": 512}
    # By its UUID as well.
    assert host.json("provider", "show", data["uuid"]) == data
    host.does("provider", "create", "empty")
    assert "held by no consumer" in lines(host.does("provider", "show", "empty"))


def test_tree_is_drawn_with_bars_of_use(host: Terminal) -> None:
    claim(host)
    drawing = host.does("provider", "tree", "gpu1").splitlines()
    assert drawing == [
        "host1",
        "MEMORY_MB  ███░░░░░░░░░░░░░  17%  512 of 3072",
        "VCPU       ████░░░░░░░░░░░░  25%  2 of 8",
        "└── gpu1",
        "    PGPU       ░░░░░░░░░░░░░░░░   0%  0 of 1",
    ]
    everything = host.does("provider", "tree", "--uuids", "--traits")
    assert "CUSTOM_A100" in everything
    assert host.json("provider", "show", "gpu1")["uuid"] in everything
    [child, root] = host.json("provider", "tree")
    assert child["parent"] == root["uuid"]
    assert root["inventories"]["VCPU"]["used"] == 2
    assert root["inventories"]["MEMORY_MB"]["capacity"] == 3072
    # Data is the same whether traits are drawn or not.
    assert child["traits"] == ["CUSTOM_A100"]
    assert host.json("provider", "tree", "--traits") == [child, root]


def test_forest_is_not_drawn_unless_that_is_meant(host: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provider, "MOST_DRAWN", 1)
    assert "There are 2 providers: name one, or use --all." in host.refused("provider", "tree", status=2)
    assert "gpu1" in host.does("provider", "tree", "--all")
    assert "gpu1" in host.does("provider", "tree", "host1")


def test_provider_is_renamed_and_moved_with_what_is_below_it(host: Terminal) -> None:
    would = host.does("provider", "set", "gpu1", "--name", "card", "--dry-run")
    assert would == "Would change gpu1:\n  name: gpu1 -> card\n"
    assert host.does("provider", "set", "gpu1", "--name", "card") == "Changed gpu1:\n  name: gpu1 -> card\n"
    moved = host.json("provider", "set", "card", "--root")
    assert (moved["before"]["parent"], moved["after"]["parent"]) == ("host1", None)
    assert host.does("provider", "set", "card", "--parent", "host1").endswith("parent: host1 (new)\n")
    assert host.json("provider", "show", "card")["root"] == host.json("provider", "show", "host1")["uuid"]
    unchanged = host.does("provider", "set", "card", "--parent", "host1")
    assert unchanged == "card is already so: nothing to change.\n"
    assert "not both" in host.refused("provider", "set", "card", "--root", "--parent", "host1", status=2)
    assert "Name a change" in host.refused("provider", "set", "card", status=2)


def test_provider_is_deleted_unless_somebody_needs_it(host: Terminal) -> None:
    assert "provider tree" in host.refused("provider", "delete", "host1")
    claim(host)
    host.does("provider", "delete", "gpu1")
    assert "'moorage allocation list host1' lists them" in host.refused("provider", "delete", "host1")
    host.does("allocation", "delete", CONSUMER)
    assert host.does("provider", "delete", "host1") == "Deleted host1.\n"
    assert "There is no resource provider 'host1'." in host.refused("provider", "show", "host1")


# inventory


def test_inventories_are_set_and_what_is_not_named_stays(host: Terminal) -> None:
    text = host.does("inventory", "set", "host1", "VCPU=16,allocation_ratio=4.0", "DISK_GB=100,step_size=10")
    assert text.splitlines() == [
        "Changed host1:",
        "  DISK_GB: total 100, step_size 10 (new)",
        "  VCPU allocation_ratio: 1.0 -> 4.0",
        "  VCPU total: 8 -> 16",
    ]
    host.does("inventory", "set", "host1", "VCPU=12")
    found = host.json("inventory", "show", "host1")["inventories"]
    assert (found["VCPU"]["total"], found["VCPU"]["allocation_ratio"]) == (12, 4.0)
    assert found["DISK_GB"]["step_size"] == 10
    assert found["MEMORY_MB"]["reserved"] == 1024
    assert "VCPU 0 48" in " ".join(lines(host.does("inventory", "show", "host1")))
    host.does("inventory", "set", "host1", "VCPU=1", "--replace")
    assert host.json("inventory", "show", "host1")["inventories"].keys() == {"VCPU"}
    assert "named twice" in host.refused("inventory", "set", "host1", "VCPU=1", "VCPU=2", status=2)


def test_inventories_are_removed_together_or_not_at_all(host: Terminal) -> None:
    assert "It has: MEMORY_MB, VCPU." in host.refused("inventory", "delete", "host1", "VCPU", "DISK_GB")
    claim(host, "VCPU=1")
    assert "'moorage allocation list" in host.refused("inventory", "delete", "host1", "VCPU", "MEMORY_MB")
    removed = "  MEMORY_MB: none (was total 4096, reserved 1024)\n"
    assert host.does("inventory", "delete", "host1", "MEMORY_MB", "--dry-run").endswith(removed)
    assert host.does("inventory", "delete", "host1", "MEMORY_MB") == f"Changed host1:\n{removed}"
    host.does("allocation", "delete", CONSUMER)
    assert host.json("inventory", "delete", "host1", "--all")["after"] == {}
    assert "It has: none." in host.refused("inventory", "delete", "host1", "VCPU")
    assert "or use --all" in host.refused("inventory", "delete", "host1", status=2)


def test_change_that_lost_a_race_is_made_anew(host: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    uuid = host.json("provider", "show", "host1")["uuid"]
    path = f"/resource_providers/{uuid}/inventories"
    real, rivals = ServiceConnection.put, [3, 4]

    def put(self: ServiceConnection, where: str, body: object) -> object:
        if where == path and rivals:
            # Somebody else is faster, and changes another class.
            with ServiceConnection(host.url, "admin") as other:
                present = real(other, "/resource_classes/CUSTOM_X", None) or other.get(path)
                present["inventories"]["CUSTOM_X"] = {"total": rivals.pop()}
                real(other, path, present)
        return real(self, where, body)

    monkeypatch.setattr(ServiceConnection, "put", put)
    host.does("inventory", "set", "host1", "VCPU=12")
    found = host.json("inventory", "show", "host1")["inventories"]
    assert (found["VCPU"]["total"], found["CUSTOM_X"]["total"]) == (12, 3)


# trait, aggregate, resource-class


def test_traits_are_listed_created_and_deleted(terminal: Terminal) -> None:
    assert terminal.does("trait", "create", "CUSTOM_FAST") == "There is a trait CUSTOM_FAST.\n"
    terminal.does("trait", "create", "CUSTOM_FAST")
    assert terminal.does("trait", "list", "--prefix", "CUSTOM_") == "CUSTOM_FAST\n"
    assert terminal.json("trait", "list", "--used") == []
    assert "CUSTOM_FAST" in terminal.json("trait", "list", "--unused")
    assert "Did you mean CUSTOM_FAST?" in terminal.refused("trait", "delete", "CUSTOM_FASST")
    assert terminal.does("trait", "delete", "CUSTOM_FAST") == "Deleted CUSTOM_FAST.\n"
    # That a standard trait stays is the service's own word.
    assert "HW_NUMA_ROOT" in terminal.refused("trait", "delete", "HW_NUMA_ROOT")


def test_traits_of_a_provider_are_set_added_and_removed(host: Terminal) -> None:
    text = host.does("trait", "set", "host1", "HW_NUMA_ROOT", "CUSTOM_A100")
    assert text == "Changed host1:\n  traits: +CUSTOM_A100 +HW_NUMA_ROOT\n"
    host.does("trait", "remove", "host1", "CUSTOM_A100")
    host.does("trait", "add", "host1", "COMPUTE_NODE")
    assert host.json("trait", "list", "--provider", "host1") == ["COMPUTE_NODE", "HW_NUMA_ROOT"]
    assert host.json("trait", "list", "--provider", "host1", "--prefix", "HW") == ["HW_NUMA_ROOT"]
    assert "already so" in host.does("trait", "add", "host1", "COMPUTE_NODE")
    changed = host.json("trait", "set", "host1", "--dry-run")
    assert (changed["before"]["traits"], changed["after"]["traits"]) == (["COMPUTE_NODE", "HW_NUMA_ROOT"], [])
    assert host.does("trait", "set", "host1").endswith("traits: -COMPUTE_NODE -HW_NUMA_ROOT\n")
    assert "Did you mean HW_NUMA_ROOT" in host.refused("trait", "add", "host1", "HW_NUMA_ROOTS")


def test_aggregates_of_a_provider_are_set_added_and_removed(host: Terminal) -> None:
    first, second = AGGREGATES
    assert host.does("aggregate", "set", "host1", first) == f"Changed host1:\n  aggregates: +{first}\n"
    host.does("aggregate", "add", "host1", second)
    assert host.does("aggregate", "list", "host1") == f"{first}\n{second}\n"
    host.does("aggregate", "remove", "host1", first)
    assert host.json("aggregate", "list", "host1") == [second]
    assert host.does("aggregate", "set", "host1").endswith(f"aggregates: -{second}\n")
    assert "has 31 digits" in host.refused("aggregate", "add", "host1", first[:-1], status=2)
    assert "is empty" in host.refused("aggregate", "add", "host1", " ", status=2)


def test_resource_classes_are_listed_created_and_deleted(terminal: Terminal) -> None:
    assert terminal.does("resource-class", "create", "CUSTOM_GOLD") == (
        "There is a resource class CUSTOM_GOLD.\n"
    )
    listed = terminal.does("resource-class", "list").splitlines()
    assert "VCPU" in listed
    assert listed == sorted(listed)
    assert "CUSTOM_GOLD" in terminal.json("resource-class", "list")
    assert terminal.does("resource-class", "delete", "CUSTOM_GOLD") == "Deleted CUSTOM_GOLD.\n"
    assert "no resource class 'CUSTOM_GOLD'" in terminal.refused("resource-class", "delete", "CUSTOM_GOLD")


# allocation


def test_consumer_claims_changes_and_frees(host: Terminal) -> None:
    assert "name its owner with --project and --user" in host.refused(
        "allocation", "set", CONSUMER, "host1:VCPU=2", status=2
    )
    claim(host)
    shown = lines(host.does("allocation", "show", CONSUMER))
    assert {"type INSTANCE", "project p", "user u", "generation 1", "host1 VCPU 2"} <= set(shown)
    # Who it is for stays as it was.
    host.does("allocation", "set", CONSUMER, "host1:VCPU=1", "gpu1:PGPU=1", "--type", "MIGRATION")
    found = host.json("allocation", "show", CONSUMER)
    assert (found["project_id"], found["consumer_type"], found["consumer_generation"]) == (
        "p",
        "MIGRATION",
        2,
    )
    assert lines(host.does("allocation", "list", "gpu1"))[1].startswith(f"{CONSUMER} gpu1 PGPU 1 ")
    would = host.does("allocation", "delete", CONSUMER, "--dry-run")
    assert lines(would) == [
        f"{CONSUMER} would hold nothing any more:",
        *("gpu1: none (was PGPU 1)", "host1: none (was VCPU 1)", "project: none (was p)"),
        *("type: none (was MIGRATION)", "user: none (was u)"),
    ]
    assert host.json("allocation", "show", CONSUMER) == found
    assert host.does("allocation", "delete", CONSUMER).startswith(f"{CONSUMER} holds nothing any more:\n")
    assert host.does("allocation", "show", CONSUMER, status=3) == f"{CONSUMER} holds nothing.\n"
    assert "No allocations for consumer" in host.refused("allocation", "delete", CONSUMER)


def test_claim_that_does_not_fit_says_where_to_look(host: Terminal) -> None:
    text = host.refused("allocation", "set", CONSUMER, "host1:VCPU=9", "--project", "p", "--user", "u")
    assert "would exceed the capacity" in text
    assert "'moorage usage --provider host1' shows what is left" in text


def test_provider_may_be_named_once(host: Terminal) -> None:
    uuid = host.json("provider", "show", "host1")["uuid"]
    for again in ("host1", uuid):
        text = host.refused("allocation", "set", CONSUMER, "host1:VCPU=1", f"{again}:VCPU=2", status=2)
        assert "named twice" in text


def test_consumer_that_somebody_else_changed_is_left_alone(
    host: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim(host)
    real = ServiceConnection.put

    def put(self: ServiceConnection, where: str, body: object, minor: int | None = None) -> object:
        monkeypatch.setattr(ServiceConnection, "put", real)
        claim(host, "VCPU=5")
        return real(self, where, body, minor)

    monkeypatch.setattr(ServiceConnection, "put", put)
    text = host.refused("allocation", "set", CONSUMER, "host1:VCPU=1")
    assert f"'moorage allocation show {CONSUMER}'" in text
    assert host.json("allocation", "show", CONSUMER)["consumer_generation"] == 2


def test_names_of_a_loaded_file_are_understood_by_every_command(
    terminal: Terminal, service_database: str, tmp_path: Path
) -> None:
    file = tmp_path / "hosts.yaml"
    file.write_text(
        "providers: [{name: host1, inventories: {VCPU: 8}, aggregates: [rack-1]}]\n"
        "consumers: [{name: web-1, project: p, user: u, allocations: {host1: {VCPU: 2}}}]\n"
    )
    terminal.does("load", str(file), "--database", service_database)
    consumer = str(uuid5(NAMESPACE, "consumer:web-1"))
    assert terminal.json("allocation", "show", "web-1")["consumer"] == consumer
    assert f"consumer web-1 ({consumer})" in lines(terminal.does("allocation", "show", "web-1"))
    changed = terminal.does("allocation", "set", "web-1", "host1:VCPU=3")
    # The file gave no type, and no type comes by itself.
    assert changed == f"Changed web-1 ({consumer}):\n  host1 VCPU: 2 -> 3\n"
    assert terminal.json("allocation", "show", "web-1")["consumer_type"] == "unknown"
    assert [each["consumer"] for each in terminal.json("allocation", "list", "host1")] == [consumer]
    terminal.does("allocation", "delete", "web-1")
    assert terminal.does("allocation", "show", consumer, status=3) == f"{consumer} holds nothing.\n"
    # What a UUID with a digit missing holds is not asked for at all.
    assert "has 31 digits; a UUID has 32" in terminal.refused("allocation", "show", consumer[:-1], status=2)

    aggregate = str(uuid5(NAMESPACE, "aggregate:rack-1"))
    assert terminal.json("aggregate", "list", "host1") == [aggregate]
    for wish in ("rack-1", aggregate, "rack-2|rack-1", "!rack-2"):
        assert len(terminal.json("provider", "list", "--member-of", wish)) == 1
        assert (
            len(terminal.json("candidates", "--group", f"a:VCPU=1,member_of={wish}")["allocation_requests"])
            == 1
        )
    assert terminal.json("provider", "list", "--member-of", "!rack-1") == []
    assert terminal.json(
        "candidates", "--resources", "VCPU=1", "--member-of", "!rack-1|rack-2", status=3
    ) == {
        "allocation_requests": [],
        "provider_summaries": {},
    }
    terminal.does("aggregate", "remove", "host1", "rack-1")
    assert terminal.json("aggregate", "list", "host1") == []


# candidates


def test_candidates_show_who_gives_what(host: Terminal) -> None:
    claim(host, "VCPU=4")
    text = lines(
        host.does("candidates", "--resources", "VCPU=2", "--group", "gpu:PGPU=1,CUSTOM_A100", "--limit", "1")
    )
    assert text[0] == "PROVIDER GROUP CLASS AMOUNT IN USE NOW"
    assert text[1:] == [
        "1 gpu1 gpu PGPU 1 ░░░░░░░░ 0%",
        "host1 VCPU 2 ████░░░░ 50%",
        "There may be more candidates: --limit shows them.",
    ]


def test_every_wish_reaches_the_search(host: Terminal) -> None:
    host.does("aggregate", "set", "host1", AGGREGATES[0])

    def found(*options: str) -> int:
        result = host.run("candidates", *options, "--json")
        requests = json.loads(result.stdout)["allocation_requests"]
        assert result.exit_code == (0 if requests else 3)
        return len(requests)

    one = ("--resources", "VCPU=1")
    gpu = ("--group", "gpu:PGPU=1")
    assert found(*one) == 1
    assert found(*one, "--required", "HW_NUMA_ROOT|CUSTOM_A100") == 0
    assert found(*one, "--required", "!CUSTOM_A100") == 1
    assert found(*one, "--member-of", AGGREGATES[0]) == 1
    assert found(*one, "--member-of", AGGREGATES[1]) == 0
    assert found(*one, "--in-tree", "gpu1") == 1
    assert found(*one, "--root-required", "CUSTOM_A100") == 0
    assert found(*gpu) == 1
    assert found("--group", f"gpu:PGPU=1,member_of={AGGREGATES[1]}") == 0
    assert found("--group", "gpu:PGPU=1,in_tree=host1,!HW_NUMA_ROOT,CUSTOM_A100|HW_NUMA_ROOT") == 1
    cores = ("--group", "a:VCPU=1", "--group", "b:VCPU=1")
    assert found(*cores) == 1
    assert found(*cores, "--group-policy", "isolate") == 0
    assert found(*gpu, "--group", "cpu:VCPU=1", "--same-subtree", "cpu,gpu") == 1


def test_nothing_found_and_nothing_wanted_are_said_in_words(host: Terminal) -> None:
    assert host.does("candidates", "--resources", "VCPU=99", status=3).startswith(
        "No candidates: no providers meet"
    )
    assert "Name amounts" in host.refused("candidates", status=2)
    assert "no --group numa" in host.refused(
        "candidates", "--resources", "VCPU=1", "--same-subtree", "numa", status=2
    )
    assert "Did you mean VCPU" in host.refused("candidates", "--resources", "VCPUS=1")
    text = host.refused("candidates", "--resources", "VCPU=1", "--root-required", "!CUSTOM_A10")
    assert "no trait 'CUSTOM_A10'. Did you mean CUSTOM_A100?" in text


def test_the_best_candidates_come_first_with_score_and_parts(host: Terminal) -> None:
    host.does("provider", "create", "host2")
    host.does("inventory", "set", "host2", "VCPU=8")
    claim(host, "VCPU=4")
    one = ("candidates", "--resources", "VCPU=2")
    text = lines(host.does(*one, "--order", "pack"))
    assert text[0] == "PROVIDER CLASS AMOUNT IN USE NOW SCORE PARTS"
    assert text[1:] == [
        "1 host1 VCPU 2 ████░░░░ 50% 0.7500 pack 0.75",
        "2 host2 VCPU 2 ░░░░░░░░ 0% 0.2500 pack 0.25",
        "2 of 2 trees that fit, by pack with seed 0.",
    ]
    best = host.json(*one, "--prefer", "CUSTOM_A100", "--avoid", "host1=0.5", "--seed", "3")["candidates"]
    assert [(each["score"], each["parts"]) for each in best] == [
        (0.5, {"first": 0.0, "prefer": 1.0, "avoid": 0.5}),
        (0.0, {"first": 0.0, "prefer": 0.0, "avoid": 0.0}),
    ]
    more = ("--weight", "VCPU=2", "--spare-special", "1", "--among-best", "2", "--limit", "1")
    order = host.json(*one, "--order", "spread", *more)["order"]
    assert (order["weights"], order["spare_special"], order["among_best"]) == ({"VCPU": 2.0}, 1.0, 2)


def test_an_order_that_cannot_be_is_said_in_words(host: Terminal) -> None:
    one = ("candidates", "--resources", "VCPU=2")
    assert "Did you mean CUSTOM_A100" in host.refused(*one, "--prefer", "CUSTOM_A10")
    assert "Did you mean VCPU" in host.refused(*one, "--weight", "VCPUS=2")
    assert "host9" in host.refused(*one, "--avoid", "host9")
    assert "There is no profile 'gpu'" in host.refused(*one, "--profile", "gpu")
    assert "'=2' is not NAME=WEIGHT" in host.refused(*one, "--prefer", "=2", status=2)
    assert "'x' is not a number" in host.refused(*one, "--prefer", "host1=x", status=2)
    assert host.does("candidates", "--resources", "VCPU=99", "--order", "pack", status=3).startswith(
        "No candidates: no providers meet"
    )


# usage


def test_usage_of_a_provider_and_by_a_project(host: Terminal) -> None:
    claim(host)
    text = lines(host.does("usage", "--provider", "host1"))
    assert text[0] == "CLASS USED CAPACITY LEFT USE"
    assert text[2] == "VCPU 2 8 6 ██░░░░░░ 25%"
    assert host.json("usage", "--provider", "host1")["VCPU"] == {"used": 2, "capacity": 8}
    assert lines(host.does("usage", "--project", "p"))[2] == "INSTANCE 1 VCPU 2"
    assert host.json("usage", "--project", "p", "--user", "u")["INSTANCE"]["VCPU"] == 2
    assert host.does("usage", "--project", "p", "--user", "x") == "Project p uses nothing.\n"
    assert "not both" in host.refused("usage", status=2)
    assert "--user needs --project" in host.refused("usage", "--provider", "host1", "--user", "u", status=2)


# Several names, and what is held by whom.


def test_several_names_are_a_list_and_one_that_is_refused_spoils_no_other(host: Terminal) -> None:
    assert [each["name"] for each in host.json("provider", "show", "gpu1", "host1")] == ["gpu1", "host1"]
    result = host.run("provider", "show", "gpu1", "nobody", "host1", "--json")
    assert result.exit_code == 1
    assert [each["name"] for each in json.loads(result.stdout)] == ["gpu1", "host1"]
    assert json.loads(result.stderr)["error"] == "There is no resource provider 'nobody'."
    host.does("trait", "create", "CUSTOM_ONE", "CUSTOM_TWO")
    host.does("trait", "delete", "CUSTOM_ONE", "CUSTOM_TWO")
    assert host.json("trait", "list", "--prefix", "CUSTOM_") == ["CUSTOM_A100"]
    host.does("resource-class", "create", "CUSTOM_ONE", "CUSTOM_TWO")
    deleted = host.json("resource-class", "delete", "CUSTOM_ONE", "CUSTOM_TWO")
    assert [each["deleted"] for each in deleted] == ["CUSTOM_ONE", "CUSTOM_TWO"]
    assert [each["provider"] for each in host.json("inventory", "show", "host1", "gpu1")] == ["host1", "gpu1"]
    assert host.does("inventory", "show", "host1", "gpu1").splitlines()[0] == "host1"
    assert len(host.json("provider", "tree", "gpu1", "host1")) == 2
    # Each that is refused is told of, with what helps, once.
    text = host.refused("provider", "delete", "nobody", "host1")
    assert "There is no resource provider 'nobody'." in text
    assert "'moorage provider tree host1' shows its children" in text
    would = host.does("provider", "delete", "gpu1", "host1", "--dry-run")
    assert would.split("\n")[0] == "Would delete gpu1."
    assert host.does("provider", "delete", "gpu1", "host1").startswith("Deleted gpu1.")


def test_holdings_are_listed_by_provider_project_and_type(host: Terminal) -> None:
    claim(host)
    host.does("allocation", "set", OTHER, "gpu1:PGPU=1", "--project", "q", "--user", "v", "--type", "TASK")

    def consumers(*options: str) -> set[str]:
        return {each["consumer"] for each in host.json("allocation", "list", *options)}

    assert consumers("--all") == {CONSUMER, OTHER}
    assert consumers("gpu1") == consumers("--project", "q") == consumers("--type", "TASK") == {OTHER}
    assert consumers("host1", "gpu1") == {CONSUMER, OTHER}
    assert consumers("host1", "--project", "q") == consumers("--project", "p", "--type", "TASK") == set()
    [task] = host.json("allocation", "list", "gpu1")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", task.pop("since"))
    assert task == {
        "consumer": OTHER,
        "provider": "gpu1",
        "class": "PGPU",
        "amount": 1,
        "project": "q",
        "user": "v",
        "type": "TASK",
    }
    assert host.does("allocation", "list", "--all").splitlines()[0].split()[:4] == [
        *("CONSUMER", "PROVIDER", "CLASS", "AMOUNT"),
    ]
    assert "Name providers, or use --all" in host.refused("allocation", "list", status=2)


# What a change does, and what a refusal says.


def test_inventory_below_what_is_in_use_is_set_with_a_warning(host: Terminal) -> None:
    claim(host, "VCPU=6")
    for options in (("--dry-run",), ()):
        result = host.run("inventory", "set", "host1", "VCPU=4", *options)
        assert result.exit_code == 0
        assert "Warning: host1: 6 VCPU are in use, and the capacity is 4." in result.stderr
        assert "VCPU total: 8 -> 4" in result.stdout
    assert host.json("inventory", "show", "host1")["inventories"]["VCPU"]["total"] == 4
    # One that is not changed is not warned of, nor one that is large enough.
    assert "Warning" not in host.run("inventory", "set", "host1", "MEMORY_MB=2048").stderr
    changed = host.json("inventory", "set", "host1", "VCPU=5")
    assert (changed["before"]["VCPU"]["total"], changed["after"]["VCPU"]["total"]) == (4, 5)
    assert "and the capacity is 5" in changed["warnings"][0]
    result = host.run("inventory", "set", "host1", "DISK_GB=1", "--replace", "--dry-run")
    assert "6 VCPU are in use. The service refuses to remove an inventory in use." in result.stderr


def test_what_is_so_already_is_not_written(host: Terminal) -> None:
    def generation() -> int:
        return int(host.json("provider", "show", "host1")["generation"])

    before = generation()
    assert "already so" in host.does("inventory", "set", "host1", "VCPU=8")
    assert "already so" in host.does("aggregate", "set", "host1")
    assert generation() == before
    claim(host)
    held = host.json("allocation", "show", CONSUMER)
    assert "already so" in host.does("allocation", "set", CONSUMER, "host1:VCPU=2,MEMORY_MB=512")
    assert host.json("allocation", "show", CONSUMER) == held


def test_claim_is_shown_before_it_is_made(host: Terminal) -> None:
    options = ("allocation", "set", CONSUMER, "host1:VCPU=2", "--project", "p", "--user", "u", "--dry-run")
    assert lines(host.does(*options)) == [
        f"Would change {CONSUMER}:",
        *("host1: VCPU 2 (new)", "project: p (new)", "type: INSTANCE (new)", "user: u (new)"),
    ]
    host.does("allocation", "show", CONSUMER, status=3)


@each(
    ("arguments", "told"),
    [
        (["inventory", "set", "host1", "VCPU=0"], "VCPU total: 0 is less than the minimum of 1.\n"),
        (
            ["inventory", "set", "host1", "VCPU=4,reserved=9"],
            "Invalid inventory for 'VCPU' on resource provider 'host1'.",
        ),
        (
            ["allocation", "set", "c", "host1:VCPU=0", "--project", "p", "--user", "u"],
            "host1 VCPU: 0 is less than",
        ),
        (["provider", "create", "x", "--uuid", "foo"], "uuid: 'foo' is not a 'uuid'.\n"),
        (
            ["resource-class", "create", "gold"],
            "name: 'gold' is not a custom name, which begins with CUSTOM_",
        ),
        (["provider", "create", ""], "Name is required\n"),
        (
            ["provider", "set", "host1", "--parent", "gpu1"],
            "Creating loop in the provider tree is not allowed.",
        ),
    ],
)
def test_refusal_is_told_in_words(arguments: list[str], told: str, host: Terminal) -> None:
    text = host.refused(*arguments)
    assert told in text
    assert "JSON" not in text
    assert "schema" not in text
    # A program gets the API's own words as well.
    assert json.loads(host.run(*arguments, "--json").stderr)["detail"]


@pytest.mark.slow
@each(
    ("arguments", "told"),
    [
        (["provider", "create", "new", "--parent", "host1"], "Would create new with UUID "),
        (["provider", "delete", "gpu1"], "Would delete gpu1."),
        (["trait", "create", "CUSTOM_NEW"], "There would be a trait CUSTOM_NEW."),
        (["trait", "delete", "CUSTOM_A100"], "Would delete CUSTOM_A100."),
        (["resource-class", "create", "CUSTOM_NEW"], "There would be a resource class CUSTOM_NEW."),
        (["resource-class", "delete", "CUSTOM_GOLD"], "Would delete CUSTOM_GOLD."),
        (["trait", "add", "host1", "HW_NUMA_ROOT"], "Would change host1:"),
        (["aggregate", "add", "host1", "rack"], "Would change host1:"),
        (["inventory", "delete", "host1", "--all"], "Would change host1:"),
        (["allocation", "delete", CONSUMER], f"{CONSUMER} would hold nothing any more:"),
    ],
)
def test_dry_run_of_every_change_changes_nothing(arguments: list[str], told: str, host: Terminal) -> None:
    host.does("resource-class", "create", "CUSTOM_GOLD")
    if not host.json("usage", "--project", "p"):
        claim(host)

    def everything() -> list[object]:
        listed = [host.json(noun, "list") for noun in ("provider", "trait", "resource-class")]
        return [*listed, host.json("provider", "show", "host1", "gpu1")]

    before = everything()
    assert host.does(*arguments, "--dry-run").startswith(told)
    assert host.json(*arguments, "--dry-run")["dry_run"] is True
    assert everything() == before
