"""Every client command as a person types it, against a service that answers."""

from __future__ import annotations

import re
from uuid import uuid4

import pytest

from moorage.cli.client import provider
from moorage.cli.client.connection import Service
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
    assert text[0] == "name uuid generation parent"
    assert [line.split()[0] for line in text[2:]] == ["host1", "gpu1"]
    assert text[3].endswith(" host1")

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
    assert lines(host.does("provider", "list", "--name", "gpu1"))[2].endswith(" host1")
    # A parent that is not in the list costs a request: if there are too many, it is shown by its UUID.
    monkeypatch.setattr(provider, "MOST_NAMED", 0)
    assert host.json("provider", "show", "host1")["uuid"] in host.does("provider", "list", "--name", "gpu1")


def test_provider_is_shown_with_all_that_it_has(host: Terminal) -> None:
    claim(host)
    text = lines(host.does("provider", "show", "host1"))
    assert "held by 1 consumer" in text
    assert "root host1" in text
    [cores] = [line for line in text if line.startswith("VCPU")]
    assert cores == "VCPU 2 8 ████░░░░░░░░░░░░ 25% 8 0 1.0 1 any 1"
    assert "parent host1" in lines(host.does("provider", "show", "gpu1"))
    data = host.json("provider", "show", "host1")
    assert data["consumers"] == [CONSUMER]
    assert data["usages"] == {"VCPU": 2, "MEMORY_MB": 512}
    # By its UUID as well.
    assert host.json("provider", "show", data["uuid"]) == data
    host.does("provider", "create", "empty")
    assert "held by nobody" in lines(host.does("provider", "show", "empty"))


def test_tree_is_drawn_with_bars_of_use(host: Terminal) -> None:
    claim(host)
    drawing = host.does("provider", "tree", "gpu1").splitlines()
    assert [line.rstrip() for line in drawing] == [
        "host1",
        "MEMORY_MB  ███░░░░░░░░░░░░░  17%  512 of 3072",
        "VCPU       ████░░░░░░░░░░░░  25%  2 of 8",
        "└── gpu1",
        "    PGPU       ░░░░░░░░░░░░░░░░   0%  0 of 1",
    ]
    everything = host.does("provider", "tree", "--uuids", "--traits")
    assert "CUSTOM_A100" in everything
    assert host.json("provider", "show", "gpu1")["uuid"] in everything
    [root, child] = host.json("provider", "tree")
    assert child["parent"] == root["uuid"]
    assert root["inventories"]["VCPU"]["used"] == 2
    assert root["inventories"]["MEMORY_MB"]["capacity"] == 3072


def test_forest_is_not_drawn_unless_that_is_meant(host: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provider, "MOST_DRAWN", 1)
    assert "There are 2 providers: name one, or say --all." in host.refused("provider", "tree", status=2)
    assert "gpu1" in host.does("provider", "tree", "--all")
    assert "gpu1" in host.does("provider", "tree", "host1")


def test_provider_is_renamed_and_moved_with_what_is_below_it(host: Terminal) -> None:
    assert host.does("provider", "set", "gpu1", "--name", "card") == "Changed card.\n"
    assert host.json("provider", "set", "card", "--root")["parent_provider_uuid"] is None
    moved = host.json("provider", "set", "card", "--parent", "host1")
    assert (moved["name"], moved["root_provider_uuid"]) == (
        "card",
        host.json("provider", "show", "host1")["uuid"],
    )
    assert "not both" in host.refused("provider", "set", "card", "--root", "--parent", "host1", status=2)
    assert "Say what to change" in host.refused("provider", "set", "card", status=2)


def test_provider_is_deleted_unless_somebody_needs_it(host: Terminal) -> None:
    assert "provider tree" in host.refused("provider", "delete", "host1")
    claim(host)
    host.does("provider", "delete", "gpu1")
    assert "'moorage allocation list PROVIDER' shows who" in host.refused("provider", "delete", "host1")
    host.does("allocation", "delete", CONSUMER)
    assert host.does("provider", "delete", "host1") == "Deleted host1.\n"
    assert "There is no resource provider 'host1'." in host.refused("provider", "show", "host1")


# inventory


def test_inventories_are_set_and_what_is_not_named_stays(host: Terminal) -> None:
    text = host.does("inventory", "set", "host1", "VCPU=16,allocation_ratio=4.0", "DISK_GB=100,step_size=10")
    assert text == "Set DISK_GB, VCPU.\n"
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
    assert host.does("inventory", "delete", "host1", "MEMORY_MB") == "Removed MEMORY_MB.\n"
    host.does("allocation", "delete", CONSUMER)
    assert host.does("inventory", "delete", "host1", "--all") == "Removed all inventories.\n"
    assert "It has: none." in host.refused("inventory", "delete", "host1", "VCPU")
    assert "or say --all" in host.refused("inventory", "delete", "host1", status=2)


def test_change_that_lost_a_race_is_made_anew(
    host: Terminal, connection: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    uuid = host.json("provider", "show", "host1")["uuid"]
    path = f"/resource_providers/{uuid}/inventories"
    real, rivals = Service.put, [3, 4]

    def put(self: Service, where: str, body: object) -> object:
        if where == path and rivals:
            # Somebody else is faster, and changes another class.
            present = real(connection, "/resource_classes/CUSTOM_X", None) or connection.get(path)
            present["inventories"]["CUSTOM_X"] = {"total": rivals.pop()}
            real(connection, path, present)
        return real(self, where, body)

    monkeypatch.setattr(Service, "put", put)
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
    assert text == "host1 has: CUSTOM_A100 HW_NUMA_ROOT\n"
    host.does("trait", "remove", "host1", "CUSTOM_A100")
    host.does("trait", "add", "host1", "COMPUTE_NODE")
    assert host.json("trait", "list", "--provider", "host1") == ["COMPUTE_NODE", "HW_NUMA_ROOT"]
    assert host.json("trait", "list", "--provider", "host1", "--prefix", "HW") == ["HW_NUMA_ROOT"]
    assert host.does("trait", "set", "host1") == "host1 has: no traits\n"
    assert "Did you mean HW_NUMA_ROOT" in host.refused("trait", "add", "host1", "HW_NUMA_ROOTS")


def test_aggregates_of_a_provider_are_set_added_and_removed(host: Terminal) -> None:
    first, second = AGGREGATES
    assert host.does("aggregate", "set", "host1", first) == f"host1 is in: {first}\n"
    host.does("aggregate", "add", "host1", second)
    assert host.does("aggregate", "list", "host1") == f"{first}\n{second}\n"
    host.does("aggregate", "remove", "host1", first)
    assert host.json("aggregate", "list", "host1") == [second]
    assert host.does("aggregate", "set", "host1") == "host1 is in: no aggregate\n"
    assert "is not a" in host.refused("aggregate", "add", "host1", "rack")


def test_resource_classes_are_listed_created_and_deleted(terminal: Terminal) -> None:
    assert terminal.does("resource-class", "create", "CUSTOM_GOLD") == (
        "There is a resource class CUSTOM_GOLD.\n"
    )
    assert terminal.does("resource-class", "list").splitlines()[0] == "VCPU"
    assert "CUSTOM_GOLD" in terminal.json("resource-class", "list")
    assert terminal.does("resource-class", "delete", "CUSTOM_GOLD") == "Deleted CUSTOM_GOLD.\n"
    assert "no resource class 'CUSTOM_GOLD'" in terminal.refused("resource-class", "delete", "CUSTOM_GOLD")


# allocation


def test_consumer_claims_changes_and_frees(host: Terminal) -> None:
    assert "say whose it is" in host.refused("allocation", "set", CONSUMER, "host1:VCPU=2", status=2)
    claim(host)
    text = lines(host.does("allocation", "show", CONSUMER))
    assert {"type INSTANCE", "project p", "user u", "generation 1", "host1 VCPU 2"} <= set(text)
    # Who it is for stays as it was.
    host.does("allocation", "set", CONSUMER, "host1:VCPU=1", "gpu1:PGPU=1", "--type", "MIGRATION")
    found = host.json("allocation", "show", CONSUMER)
    assert (found["project_id"], found["consumer_type"], found["consumer_generation"]) == (
        "p",
        "MIGRATION",
        2,
    )
    assert lines(host.does("allocation", "list", "gpu1"))[2] == f"{CONSUMER} PGPU 1"
    assert host.json("allocation", "list", "host1")[CONSUMER]["resources"] == {"VCPU": 1}
    assert host.does("allocation", "delete", CONSUMER) == f"{CONSUMER} holds nothing any more.\n"
    assert host.does("allocation", "show", CONSUMER) == f"{CONSUMER} holds nothing.\n"
    assert "No allocations for consumer" in host.refused("allocation", "delete", CONSUMER)


def test_claim_that_does_not_fit_says_where_to_look(host: Terminal) -> None:
    text = host.refused("allocation", "set", CONSUMER, "host1:VCPU=9", "--project", "p", "--user", "u")
    assert "would exceed the capacity" in text
    assert "'moorage usage --provider PROVIDER' shows what is left" in text


def test_provider_may_be_named_once(host: Terminal) -> None:
    uuid = host.json("provider", "show", "host1")["uuid"]
    for again in ("host1", uuid):
        text = host.refused("allocation", "set", CONSUMER, "host1:VCPU=1", f"{again}:VCPU=2", status=2)
        assert "named twice" in text


def test_consumer_that_somebody_else_changed_is_left_alone(
    host: Terminal, connection: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim(host)
    real = Service.put

    def put(self: Service, where: str, body: object) -> object:
        monkeypatch.setattr(Service, "put", real)
        claim(host, "VCPU=5")
        return real(self, where, body)

    monkeypatch.setattr(Service, "put", put)
    text = host.refused("allocation", "set", CONSUMER, "host1:VCPU=1")
    assert f"'moorage allocation show {CONSUMER}'" in text
    assert host.json("allocation", "show", CONSUMER)["consumer_generation"] == 2


# candidates


def test_candidates_show_who_gives_what(host: Terminal) -> None:
    claim(host, "VCPU=4")
    text = lines(
        host.does("candidates", "--resources", "VCPU=2", "--group", "gpu:PGPU=1,CUSTOM_A100", "--limit", "1")
    )
    assert text[0] == "provider group class amount in use now"
    assert text[2:] == [
        "1 gpu1 gpu PGPU 1 ░░░░░░░░░░░░░░░░ 0%",
        "host1 VCPU 2 ████████░░░░░░░░ 50%",
        "There may be more candidates: --limit shows them.",
    ]


def test_every_wish_reaches_the_search(host: Terminal) -> None:
    host.does("aggregate", "set", "host1", AGGREGATES[0])

    def found(*options: str) -> int:
        return len(host.json("candidates", *options)["allocation_requests"])

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
    assert host.does("candidates", "--resources", "VCPU=99").startswith(
        "No candidates: nothing that is there"
    )
    assert "Say what is wanted" in host.refused("candidates", status=2)
    assert "no --group numa" in host.refused(
        "candidates", "--resources", "VCPU=1", "--same-subtree", "numa", status=2
    )
    assert "Did you mean VCPU" in host.refused("candidates", "--resources", "VCPUS=1")
    text = host.refused("candidates", "--resources", "VCPU=1", "--root-required", "!CUSTOM_A10")
    assert "no trait 'CUSTOM_A10'. Did you mean CUSTOM_A100?" in text


# usage


def test_usage_of_a_provider_and_by_a_project(host: Terminal) -> None:
    claim(host)
    text = lines(host.does("usage", "--provider", "host1"))
    assert text[0] == "class used capacity left use"
    assert text[3] == "VCPU 2 8 6 ████░░░░░░░░░░░░ 25%"
    assert host.json("usage", "--provider", "host1")["VCPU"] == {"used": 2, "capacity": 8}
    assert lines(host.does("usage", "--project", "p"))[3] == "INSTANCE 1 VCPU 2"
    assert host.json("usage", "--project", "p", "--user", "u")["INSTANCE"]["VCPU"] == 2
    assert host.does("usage", "--project", "p", "--user", "x") == "Project p uses nothing.\n"
    assert "not both" in host.refused("usage", status=2)
    assert "--user goes with --project" in host.refused(
        "usage", "--provider", "host1", "--user", "u", status=2
    )
