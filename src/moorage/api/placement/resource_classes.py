"""``/resource_classes``."""

from __future__ import annotations

from typing import Final

from moorage.api.http import intake
from moorage.api.http.exchange import Answer
from moorage.api.placement import encode, schemas, versions
from moorage.api.placement.answers import NO_CONTENT, reference
from moorage.api.placement.call import Call
from moorage.api.placement.errors import BAD, CONFLICT, Reply
from moorage.api.placement.operation import BAD_NAME, Operation, can_raise, can_raise_before
from moorage.model import errors as model
from moorage.model.commands import CreateResourceClass, DeleteResourceClass, RenameResourceClass


def list_(call: Call) -> Answer:
    """List all resource classes."""
    items = call.service.resource_classes()
    return Answer(
        body=encode.resource_classes(items, call.prefix),
        dated=True,
        modified=encode.newest(item.modified for item in items),
    )


def create(call: Call) -> Answer:
    """Create a custom class."""
    name = call.body["name"]
    call.service.execute(CreateResourceClass(name), call.requester)
    return Answer(201, location=encode.resource_class_path(call.prefix, name))


def show(call: Call) -> Answer:
    """Show one resource class."""
    item = call.service.resource_class(call.path["name"])
    return Answer(body=encode.resource_class(item.name, call.prefix), dated=True, modified=item.modified)


def update(call: Call) -> Answer:
    """Up to 1.6: rename a class. From 1.7 on: create a class unless it exists."""
    name = call.path["name"]
    if call.minor < versions.RESOURCE_CLASS_WITHOUT_BODY:
        new_name = call.body["name"]
        call.service.execute(RenameResourceClass(name, new_name), call.requester)
        return Answer(body=encode.resource_class(new_name, call.prefix))
    intake.check({"name": name}, schemas.RESOURCE_CLASS_NAME)
    is_new = call.service.execute(CreateResourceClass(name, may_exist=True), call.requester)
    location = encode.resource_class_path(call.prefix, name)
    return Answer(201 if is_new else 204, location=location)


def delete(call: Call) -> Answer:
    """Delete a class."""
    call.service.execute(DeleteResourceClass(call.path["name"]), call.requester)
    return Answer(204)


OPERATIONS: Final = (
    Operation(
        "GET",
        "/resource_classes",
        list_,
        summary="List resource classes",
        rule="placement:resource_classes:list",
        since=versions.RESOURCE_CLASSES,
        sends_json=True,
        asks_text=False,
        answers={200: reference("ResourceClasses")},
    ),
    Operation(
        "POST",
        "/resource_classes",
        create,
        summary="Create a resource class",
        rule="placement:resource_classes:create",
        since=versions.RESOURCE_CLASSES,
        body=schemas.RESOURCE_CLASS_CREATE,
        answers={201: None},
        foreseen=can_raise(model.ResourceClassExistsError),
    ),
    Operation(
        "GET",
        "/resource_classes/{name}",
        show,
        summary="Show a resource class",
        rule="placement:resource_classes:show",
        since=versions.RESOURCE_CLASSES,
        sends_json=True,
        answers={200: reference("ResourceClass")},
        foreseen=can_raise(model.ResourceClassNotFoundError),
    ),
    Operation(
        "PUT",
        "/resource_classes/{name}",
        update,
        summary="Create a resource class unless it exists",
        rule="placement:resource_classes:update",
        since=versions.RESOURCE_CLASSES,
        body=schemas.RESOURCE_CLASS_UPDATE,
        answers={201: None, 204: None},
        foreseen=can_raise_before(
            versions.RESOURCE_CLASS_WITHOUT_BODY,
            model.ResourceClassNotFoundError,
            model.StandardResourceClassError,
            model.ResourceClassExistsError,
        ),
        grammar=BAD_NAME,
        replies={
            model.ResourceClassExistsError: Reply(CONFLICT, "Resource class already exists: {name}"),
            model.StandardResourceClassError: Reply(BAD, "Cannot update standard resource class {name}"),
        },
    ),
    Operation(
        "DELETE",
        "/resource_classes/{name}",
        delete,
        summary="Delete a resource class",
        rule="placement:resource_classes:delete",
        since=versions.RESOURCE_CLASSES,
        answers=NO_CONTENT,
        foreseen=can_raise(
            model.ResourceClassNotFoundError,
            model.StandardResourceClassError,
            model.ResourceClassInUseError,
        ),
        replies={
            model.StandardResourceClassError: Reply(BAD, "Error in delete resource class: {error}"),
            model.ResourceClassInUseError: Reply(CONFLICT, "Error in delete resource class: {error}"),
        },
    ),
)
