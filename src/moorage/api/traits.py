"""``/traits`` and ``/resource_providers/{uuid}/traits``."""

from __future__ import annotations

from datetime import datetime

from moorage.api import encode, schemas
from moorage.api.exchange import Answer, Call
from moorage.api.wire_error import bad_request
from moorage.model.commands import CreateTrait, DeleteTrait, SetTraits
from moorage.model.errors import TraitNotFoundError, UnavailableError
from moorage.model.values import ProviderTraits


def list_(call: Call) -> Answer:
    """Traits, all or those of some names, used by providers or not."""
    names, prefix = _names(call.query.last("name"))
    items = call.service.traits(names, prefix, _associated(call.query.last("associated")))
    return Answer(
        body=encode.traits(items),
        dated=True,
        modified=encode.newest(item.modified for item in items),
    )


def _names(value: str | None) -> tuple[frozenset[str] | None, str | None]:
    """Names and prefix that ``in:A,B`` and ``startswith:P`` ask for."""
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
    # wire: any other operator asks for nothing.
    return None, operand if operator == "startswith" else None


def _associated(value: str | None) -> bool | None:
    if value is None:
        return None
    if value.lower() not in {"true", "false"}:
        raise bad_request('The query parameter "associated" only accepts "true" or "false"')
    return value.lower() == "true"


def show(call: Call) -> Answer:
    """Whether there is such a trait. Raises TraitNotFoundError."""
    trait = call.service.trait(call.path["name"])
    return Answer(204, dated=True, modified=trait.modified)


def create(call: Call) -> Answer:
    """A trait of a client's own, unless it is there already."""
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
        # Somebody took it away since, or the database is away by now: what was asked for is done.
        return None


def delete(call: Call) -> Answer:
    """Away with a trait."""
    call.service.execute(DeleteTrait(call.path["name"]), call.requester)
    return Answer(204)


def _shown(items: ProviderTraits) -> Answer:
    return Answer(body=encode.provider_traits(items), dated=True, modified=items.modified)


def list_of_provider(call: Call) -> Answer:
    """Traits of a provider."""
    return _shown(call.service.provider_traits(call.path["uuid"]))


def set_of_provider(call: Call) -> Answer:
    """These traits and no others."""
    command = SetTraits(
        provider=call.path["uuid"],
        generation=int(call.body["resource_provider_generation"]),
        traits=frozenset(call.body["traits"]),
    )
    return _shown(call.service.execute(command, call.requester))


def clear_of_provider(call: Call) -> Answer:
    """No traits any more."""
    call.service.execute(SetTraits(call.path["uuid"], None, frozenset()), call.requester)
    return Answer(204)
