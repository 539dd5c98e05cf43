"""``/usages`` and ``/resource_providers/{uuid}/usages``."""

from __future__ import annotations

from typing import Final

from moorage.api.http.exchange import Answer
from moorage.api.placement import encode, schemas, versions
from moorage.api.placement.answers import reference
from moorage.api.placement.call import Call
from moorage.api.placement.errors import MISSING_PROVIDER_SAID_TWICE
from moorage.api.placement.operation import NO_PROVIDER, Operation
from moorage.model import errors as model


def of_provider(call: Call) -> Answer:
    """Show the used amounts of a provider."""
    items = call.service.provider_usages(call.path["uuid"])
    return Answer(body=encode.provider_usages(items), dated=True)


def of_project(call: Call) -> Answer:
    """Show what a project, or one of its users, uses; from 1.38 on by type of consumer."""
    project_id = call.query.last("project_id") or ""
    user_id = call.query.last("user_id")
    if call.minor < versions.CONSUMER_TYPES:
        return Answer(body=encode.usages(call.service.usages(project_id, user_id)), dated=True)
    groups = call.service.usages_by_type(project_id, user_id, call.query.last("consumer_type"))
    return Answer(body=encode.usages_by_type(groups), dated=True)


OF_PROVIDER: Final = (
    Operation(
        "GET",
        "/resource_providers/{uuid}/usages",
        of_provider,
        summary="Show how much of a provider is used",
        rule="placement:resource_providers:usages",
        sends_json=True,
        asks_text=False,
        answers={200: reference("UsagesOfProvider")},
        foreseen=NO_PROVIDER,
        replies={
            model.ProviderNotFoundError: MISSING_PROVIDER_SAID_TWICE,
        },
    ),
)

OF_PROJECT: Final = (
    Operation(
        "GET",
        "/usages",
        of_project,
        summary="Show what a project uses, by type of consumer",
        rule="placement:usages",
        since=versions.TOTAL_USAGES,
        query=schemas.USAGES_QUERY,
        sends_json=True,
        of_project=True,
        answers={200: reference("UsagesOfProject")},
    ),
)
