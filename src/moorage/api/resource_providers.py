"""``/resource_providers``."""

from __future__ import annotations

from uuid import uuid4

from moorage.api import encode, query, uuids, versions
from moorage.api.exchange import Answer, Call
from moorage.model.commands import KEEP, CreateProvider, DeleteProvider, UpdateProvider
from moorage.model.requests import ProviderFilter, RequestGroup
from moorage.model.values import Provider


def _shown(call: Call, provider: Provider, location: str | None = None) -> Answer:
    return Answer(
        body=encode.provider(provider, call.prefix, call.minor),
        location=location,
        dated=True,
        modified=encode.provider_modified(provider),
    )


def list_(call: Call) -> Answer:
    """Providers that fulfil all filters."""
    providers = call.service.providers(_filter(call))
    return Answer(
        body=encode.providers(providers, call.prefix, call.minor),
        dated=True,
        modified=encode.newest(encode.provider_modified(provider) for provider in providers),
    )


def _filter(call: Call) -> ProviderFilter:
    asked = call.query
    # wire: of several faults that of the aggregates is told first.
    member_of, forbidden_aggregates = query.member_of_at(asked, "", call.minor)
    required, forbidden = query.traits_at(asked, "required", call.minor)
    resources = asked.last("resources")
    group = RequestGroup(
        resources={} if resources is None else query.resources(resources),
        required=required,
        forbidden=forbidden,
        member_of=member_of,
        forbidden_aggregates=forbidden_aggregates,
        in_tree=asked.last("in_tree"),
    )
    return ProviderFilter(
        uuid=asked.last("uuid"),
        # wire: an empty name filters nothing.
        name=asked.last("name") or None,
        group=None if group == RequestGroup() else group,
    )


def create(call: Call) -> Answer:
    """A new provider. Its UUID is the client's, in its usual form, or a random one."""
    given = call.body.get("uuid")
    uuid = uuids.canonical(given) if given else str(uuid4())
    name = call.body["name"]
    call.facts.update(uuid=uuid, name=name)
    command = CreateProvider(uuid, name, call.body.get("parent_provider_uuid"))
    provider = call.service.execute(command, call.requester)
    location = encode.provider_path(call.prefix, uuid)
    if call.minor >= versions.CREATED_PROVIDER_SHOWN:
        return _shown(call, provider, location)
    return Answer(201, location=location)


def show(call: Call) -> Answer:
    """One provider."""
    return _shown(call, call.service.provider(call.path["uuid"]))


def update(call: Call) -> Answer:
    """Another name, and from 1.14 on another parent."""
    call.facts["name"] = call.body["name"]
    command = UpdateProvider(
        uuid=call.path["uuid"],
        name=call.body["name"],
        parent_uuid=call.body.get("parent_provider_uuid", KEEP),
        may_reparent=call.minor >= versions.REPARENTING,
    )
    return _shown(call, call.service.execute(command, call.requester))


def delete(call: Call) -> Answer:
    """Away with a provider and with what hangs on it."""
    call.service.execute(DeleteProvider(call.path["uuid"]), call.requester)
    return Answer(204)
