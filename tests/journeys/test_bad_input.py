"""What a running service makes of requests that are wrong: a clear 4xx, and nothing changed."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from typing import Any, NamedTuple
from uuid import UUID

import pytest

from tests.journeys.client import Answer, Client, running_service
from tests.servers.databases import SQLITE, fresh_database

pytestmark = pytest.mark.journey

PROVIDER = str(UUID(int=1))
CHILD = str(UUID(int=2))
CONSUMER = str(UUID(int=3))
NOBODY = str(UUID(int=4))
AGGREGATE = str(UUID(int=5))

LONG = "x" * 10_000
TEN_MEGABYTES = b"[" + b"1," * 5_000_000 + b"1]"
STALE = 99

JSON_WRITES = (
    ("POST", "/resource_providers"),
    ("PUT", f"/resource_providers/{PROVIDER}"),
    ("POST", f"/resource_providers/{PROVIDER}/inventories"),
    ("PUT", f"/resource_providers/{PROVIDER}/inventories"),
    ("PUT", f"/resource_providers/{PROVIDER}/inventories/VCPU"),
    ("PUT", f"/resource_providers/{PROVIDER}/aggregates"),
    ("PUT", f"/resource_providers/{PROVIDER}/traits"),
    ("POST", "/resource_classes"),
    ("POST", "/allocations"),
    ("PUT", f"/allocations/{CONSUMER}"),
    ("POST", "/reshaper"),
)
"""All operations of the newest version that read a body."""

BAD_BODIES = {
    "not JSON": b"{",
    "empty": b" ",
    "broken UTF-8": b'{"name": "\xff\xfe"}',
    "not a number": b'{"name": NaN}',
    "deep nesting": b"[" * 100_000 + b"]" * 100_000,
    "null": b"null",
    "a string": b'"text"',
    "a number": b"7",
    "a list of objects": b"[{}]",
    "an empty object": b"{}",
    "unknown fields": b'{"no_such_field": 1}',
    "lone surrogate": b'{"name": "\\ud800"}',
    "ten megabytes": TEN_MEGABYTES,
}


class Bad(NamedTuple):
    """A request that must be refused, and with which statuses."""

    method: str
    path: str
    body: object = None
    statuses: tuple[int, ...] = (400,)


def claim(**changes: object) -> dict[str, object]:
    """A body for PUT /allocations that is right but for ``changes``."""
    return {
        "allocations": {PROVIDER: {"resources": {"VCPU": 1}}},
        "project_id": "project",
        "user_id": "user",
        "consumer_type": "INSTANCE",
        "consumer_generation": 1,
        **changes,
    }


def inventories(generation: object = 2, **named: object) -> dict[str, object]:
    return {"resource_provider_generation": generation, "inventories": named}


PROVIDER_PATH = f"/resource_providers/{PROVIDER}"
CLAIM_PATH = f"/allocations/{CONSUMER}"
SEARCH = "/allocation_candidates?resources="

CASES = (
    # names that nobody knows
    Bad("GET", f"/resource_providers/{NOBODY}", None, (404,)),
    Bad("DELETE", f"/resource_providers/{NOBODY}", None, (404,)),
    Bad("GET", f"/resource_providers/{NOBODY}/inventories", None, (404,)),
    Bad("GET", f"/resource_providers/{NOBODY}/traits", None, (404,)),
    Bad("GET", f"/resource_providers/{NOBODY}/aggregates", None, (404,)),
    Bad("GET", f"/resource_providers/{NOBODY}/usages", None, (404,)),
    Bad("GET", f"/resource_providers/{NOBODY}/allocations", None, (404,)),
    Bad("PUT", f"/resource_providers/{NOBODY}/inventories", inventories(0), (404,)),
    Bad("GET", f"{PROVIDER_PATH}/inventories/DISK_GB", None, (404,)),
    Bad("DELETE", f"{PROVIDER_PATH}/inventories/DISK_GB", None, (404,)),
    Bad("DELETE", f"{PROVIDER_PATH}/inventories/NO_SUCH", None, (404,)),
    Bad("DELETE", f"/allocations/{NOBODY}", None, (404,)),
    Bad("GET", "/traits/CUSTOM_NO_SUCH", None, (404,)),
    Bad("DELETE", "/traits/CUSTOM_NO_SUCH", None, (404,)),
    Bad("GET", "/resource_classes/CUSTOM_NO_SUCH", None, (404,)),
    Bad("DELETE", "/resource_classes/CUSTOM_NO_SUCH", None, (404,)),
    Bad("GET", "/no/such/path", None, (404,)),
    Bad("PATCH", "/resource_providers", None, (405,)),
    Bad("PUT", PROVIDER_PATH, {"name": "a", "parent_provider_uuid": NOBODY}),
    Bad("PUT", f"{PROVIDER_PATH}/inventories", inventories(NO_SUCH={"total": 1})),
    Bad("PUT", f"{PROVIDER_PATH}/traits", {"traits": ["NO_SUCH"], "resource_provider_generation": 2}),
    Bad("PUT", CLAIM_PATH, claim(allocations={NOBODY: {"resources": {"VCPU": 1}}})),
    Bad("PUT", CLAIM_PATH, claim(allocations={PROVIDER: {"resources": {"NO_SUCH": 1}}})),
    Bad("GET", SEARCH + "NO_SUCH:1"),
    Bad("GET", SEARCH + "VCPU:1&required=NO_SUCH"),
    Bad("GET", "/resource_providers?resources=NO_SUCH:1"),
    # stale views
    Bad("PUT", f"{PROVIDER_PATH}/inventories", inventories(STALE), (409,)),
    Bad(
        "PUT",
        f"{PROVIDER_PATH}/inventories/VCPU",
        {"total": 9, "resource_provider_generation": STALE},
        (409,),
    ),
    Bad("PUT", f"{PROVIDER_PATH}/traits", {"traits": [], "resource_provider_generation": STALE}, (409,)),
    Bad(
        "PUT",
        f"{PROVIDER_PATH}/aggregates",
        {"aggregates": [], "resource_provider_generation": STALE},
        (409,),
    ),
    Bad("PUT", CLAIM_PATH, claim(consumer_generation=STALE), (409,)),
    Bad("PUT", CLAIM_PATH, claim(consumer_generation=None), (409,)),
    Bad("POST", "/reshaper", {"inventories": {PROVIDER: inventories(STALE)}, "allocations": {}}, (409,)),
    # what is used, taken or too much
    Bad("DELETE", PROVIDER_PATH, None, (409,)),
    Bad("DELETE", f"{PROVIDER_PATH}/inventories", None, (409,)),
    Bad("DELETE", f"{PROVIDER_PATH}/inventories/VCPU", None, (409,)),
    Bad("PUT", f"{PROVIDER_PATH}/inventories", inventories(), (409,)),
    Bad("POST", f"{PROVIDER_PATH}/inventories", {"resource_class": "VCPU", "total": 1}, (409,)),
    Bad("POST", "/resource_providers", {"name": "host"}, (409,)),
    Bad("POST", "/resource_providers", {"name": "other", "uuid": PROVIDER}, (409,)),
    Bad("PUT", CLAIM_PATH, claim(allocations={PROVIDER: {"resources": {"VCPU": 9}}}), (409,)),
    Bad("PUT", CLAIM_PATH, claim(allocations={CHILD: {"resources": {"VCPU": 1}}}), (409,)),
    Bad("DELETE", "/traits/CUSTOM_HELD", None, (409,)),
    Bad("DELETE", "/traits/HW_CPU_X86_AVX2"),
    Bad("DELETE", "/resource_classes/VCPU"),
    Bad("POST", "/resource_classes", {"name": "CUSTOM_HELD"}, (409,)),
    # wrong values
    Bad("POST", "/resource_providers", {"name": ""}),
    Bad("POST", "/resource_providers", {"name": 7}),
    Bad("POST", "/resource_providers", {"name": LONG}),
    Bad("POST", "/resource_providers", {"name": "nul\0"}),
    Bad("POST", "/resource_providers", {"name": "a", "uuid": LONG}),
    Bad("POST", "/resource_providers", {"name": "a", "parent_provider_uuid": LONG}),
    Bad("POST", "/resource_providers", {"name": "a", "parent_provider_uuid": 5}),
    Bad("PUT", PROVIDER_PATH, {"name": LONG}),
    Bad("PUT", PROVIDER_PATH, {"name": "host", "parent_provider_uuid": CHILD}),
    Bad("PUT", PROVIDER_PATH, {"name": "host", "parent_provider_uuid": PROVIDER}),
    Bad("PUT", f"{PROVIDER_PATH}/inventories", inventories(VCPU={"total": "8"})),
    Bad("PUT", f"{PROVIDER_PATH}/inventories", inventories(VCPU={"total": 0})),
    Bad("PUT", f"{PROVIDER_PATH}/inventories", inventories(VCPU={"total": 2**31})),
    Bad("PUT", f"{PROVIDER_PATH}/inventories", inventories(VCPU={"total": 8, "reserved": 9})),
    Bad("PUT", f"{PROVIDER_PATH}/inventories", inventories(VCPU={"total": 8, "step_size": 0})),
    Bad("PUT", f"{PROVIDER_PATH}/inventories", inventories(VCPU={"total": 8, "allocation_ratio": 1e39})),
    Bad("PUT", f"{PROVIDER_PATH}/inventories", inventories(VCPU={"total": 8, "allocation_ratio": "1"})),
    Bad("PUT", f"{PROVIDER_PATH}/inventories", inventories(VCPU=5)),
    Bad("PUT", f"{PROVIDER_PATH}/inventories", inventories(vcpu={"total": 8})),
    Bad("PUT", f"{PROVIDER_PATH}/inventories", inventories("2", VCPU={"total": 8})),
    Bad("PUT", f"{PROVIDER_PATH}/inventories", inventories(10**30, VCPU={"total": 8}), (400, 409)),
    Bad("PUT", f"{PROVIDER_PATH}/inventories", inventories(**{LONG.upper(): {"total": 8}})),
    Bad("POST", f"{PROVIDER_PATH}/inventories", {"resource_class": LONG.upper(), "total": 1}),
    Bad("PUT", f"{PROVIDER_PATH}/traits", {"traits": [LONG], "resource_provider_generation": 2}),
    Bad("PUT", f"{PROVIDER_PATH}/traits", {"traits": "HW", "resource_provider_generation": 2}),
    Bad("PUT", f"{PROVIDER_PATH}/aggregates", {"aggregates": ["no"], "resource_provider_generation": 2}),
    Bad("PUT", f"{PROVIDER_PATH}/aggregates", {"aggregates": [LONG], "resource_provider_generation": 2}),
    Bad("PUT", f"{PROVIDER_PATH}/aggregates", [AGGREGATE]),
    Bad("POST", "/resource_classes", {"name": "NOT_CUSTOM"}),
    Bad("POST", "/resource_classes", {"name": "CUSTOM_" + LONG.upper()}),
    Bad("PUT", "/resource_classes/CUSTOM_lower"),
    Bad("PUT", f"/resource_classes/CUSTOM_{LONG.upper()}"),
    Bad("PUT", "/traits/NOT_CUSTOM"),
    Bad("PUT", f"/traits/CUSTOM_{LONG.upper()}"),
    Bad("PUT", "/traits/CUSTOM_%00", None, (400, 404)),
    Bad("PUT", CLAIM_PATH, claim(allocations={PROVIDER: {"resources": {"VCPU": 0}}})),
    Bad("PUT", CLAIM_PATH, claim(allocations={PROVIDER: {"resources": {"VCPU": -1}}})),
    Bad("PUT", CLAIM_PATH, claim(allocations={PROVIDER: {"resources": {"VCPU": 1.5}}})),
    Bad("PUT", CLAIM_PATH, claim(allocations={PROVIDER: {"resources": {"VCPU": "1"}}})),
    Bad("PUT", CLAIM_PATH, claim(allocations={PROVIDER: {"resources": {"VCPU": 2**40}}}), (400, 409)),
    Bad("PUT", CLAIM_PATH, claim(allocations={PROVIDER: {"resources": {"VCPU": 10**40}}}), (400, 409)),
    Bad("PUT", CLAIM_PATH, claim(allocations={PROVIDER: {"resources": {}}})),
    Bad("PUT", CLAIM_PATH, claim(allocations={"short": {"resources": {"VCPU": 1}}})),
    Bad("PUT", CLAIM_PATH, claim(allocations=[])),
    Bad("PUT", CLAIM_PATH, claim(project_id=LONG)),
    Bad("PUT", CLAIM_PATH, claim(project_id="")),
    Bad("PUT", CLAIM_PATH, claim(project_id="nul\0")),
    Bad("PUT", CLAIM_PATH, claim(user_id=5)),
    Bad("PUT", CLAIM_PATH, claim(consumer_type="lower")),
    Bad("PUT", CLAIM_PATH, claim(consumer_type=LONG.upper())),
    Bad("PUT", CLAIM_PATH, claim(consumer_generation="1")),
    Bad("PUT", CLAIM_PATH, claim(consumer_generation=10**30), (400, 409)),
    Bad("PUT", CLAIM_PATH, claim(mappings={})),
    Bad("PUT", "/allocations/not-a-uuid", claim()),
    Bad("PUT", f"/allocations/{LONG}", claim()),
    Bad("POST", "/allocations", {"not-a-uuid": claim()}),
    Bad("POST", "/allocations", {}),
    Bad("POST", "/reshaper", {"inventories": {}, "allocations": {}}),
    Bad("POST", "/reshaper", {"inventories": {NOBODY: inventories(0)}, "allocations": {}}),
    # all of several claims or none
    Bad(
        "POST",
        "/allocations",
        {CONSUMER: claim(allocations={}), NOBODY: claim(consumer_generation=STALE)},
        (409,),
    ),
    # query strings
    Bad("GET", "/allocation_candidates"),
    Bad("GET", SEARCH),
    Bad("GET", SEARCH + "VCPU"),
    Bad("GET", SEARCH + "VCPU:0"),
    Bad("GET", SEARCH + "VCPU:-1"),
    Bad("GET", SEARCH + "VCPU:x"),
    Bad("GET", SEARCH + "VCPU:1:2"),
    Bad("GET", SEARCH + "VCPU:1&limit=0"),
    Bad("GET", SEARCH + "VCPU:1&limit=x&limit=1"),
    Bad("GET", SEARCH + "VCPU:" + "9" * 5000),
    Bad("GET", SEARCH + "VCPU:1&required="),
    Bad("GET", SEARCH + "VCPU:1&required=in:"),
    Bad("GET", SEARCH + "VCPU:1&required=HW_CPU_X86_AVX2,!HW_CPU_X86_AVX2"),
    Bad("GET", SEARCH + "VCPU:1&member_of=no"),
    Bad("GET", SEARCH + "VCPU:1&in_tree=no"),
    Bad("GET", SEARCH + "VCPU:1&group_policy=other"),
    Bad("GET", "/allocation_candidates?resources1=VCPU:1&resources2=VCPU:1"),
    Bad("GET", SEARCH + "VCPU:1&required_X=HW_CPU_X86_AVX2"),
    Bad("GET", SEARCH + "VCPU:1&same_subtree=_X"),
    Bad("GET", SEARCH + "VCPU:1&same_subtree="),
    Bad("GET", SEARCH + "VCPU:1&root_required=in:HW_CPU_X86_AVX2"),
    Bad("GET", SEARCH + "VCPU:1&root_required=HW_CPU_X86_AVX2&root_required=HW_CPU_X86_AVX2"),
    Bad("GET", SEARCH + "VCPU:1&no_such=1"),
    Bad("GET", SEARCH + "VCPU:1&resources" + "a" * 65 + "=VCPU:1"),
    Bad("GET", SEARCH + "%ff%fe:1"),
    Bad("GET", SEARCH + "VCPU%00:1"),
    Bad("GET", "/resource_providers?uuid=no"),
    Bad("GET", "/resource_providers?no_such=1"),
    Bad("GET", "/resource_providers?name=%ff"),
    Bad("GET", "/usages"),
    Bad("GET", "/usages?project_id="),
    Bad("GET", f"/usages?project_id={LONG}"),
    Bad("GET", "/usages?project_id=p&consumer_type=lower"),
    Bad("GET", "/traits?name=HW"),
    Bad("GET", "/traits?associated=perhaps"),
    Bad("GET", "/resource_providers/%ff%fe", None, (400, 404)),
    Bad("GET", f"/resource_providers/{LONG}", None, (404,)),
    Bad("GET", "/traits/%00", None, (400, 404)),
)


ANY_DATABASE = pytest.mark.parametrize(
    "client",
    [
        SQLITE,
        pytest.param("postgresql", marks=pytest.mark.databases),
        pytest.param("mariadb", marks=pytest.mark.databases),
    ],
    indirect=True,
)
"""For what reaches the database; the rest is refused before."""

NO_DATABASE = pytest.mark.parametrize("client", [SQLITE], indirect=True)


@pytest.fixture(scope="module")
def client(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A service with a small cloud: a host with a child, a consumer, custom names in use."""
    folder = tmp_path_factory.mktemp("service")
    with (
        fresh_database(request.param, folder) as database,
        running_service(database, folder) as port,
        Client(port) as client,
    ):
        client.add_provider(PROVIDER, "host", {"VCPU": {"total": 8}})
        client.must("PUT", "/traits/CUSTOM_HELD")
        client.must("PUT", "/resource_classes/CUSTOM_HELD")
        client.must(
            "PUT",
            f"{PROVIDER_PATH}/traits",
            {"traits": ["CUSTOM_HELD"], "resource_provider_generation": 1},
        )
        client.must(
            "POST",
            "/resource_providers",
            {"uuid": CHILD, "name": "child", "parent_provider_uuid": PROVIDER},
        )
        client.must("PUT", CLAIM_PATH, claim(consumer_generation=None))
        yield client


def everything(client: Client) -> dict[str, Any]:
    """All that the API shows."""
    found = {path: client.get(path) for path in ("/resource_providers", "/traits", "/resource_classes")}
    for provider in (PROVIDER, CHILD):
        for part in ("inventories", "traits", "aggregates", "usages", "allocations"):
            path = f"/resource_providers/{provider}/{part}"
            found[path] = client.get(path)
    for consumer in (CONSUMER, NOBODY):
        found[consumer] = client.get(f"/allocations/{consumer}")
    return found


def check_refusal(answer: Answer, statuses: tuple[int, ...]) -> None:
    assert answer.status in statuses, answer
    assert answer.headers["content-type"].startswith("application/json"), answer
    (error,) = answer.json["errors"]
    assert error["status"] == answer.status
    assert error["request_id"].startswith("req-")
    assert error["title"]
    assert error["code"].startswith("placement.")
    for inner in ("Traceback", "sqlalchemy", "SELECT ", "INSERT ", "File "):
        assert inner not in answer.body.decode()


@ANY_DATABASE
def test_every_wrong_request_is_refused_in_placements_form_and_changes_nothing(client: Client) -> None:
    before = everything(client)
    generation = before["/resource_providers"]["resource_providers"][0]["generation"]
    for bad in CASES:
        body = bad.body
        if isinstance(body, dict) and body.get("resource_provider_generation") == 2:
            body = {**body, "resource_provider_generation": generation}
        answer = client.request(bad.method, bad.path, body)
        try:
            check_refusal(answer, bad.statuses)
        except AssertionError as error:
            raise AssertionError(f"{bad.method} {bad.path[:80]} {str(bad.body)[:200]}: {error}") from error
    assert everything(client) == before


@NO_DATABASE
@pytest.mark.parametrize("name", BAD_BODIES)
def test_every_operation_refuses_a_body_that_is(name: str, client: Client) -> None:
    before = everything(client)
    for method, path in JSON_WRITES:
        answer = client.request(method, path, BAD_BODIES[name])
        try:
            check_refusal(answer, (400, 413))
        except AssertionError as error:
            raise AssertionError(f"{method} {path}: {error}") from error
    assert everything(client) == before


@NO_DATABASE
def test_other_content_types_and_accepted_types_are_refused(client: Client) -> None:
    before = everything(client)
    for method, path in JSON_WRITES:
        answer = client.request(method, path, b"a=1", {"Content-Type": "application/x-www-form-urlencoded"})
        check_refusal(answer, (415,))
    answer = client.request("GET", "/resource_providers", headers={"Accept": "image/png"})
    assert answer.status == 406
    assert everything(client) == before


@NO_DATABASE
def test_requests_without_a_token_or_with_an_odd_version_are_refused(client: Client) -> None:
    bare = Client(client.port, headers={})
    with bare:
        assert bare.request("GET", "/resource_providers").status == 401
        for version, status in (("placement 1.40", 406), ("placement 9", 400), ("placement x.y", 400)):
            answer = bare.request(
                "GET",
                "/resource_providers",
                headers={"X-Auth-Token": "admin", "OpenStack-API-Version": version},
            )
            assert answer.status == status
            assert answer.json["errors"][0]["status"] == status


@NO_DATABASE
@pytest.mark.parametrize(
    "raw",
    [
        b"GET / HTTP/9.9\r\n\r\n",
        b"NONSENSE\r\n\r\n",
        b"POST /resource_providers HTTP/1.1\r\nHost: x\r\nContent-Length: minus\r\n\r\n",
        b"GET /\xff\xfe HTTP/1.1\r\nHost: x\r\nX-Auth-Token: admin\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX-Long: " + b"x" * 1_000_000 + b"\r\n\r\n",
    ],
)
def test_a_connection_that_does_not_speak_http_harms_nobody(raw: bytes, client: Client) -> None:
    with socket.create_connection(("127.0.0.1", client.port), timeout=30) as connection:
        try:
            connection.sendall(raw)
            connection.shutdown(socket.SHUT_WR)
            answer = connection.recv(65536)
        except OSError:  # the server may hang up as soon as it has seen enough
            answer = b""
    assert b"Traceback" not in answer
    assert not answer or answer.split(b" ", 2)[1][:1] in b"4"
    assert client.get("/resource_providers")["resource_providers"]


@ANY_DATABASE
def test_names_come_back_as_they_were_given(client: Client) -> None:
    """Whatever looks like SQL, HTML or a path in a name is a name."""
    names = ["'; DROP TABLE allocations; --", "<b>x</b>", "../../etc", "ünïcödé 🚢", '"', "%s%d{}"]
    for number, name in enumerate(names):
        uuid = str(UUID(int=100 + number))
        client.must("POST", "/resource_providers", {"name": name, "uuid": uuid})
        assert client.get(f"/resource_providers/{uuid}")["name"] == name
        client.must("DELETE", f"/resource_providers/{uuid}")
    assert json.dumps(client.get("/resource_providers"))
