"""What bodies are decoded into: the newest shape, whatever the version."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from moorage.api.placement.settings import ApiSettings
from moorage.model.commands import (
    KEEP,
    AddInventory,
    Claim,
    CreateProvider,
    CreateResourceClass,
    CreateTrait,
    DeleteAllocations,
    DeleteInventory,
    DeleteProvider,
    DeleteResourceClass,
    DeleteTrait,
    NewInventories,
    RenameResourceClass,
    ReplaceAllocations,
    Reshape,
    SetAggregates,
    SetInventories,
    SetTraits,
    UpdateInventory,
    UpdateProvider,
)
from moorage.model.errors import TraitNotFoundError, UnavailableError
from moorage.model.values import MAX_INT, Inventory, NamedItem
from tests.table import each
from tests.unit.api.fake import CONSUMER, OTHER, UUID, Client, FakeService, Result
from tests.unit.api.requests import claim

PROVIDER = f"/resource_providers/{UUID}"
FULL = {
    "total": 8.0,
    "reserved": 1,
    "min_unit": 2,
    "max_unit": 6,
    "step_size": 2,
    "allocation_ratio": 4,
}
FULL_INVENTORY = Inventory(8, 1, 2, 6, 2, 4.0)


def sent(method: str, path: str, minor: int, value: object = None) -> Any:
    """The one command that a request became."""
    client = Client(FakeService(), ApiSettings("no-project", "no-user"))
    result = client.ask(method, path, minor, value)
    assert result.status < 300, result.body
    (command,) = client.service.commands
    return command


def test_a_new_provider_keeps_its_uuid_in_the_usual_form() -> None:
    body = {"name": "one", "uuid": UUID.replace("-", "").upper()}
    assert sent("POST", "/resource_providers", 0, body) == CreateProvider(UUID, "one", None)


def test_a_new_provider_without_a_uuid_gets_one() -> None:
    command = sent("POST", "/resource_providers", 0, {"name": "one"})
    assert str(uuid.UUID(command.uuid)) == command.uuid


def test_a_new_provider_may_have_a_parent_which_is_taken_as_it_is_given() -> None:
    body = {"name": "one", "uuid": UUID, "parent_provider_uuid": OTHER.upper()}
    assert sent("POST", "/resource_providers", 14, body) == CreateProvider(UUID, "one", OTHER.upper())


@pytest.mark.parametrize(("minor", "may"), [(14, False), (36, False), (37, True)])
def test_from_1_37_on_providers_may_move(minor: int, may: bool) -> None:
    body = {"name": "two", "parent_provider_uuid": None}
    assert sent("PUT", PROVIDER, minor, body) == UpdateProvider(UUID, "two", None, may)


@pytest.mark.parametrize("minor", [0, 39])
def test_a_parent_that_is_not_named_is_kept(minor: int) -> None:
    assert sent("PUT", PROVIDER, minor, {"name": "two"}).parent_uuid is KEEP


def test_a_provider_is_deleted() -> None:
    assert sent("DELETE", PROVIDER, 0) == DeleteProvider(UUID)


@pytest.mark.parametrize(("minor", "may"), [(0, False), (25, False), (26, True)])
def test_from_1_26_on_all_may_be_reserved(minor: int, may: bool) -> None:
    path = f"{PROVIDER}/inventories"
    generation = {"resource_provider_generation": 3.0}
    body: dict[str, Any] = FULL | {"resource_class": "VCPU"}
    added = AddInventory(UUID, "VCPU", FULL_INVENTORY, may)
    assert sent("POST", path, minor, body) == added
    assert sent("POST", path, minor, body | generation) == added
    body = FULL | generation
    updated = UpdateInventory(UUID, 3, "VCPU", FULL_INVENTORY, may)
    assert sent("PUT", f"{path}/VCPU", minor, body) == updated
    body = {"inventories": {"VCPU": FULL | generation}} | generation
    assert sent("PUT", path, minor, body) == SetInventories(UUID, 3, {"VCPU": FULL_INVENTORY}, may)


def test_what_an_inventory_leaves_out_has_its_default() -> None:
    command = sent("POST", f"{PROVIDER}/inventories", 0, {"resource_class": "VCPU", "total": 8})
    assert command.inventory == Inventory(8, 0, 1, MAX_INT, 1, 1.0)
    assert isinstance(command.inventory.allocation_ratio, float)


def test_a_class_in_lower_case_is_for_the_service_to_refuse() -> None:
    body = {"resource_provider_generation": 0, "inventories": {"vcpu": {"total": 1}}}
    command = sent("PUT", f"{PROVIDER}/inventories", 0, body)
    assert command.inventories == {"vcpu": Inventory(1)}


def test_inventories_are_deleted() -> None:
    path = f"{PROVIDER}/inventories"
    assert sent("DELETE", path, 5) == SetInventories(UUID, None, {})
    assert sent("DELETE", f"{path}/VCPU", 0) == DeleteInventory(UUID, "VCPU")


def test_aggregates_are_taken_as_they_are_given_and_before_1_19_whatever_the_generation() -> None:
    path = f"{PROVIDER}/aggregates"
    given = [OTHER.upper(), UUID]
    assert sent("PUT", path, 1, given) == SetAggregates(UUID, None, tuple(given))
    body = {"aggregates": given, "resource_provider_generation": 3}
    assert sent("PUT", path, 19, body) == SetAggregates(UUID, 3, tuple(given))


def test_traits_of_a_provider_are_set_and_cleared() -> None:
    path = f"{PROVIDER}/traits"
    body = {"traits": ["A", "B", "A"], "resource_provider_generation": 3}
    assert sent("PUT", path, 6, body) == SetTraits(UUID, 3, frozenset({"A", "B"}))
    assert sent("DELETE", path, 6) == SetTraits(UUID, None, frozenset())


def test_resource_classes_are_made_and_unmade() -> None:
    body = {"name": "CUSTOM_NEW"}
    path = "/resource_classes/CUSTOM_A"
    assert sent("POST", "/resource_classes", 2, body) == CreateResourceClass("CUSTOM_NEW")
    assert sent("PUT", path, 6, body) == RenameResourceClass("CUSTOM_A", "CUSTOM_NEW")
    assert sent("PUT", path, 7) == CreateResourceClass("CUSTOM_A", may_exist=True)
    assert sent("DELETE", path, 2) == DeleteResourceClass("CUSTOM_A")


def test_traits_are_made_and_unmade() -> None:
    assert sent("PUT", "/traits/CUSTOM_A", 6) == CreateTrait("CUSTOM_A")
    assert sent("DELETE", "/traits/HW_A", 6) == DeleteTrait("HW_A")


@pytest.mark.parametrize(("minor", "path"), [(6, "/traits/CUSTOM_A"), (7, "/resource_classes/CUSTOM_A")])
@pytest.mark.parametrize(("is_new", "status"), [(True, 201), (False, 204)])
def test_what_is_new_is_created_and_what_is_there_is_left(
    minor: int, path: str, is_new: bool, status: int
) -> None:
    result = Client(FakeService(result=is_new)).ask("PUT", path, minor, body=b"ignored")
    assert result.status == status
    assert result.headers["location"].endswith(path)


def test_a_trait_that_is_there_has_its_own_date_unless_it_or_the_database_went_away_since() -> None:
    class Vanishing(FakeService):
        def trait(self, name: str) -> NamedItem:
            raise TraitNotFoundError(name)

    class Unavailable(FakeService):
        def trait(self, name: str) -> NamedItem:
            raise UnavailableError("the database cannot be reached")

    for service in (FakeService(result=False), Vanishing(result=False), Unavailable(result=False)):
        result = Client(service).ask("PUT", "/traits/CUSTOM_A", 15)
        assert result.status == 204
        assert result.headers["last-modified"]


@each(
    ("minor", "owner", "generation", "consumer_type"),
    [
        (0, ("no-project", "no-user"), KEEP, KEEP),
        (7, ("no-project", "no-user"), KEEP, KEEP),
        (8, ("project", "user"), KEEP, KEEP),
        (12, ("project", "user"), KEEP, KEEP),
        (27, ("project", "user"), KEEP, KEEP),
        (28, ("project", "user"), None, KEEP),
        (37, ("project", "user"), None, KEEP),
        (38, ("project", "user"), None, "INSTANCE"),
    ],
)
def test_claims_have_one_shape_at_all_versions(
    minor: int, owner: tuple[str, str], generation: Any, consumer_type: Any
) -> None:
    expected = Claim(CONSUMER, {UUID: {"VCPU": 1}}, *owner, generation, consumer_type)
    body = claim(minor)
    assert sent("PUT", f"/allocations/{CONSUMER}", minor, body) == ReplaceAllocations((expected,))
    if minor >= 13:
        command = sent("POST", "/allocations", minor, {CONSUMER: body})
        assert command == ReplaceAllocations((expected,))


def test_a_consumer_in_the_path_comes_into_the_usual_form() -> None:
    path = f"/allocations/{CONSUMER.replace('-', '').upper()}"
    (only,) = sent("PUT", path, 39, claim(39)).claims
    assert only.consumer == CONSUMER


def test_consumers_in_a_body_are_taken_as_they_are_given_and_in_order() -> None:
    body = {CONSUMER.upper(): claim(39), CONSUMER: claim(39)}
    command = sent("POST", "/allocations", 39, body)
    assert [each.consumer for each in command.claims] == [CONSUMER.upper(), CONSUMER]


def test_of_a_provider_that_a_list_names_twice_the_last_entry_counts() -> None:
    body = claim(0)
    body["allocations"].append(body["allocations"][0] | {"resources": {"DISK_GB": 2.0}})
    (only,) = sent("PUT", f"/allocations/{CONSUMER}", 0, body).claims
    assert only.allocations == {UUID: {"DISK_GB": 2}}
    assert isinstance(only.allocations[UUID]["DISK_GB"], int)


def test_the_generation_of_a_provider_in_allocations_counts_for_nothing() -> None:
    body = claim(39)
    body["allocations"][UUID]["generation"] = 99
    (only,) = sent("PUT", f"/allocations/{CONSUMER}", 39, body).claims
    assert only.allocations == {UUID: {"VCPU": 1}}


@pytest.mark.parametrize(("method", "minor"), [("POST", 13), ("POST", 39), ("PUT", 28)])
def test_empty_allocations_take_all_away(method: str, minor: int) -> None:
    body: Any = claim(minor) | {"allocations": {}}
    path = f"/allocations/{CONSUMER}"
    if method == "POST":
        path, body = "/allocations", {CONSUMER: body}
    (only,) = sent(method, path, minor, body).claims
    assert only.allocations == {}


@pytest.mark.parametrize("minor", [0, 8, 12, 27])
def test_before_1_28_nobody_can_put_empty_allocations(minor: int) -> None:
    body = claim(minor)
    body["allocations"] = type(body["allocations"])()
    result = Client(FakeService()).ask("PUT", f"/allocations/{CONSUMER}", minor, body)
    assert result.status == 400


@pytest.mark.parametrize("amount", [2**31, 2**40, 10**30, 1e30])
def test_amounts_beyond_all_measure_are_whole_numbers_for_the_service_to_refuse(amount: Any) -> None:
    body = claim(39)
    body["allocations"][UUID]["resources"]["VCPU"] = amount
    body["consumer_generation"] = amount
    (only,) = sent("PUT", f"/allocations/{CONSUMER}", 39, body).claims
    assert only.allocations == {UUID: {"VCPU": int(amount)}}
    assert only.generation == int(amount)


def test_allocations_are_deleted_of_any_consumer_as_it_is_spelled() -> None:
    assert sent("DELETE", "/allocations/whoever", 0) == DeleteAllocations("whoever")


@pytest.mark.parametrize("minor", [30, 34, 38])
def test_a_reshape_has_inventories_and_claims(minor: int) -> None:
    inventories = {"resource_provider_generation": 3, "inventories": {"VCPU": FULL}}
    body = {"inventories": {UUID: inventories}, "allocations": {CONSUMER: claim(minor)}}
    command = sent("POST", "/reshaper", minor, body)
    assert isinstance(command, Reshape)
    assert command.inventories == {UUID: NewInventories(3, {"VCPU": FULL_INVENTORY})}
    (only,) = command.claims
    assert only.allocations == {UUID: {"VCPU": 1}}
    assert only.consumer_type == ("INSTANCE" if minor >= 38 else KEEP)


def test_a_reshape_may_be_without_claims() -> None:
    inventories: dict[str, Any] = {"resource_provider_generation": 3, "inventories": {}}
    body = {"inventories": {UUID: inventories}, "allocations": {}}
    command = sent("POST", "/reshaper", 30, body)
    assert command == Reshape({UUID: NewInventories(3, {})}, ())


def test_writes_without_an_answer_are_204() -> None:
    def status(method: str, path: str, body: object = None) -> Result:
        return Client(FakeService()).ask(method, path, 39, body)

    assert status("PUT", f"/allocations/{CONSUMER}", claim(39)).status == 204
    assert status("DELETE", f"/allocations/{CONSUMER}").status == 204
    assert status("DELETE", PROVIDER).status == 204
