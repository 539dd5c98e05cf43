"""Who may not, costs the database nothing."""

from __future__ import annotations

from string import Formatter

import pytest

from moorage.api.placement import application
from moorage.api.placement.routes import ROUTES
from moorage.service.facade import Service
from moorage.store.store import Store
from tests.databases.orders import new_uuid
from tests.databases.sql_watch import watching
from tests.peer.exchange import Request, call

ENDPOINTS = [
    (method, path)
    for path, methods in ROUTES.items()
    for method, operation in methods.items()
    if operation.rule is not None
]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"X-Auth-Token": "somebody"}, 403),
        ({"X-Auth-Token": "admin", "OpenStack-System-Scope": "all"}, 403),
    ],
)
def test_a_request_that_is_refused_for_who_asks_sends_no_statement(
    sqlite_service: Service, sqlite_store: Store, headers: dict[str, str], status: int
) -> None:
    asked = application.create(sqlite_service)
    sent = {"Content-Type": "application/json", "OpenStack-API-Version": "placement 1.39", **headers}
    with watching(sqlite_store) as watched:
        for method, path in ENDPOINTS:
            fields = {name: new_uuid() for _, name, _, _ in Formatter().parse(path) if name}
            body = b"{}" if method in {"POST", "PUT"} else None
            answer = call(asked, Request(method, path.format_map(fields), headers=sent, body=body))
            assert answer.status == status, (method, path)
    assert not watched.statements
    assert not watched.commits
