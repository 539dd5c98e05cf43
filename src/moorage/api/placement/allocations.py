"""``/allocations`` and ``/resource_providers/{uuid}/allocations``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from moorage.api.http import intake, validation
from moorage.api.http.exchange import Answer
from moorage.api.placement import encode, schemas, versions
from moorage.api.placement.answers import NO_CONTENT, reference
from moorage.api.placement.call import Call
from moorage.api.placement.errors import (
    BAD,
    CONCURRENT_UPDATE,
    CONFLICT,
    CONSUMER_BODIES,
    MISSING,
    UPDATED_MEANWHILE,
    Reply,
)
from moorage.api.placement.operation import NO_PROVIDER, Operation, can_raise
from moorage.api.placement.settings import ApiSettings
from moorage.model import errors as model
from moorage.model.commands import KEEP, Claim, DeleteAllocations, Keep, ReplaceAllocations


def of_provider(call: Call) -> Answer:
    """What consumers hold of a provider."""
    items = call.service.provider_allocations(call.path["uuid"])
    body = encode.provider_allocations(items, call.minor)
    return Answer(body=body, dated=True, modified=items.modified)


def show(call: Call) -> Answer:
    """Show what a consumer holds; an unknown consumer holds nothing."""
    items = call.service.consumer_allocations(call.path["consumer_uuid"])
    body = encode.consumer_allocations(items, call.minor)
    return Answer(body=body, dated=True, modified=items.modified)


def set_(call: Call) -> Answer:
    """Replace all that one consumer holds."""
    # wire: of all requests that name a consumer, only this one normalises its UUID.
    consumer = validation.canonical(call.path["consumer_uuid"])
    call.facts.update({"consumer_uuid": consumer, CONSUMER_BODIES: {consumer: call.body}})
    claim = decode_claim(consumer, call.body, call.minor, call.settings)
    call.service.execute(ReplaceAllocations((claim,)), call.requester)
    return Answer(204)


def replace(call: Call) -> Answer:
    """Replace all that several consumers hold, at once."""
    call.facts[CONSUMER_BODIES] = call.body
    claims = decode_claims(call.body, call.minor, call.settings)
    call.service.execute(ReplaceAllocations(claims), call.requester)
    return Answer(204)


def delete(call: Call) -> Answer:
    """Delete all allocations of a consumer."""
    call.service.execute(DeleteAllocations(call.path["consumer_uuid"]), call.requester)
    return Answer(204)


def decode_claims(bodies: Mapping[str, Any], minor: int, settings: ApiSettings) -> tuple[Claim, ...]:
    """Claims by consumer, in the order of the body."""
    return tuple(decode_claim(consumer, body, minor, settings) for consumer, body in bodies.items())


def decode_claim(consumer: str, body: Mapping[str, Any], minor: int, settings: ApiSettings) -> Claim:
    """The claim of a body that is valid by its schema.

    Before 1.8, bodies name no project and no user. The generation (before 1.28) and the type (before 1.38)
    cannot be named either, and stay as they are.
    """
    generation: int | Keep | None = KEEP
    if minor >= versions.CONSUMER_GENERATION:
        given = body["consumer_generation"]
        generation = None if given is None else int(given)
    return Claim(
        consumer=consumer,
        allocations=_allocations(body["allocations"], minor),
        project_id=body.get("project_id", settings.incomplete_consumer_project_id),
        user_id=body.get("user_id", settings.incomplete_consumer_user_id),
        generation=generation,
        consumer_type=body["consumer_type"] if minor >= versions.CONSUMER_TYPES else KEEP,
    )


def _allocations(allocations: Any, minor: int) -> dict[str, dict[str, int]]:
    if minor < versions.ALLOCATIONS_BY_PROVIDER:
        # wire: if a provider is named twice, the last entry counts.
        named = {item["resource_provider"]["uuid"]: item for item in allocations}
    else:
        named = allocations
    return {
        uuid: {name: int(amount) for name, amount in item["resources"].items()}
        for uuid, item in named.items()
    }


held: Final = intake.inner_sizes("allocations", "resources")
"""Counts the amounts of a claim; a claim of nothing counts as one."""


def held_by_all(claims: object) -> int:
    """Number of amounts in several claims."""
    return sum(map(held, intake.items(claims)))


CLAIM_ERRORS: Final = can_raise(
    model.ConsumerGenerationError,
    model.AllocationProviderNotFoundError,
    model.ResourceClassNotFoundError,
    model.NoInventoryError,
    model.UnitViolatedError,
    model.CapacityExceededError,
    model.EqualNameError,
)

_UPDATED_WHILE_ALLOCATING: Final = Reply(
    CONFLICT,
    "Inventory and/or allocations changed while attempting to allocate: " + UPDATED_MEANWHILE,
    CONCURRENT_UPDATE,
)

OPERATIONS: Final = (
    Operation(
        "GET",
        "/resource_providers/{uuid}/allocations",
        of_provider,
        summary="List what consumers hold of a provider",
        rule="placement:resource_providers:allocations:list",
        sends_json=True,
        asks_text=False,
        answers={200: reference("AllocationsOfProvider")},
        foreseen=NO_PROVIDER,
        replies={
            model.ProviderNotFoundError: Reply(MISSING, "Resource provider '{uuid}' not found: {error}"),
        },
    ),
    Operation(
        "POST",
        "/allocations",
        replace,
        summary="Set what several consumers hold, all or nothing",
        rule="placement:allocations:manage",
        since=versions.POST_ALLOCATIONS,
        body=schemas.ALLOCATIONS_POST,
        counts=((intake.ALLOCATIONS, held_by_all),),
        answers=NO_CONTENT,
        foreseen=CLAIM_ERRORS,
        replies={
            # wire: without a colon.
            model.ResourceClassNotFoundError: Reply(BAD, "Unable to allocate inventory {error}"),
            model.StaleGenerationError: _UPDATED_WHILE_ALLOCATING,
        },
    ),
    Operation(
        "GET",
        "/allocations/{consumer_uuid}",
        show,
        summary="Show what a consumer holds",
        rule="placement:allocations:list",
        sends_json=True,
        answers={200: reference("AllocationsOfConsumer")},
    ),
    Operation(
        "PUT",
        "/allocations/{consumer_uuid}",
        set_,
        summary="Set what a consumer holds",
        rule="placement:allocations:update",
        body=schemas.ALLOCATIONS_SET,
        counts=((intake.ALLOCATIONS, held),),
        check_path=validation.uuid_check("consumer_uuid"),
        answers=NO_CONTENT,
        foreseen=CLAIM_ERRORS,
        replies={
            model.ResourceClassNotFoundError: Reply(
                BAD, "Unable to allocate inventory for consumer {call[consumer_uuid]}: {error}"
            ),
            model.StaleGenerationError: _UPDATED_WHILE_ALLOCATING,
        },
    ),
    Operation(
        "DELETE",
        "/allocations/{consumer_uuid}",
        delete,
        summary="Release all that a consumer holds",
        rule="placement:allocations:delete",
        answers=NO_CONTENT,
        foreseen=can_raise(model.AllocationsNotFoundError),
    ),
)
