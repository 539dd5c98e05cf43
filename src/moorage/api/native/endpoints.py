"""The table of all endpoints of the native API."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from moorage.api.native import (
    candidates,
    changes,
    claims,
    discovery,
    explanations,
    findings,
    leases,
    overview,
    placing,
    providers,
    reports,
    unmet,
)
from moorage.api.native.endpoint import Endpoint

ENDPOINTS: Final = (
    *discovery.ENDPOINTS,
    *providers.ENDPOINTS,
    *overview.ENDPOINTS,
    *candidates.ENDPOINTS,
    *claims.ENDPOINTS,
    *placing.ENDPOINTS,
    *leases.ENDPOINTS,
    *explanations.ENDPOINTS,
    *unmet.ENDPOINTS,
    *changes.ENDPOINTS,
    *reports.ENDPOINTS,
    *findings.ENDPOINTS,
)
"""All endpoints, in the order of the reference."""


def by_path(endpoints: Iterable[Endpoint]) -> Mapping[str, Mapping[str, Endpoint]]:
    """Endpoints by path and method."""
    found: dict[str, dict[str, Endpoint]] = {}
    for endpoint in endpoints:
        found.setdefault(endpoint.path, {})[endpoint.method] = endpoint
    return found
