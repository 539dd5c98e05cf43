"""No request takes longer than in proportion to its length, whatever it says, and no line of a log."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from moorage.api.http import quoting
from moorage.api.http.intake import LARGE_BODY, MAX_VALUES
from moorage.api.http.observer import Ended
from moorage.api.http.settings import MAX_NAMES
from moorage.auth.identity import Identity
from moorage.telemetry.masking import masked
from moorage.telemetry.records import line_of
from tests.growth.measure import grows_in_proportion
from tests.table import each
from tests.unit.api.fake import CONSUMER, UUID, Client, FakeService

pytestmark = pytest.mark.slow

HEAD = 14_000
URL = 60_000
BODY = 64_000
LINE = 16_000

PROVIDER = f"/resource_providers/{UUID}"
ANY = "/allocation_candidates?resources=VCPU:1&"

Make = Callable[[int], dict[str, Any]]
"""Makes what is asked, of any length."""


def repeated(unit: str, size: int) -> str:
    return unit * (size // len(unit))


def header(name: str, before: str, unit: str, path: str = "/nope") -> Make:
    return lambda size: {"path": path, "headers": {name: before + repeated(unit, size)}}


def query(before: str, unit: str, after: str = "") -> Make:
    return lambda size: {"path": before + repeated(unit, size) + after}


def numbered(before: str, form: str) -> Make:
    """Each time another name."""
    width = len(form.format(10_000))
    return lambda size: {
        "path": before + "".join(form.format(10_000 + each) for each in range(size // width))
    }


def path(before: str, unit: str, method: str = "GET") -> Make:
    return lambda size: {
        "method": method,
        "path": "/",
        "environ": {"PATH_INFO": before + repeated(unit, size)},
    }


def body(method: str, where: str, content: Callable[[int], str]) -> Make:
    return lambda size: {"method": method, "path": where, "body": content(size).encode()}


def nested(opening: str, closing: str, depth: int) -> Callable[[int], str]:
    """Lists or objects in each other, so many times so deep."""
    one = opening * depth + "1" + closing * depth
    return lambda size: "[" + ",".join([one] * (size // len(one))) + "]"


def named(content: Callable[[int], str]) -> Callable[[int], str]:
    return lambda size: f'{{"name": {content(size)}}}'


def text(unit: str) -> Callable[[int], str]:
    return lambda size: json.dumps(repeated(unit, size))


def ask(asked: dict[str, Any], client: Client) -> None:
    method, where = asked.get("method", "GET"), asked["path"]
    given = {name: asked[name] for name in ("body", "headers", "environ") if name in asked}
    assert client.ask(method, where, 39, **given).status < 500


ACCEPT = partial(header, "accept", path="/traits/\x01")

CASES: dict[str, tuple[int, Make]] = {
    "version of tags": (HEAD, header("openstack-api-version", "placement ", "<")),
    "version of breaks": (HEAD, header("openstack-api-version", "placement ", "<br")),
    "versions": (HEAD, header("openstack-api-version", "", "placement 1.1,")),
    "version of digits": (HEAD, header("openstack-api-version", "placement 1.", "9")),
    "types": (HEAD, ACCEPT("", "a/b;q=0.5,")),
    "type with parameters": (HEAD, ACCEPT("text/html", ";a=b")),
    "type in quotes": (HEAD, ACCEPT('text/html;x="', "\\a")),
    "type with blanks": (HEAD, ACCEPT("text/html", " ;")),
    "types of nothing": (HEAD, ACCEPT("", ",")),
    "roles": (HEAD, header("x-roles", "", "a,", "/traits")),
    "token": (HEAD, header("x-auth-token", "", "a:", "/traits")),
    "method": (HEAD, lambda size: {"method": repeated("<", size), "path": "/traits"}),
    "content type": (
        HEAD,
        lambda size: {
            "method": "POST",
            "path": "/resource_providers",
            "body": b"{}",
            "headers": {"content-type": repeated("<", size)},
        },
    ),
    "path of tags": (URL, path("/resource_providers/", "<")),
    "path of slashes": (URL, path("/", "/a")),
    "name of a trait": (URL, path("/traits/", "<br", "PUT")),
    "name of a class": (URL, path("/resource_classes/CUSTOM_", "A", "PUT")),
    "consumer": (URL, path("/allocations/", "<", "PUT")),
    "query of tags": (URL, query("/allocation_candidates?", "<")),
    "query of separators": (URL, query("/traits?", ";&")),
    "query of percents": (URL, query("/traits?", "%")),
    "same parameter": (URL, query("/traits?", "name=a&")),
    "parameters": (URL, numbered("/traits?", "a{}=1&")),
    "parameters of a search": (URL, numbered("/allocation_candidates?", "resources_{}=VCPU:1&")),
    "classes": (URL, numbered("/allocation_candidates?resources=VCPU:1", ",A{}:1")),
    "digits": (URL, query("/allocation_candidates?resources=VCPU:", "9")),
    "traits": (URL, numbered(f"{ANY}required=A", ",!A{}")),
    "chosen traits": (URL, numbered(f"{ANY}required=in:A", ",A{}")),
    "exclamation marks": (URL, query(f"{ANY}required=", "!")),
    "aggregates": (URL, query(f"{ANY}member_of=in:", f"{UUID},", UUID)),
    "aggregate": (URL, query(f"{ANY}member_of=", "urn:uuid:{-}")),
    "subtrees": (URL, numbered(f"{ANY}same_subtree=_A", ",_{}")),
    "name of tags": (BODY, body("POST", "/resource_providers", named(text("<")))),
    "name of breaks": (BODY, body("POST", "/resource_providers", named(text("<BR ")))),
    "name of lines": (BODY, body("POST", "/resource_providers", named(text("\n")))),
    "lists": (BODY, body("POST", "/resource_providers", nested("[", "]", 900))),
    "objects": (BODY, body("POST", "/resource_providers", nested('{"a":', "}", 300))),
    "flat lists": (BODY, body("PUT", f"{PROVIDER}/aggregates", nested("[", "]", 20))),
    "name of lists": (BODY, body("POST", "/resource_providers", named(nested("[", "]", 50)))),
    "parent of lists": (
        BODY,
        body(
            "POST",
            "/resource_providers",
            lambda size: f'{{"name": "a", "parent_provider_uuid": {nested("[", "]", 50)(size)}}}',
        ),
    ),
    "numbers": (BODY, body("POST", "/allocations", lambda size: f"[{repeated('1,', size)}1]")),
    "equal aggregates": (
        BODY,
        body("PUT", f"{PROVIDER}/aggregates", lambda size: json.dumps([UUID] * (size // 40))),
    ),
    "consumers": (
        BODY,
        body(
            "POST",
            "/allocations",
            lambda size: json.dumps({f"{CONSUMER[:-6]}{each:06}": each for each in range(size // 48)}),
        ),
    ),
}


@each("name", CASES)
def test_a_request_takes_time_in_proportion_to_its_length(name: str) -> None:
    size, make = CASES[name]
    assert grows_in_proportion(partial(ask, client=Client(FakeService())), make, size)


UNITS = (
    "a",
    "://",
    "a://",
    "a://b:",
    "a://b:c@",
    "a://b:/",
    "@",
    "/",
    "password",
    "password=",
    "password='",
    'password="\\',
    "'password': '",
    "'token', '",
    "token ",
    "token\n",
    'token="\n',
    "--token ",
    "<token>",
    "X-Auth-Token",
    "X-Auth-Token: ",
    "?token=&",
    "moorage_0123456789abcdef_",
    '"',
    " ",
    "secret0",
)


@each("unit", UNITS)
def test_a_line_is_masked_in_time_in_proportion_to_its_length(unit: str) -> None:
    def line(size: int, before: str, after: str) -> str:
        return before + repeated(unit, size) + after

    for before in ("", "a://b:", "token=", "token='", 'GET "/x?'):
        for after in ("", "://", "@", "'", "="):
            assert grows_in_proportion(masked, partial(line, before=before, after=after), LINE)


@each("unit", UNITS)
def test_a_request_is_logged_in_time_in_proportion_to_its_length(unit: str) -> None:
    def ended(size: int) -> Ended:
        environ = {"QUERY_STRING": repeated(unit, size) + "://", "PATH_INFO": "/x", "REQUEST_METHOD": "GET"}
        return Ended("req-1", "GET", "none", None, 404, 0.5, Identity(repeated(unit, size)), environ, 0)

    assert grows_in_proportion(lambda told: line_of(told, masked), ended, LINE)


@pytest.mark.parametrize(
    ("method", "where", "content"),
    [
        ("POST", "/resource_providers", named(text("<"))),
        ("POST", "/resource_providers", nested('{"a":', "}", 300)),
        ("PUT", f"{PROVIDER}/aggregates", nested("[", "]", 900)),
        ("POST", "/resource_classes", named(text("<"))),
    ],
)
def test_of_a_long_body_the_beginning_is_quoted(
    method: str, where: str, content: Callable[[int], str]
) -> None:
    for size in (LARGE_BODY // 2, 100 * LARGE_BODY):
        refused = Client(FakeService()).ask(method, where, 39, body=content(size).encode())
        assert refused.status == 400
        assert len(refused.detail) < 2 * quoting.MAX_MESSAGE


@pytest.mark.parametrize("unit", ["1,", "[],", "{},", '"",'])
def test_more_values_than_any_request_needs_are_not_read(unit: str) -> None:
    content = f"[{unit * MAX_VALUES}1]".encode()
    refused = Client(FakeService()).ask("POST", "/allocations", 39, body=content)
    assert refused.status == 400
    assert f"more than {MAX_VALUES} values" in refused.detail


def test_as_many_inventories_and_allocations_as_may_be_allowed_are_read() -> None:
    inventory = {"total": 1, "reserved": 0, "min_unit": 1, "max_unit": 1, "step_size": 1}
    content = json.dumps(
        {
            "inventories": {
                UUID: {
                    "resource_provider_generation": 0,
                    "inventories": {
                        f"CUSTOM_{each}": inventory | {"allocation_ratio": 1.0} for each in range(MAX_NAMES)
                    },
                }
            },
            "allocations": {
                f"{each:036}": {
                    "allocations": {UUID: {"resources": {"VCPU": 1}}},
                    "project_id": "p",
                    "user_id": "u",
                    "consumer_generation": None,
                    "consumer_type": "T",
                    "mappings": {"_A": [UUID]},
                }
                for each in range(MAX_NAMES)
            },
        },
        separators=(",", ":"),
    )
    assert content.count(",") + content.count("{") + content.count("[") < MAX_VALUES
