"""``/traits`` and ``/resource_providers/{uuid}/traits``."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from moorage.api.http import intake
from moorage.api.http.exchange import Answer
from moorage.api.http.wire_error import bad_request
from moorage.api.placement import encode, schemas, versions
from moorage.api.placement.answers import NO_CONTENT, reference
from moorage.api.placement.call import Call
from moorage.api.placement.errors import (
    BAD,
    CONCURRENT_UPDATE,
    CONFLICT,
    GENERATION_CHANGED,
    MISSING_PROVIDER_SAID_TWICE,
    UPDATED_MEANWHILE,
    Reply,
)
from moorage.api.placement.operation import BAD_NAME, NO_PROVIDER, Operation, can_raise
from moorage.model import errors as model
from moorage.model.commands import CreateTrait, DeleteTrait, SetTraits
from moorage.model.errors import TraitNotFoundError, UnavailableError
from moorage.model.values import ProviderTraits


def list_(call: Call) -> Answer:
    """List traits, filtered by name and by use."""
    names, prefix = _names(call.query.last("name"))
    items = call.service.traits(names, prefix, _associated(call.query.last("associated")))
    return Answer(
        body=encode.traits(items),
        dated=True,
        modified=encode.newest(item.modified for item in items),
    )


def _names(value: str | None) -> tuple[frozenset[str] | None, str | None]:
    """The names of ``in:A,B``, and the prefix of ``startswith:P``."""
    if value is None:
        return None, None
    operator, colon, operand = value.partition(":")
    if not colon:
        raise bad_request(
            "Badly formatted name parameter. Expected name query string parameter in form: "
            f'?name=[in|startswith]:[name1,name2|prefix]. Got: "{value}"'
        )
    if operator == "in":
        return frozenset(operand.split(",")), None
    # wire: any other operator is ignored.
    return None, operand if operator == "startswith" else None


def _associated(value: str | None) -> bool | None:
    if value is None:
        return None
    if value.lower() not in {"true", "false"}:
        raise bad_request('The query parameter "associated" only accepts "true" or "false"')
    return value.lower() == "true"


def show(call: Call) -> Answer:
    """Answer whether a trait exists. Raises TraitNotFoundError."""
    trait = call.service.trait(call.path["name"])
    return Answer(204, dated=True, modified=trait.modified)


def create(call: Call) -> Answer:
    """Create a custom trait unless it exists."""
    name = call.path["name"]
    if schemas.TRAIT_NAME.error(name) is not None:
        raise bad_request(
            "The trait is invalid. A valid trait must be no longer than 255 characters, start "
            'with the prefix "CUSTOM_" and use following characters: "A"-"Z", "0"-"9" and "_"'
        )
    is_new = call.service.execute(CreateTrait(name), call.requester)
    return Answer(
        201 if is_new else 204,
        location=encode.trait_path(call.prefix, name),
        dated=True,
        modified=None if is_new else _modified(call, name),
    )


def _modified(call: Call, name: str) -> datetime | None:
    try:
        return call.service.trait(name).modified
    except (TraitNotFoundError, UnavailableError):
        # Another client has deleted the trait since, or the database is unreachable now: the write is done
        # nevertheless.
        return None


def delete(call: Call) -> Answer:
    """Delete a trait."""
    call.service.execute(DeleteTrait(call.path["name"]), call.requester)
    return Answer(204)


def _shown(items: ProviderTraits) -> Answer:
    return Answer(body=encode.provider_traits(items), dated=True, modified=items.modified)


def list_of_provider(call: Call) -> Answer:
    """List the traits of a provider."""
    return _shown(call.service.provider_traits(call.path["uuid"]))


def set_of_provider(call: Call) -> Answer:
    """Replace the traits of a provider."""
    command = SetTraits(
        provider=call.path["uuid"],
        generation=int(call.body["resource_provider_generation"]),
        traits=frozenset(call.body["traits"]),
    )
    return _shown(call.service.execute(command, call.requester))


def clear_of_provider(call: Call) -> Answer:
    """Delete all traits of a provider."""
    call.service.execute(SetTraits(call.path["uuid"], None, frozenset()), call.requester)
    return Answer(204)


OPERATIONS: Final = (
    Operation(
        "GET",
        "/traits",
        list_,
        summary="List traits",
        rule="placement:traits:list",
        since=versions.TRAITS,
        query=schemas.TRAITS_QUERY,
        sends_json=True,
        answers={200: reference("Traits")},
    ),
    Operation(
        "GET",
        "/traits/{name}",
        show,
        summary="Check whether a trait exists",
        rule="placement:traits:show",
        since=versions.TRAITS,
        answers=NO_CONTENT,
        foreseen=can_raise(model.TraitNotFoundError),
    ),
    Operation(
        "PUT",
        "/traits/{name}",
        create,
        summary="Create a trait unless it exists",
        rule="placement:traits:update",
        since=versions.TRAITS,
        answers={201: None, 204: None},
        grammar=BAD_NAME,
    ),
    Operation(
        "DELETE",
        "/traits/{name}",
        delete,
        summary="Delete a trait",
        rule="placement:traits:delete",
        since=versions.TRAITS,
        answers=NO_CONTENT,
        foreseen=can_raise(model.TraitNotFoundError, model.StandardTraitError, model.TraitInUseError),
    ),
    Operation(
        "GET",
        "/resource_providers/{uuid}/traits",
        list_of_provider,
        summary="List the traits of a provider",
        rule="placement:resource_providers:traits:list",
        since=versions.TRAITS,
        sends_json=True,
        asks_text=False,
        answers={200: reference("TraitsOfProvider")},
        foreseen=NO_PROVIDER,
        replies={
            model.ProviderNotFoundError: MISSING_PROVIDER_SAID_TWICE,
        },
    ),
    Operation(
        "PUT",
        "/resource_providers/{uuid}/traits",
        set_of_provider,
        summary="Set the traits of a provider",
        rule="placement:resource_providers:traits:update",
        since=versions.TRAITS,
        body=schemas.TRAITS_SET,
        counts=((intake.TRAITS, intake.part_size("traits")),),
        answers={200: reference("TraitsOfProvider")},
        foreseen=NO_PROVIDER + can_raise(model.StaleGenerationError, model.TraitNotFoundError),
        replies={
            model.StaleGenerationError: GENERATION_CHANGED,
            model.TraitNotFoundError: Reply(BAD, "No such trait {names}"),
        },
    ),
    Operation(
        "DELETE",
        "/resource_providers/{uuid}/traits",
        clear_of_provider,
        summary="Remove all traits from a provider",
        rule="placement:resource_providers:traits:delete",
        since=versions.TRAITS,
        answers=NO_CONTENT,
        foreseen=NO_PROVIDER,
        replies={
            model.StaleGenerationError: Reply(CONFLICT, UPDATED_MEANWHILE, CONCURRENT_UPDATE),
        },
    ),
)
