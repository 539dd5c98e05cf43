"""The table of permissions that is in the documentation, walked on a running service."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from string import Formatter
from uuid import uuid4

import pytest

from moorage.api.native.openapi import EVERYTHING
from moorage.api.placement.routes import ROUTES
from moorage.auth.permissions import TOKEN_ROLES
from tests.journeys.client import Client, running_service
from tests.servers.databases import SQLITE, fresh_database

pytestmark = pytest.mark.journey

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "api" / "permissions.md"

OWN = str(uuid4())
ANOTHER = str(uuid4())

ASK = b'"project_id": "%s", "ask": {"query": "resources=VCPU:1"}'

BODIES = {
    ("POST", "/moorage/v1/explanations"): b"{" + ASK + b"}",
    ("POST", "/moorage/v1/claims"): b'{"claims": [{' + ASK + b"}]}",
    ("POST", "/moorage/v1/candidates"): b'{"ask": {"query": "resources=VCPU:1"}}',
    ("POST", "/moorage/v1/releases"): b'{"consumers": ["00000000-0000-4000-8000-000000000000"]}',
}
"""Bodies of requests that are judged by their bodies, with a place for the project."""

OF_A_PROJECT = {
    ("GET", "/usages"): "?project_id=%s",
    ("GET", "/moorage/v1/changes"): "?after=now&project_id=%s",
    ("GET", "/moorage/v1/claims"): "?project_id=%s",
    ("GET", "/moorage/v1/leases"): "?project_id=%s",
    ("POST", "/moorage/v1/explanations"): "",
    ("POST", "/moorage/v1/claims"): "",
}
"""Endpoints whose requests name a project, and the query that names it."""

SETTINGS = {
    "enforce_new_defaults = true": {},
    "enforce_new_defaults = false": {"OS_PLACEMENT_OSLO_POLICY__ENFORCE_NEW_DEFAULTS": "false"},
    "self_service = true": {"OS_PLACEMENT_MOORAGE__SELF_SERVICE": "true"},
}
"""The settings that the page has a table for, as variables."""

ROW = re.compile(r"^\| `(?P<method>[A-Z]+) (?P<path>/\S*)` \| (?P<cells>.*) \|$", re.MULTILINE)


def tables() -> dict[str, dict[tuple[str, str], list[str]]]:
    """By setting: cells by (method, path), as the page has them."""
    sections = re.split(r"^## (\w+ = (?:true|false))$", PAGE.read_text(), flags=re.MULTILINE)
    return {
        setting: {
            (row["method"], row["path"]): [cell.strip() for cell in row["cells"].split("|")]
            for row in ROW.finditer(text)
        }
        for setting, text in zip(sections[1::2], sections[2::2], strict=True)
    }


class Walked:
    """Asks every endpoint in the name of anybody."""

    def __init__(self, client: Client, table: dict[tuple[str, str], list[str]]) -> None:
        self.table = table
        self._client = client
        self._client.headers = {"OpenStack-API-Version": "placement 1.39", "Accept": "application/json"}

    def status(self, method: str, path: str, headers: dict[str, str], project: str = OWN) -> int:
        """Of a request that changes nothing: its names are unknown, and its body has nothing in it.

        The rule of some requests depends on their bodies, which are judged before.
        """
        fields = {name: str(uuid4()) for _, name, _, _ in Formatter().parse(path) if name}
        body = BODIES.get((method, path), b"{}") if method in {"POST", "PUT"} else None
        if body is not None and b"%s" in body:
            body %= project.encode()
        query = OF_A_PROJECT.get((method, path), "")
        whole = path.format_map(fields) + (query % project if query else "")
        return self._client.request(method, whole, body, headers).status

    def allowed(self, method: str, path: str, headers: dict[str, str]) -> str:
        """What the role may do: ``yes``, ``own project`` or ``no``."""
        if (method, path) not in OF_A_PROJECT:
            return "no" if self.status(method, path, headers) == 403 else "yes"
        own, another = (
            "no" if self.status(method, path, headers, project) == 403 else "yes"
            for project in (OWN, ANOTHER)
        )
        return {("yes", "yes"): "yes", ("yes", "no"): "own project", ("no", "no"): "no"}[own, another]

    def expected(self, method: str, path: str, cell: str) -> str:
        """What is to be found for a cell. A request without a project does not show that it is confined."""
        return "yes" if cell == "own project" and (method, path) not in OF_A_PROJECT else cell


@pytest.fixture(scope="module", params=SETTINGS)
def walked(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Walked]:
    """A service with this setting, and the table for it."""
    folder = tmp_path_factory.mktemp("permissions")
    with (
        fresh_database(SQLITE, folder) as url,
        running_service(url, folder, variables=SETTINGS[request.param]) as port,
        Client(port) as client,
    ):
        yield Walked(client, tables()[request.param])


def token(roles: frozenset[str], *, of_system: bool = False) -> dict[str, str]:
    scope = {"OpenStack-System-Scope": "all"} if of_system else {}
    return {"X-Auth-Token": f"somebody:{OWN}", "X-Roles": ",".join(sorted(roles)), **scope}


def test_the_tables_have_every_endpoint_that_asks_a_rule() -> None:
    endpoints = {
        (method, path)
        for path, methods in ROUTES.items()
        for method, operation in methods.items()
        if operation.rule is not None
    } | {(endpoint.method, endpoint.path) for endpoint in EVERYTHING if endpoint.rule is not None}
    assert {setting: set(table) for setting, table in tables().items()} == dict.fromkeys(SETTINGS, endpoints)


def test_every_role_may_do_on_every_endpoint_what_the_table_says(walked: Walked) -> None:
    for (method, path), cells in walked.table.items():
        *of_project, of_system = [walked.expected(method, path, cell) for cell in cells]
        found = [walked.allowed(method, path, token(roles)) for roles in TOKEN_ROLES.values()]
        assert found == of_project, (method, path)
        systems = {
            walked.allowed(method, path, token(roles, of_system=True)) for roles in TOKEN_ROLES.values()
        }
        assert systems == {of_system}, (method, path)


def test_without_a_token_every_endpoint_is_401_and_the_root_is_open(walked: Walked) -> None:
    assert {walked.status(method, path, {}) for method, path in walked.table} == {401}
    assert walked.status("GET", "/", {}) == 200
