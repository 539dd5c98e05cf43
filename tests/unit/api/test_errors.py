"""Errors of the service as clients are told of them."""

from __future__ import annotations

import inspect

import pytest

from moorage.api.placement import errors
from moorage.api.placement.routes import BY_NAME
from moorage.model import errors as model
from tests.table import each
from tests.unit.api.fake import CONSUMER, OTHER, UUID, Client, FakeService
from tests.unit.api.requests import GOOD

SAMPLES: list[model.MoorageError] = [
    model.ProviderNotFoundError(UUID),
    model.ResourceClassNotFoundError("NOPE"),
    model.TraitNotFoundError("A, B"),
    model.InventoryNotFoundError(UUID, "VCPU"),
    model.AllocationsNotFoundError(CONSUMER),
    model.AllocationProviderNotFoundError(OTHER),
    model.ReshapeProviderNotFoundError(OTHER),
    model.ParentNotFoundError(OTHER),
    model.ParentIsSelfError(UUID),
    model.TreeLoopError(UUID),
    model.ReparentRefusedError(UUID),
    model.UnparentRefusedError(UUID),
    model.NameMissingError(UUID),
    model.SearchLimitError(9),
    model.InvalidCapacityError(UUID, "VCPU", False),
    model.StandardResourceClassError("VCPU", "delete"),
    model.StandardTraitError("HW_A"),
    model.StaleGenerationError(UUID, 4, 3),
    model.ConsumerGenerationError(CONSUMER, 1, None),
    model.ProviderExistsError(UUID, "one"),
    model.ProviderHasChildrenError(UUID),
    model.ProviderInUseError(UUID),
    model.InventoryExistsError(UUID, "VCPU"),
    model.InventoryInUseError(UUID, "VCPU, DISK_GB"),
    model.NoInventoryError(UUID, "VCPU"),
    model.CapacityExceededError(UUID, "VCPU"),
    model.UnitViolatedError(UUID, "VCPU"),
    model.ResourceClassExistsError("CUSTOM_A"),
    model.ResourceClassInUseError("CUSTOM_A"),
    model.TraitInUseError("CUSTOM_A"),
    model.UnavailableError("reason"),
    model.UnusableDatabaseError("reason", "words"),
    model.OutcomeUnknownError("reason"),
    model.EqualNameError(),
    model.UnstorableError(),
]
UNFORESEEN = {
    model.SchemaError,
    model.MissingFileError,
    model.ConfigurationError,
    model.TokenNotFoundError,
    # Only the native API claims several entries, chooses places, takes keys and confines clients.
    model.EntriesRefusedError,
    model.NothingFitsError,
    model.HardToPlaceError,
    model.GangTooHardError,
    model.ChoiceGoneError,
    model.CannotHealError,
    model.FindingChangedError,
    model.FindingNotFoundError,
    model.ReportFaultError,
    model.SourceNotFoundError,
    model.KeyReusedError,
    model.ConsumerTakenError,
    # Only the native API has leases.
    model.LeaseNotFoundError,
    model.LeaseCrowdedError,
    model.AttachmentNotFoundError,
    model.LeaseGoneError,
    # Only the native API has a history.
    model.BusyError,
    model.CompactedError,
    model.DifferentHistoryError,
    model.ValuesNotKeptError,
}
FAMILIES = {
    model.MoorageError,
    model.NotFoundError,
    model.InvalidError,
    model.ConflictError,
}

NONE = "placement.undefined_code"
UPDATE = "placement.concurrent_update"
IN_USE = "placement.inventory.inuse"
NAME = "placement.duplicate_name"
P = "/resource_providers/{uuid}"
I = f"{P}/inventories"  # noqa: E741 - beside P
ONE = f"{I}/{{resource_class}}"
PUT_A, POST_A = "PUT /allocations/{consumer_uuid}", "POST /allocations"
UNFIT = "Unable to allocate inventory: "
UNALLOCATED = f"{UNFIT}Unable to create allocation for 'VCPU' on resource provider '{UUID}'. "
NOT_FOUND = f"No resource provider with uuid {UUID} found"
STALE = model.StaleGenerationError(UUID, 4, 3)
IN_USE_ERROR = model.InventoryInUseError(UUID, "VCPU")
TOLD_IN_USE = f"Inventory for 'VCPU' on resource provider '{UUID}' in use."
NO_CLASS = model.ResourceClassNotFoundError("NOPE")
RESERVED = f"Invalid inventory for 'VCPU' on resource provider '{UUID}'. The reserved value is "
CHANGED = "Resource provider's generation already changed. Please update the generation and try"

CASES: list[tuple[str, model.MoorageError, int, str, str]] = [
    (f"GET {P}", model.ProviderNotFoundError(UUID), 404, NONE, NOT_FOUND),
    (f"PUT {P}", model.ProviderNotFoundError(UUID), 404, NONE, NOT_FOUND),
    (f"DELETE {P}", model.ProviderNotFoundError(UUID), 404, NONE, f"{NOT_FOUND} for delete"),
    (f"GET {I}", model.ProviderNotFoundError(UUID), 404, NONE, f"{NOT_FOUND} : {NOT_FOUND}"),
    (f"GET {P}/usages", model.ProviderNotFoundError(UUID), 404, NONE, f"{NOT_FOUND}: {NOT_FOUND}"),
    (f"GET {P}/traits", model.ProviderNotFoundError(UUID), 404, NONE, f"{NOT_FOUND}: {NOT_FOUND}"),
    (
        f"GET {P}/allocations",
        model.ProviderNotFoundError(UUID),
        404,
        NONE,
        f"Resource provider '{UUID}' not found: {NOT_FOUND}",
    ),
    (
        "GET /resource_providers",
        NO_CLASS,
        400,
        NONE,
        "Invalid resource class in resources parameter: No such resource class NOPE.",
    ),
    (
        "GET /resource_providers",
        model.TraitNotFoundError("A"),
        400,
        NONE,
        'Invalid trait(s) in "required" parameter: No such trait(s): A.',
    ),
    (
        "POST /resource_providers",
        model.ProviderExistsError(None, "one"),
        409,
        NAME,
        "Conflicting resource provider name: one already exists.",
    ),
    (
        "POST /resource_providers",
        model.ProviderExistsError(UUID, None),
        409,
        NAME,
        f"Conflicting resource provider uuid: {UUID} already exists.",
    ),
    (
        f"PUT {P}",
        model.ProviderExistsError(None, "two"),
        409,
        NAME,
        "Conflicting resource provider two already exists.",
    ),
    (
        "POST /resource_providers",
        model.ParentNotFoundError(OTHER),
        400,
        NONE,
        (
            f'Unable to create resource provider "one", {UUID}: Object action create failed because: '
            "parent provider UUID does not exist."
        ),
    ),
    (
        "POST /resource_providers",
        model.ParentIsSelfError(UUID),
        400,
        NONE,
        (
            "parent provider UUID cannot be same as UUID. "
            "Please set parent provider UUID to None if there is no parent."
        ),
    ),
    ("POST /resource_providers", model.NameMissingError(UUID), 400, NONE, "name is required"),
    (
        f"PUT {P}",
        model.ParentNotFoundError(OTHER),
        400,
        NONE,
        (
            f"Unable to save resource provider {UUID}: Object action create failed because: "
            "parent provider UUID does not exist."
        ),
    ),
    (
        f"PUT {P}",
        model.TreeLoopError(UUID),
        400,
        NONE,
        (
            f"Unable to save resource provider {UUID}: Object action update failed because: "
            "creating loop in the provider tree is not allowed."
        ),
    ),
    (
        f"PUT {P}",
        model.ReparentRefusedError(UUID),
        400,
        NONE,
        "re-parenting a provider is not currently allowed.",
    ),
    (
        f"PUT {P}",
        model.UnparentRefusedError(UUID),
        400,
        NONE,
        "un-parenting a provider is not currently allowed.",
    ),
    (
        f"DELETE {P}",
        model.ProviderHasChildrenError(UUID),
        409,
        "placement.resource_provider.cannot_delete_parent",
        f"Unable to delete parent resource provider {UUID}: It has child resource providers.",
    ),
    (
        f"DELETE {P}",
        model.ProviderInUseError(UUID),
        409,
        "placement.resource_provider.inuse",
        f"Unable to delete resource provider {UUID}: Resource provider has allocations.",
    ),
    (f"POST {I}", model.InventoryExistsError(UUID, "VCPU"), 409, UPDATE, "Update conflict: "),
    (
        f"POST {I}",
        NO_CLASS,
        400,
        NONE,
        f"Unable to create inventory for resource provider {UUID}: No such resource class NOPE.",
    ),
    (
        f"POST {I}",
        model.InvalidCapacityError(UUID, "VCPU", False),
        400,
        NONE,
        f"Unable to create inventory for resource provider {UUID}: {RESERVED}greater than or equal to total.",
    ),
    (
        f"PUT {ONE}",
        model.InvalidCapacityError(UUID, "VCPU", True),
        400,
        NONE,
        f"Unable to update inventory for resource provider {UUID}: {RESERVED}greater than total.",
    ),
    (f"PUT {I}", STALE, 409, UPDATE, "resource provider generation conflict  "),
    (f"PUT {ONE}", STALE, 409, UPDATE, "resource provider generation conflict  "),
    (
        f"PUT {I}",
        NO_CLASS,
        400,
        NONE,
        f"Unknown resource class in inventory for resource provider {UUID}: No such resource class NOPE.",
    ),
    (f"PUT {I}", IN_USE_ERROR, 409, IN_USE, f"update conflict: {TOLD_IN_USE}"),
    (f"DELETE {I}", IN_USE_ERROR, 409, IN_USE, TOLD_IN_USE),
    (
        f"DELETE {ONE}",
        IN_USE_ERROR,
        409,
        UPDATE,
        f"Unable to delete inventory of class VCPU: {TOLD_IN_USE}",
    ),
    (f"PUT {ONE}", NO_CLASS, 404, NONE, "No such resource class NOPE."),
    (
        f"PUT {ONE}",
        model.InventoryNotFoundError(UUID, "VCPU"),
        400,
        NONE,
        (
            f"No inventory record with resource class for resource provider {UUID}: "
            "No inventory of class VCPU found."
        ),
    ),
    (
        f"DELETE {ONE}",
        model.InventoryNotFoundError(UUID, "VCPU"),
        404,
        NONE,
        "No inventory of class VCPU found for delete",
    ),
    (f"PUT {P}/aggregates", STALE, 409, UPDATE, CHANGED),
    (f"PUT {P}/traits", STALE, 409, UPDATE, CHANGED),
    (f"PUT {P}/traits", model.TraitNotFoundError("A, B"), 400, NONE, "No such trait A, B"),
    ("GET /traits/{name}", model.TraitNotFoundError("A"), 404, NONE, "No such trait(s): A."),
    (
        "DELETE /traits/{name}",
        model.StandardTraitError("HW_A"),
        400,
        NONE,
        "Cannot delete standard trait HW_A.",
    ),
    (
        "DELETE /traits/{name}",
        model.TraitInUseError("CUSTOM_A"),
        409,
        NONE,
        "The trait CUSTOM_A is in use by a resource provider.",
    ),
    ("GET /resource_classes/{name}", NO_CLASS, 404, NONE, "No such resource class NOPE."),
    (
        "POST /resource_classes",
        model.ResourceClassExistsError("CUSTOM_A"),
        409,
        NONE,
        "Conflicting resource class already exists: CUSTOM_A",
    ),
    (
        "DELETE /resource_classes/{name}",
        model.StandardResourceClassError("VCPU", "delete"),
        400,
        NONE,
        "Error in delete resource class: Cannot delete standard resource class VCPU.",
    ),
    (
        "DELETE /resource_classes/{name}",
        model.ResourceClassInUseError("CUSTOM_A"),
        409,
        NONE,
        (
            "Error in delete resource class: Cannot delete resource class CUSTOM_A. "
            "Class is in use in inventory."
        ),
    ),
    (
        "DELETE /allocations/{consumer_uuid}",
        model.AllocationsNotFoundError(CONSUMER),
        404,
        NONE,
        f"No allocations for consumer '{CONSUMER}'",
    ),
    (
        PUT_A,
        model.ConsumerGenerationError(CONSUMER, 1, None),
        409,
        UPDATE,
        "consumer generation conflict - expected 1 but got None",
    ),
    (
        POST_A,
        model.ConsumerGenerationError(CONSUMER, None, 5),
        409,
        UPDATE,
        "consumer generation conflict - expected null but got 5",
    ),
    (
        PUT_A,
        model.AllocationProviderNotFoundError(OTHER),
        400,
        NONE,
        f"Allocation for resource provider '{OTHER}' that does not exist.",
    ),
    (
        PUT_A,
        NO_CLASS,
        400,
        NONE,
        f"Unable to allocate inventory for consumer {CONSUMER}: No such resource class NOPE.",
    ),
    (POST_A, NO_CLASS, 400, NONE, "Unable to allocate inventory No such resource class NOPE."),
    (
        PUT_A,
        model.NoInventoryError(UUID, "VCPU"),
        409,
        NONE,
        f"{UNFIT}Inventory for 'VCPU' on resource provider '{UUID}' invalid.",
    ),
    (
        PUT_A,
        model.CapacityExceededError(UUID, "VCPU"),
        409,
        NONE,
        f"{UNALLOCATED}The requested amount would exceed the capacity.",
    ),
    (
        "POST /reshaper",
        model.UnitViolatedError(UUID, "VCPU"),
        409,
        NONE,
        f"{UNALLOCATED}The requested amount would violate inventory constraints.",
    ),
    (
        POST_A,
        STALE,
        409,
        UPDATE,
        "Inventory and/or allocations changed while attempting to allocate: ",
    ),
    ("GET /allocation_candidates", model.TraitNotFoundError("A"), 400, NONE, "No such trait(s): A."),
    (
        "GET /allocation_candidates",
        NO_CLASS,
        400,
        NONE,
        "Invalid resource class in resources parameter: No such resource class NOPE.",
    ),
    (
        "POST /reshaper",
        model.ReshapeProviderNotFoundError(OTHER),
        400,
        "placement.resource_provider.not_found",
        f"Resource provider {OTHER} in inventories not found: No resource provider with uuid {OTHER} found",
    ),
    (
        "POST /reshaper",
        STALE,
        409,
        UPDATE,
        f"resource provider generation conflict for provider {UUID}: actual: 4, given: 3",
    ),
    ("POST /reshaper", NO_CLASS, 400, NONE, "malformed reshaper data: No such resource class NOPE."),
    ("POST /reshaper", IN_USE_ERROR, 409, IN_USE, f"update conflict: {TOLD_IN_USE}"),
]


@each(
    ("operation", "error", "status", "code", "words"),
    CASES,
)
def test_an_error_is_told_in_the_words_of_its_operation(
    operation: str, error: model.MoorageError, status: int, code: str, words: str
) -> None:
    (good,) = [good for good in GOOD if str(good) == operation]
    result = Client(FakeService(error)).ask(good.method, good.path, 39, good.body(39))
    assert result.status == status
    assert words in result.detail
    assert result.json["errors"][0]["code"] == code


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (
            model.ResourceClassExistsError("CUSTOM_B"),
            409,
            "Resource class already exists: CUSTOM_B",
        ),
        (
            model.StandardResourceClassError("VCPU", "update"),
            400,
            "Cannot update standard resource class VCPU",
        ),
    ],
)
def test_a_class_that_cannot_be_renamed(error: Exception, status: int, words: str) -> None:
    client = Client(FakeService(error))
    result = client.ask("PUT", "/resource_classes/CUSTOM_A", 2, {"name": "CUSTOM_B"})
    assert result.status == status
    assert words in result.detail


def test_classes_in_use_are_told_of_in_the_order_of_their_ids() -> None:
    error = model.InventoryInUseError(UUID, "CUSTOM_B, CUSTOM_A, DISK_GB, MEMORY_MB, VCPU")
    answer = errors.translate(error, BY_NAME[f"DELETE {I}"].replies, {})
    assert answer is not None
    told = "VCPU, MEMORY_MB, DISK_GB, CUSTOM_A, CUSTOM_B"
    assert answer.message == f"Inventory for '{told}' on resource provider '{UUID}' in use."


def test_all_errors_of_the_model_have_an_answer_but_those_that_no_request_can_cause() -> None:
    defined = {
        item for _, item in inspect.getmembers(model, inspect.isclass) if issubclass(item, model.MoorageError)
    }
    assert {type(sample) for sample in SAMPLES} == defined - FAMILIES - UNFORESEEN


@each("good", GOOD)
def test_any_error_of_any_operation_has_words(good: object) -> None:
    facts = {"uuid": UUID, "name": "one", "resource_class": "VCPU", "consumer_uuid": CONSUMER}
    for sample in SAMPLES:
        answer = errors.translate(sample, BY_NAME[str(good)].replies, facts)
        assert answer is not None
        assert answer.status in {400, 404, 409, 503}
        assert answer.message
        assert "{" not in answer.message


def test_rows_of_the_table_are_for_operations_that_there_are() -> None:
    assert {name for name, operation in BY_NAME.items() if operation.replies} <= {str(good) for good in GOOD}


def test_an_error_that_no_request_can_cause_has_no_answer() -> None:
    assert errors.translate(model.SchemaError("old"), {}, {}) is None
    assert Client(FakeService(model.SchemaError("old"))).ask("GET", "/resource_providers").status == 500


def test_an_error_of_a_family_is_answered_as_the_family_in_its_own_words() -> None:
    class NewError(model.ConflictError):
        template = "something new"

    answer = errors.translate(NewError(), {}, {})
    assert answer is not None
    assert (answer.status, answer.message) == (409, "something new")
