"""Totals of a service, as far as the Placement API shows them."""

from __future__ import annotations

from collections import Counter
from datetime import datetime

import requests

from moorage.cli.client import recorded
from moorage.cli.client.connection import TIMEOUT_SECONDS, ServiceConnection
from moorage.cli.shared import show
from moorage.model.errors import MoorageError
from moorage.model.journal import RecentChanges
from moorage.model.values import ClassTotal


def providers(service: ServiceConnection) -> list[str]:
    """UUIDs of all providers."""
    return [each["uuid"] for each in service.get("/resource_providers")["resource_providers"]]


def class_totals(service: ServiceConnection, uuids: list[str]) -> list[ClassTotal]:
    """Capacity and use of each resource class over these providers; each costs two requests."""
    number: Counter[str] = Counter()
    capacity: Counter[str] = Counter()
    used: Counter[str] = Counter()
    for uuid in show.progress("Providers", uuids):
        path = f"/resource_providers/{uuid}"
        for name, each in service.get(f"{path}/inventories")["inventories"].items():
            number[name] += 1
            capacity[name] += show.capacity(each)
        used.update(service.get(f"{path}/usages")["usages"])
    return [ClassTotal(name, number[name], capacity[name], used[name]) for name in sorted(number)]


def changes(service: ServiceConnection, most: int) -> RecentChanges | None:
    """The newest writes by kind; None for a service that does not show them."""
    try:
        found = recorded.newest(service, {"view": "refs", "limit": str(most)}, most)["changes"]
    except MoorageError:
        return None
    return RecentChanges.of([(each["kind"], datetime.fromisoformat(each["at"])) for each in found])


def revision(service: ServiceConnection) -> int | None:
    """The revision of a Moorage service; None for a service that does not report it."""
    try:
        answer = requests.get(f"{service.url}/readyz", timeout=TIMEOUT_SECONDS)
        found = answer.json().get("revision")
    except (requests.RequestException, ValueError, AttributeError):
        return None
    return found if isinstance(found, int) else None
