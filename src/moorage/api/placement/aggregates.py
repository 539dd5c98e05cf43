"""``/resource_providers/{uuid}/aggregates``."""

from __future__ import annotations

from typing import Final

from moorage.api.http import intake
from moorage.api.http.exchange import Answer
from moorage.api.placement import encode, schemas, versions
from moorage.api.placement.answers import reference
from moorage.api.placement.call import Call
from moorage.api.placement.errors import GENERATION_CHANGED
from moorage.api.placement.operation import NO_PROVIDER, Operation, can_raise
from moorage.model import errors as model
from moorage.model.commands import SetAggregates
from moorage.model.values import ProviderAggregates


def _shown(call: Call, items: ProviderAggregates) -> Answer:
    return Answer(body=encode.aggregates(items, call.minor), dated=True)


def list_(call: Call) -> Answer:
    """List the aggregates of a provider."""
    return _shown(call, call.service.provider_aggregates(call.path["uuid"]))


def set_(call: Call) -> Answer:
    """Replace the aggregates of a provider; before 1.19 without a check of its generation."""
    generation: int | None = None
    aggregates = call.body
    if call.minor >= versions.AGGREGATE_GENERATION:
        generation = int(call.body["resource_provider_generation"])
        aggregates = call.body["aggregates"]
    command = SetAggregates(call.path["uuid"], generation, tuple(aggregates))
    return _shown(call, call.service.execute(command, call.requester))


def _aggregates(body: object) -> int:
    return intake.size(body if isinstance(body, list) else intake.part(body, "aggregates"))


OPERATIONS: Final = (
    Operation(
        "GET",
        "/resource_providers/{uuid}/aggregates",
        list_,
        summary="List the aggregates of a provider",
        rule="placement:resource_providers:aggregates:list",
        since=versions.AGGREGATES,
        sends_json=True,
        asks_text=False,
        answers={200: reference("Aggregates")},
        foreseen=NO_PROVIDER,
    ),
    Operation(
        "PUT",
        "/resource_providers/{uuid}/aggregates",
        set_,
        summary="Set the aggregates of a provider",
        rule="placement:resource_providers:aggregates:update",
        since=versions.AGGREGATES,
        body=schemas.AGGREGATES_SET,
        counts=((intake.AGGREGATES, _aggregates),),
        provider_first=True,
        answers={200: reference("Aggregates")},
        foreseen=NO_PROVIDER + can_raise(model.StaleGenerationError),
        replies={
            model.StaleGenerationError: GENERATION_CHANGED,
        },
    ),
)
