"""What belongs to a project, walked on a running service in the name of everybody who may ask."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from uuid import uuid4

import pytest

from moorage.api.native.endpoints import ENDPOINTS
from tests.journeys.client import Client, running_service
from tests.servers.databases import SQLITE, fresh_database
from tests.table import each

pytestmark = pytest.mark.journey

ASK = {"groups": {"": {"resources": {"VCPU": 1}}}}


def token(project: str, *roles: str) -> dict[str, str]:
    return {"X-Auth-Token": f"{project}-user:{project}", "X-Roles": ",".join(roles)}


ROLES: Mapping[str, dict[str, str]] = {
    "anonymous": {},
    "reader": token("mine", "reader"),
    "another": token("another", "member", "reader"),
    "member": token("mine", "member", "reader"),
    "only member": token("mine", "member"),
    "service": token("services", "service"),
    "admin": token("operations", "admin", "member", "reader"),
}
"""What requests say of themselves. What they ask for is of the project ``mine``."""


@dataclass
class Lab:
    """A service whose projects help themselves, with one host."""

    client: Client
    host: str

    def ask(self, role: str, method: str, path: str, body: object = None) -> Any:
        self.client.headers = {"OpenStack-API-Version": "placement 1.39", **ROLES[role]}
        return self.client.request(method, path, body)

    def claim(self) -> str:
        """A new claim of ``mine``."""
        told = self.ask("member", "POST", "/moorage/v1/claims", {"claims": [{"ask": ASK}]})
        assert told.status == 201, told
        consumer: str = told.json["claims"][0]["consumer"]
        return consumer

    def lease(self) -> str:
        """A new lease of ``mine``."""
        told = self.ask("member", "POST", "/moorage/v1/leases", {"owner": "agent", "ttl": "24h"})
        assert told.status == 201, told
        lease: str = told.json["lease"]
        return lease

    def leased(self) -> str:
        """The path of a claim of ``mine`` on a lease, from the lease on."""
        lease, consumer = self.lease(), self.claim()
        path = f"{lease}/claims/{consumer}"
        assert self.ask("member", "PUT", f"/moorage/v1/leases/{path}").status == 200
        return path

    @cached_property
    def refused(self) -> str:
        """The id of a request of ``mine`` that found no room."""
        ask = {"groups": {"": {"resources": {"VCPU": 999}}}}
        told = self.ask("member", "POST", "/moorage/v1/claims", {"claims": [{"ask": ask}]})
        assert told.status == 409, told
        request_id = str(told.headers["x-openstack-request-id"])
        until = time.monotonic() + 60
        # The background explains it.
        while self.ask("admin", "GET", f"/moorage/v1/explanations/{request_id}").status != 200:
            assert time.monotonic() < until
            time.sleep(0.1)
        return request_id


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    folder = tmp_path_factory.mktemp("self-service")
    variables = {"OS_PLACEMENT_MOORAGE__SELF_SERVICE": "true"}
    with (
        fresh_database(SQLITE, folder) as url,
        running_service(url, folder, variables=variables) as port,
        Client(port) as client,
    ):
        host = str(uuid4())
        client.add_provider(host, "host", {"VCPU": {"total": 500}})
        yield Lab(client, host)


WALK: Mapping[str, Callable[[Lab], tuple[str, object]]] = {
    "GET /moorage/v1/claims/{consumer}": lambda lab: (lab.claim(), None),
    "GET /moorage/v1/claims/{consumer}/history": lambda lab: (lab.claim(), None),
    "DELETE /moorage/v1/claims/{consumer}": lambda lab: (lab.claim(), None),
    "POST /moorage/v1/releases": lambda lab: ("", {"consumers": [lab.claim()]}),
    "POST /moorage/v1/claims": lambda lab: ("", {"claims": [{"ask": ASK, "project_id": "mine"}]}),
    "GET /moorage/v1/claims": lambda _: ("?project_id=mine", None),
    "GET /moorage/v1/changes": lambda _: ("?after=0&project_id=mine", None),
    "POST /moorage/v1/explanations": lambda _: ("", {"ask": ASK, "project_id": "mine"}),
    "GET /moorage/v1/explanations/{request_id}": lambda lab: (lab.refused, None),
    "POST /moorage/v1/candidates": lambda _: ("", {"ask": ASK}),
    "GET /moorage/v1/trees/{uuid}": lambda lab: (lab.claim() and lab.host, None),
    "POST /moorage/v1/leases/renewals": lambda lab: ("", {"leases": [lab.lease()]}),
    "GET /moorage/v1/leases": lambda _: ("?project_id=mine", None),
    "GET /moorage/v1/leases/{lease}": lambda lab: (lab.lease(), None),
    "DELETE /moorage/v1/leases/{lease}": lambda lab: (lab.lease(), None),
    "PUT /moorage/v1/leases/{lease}/claims/{consumer}": lambda lab: (lab.leased(), None),
    "DELETE /moorage/v1/leases/{lease}/claims/{consumer}": lambda lab: (lab.leased(), None),
    "GET /usages": lambda _: ("?project_id=mine", None),
}
"""By request: what makes it. What stands in its path, or its query; and its body."""

ALLOWED = (200, 201)


@each(
    ("name", "reader", "another"),
    [
        ("GET /moorage/v1/claims/{consumer}", 403, 404),
        # As for a consumer that there never was.
        ("GET /moorage/v1/claims/{consumer}/history", 403, 200),
        ("DELETE /moorage/v1/claims/{consumer}", 403, 404),
        ("POST /moorage/v1/releases", 403, 200),
        ("POST /moorage/v1/claims", 403, 403),
        ("GET /moorage/v1/claims", 403, 403),
        ("GET /moorage/v1/changes", 200, 403),
        ("POST /moorage/v1/explanations", 403, 403),
        ("GET /moorage/v1/explanations/{request_id}", 403, 404),
        ("POST /moorage/v1/candidates", 403, 200),
        ("GET /moorage/v1/trees/{uuid}", 403, 404),
        ("POST /moorage/v1/leases/renewals", 403, 200),
        ("GET /moorage/v1/leases", 403, 403),
        ("GET /moorage/v1/leases/{lease}", 403, 404),
        ("DELETE /moorage/v1/leases/{lease}", 403, 404),
        ("PUT /moorage/v1/leases/{lease}/claims/{consumer}", 403, 404),
        ("DELETE /moorage/v1/leases/{lease}/claims/{consumer}", 403, 404),
        ("GET /usages", 200, 403),
    ],
)
def test_what_belongs_to_a_project_is_there_for_its_members_and_for_administrators(
    name: str, reader: int, another: int, lab: Lab
) -> None:
    method, path = name.split()
    found = {}
    for role in ROLES:
        made, body = WALK[name](lab)
        begin, _, rest = path.partition("{")
        # The fields of a path, and all between them, are made together.
        whole = begin + made + (rest.rpartition("}")[2])
        told = lab.ask(role, method, whole, body)
        found[role] = told.status
        if role == "another" and told.status == 200 and method == "POST" and "releases" in path:
            assert (told.json["released"], told.json["absent"]) == ([], body["consumers"])  # type: ignore[index]
        if role == "another" and path.endswith("renewals"):
            assert told.json["renewed"] == []
        if role == "another" and path.endswith("history"):
            assert told.json["changes"] == []
    # Placement's own path asks for the role reader, as it always has.
    of_member = 403 if name == "GET /usages" else 200
    assert found.pop("only member") in ((403,) if of_member == 403 else ALLOWED)
    assert all(found.pop(role) in ALLOWED for role in ("member", "service", "admin"))
    assert found == {"anonymous": 401, "reader": reader, "another": another}


def test_the_walk_has_every_endpoint_of_things_of_projects() -> None:
    owned = {each.name for each in ENDPOINTS if each.owned}
    # That is for operators.
    operators = {"POST /moorage/v1/leases/{lease}/resolution"}
    assert owned - operators <= WALK.keys()
