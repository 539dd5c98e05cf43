"""Names that would be something else if anyone ever took them for SQL, HTML, a format or a pattern."""

from __future__ import annotations

from urllib.parse import quote
from uuid import UUID

import pytest

from moorage.service.facade import Service
from tests.fuzz.requests import INJECTIONS
from tests.unit.api.fake import Client

NEWEST = 39
MORE = (
    "Robert'); DROP TABLE resource_providers;--",
    "\\",
    "\\'",
    "a\\%b\\_c",
    "%(name)s %s %%",
    ":name :1 ?",
    "{call[name]} {0}",
    "$1 $$ ${x}",
    "\u2019 OR 1=1",
    "line\nbreak\ttab",
    "\u202egnirts",
    "\U0001f4a5",
)
NAMES = (*INJECTIONS, *MORE)


def provider(number: int) -> str:
    return str(UUID(int=number))


@pytest.fixture
def client(service: Service) -> Client:
    return Client(service)  # type: ignore[arg-type]


def test_every_name_comes_back_as_it_was_given_and_finds_itself_only(client: Client) -> None:
    for number, name in enumerate(NAMES, start=1):
        made = client.ask("POST", "/resource_providers", NEWEST, {"uuid": provider(number), "name": name})
        assert made.status == 200, (name, made)
        assert made.json["name"] == name
    listed = client.ask("GET", "/resource_providers", NEWEST).json["resource_providers"]
    assert {item["uuid"]: item["name"] for item in listed} == {
        provider(number): name for number, name in enumerate(NAMES, start=1)
    }
    for number, name in enumerate(NAMES, start=1):
        found = client.ask("GET", f"/resource_providers?name={quote(name)}", NEWEST).json
        assert [item["uuid"] for item in found["resource_providers"]] == [provider(number)], name


def test_every_project_and_user_comes_back_and_is_counted_by_itself(client: Client) -> None:
    host = provider(1)
    client.ask("POST", "/resource_providers", NEWEST, {"uuid": host, "name": "host"})
    total = {"resource_provider_generation": 0, "inventories": {"VCPU": {"total": 10_000}}}
    assert client.ask("PUT", f"/resource_providers/{host}/inventories", NEWEST, total).status == 200
    for number, name in enumerate(NAMES, start=1):
        claim = {
            "allocations": {host: {"resources": {"VCPU": number}}},
            "project_id": name,
            "user_id": name,
            "consumer_generation": None,
            "consumer_type": "INSTANCE",
        }
        consumer = f"/allocations/{provider(1000 + number)}"
        assert client.ask("PUT", consumer, NEWEST, claim).status == 204, name
        shown = client.ask("GET", consumer, NEWEST).json
        assert (shown["project_id"], shown["user_id"]) == (name, name)
    for number, name in enumerate(NAMES, start=1):
        asked = f"/usages?project_id={quote(name)}&user_id={quote(name)}"
        usages = client.ask("GET", asked, NEWEST).json["usages"]
        assert usages == {"INSTANCE": {"consumer_count": 1, "VCPU": number}}, name


@pytest.mark.parametrize(
    "path",
    [
        "/traits/{name}",
        "/resource_classes/{name}",
        "/resource_providers/{name}",
        "/resource_providers/{name}/usages",
        "/allocations/{name}",
        "/traits?name=in:{name}",
        "/traits?name=startswith:{name}",
        "/allocation_candidates?resources={name}:1",
        "/allocation_candidates?resources=VCPU:1&required={name}",
        "/allocation_candidates?resources=VCPU:1&member_of={name}",
        "/allocation_candidates?resources=VCPU:1&in_tree={name}",
        "/resource_providers?uuid={name}",
        "/resource_providers?in_tree={name}",
        "/usages?project_id=p&consumer_type={name}",
    ],
)
def test_no_parameter_does_more_than_find_nothing(client: Client, path: str) -> None:
    client.ask("POST", "/resource_providers", NEWEST, {"uuid": provider(1), "name": "host"})
    for name in NAMES:
        result = client.ask("GET", path.replace("{name}", quote(name, safe="")), NEWEST)
        assert result.status in {200, 400, 404}, (name, result)
        if result.status == 200:
            assert not {"allocation_requests", "resource_providers"} & {
                key for key, value in result.json.items() if value
            }, name
    assert len(client.ask("GET", "/resource_providers", NEWEST).json["resource_providers"]) == 1
