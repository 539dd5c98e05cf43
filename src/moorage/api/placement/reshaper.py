"""``/reshaper``."""

from __future__ import annotations

from typing import Final

from moorage.api.http import intake
from moorage.api.http.exchange import Answer
from moorage.api.placement import schemas, versions
from moorage.api.placement.allocations import CLAIM_ERRORS, decode_claims, held_by_all
from moorage.api.placement.answers import NO_CONTENT
from moorage.api.placement.call import Call
from moorage.api.placement.errors import (
    BAD,
    CONCURRENT_UPDATE,
    CONFLICT,
    CONSUMER_BODIES,
    INVENTORY_IN_USE,
    PROVIDER_BODIES,
    Reply,
)
from moorage.api.placement.inventories import decode_all, inventories_of_all
from moorage.api.placement.operation import Operation, can_raise
from moorage.model import errors as model
from moorage.model.commands import NewInventories, Reshape


def reshape(call: Call) -> Answer:
    """Change inventories and move their allocations, at once."""
    call.facts[CONSUMER_BODIES] = call.body["allocations"]
    call.facts[PROVIDER_BODIES] = call.body["inventories"]
    inventories = {
        uuid: NewInventories(
            generation=int(item["resource_provider_generation"]),
            inventories=decode_all(item["inventories"]),
        )
        for uuid, item in call.body["inventories"].items()
    }
    claims = decode_claims(call.body["allocations"], call.minor, call.settings)
    call.service.execute(Reshape(inventories, claims), call.requester)
    return Answer(204)


OPERATIONS: Final = (
    Operation(
        "POST",
        "/reshaper",
        reshape,
        summary="Change inventories and move allocations at once",
        rule="placement:reshaper:reshape",
        since=versions.RESHAPER,
        body=schemas.RESHAPE,
        counts=(
            (intake.INVENTORIES, lambda body: inventories_of_all(intake.part(body, "inventories"))),
            (intake.ALLOCATIONS, lambda body: held_by_all(intake.part(body, "allocations"))),
        ),
        answers=NO_CONTENT,
        foreseen=can_raise(
            model.ReshapeProviderNotFoundError, model.StaleGenerationError, model.InventoryInUseError
        )
        + CLAIM_ERRORS,
        replies={
            model.StaleGenerationError: Reply(
                CONFLICT,
                "resource provider generation conflict for provider {provider}: "
                "actual: {actual}, given: {given}",
                CONCURRENT_UPDATE,
            ),
            model.ResourceClassNotFoundError: Reply(BAD, "malformed reshaper data: {error}"),
            model.InventoryInUseError: Reply(CONFLICT, "update conflict: {error}", INVENTORY_IN_USE),
        },
    ),
)
