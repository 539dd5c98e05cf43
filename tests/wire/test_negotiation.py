"""What is settled before a request's route matters: who asks, the version, and the form of errors."""

from __future__ import annotations

import re
from collections.abc import Mapping

import pytest

from tests.peer.exchange import Answer, Request
from tests.peer.peers import Peers
from tests.table import each

pytestmark = pytest.mark.slow

TOKEN = {"X-Auth-Token": "admin"}
JSON = {"Accept": "application/json"}

VERSIONS = (
    "placement 1.0",
    "placement 1.39",
    "placement 1.40",
    "placement 2.0",
    "placement 0.9",
    "placement -1.2",
    "placement 1.-2",
    "placement 1.05",
    "placement  1.5",
    " placement 1.5 ",
    "placement\t1.5",
    "placement latest",
    "placement Latest",
    "placement LATEST",
    "PLACEMENT 1.5",
    "Placement latest",
    "compute 2.90",
    "compute 2.90, placement 1.7",
    "placement 1.7,compute 2.90",
    "placement 1.7, placement 1.9",
    "placement 1.99, placement 1.9",
    "placement 1.9, placement 1.99",
    "placement 1.9, placement",
    "placement",
    "placement ",
    "placement,1.5",
    "placements 1.5",
    "1.5",
    "1.99",
    "latest",
    "",
    ",",
    ", ,",
    "placement 1.",
    "placement .5",
    "placement 1.5.1",
    "placement 1.5 1.6",
    "placement 1.x",
    "placement a.b",
    "placement 1. 5",
    "placement 1_0.5",
    "placement +1.5",
    "placement 1.+5",
    "placement v1.5",
    "placement 1.1e1",
    "placement 1.99999999999999999999",
)

ACCEPTS = (
    None,
    "",
    "*/*",
    "application/json",
    "application/*",
    "application/json;q=0",
    "application/json;q=0.1",
    "application/json;q=0.2, text/html;q=0.9",
    "application/json, text/html",
    "text/html, application/json",
    "text/html",
    "text/html;q=0.5, */*;q=0.1",
    "text/plain",
    "text/*",
    "image/png",
    "image/png, */*;q=0.1",
    "nonsense",
)

SAME = ("allow", "openstack-api-version", "content-type", "location", "www-authenticate")

REQUEST_ID = re.compile(r"req-[0-9a-f-]{36}")


def told(answer: Answer) -> tuple[object, ...]:
    """What of an answer has to be alike: all but the request's id, and the spelling of JSON."""
    body: object = answer.json
    if body is None:
        body = answer.body.decode()
    # "vary" has only to be there where the reference has it, which forgets it now and then.
    return (answer.status, *(answer.headers.get(name) for name in SAME), REQUEST_ID.sub("", str(body)))


def compare(peers: Peers, method: str, path: str, headers: Mapping[str, str]) -> None:
    ours, theirs = peers.send(Request(method, path, headers=dict(headers)))
    assert told(ours) == told(theirs)
    if "vary" in theirs.headers:
        assert ours.headers["vary"] == theirs.headers["vary"]
    assert ("x-openstack-request-id" in ours.headers) == ("x-openstack-request-id" in theirs.headers)


@each("path", ["/resource_providers", "/nothing", "/"])
@each("version", VERSIONS)
def test_a_version_is_understood_as_by_the_reference(peers: Peers, version: str, path: str) -> None:
    compare(peers, "GET", path, TOKEN | JSON | {"OpenStack-API-Version": version})


@each("version", ["placement 1", "placement 1,5"])
def test_a_version_without_a_minor_is_malformed(peers: Peers, version: str) -> None:
    headers = TOKEN | JSON | {"OpenStack-API-Version": version}
    ours, theirs = peers.send(Request("GET", "/resource_providers", headers=headers))
    assert ours.status == theirs.status == 400
    # The reference goes on with words of Python's about a function of its own.
    assert ours.detail.partition("; ")[0] == theirs.detail.partition("; ")[0]


@each("path", ["/", "/nothing", "/usages", "/allocations"])
@each("version", ["placement latest", "placement 1.99", "nonsense 1", "placement x"])
@each("token", [{}, TOKEN])
def test_who_asks_comes_before_the_version_and_that_before_the_path(
    peers: Peers, token: dict[str, str], version: str, path: str
) -> None:
    compare(peers, "GET", path, token | JSON | {"OpenStack-API-Version": version})


@each("version", ["placement latest", "placement 1.99", "placement x"])
def test_an_empty_path_is_the_root(peers: Peers, version: str) -> None:
    compare(peers, "GET", "", TOKEN | JSON | {"OpenStack-API-Version": version})


@each("version", ["placement 1.0", "placement latest", "placement 1.99", "placement x"])
@each("path", ["/", "/resource_providers", "/nothing", "/allocations"])
@each("accept", ACCEPTS)
def test_errors_have_the_form_that_a_client_accepts(
    peers: Peers, accept: str | None, path: str, version: str
) -> None:
    accepts = {} if accept is None else {"Accept": accept}
    compare(peers, "GET", path, TOKEN | accepts | {"OpenStack-API-Version": version})


@each("accept", ACCEPTS)
def test_whoever_does_not_say_who_asks_is_told_so_in_the_form_that_is_accepted(
    peers: Peers, accept: str | None
) -> None:
    compare(peers, "GET", "/resource_providers", {} if accept is None else {"Accept": accept})
