"""``/allocations`` and ``/resource_providers/{uuid}/allocations``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from moorage.api import encode, uuids, versions
from moorage.api.exchange import Answer, Call
from moorage.api.settings import ApiSettings
from moorage.api.wire_error import bad_request
from moorage.model.commands import KEEP, Claim, DeleteAllocations, Keep, ReplaceAllocations


def of_provider(call: Call) -> Answer:
    """What consumers hold of a provider."""
    items = call.service.provider_allocations(call.path["uuid"])
    body = encode.provider_allocations(items, call.minor)
    return Answer(body=body, dated=True, modified=items.modified)


def show(call: Call) -> Answer:
    """What a consumer holds; nothing, for one that nobody knows."""
    items = call.service.consumer_allocations(call.path["consumer_uuid"])
    body = encode.consumer_allocations(items, call.minor)
    return Answer(body=body, dated=True, modified=items.modified)


def check_consumer(path: Mapping[str, str]) -> None:
    """A consumer has to be a UUID to hold anything. Raises WireError (400)."""
    if not uuids.is_uuid_like(path["consumer_uuid"]):
        raise bad_request(f"Malformed consumer_uuid: {path['consumer_uuid']}")


def set_(call: Call) -> Answer:
    """All that one consumer shall hold."""
    # wire: of all requests that name a consumer, this one alone brings its UUID into form.
    consumer = uuids.canonical(call.path["consumer_uuid"])
    call.facts["consumer_uuid"] = consumer
    claim = decode_claim(consumer, call.body, call.minor, call.settings)
    call.service.execute(ReplaceAllocations((claim,)), call.requester)
    return Answer(204)


def replace(call: Call) -> Answer:
    """All that several consumers shall hold, at once."""
    claims = decode_claims(call.body, call.minor, call.settings)
    call.service.execute(ReplaceAllocations(claims), call.requester)
    return Answer(204)


def delete(call: Call) -> Answer:
    """Away with all that a consumer holds."""
    call.service.execute(DeleteAllocations(call.path["consumer_uuid"]), call.requester)
    return Answer(204)


def decode_claims(bodies: Mapping[str, Any], minor: int, settings: ApiSettings) -> tuple[Claim, ...]:
    """Claims by consumer, in the order of the body."""
    return tuple(decode_claim(consumer, body, minor, settings) for consumer, body in bodies.items())


def decode_claim(consumer: str, body: Mapping[str, Any], minor: int, settings: ApiSettings) -> Claim:
    """The claim that a body, valid by its schema, stands for.

    Before 1.8 nobody says whose a consumer is; what a client cannot say before 1.28 and 1.38 is
    kept as it is.
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
        # wire: of a provider that is named twice the last entry counts.
        named = {item["resource_provider"]["uuid"]: item for item in allocations}
    else:
        named = allocations
    return {
        uuid: {name: int(amount) for name, amount in item["resources"].items()}
        for uuid, item in named.items()
    }
