"""``/resource_providers``."""

from __future__ import annotations

from typing import Final
from uuid import uuid4

from moorage.api.http import validation
from moorage.api.http.exchange import Answer
from moorage.api.placement import encode, query, schemas, versions
from moorage.api.placement.answers import NO_CONTENT, reference
from moorage.api.placement.call import Call
from moorage.api.placement.errors import BAD, CONFLICT, DUPLICATE_NAME, MISSING, UNKNOWN_CLASS_ASKED, Reply
from moorage.api.placement.operation import (
    NO_PROVIDER,
    TOO_MANY,
    UNKNOWN_NAMES,
    Operation,
    can_raise,
    can_raise_before,
)
from moorage.model import errors as model
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
    """List the providers that match all filters."""
    providers = call.service.providers(_filter(call))
    return Answer(
        body=encode.providers(providers, call.prefix, call.minor),
        dated=True,
        modified=encode.newest(encode.provider_modified(provider) for provider in providers),
    )


def _filter(call: Call) -> ProviderFilter:
    asked = call.query
    # wire: of several faults, the answer names that of the aggregates first.
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
        # wire: an empty name is no filter.
        name=asked.last("name") or None,
        group=None if group == RequestGroup() else group,
    )


def create(call: Call) -> Answer:
    """Create a provider. Its UUID is the client's, in canonical form, or a random one."""
    given = call.body.get("uuid")
    uuid = validation.canonical(given) if given else str(uuid4())
    name = call.body["name"]
    call.facts.update(uuid=uuid, name=name)
    command = CreateProvider(uuid, name, call.body.get("parent_provider_uuid"))
    provider = call.service.execute(command, call.requester)
    location = encode.provider_path(call.prefix, uuid)
    if call.minor >= versions.CREATED_PROVIDER_SHOWN:
        return _shown(call, provider, location)
    return Answer(201, location=location)


def show(call: Call) -> Answer:
    """Show one provider."""
    return _shown(call, call.service.provider(call.path["uuid"]))


def update(call: Call) -> Answer:
    """Change the name, and from 1.14 on the parent."""
    call.facts["name"] = call.body["name"]
    command = UpdateProvider(
        uuid=call.path["uuid"],
        name=call.body["name"],
        parent_uuid=call.body.get("parent_provider_uuid", KEEP),
        may_reparent=call.minor >= versions.REPARENTING,
    )
    return _shown(call, call.service.execute(command, call.requester))


def delete(call: Call) -> Answer:
    """Delete a provider, with its inventories, traits and aggregates."""
    call.service.execute(DeleteProvider(call.path["uuid"]), call.requester)
    return Answer(204)


_CANNOT_CREATE_PROVIDER: Final = Reply(
    BAD, 'Unable to create resource provider "{call[name]}", {call[uuid]}: {error}'
)

_CANNOT_SAVE_PROVIDER: Final = Reply(BAD, "Unable to save resource provider {call[uuid]}: {error}")

OPERATIONS: Final = (
    Operation(
        "GET",
        "/resource_providers",
        list_,
        summary="List resource providers",
        rule="placement:resource_providers:list",
        query=schemas.PROVIDERS_QUERY,
        sends_json=True,
        answers={200: reference("Providers")},
        foreseen=UNKNOWN_NAMES,
        grammar=(TOO_MANY,),
        replies={
            model.ResourceClassNotFoundError: UNKNOWN_CLASS_ASKED,
            model.TraitNotFoundError: Reply(BAD, 'Invalid trait(s) in "required" parameter: {error}'),
        },
    ),
    Operation(
        "POST",
        "/resource_providers",
        create,
        summary="Create a resource provider",
        rule="placement:resource_providers:create",
        body=schemas.PROVIDER_CREATE,
        answers={200: reference("Provider")},
        locates=True,
        foreseen=can_raise(
            model.NameMissingError,
            model.ParentIsSelfError,
            model.ParentNotFoundError,
            model.ProviderExistsError,
        ),
        replies={
            model.ParentNotFoundError: _CANNOT_CREATE_PROVIDER,
            model.ParentIsSelfError: _CANNOT_CREATE_PROVIDER,
            model.NameMissingError: _CANNOT_CREATE_PROVIDER,
        },
    ),
    Operation(
        "GET",
        "/resource_providers/{uuid}",
        show,
        summary="Show a resource provider",
        rule="placement:resource_providers:show",
        sends_json=True,
        asks_text=False,
        answers={200: reference("Provider")},
        foreseen=NO_PROVIDER,
    ),
    Operation(
        "DELETE",
        "/resource_providers/{uuid}",
        delete,
        summary="Delete a resource provider, with its inventories and traits",
        rule="placement:resource_providers:delete",
        answers=NO_CONTENT,
        foreseen=NO_PROVIDER + can_raise(model.ProviderHasChildrenError, model.ProviderInUseError),
        replies={
            model.ProviderNotFoundError: Reply(
                MISSING, "No resource provider with uuid {uuid} found for delete"
            ),
        },
    ),
    Operation(
        "PUT",
        "/resource_providers/{uuid}",
        update,
        summary="Rename a resource provider or give it another parent",
        rule="placement:resource_providers:update",
        body=schemas.PROVIDER_UPDATE,
        provider_first=True,
        answers={200: reference("Provider")},
        foreseen=NO_PROVIDER
        + can_raise(model.ParentNotFoundError, model.TreeLoopError, model.ProviderExistsError)
        + can_raise_before(versions.REPARENTING, model.ReparentRefusedError, model.UnparentRefusedError),
        replies={
            model.ProviderExistsError: Reply(
                CONFLICT,
                "Conflicting resource provider {call[name]} already exists.",
                DUPLICATE_NAME,
            ),
            model.ParentNotFoundError: _CANNOT_SAVE_PROVIDER,
            model.ParentIsSelfError: _CANNOT_SAVE_PROVIDER,
            model.TreeLoopError: _CANNOT_SAVE_PROVIDER,
            model.ReparentRefusedError: _CANNOT_SAVE_PROVIDER,
            model.UnparentRefusedError: _CANNOT_SAVE_PROVIDER,
        },
    ),
)
