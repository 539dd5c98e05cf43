"""Every endpoint at every microversion: reached or not, as the reference itself says.

Nobody who asks here may do anything, so that what is reached answers 403 whatever the state is,
and only what is not there answers 404 or 405.
"""

from __future__ import annotations

from string import Formatter
from uuid import uuid4

import pytest

from moorage.api.placement import versions
from moorage.api.placement.routes import ROUTES
from tests.peer.exchange import Answer, Request
from tests.peer.peers import Peers
from tests.table import each

pytestmark = pytest.mark.slow

METHODS = ("GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS")

MINORS = range(versions.NEWEST + 1)

ENDPOINTS = [(method, path) for path, methods in ROUTES.items() for method in methods]

REFUSED = {404, 405}


def request(method: str, path: str, minor: int) -> Request:
    """A request of somebody without roles, with names in the place of the path's fields."""
    fields = {name: str(uuid4()) for _, name, _, _ in Formatter().parse(path) if name}
    headers = {
        "X-Auth-Token": "nobody",
        "Accept": "application/json",
        "OpenStack-API-Version": f"placement 1.{minor}",
    }
    body = None
    if method in {"POST", "PUT", "PATCH"}:
        headers["Content-Type"] = "application/json"
        body = b"{}"
    return Request(method, path.format_map(fields), headers=headers, body=body)


def told(answer: Answer) -> tuple[object, ...]:
    """What of an answer has to be alike. Of a body that is not there (HEAD) the type says nothing."""
    return (
        answer.status,
        answer.headers.get("allow"),
        answer.headers.get("openstack-api-version"),
        answer.headers.get("content-type") if answer.body else None,
        answer.code,
        answer.detail,
    )


@each(("method", "path"), ENDPOINTS)
def test_an_endpoint_is_reached_at_the_versions_where_the_reference_has_it(
    peers: Peers, method: str, path: str
) -> None:
    reached = []
    for minor in MINORS:
        ours, theirs = peers.send(request(method, path, minor))
        assert told(ours) == told(theirs), f"1.{minor}"
        reached.append(theirs.status not in REFUSED)
    assert reached[versions.NEWEST]
    # The table says the same as the two services.
    assert reached == [minor >= ROUTES[path][method].since for minor in MINORS]


@each("minor", [versions.OLDEST, versions.NEWEST])
@each("path", ROUTES)
def test_a_method_that_a_path_does_not_have_is_refused_as_by_the_reference(
    peers: Peers, path: str, minor: int
) -> None:
    for method in METHODS:
        if method not in ROUTES[path]:
            ours, theirs = peers.send(request(method, path, minor))
            assert theirs.status in REFUSED
            assert told(ours) == told(theirs), method


@each("minor", [versions.OLDEST, versions.NEWEST])
@each("method", METHODS)
@each("ending", ["/", "/nothing"])
def test_a_path_beyond_those_of_the_table_is_refused_as_by_the_reference(
    peers: Peers, ending: str, method: str, minor: int
) -> None:
    paths = {path.rstrip("/") + ending for path in ROUTES} - {"/"}
    for path in paths:
        ours, theirs = peers.send(request(method, path, minor))
        assert told(ours) == told(theirs), path


# The reference's own libraries import a module that Python is about to drop.
@pytest.mark.filterwarnings("ignore:'cgi' is deprecated:DeprecationWarning")
def test_the_reference_has_no_endpoint_that_the_table_lacks() -> None:
    from placement.handler import ROUTE_DECLARATIONS

    theirs = {(method, path or "/") for path, methods in ROUTE_DECLARATIONS.items() for method in methods}
    assert theirs == set(ENDPOINTS)
