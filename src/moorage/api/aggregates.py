"""``/resource_providers/{uuid}/aggregates``."""

from __future__ import annotations

from moorage.api import encode, versions
from moorage.api.exchange import Answer, Call
from moorage.model.commands import SetAggregates
from moorage.model.values import ProviderAggregates


def _shown(call: Call, items: ProviderAggregates) -> Answer:
    return Answer(body=encode.aggregates(items, call.minor), dated=True)


def list_(call: Call) -> Answer:
    """Aggregates that a provider is in."""
    return _shown(call, call.service.provider_aggregates(call.path["uuid"]))


def set_(call: Call) -> Answer:
    """These aggregates and no others; before 1.19 whatever the provider's generation."""
    generation: int | None = None
    aggregates = call.body
    if call.minor >= versions.AGGREGATE_GENERATION:
        generation = int(call.body["resource_provider_generation"])
        aggregates = call.body["aggregates"]
    command = SetAggregates(call.path["uuid"], generation, tuple(aggregates))
    return _shown(call, call.service.execute(command, call.requester))
