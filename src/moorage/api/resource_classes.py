"""``/resource_classes``."""

from __future__ import annotations

from moorage.api import body, encode, schemas, versions
from moorage.api.exchange import Answer, Call
from moorage.model.commands import CreateResourceClass, DeleteResourceClass, RenameResourceClass


def list_(call: Call) -> Answer:
    """All resource classes."""
    items = call.service.resource_classes()
    return Answer(
        body=encode.resource_classes(items, call.prefix),
        dated=True,
        modified=encode.newest(item.modified for item in items),
    )


def create(call: Call) -> Answer:
    """A class of a client's own."""
    name = call.body["name"]
    call.service.execute(CreateResourceClass(name), call.requester)
    return Answer(201, location=encode.resource_class_path(call.prefix, name))


def show(call: Call) -> Answer:
    """One resource class."""
    item = call.service.resource_class(call.path["name"])
    return Answer(body=encode.resource_class(item.name, call.prefix), dated=True, modified=item.modified)


def update(call: Call) -> Answer:
    """Up to 1.6 another name for a class; then a new class, unless it is there already."""
    name = call.path["name"]
    if call.minor < versions.RESOURCE_CLASS_WITHOUT_BODY:
        new_name = call.body["name"]
        call.service.execute(RenameResourceClass(name, new_name), call.requester)
        return Answer(body=encode.resource_class(new_name, call.prefix))
    body.check({"name": name}, schemas.RESOURCE_CLASS_NAME)
    is_new = call.service.execute(CreateResourceClass(name, may_exist=True), call.requester)
    location = encode.resource_class_path(call.prefix, name)
    return Answer(201 if is_new else 204, location=location)


def delete(call: Call) -> Answer:
    """Away with a class."""
    call.service.execute(DeleteResourceClass(call.path["name"]), call.requester)
    return Answer(204)
