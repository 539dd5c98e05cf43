"""Requests that are too large or ask for too much: which answer, and that nothing is asked of the service."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest

from moorage.api.http import intake
from moorage.api.http.settings import Limits
from moorage.api.native.openapi import EVERYTHING
from moorage.api.placement import query
from moorage.api.placement.routes import BY_NAME
from moorage.api.placement.settings import ApiSettings
from tests.table import each
from tests.unit.api.fake import CONSUMER, OTHER, UUID, Client, FakeService

COUNTED = [name for name, operation in BY_NAME.items() if operation.counts]

SMALL = Limits(
    body_bytes=10_000,
    url_bytes=2_000,
    header_bytes=500,
    request_groups=2,
    subtree_groups=3,
    traits=3,
    aggregates=3,
    inventories=2,
    allocations=3,
)

SUBTREES = "resources_a=VCPU:1&resources_b=VCPU:1&group_policy=none&same_subtree=_a,_b&same_subtree=_a"
"""Names a group three times."""

PROVIDER = f"/resource_providers/{UUID}"


@pytest.fixture
def client() -> Client:
    return Client(FakeService(), ApiSettings(limits=SMALL))


def holds(**held: int) -> dict[str, Any]:
    """A consumer that holds so much of one provider."""
    return {
        "allocations": {UUID: {"resources": held}} if held else {},
        "project_id": "project",
        "user_id": "user",
        "consumer_generation": None,
        "consumer_type": "INSTANCE",
    }


def inventories(*names: str) -> dict[str, Any]:
    return {"resource_provider_generation": 3, "inventories": {name: {"total": 1} for name in names}}


def ids(count: int) -> list[str]:
    return [str(uuid.UUID(int=number)) for number in range(count)]


def reshape(inventory_count: int, consumers: int) -> dict[str, Any]:
    return {
        "inventories": {UUID: inventories(*("VCPU", "DISK_GB", "PCPU")[:inventory_count])},
        "allocations": {consumer: holds(VCPU=1) for consumer in ids(consumers)},
    }


AT_MOST = [
    ("GET", f"/allocation_candidates?{SUBTREES}", None),
    ("PUT", f"{PROVIDER}/inventories", inventories("VCPU", "DISK_GB")),
    ("PUT", f"{PROVIDER}/traits", {"resource_provider_generation": 3, "traits": ["A", "B", "C"]}),
    ("PUT", f"{PROVIDER}/aggregates", {"resource_provider_generation": 3, "aggregates": ids(3)}),
    ("PUT", f"/allocations/{CONSUMER}", holds(VCPU=1, DISK_GB=1, PCPU=1)),
    ("POST", "/allocations", {CONSUMER: holds(VCPU=1, DISK_GB=1), OTHER: holds()}),
    ("POST", "/reshaper", reshape(2, 3)),
    ("GET", "/allocation_candidates?resources=VCPU:1&resources_a=VCPU:1&required=A&required=B,!C", None),
    (
        "GET",
        f"/allocation_candidates?resources=VCPU:1&root_required=A,B&required=C&member_of=in:{','.join(ids(3))}",
        None,
    ),
    ("GET", f"/resource_providers?required=A,B,C&member_of=in:{','.join(ids(3))}", None),
]

TOO_MUCH = [
    ("PUT", f"{PROVIDER}/inventories", inventories("VCPU", "DISK_GB", "PCPU"), "3 inventories"),
    (
        "PUT",
        f"{PROVIDER}/traits",
        {"resource_provider_generation": 3, "traits": ["A", "B", "C", "D"]},
        "4 traits",
    ),
    (
        "PUT",
        f"{PROVIDER}/aggregates",
        {"resource_provider_generation": 3, "aggregates": ids(4)},
        "4 aggregates",
    ),
    ("PUT", f"/allocations/{CONSUMER}", holds(VCPU=1, DISK_GB=1, PCPU=1, VGPU=1), "4 allocations"),
    (
        "POST",
        "/allocations",
        {CONSUMER: holds(VCPU=1, DISK_GB=1), OTHER: holds(), UUID: holds()},
        "4 allocations",
    ),
    ("POST", "/reshaper", reshape(3, 3), "3 inventories"),
    ("POST", "/reshaper", reshape(2, 4), "4 allocations"),
    (
        "GET",
        "/allocation_candidates?resources=VCPU:1&resources_a=VCPU:1&resources_b=VCPU:1&group_policy=none",
        None,
        "3 request groups",
    ),
    (
        "GET",
        f"/allocation_candidates?{SUBTREES}&same_subtree=_b",
        None,
        "4 subtree groups",
    ),
    (
        "GET",
        "/allocation_candidates?resources=VCPU:1&required=A,B&root_required=C&required=D",
        None,
        "4 traits",
    ),
    (
        "GET",
        "/allocation_candidates?resources=VCPU:1&" + "&".join(f"member_of={one}" for one in ids(4)),
        None,
        "4 aggregates",
    ),
    ("GET", f"/resource_providers?member_of=!in:{','.join(ids(4))}", None, "4 aggregates"),
    ("GET", "/resource_providers?required=in:A,B,C,D", None, "4 traits"),
]


@pytest.mark.parametrize(("method", "path", "body"), AT_MOST, ids=lambda part: str(part)[:40])
def test_as_much_as_the_limit_is_taken(client: Client, method: str, path: str, body: object) -> None:
    assert client.ask(method, path, 39, body).status < 300


@pytest.mark.parametrize(("method", "path", "body", "told"), TOO_MUCH, ids=lambda part: str(part)[:40])
def test_one_more_than_the_limit_is_refused_before_anything_is_asked(
    client: Client, method: str, path: str, body: object, told: str
) -> None:
    result = client.ask(method, path, 39, body)
    assert result.status == 400
    assert f"The request names {told}; at most {int(told[0]) - 1} are allowed." in result.detail
    assert [name for name, _ in client.service.calls if name != "provider"] == []


def test_lists_of_old_versions_are_counted_as_well(client: Client) -> None:
    assert client.ask("PUT", f"{PROVIDER}/aggregates", 1, ids(3)).status == 200
    assert "names 4 aggregates" in client.ask("PUT", f"{PROVIDER}/aggregates", 1, ids(4)).detail
    item = {"resource_provider": {"uuid": UUID}, "resources": {"VCPU": 1, "DISK_GB": 1}}
    result = client.ask("PUT", f"/allocations/{CONSUMER}", 0, {"allocations": [item, item]})
    assert "names 4 allocations" in result.detail


@each("operation", COUNTED)
@each(
    "body",
    [
        None,
        5,
        "text",
        [],
        [[]],
        {},
        {"a": 1},
        {"allocations": 5, "inventories": "x", "traits": {}, "aggregates": None},
        {"allocations": [1], "inventories": [1, {"inventories": 5}]},
    ],
)
def test_bodies_of_any_shape_can_be_counted(operation: str, body: object) -> None:
    intake.check_body(BY_NAME[operation].counts, body, Limits())


AROUND: tuple[tuple[str, str], ...] = (
    ("[", "]"),
    ('{"claims": [', "]}"),
    ('{"allocations": {"x": ', "}}"),
    ('{"ask": ', "}"),
    ('{"groups": {"": ', "}}"),
    ('{"inventories": ', "}"),
    ('{"traits": ', "}"),
)
ITEMS = (
    "5",
    "{}",
    '["a", "b", {"any": ["c", "d"]}]',
    '{"required": ["a", {"any": ["b", "c"]}], "forbidden": ["d"], "member_of": ["e"]}',
    '{"ask": {"groups": {"": {}, "1": {"member_of": [{"any": ["f", "g"]}]}}, "same_subtree": [["1", "2"]]}}',
    '{"allocations": {"a": {"resources": {"VCPU": 1, "VF": 2}}, "b": {}}}',
    '{"resource_provider_generation": 1, "inventories": {"VCPU": {}, "VF": {}}}',
)


@each("around", AROUND)
@each("item", ITEMS)
def test_a_body_names_no_more_of_a_kind_than_it_has_values(around: tuple[str, str], item: str) -> None:
    """So small bodies need not be counted."""
    content = item.join(around).encode()
    counts = [count for name in COUNTED for count in BY_NAME[name].counts]
    counts += [count for endpoint in EVERYTHING for count in endpoint.counts]
    assert len(counts) > 10
    for what, count in counts:
        assert count(json.loads(content)) <= intake.values_of(content), what


def test_the_least_limit_is_that_of_a_body_that_needs_no_count() -> None:
    assert SMALL.fewest == 2
    assert Limits(subtree_groups=4).fewest == 4


def test_what_is_counted_belongs_to_operations_that_take_a_body() -> None:
    assert all(BY_NAME[name].body is not None for name in COUNTED)


def test_a_url_that_is_too_long_is_414_and_headers_that_are_431(client: Client) -> None:
    for path, status in (("/traits?name=" + "x" * 1988, 400), ("/traits?name=" + "x" * 1989, 414)):
        assert client.ask("GET", path, 39).status == status
    assert client.ask("GET", "/" + "x" * 2000, 39).status == 414
    assert client.ask("GET", "/traits", 39, headers={"x-more": "x" * 300}).status == 200
    assert client.ask("GET", "/traits", 39, headers={"x-more": "x" * 500}).status == 431


def test_only_headers_count_whatever_environment_the_process_has(client: Client) -> None:
    around = {"LS_COLORS": "x" * 500, "SOME_SECRET": "x" * 500}
    assert client.ask("GET", "/traits", 39, environ=around).status == 200
    # A process may have a variable of this name, and so may a client's header.
    assert client.ask("GET", "/traits", 39, environ=around | {"HTTP_PROXY": "x" * 500}).status == 431


@pytest.mark.parametrize(
    ("path", "headers", "title"),
    [
        ("/traits?name=" + "x" * 2000, {}, "URI Too Long"),
        ("/traits", {"x-more": "x" * 500}, "Request Header Fields Too Large"),
    ],
)
def test_too_long_a_head_is_told_in_the_usual_form_also_to_strangers(
    client: Client, path: str, headers: dict[str, str | None], title: str
) -> None:
    result = client.ask("GET", path, 39, headers={"x-auth-token": None, **headers})
    (error,) = result.json["errors"]
    assert error["title"] == title
    assert "must not be longer than" in error["detail"]
    assert error["request_id"].startswith("req-")


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (TimeoutError("read timeout"), 408, "did not arrive in time"),
        (BlockingIOError("too many bodies are being read"), 503, "cannot answer now"),
        (ConnectionResetError("peer"), 400, "could not be read to its end"),
    ],
    ids=lambda part: str(part)[:20],
)
def test_a_body_that_cannot_be_read_is_told_so(
    client: Client, error: OSError, status: int, words: str
) -> None:
    class Unreadable:
        def read(self, size: int) -> bytes:
            raise error

    result = client.ask(
        "POST",
        "/resource_providers",
        39,
        {"name": "slow"},
        environ={"wsgi.input": Unreadable()},
    )
    assert result.status == status
    assert words in result.detail
    assert ("retry-after" in result.headers) == (status == 503)
    assert client.service.calls == []


def test_nobody_waits_for_the_body_of_a_stranger(client: Client) -> None:
    class Never:
        def read(self, size: int) -> bytes:
            raise AssertionError("it was waited for")

    for path, status in (("/resource_providers", 401), ("/", 405)):
        result = client.ask(
            "POST",
            path,
            39,
            {"name": "x"},
            headers={"x-auth-token": None},
            environ={"wsgi.input": Never()},
        )
        assert result.status == status


def test_a_parameter_that_is_repeated_thousands_of_times_is_read_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read: list[list[str]] = []
    real = query.traits

    def traits(values: list[str], may_forbid: bool, may_choose: bool) -> Any:
        read.append(values)
        return real(values, may_forbid, may_choose)

    monkeypatch.setattr(query, "traits", traits)
    path = "/allocation_candidates?resources=VCPU:1" + "&required=HW_CPU_X86_AVX2" * 2000
    assert Client(FakeService()).ask("GET", path, 39).status == 200
    assert [len(values) for values in read if values] == [2000]
