"""``/usages`` and ``/resource_providers/{uuid}/usages``."""

from __future__ import annotations

from moorage.api import encode, versions
from moorage.api.exchange import Answer, Call


def of_provider(call: Call) -> Answer:
    """What is used of a provider."""
    items = call.service.provider_usages(call.path["uuid"])
    return Answer(body=encode.provider_usages(items), dated=True)


def of_project(call: Call) -> Answer:
    """What a project, or a user of it, uses; from 1.38 on by type of consumer."""
    project_id = call.query.last("project_id") or ""
    user_id = call.query.last("user_id")
    if call.minor < versions.CONSUMER_TYPES:
        return Answer(body=encode.usages(call.service.usages(project_id, user_id)), dated=True)
    groups = call.service.usages_by_type(project_id, user_id, call.query.last("consumer_type"))
    return Answer(body=encode.usages_by_type(groups), dated=True)
