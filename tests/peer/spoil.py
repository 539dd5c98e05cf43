"""Requests made wrong, or odd, in one place each."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from tests.peer.exchange import Request
from tests.peer.world import Build, Peek, World

VERSIONS = (
    "placement 1.40",
    "placement 2.0",
    "placement 0.1",
    "placement 1",
    "placement",
    "placement 1.",
    "placement 1.x",
    "placement 1.-1",
    "placement v1.3",
    "placement 1.05",
    "placement 1.1.1",
    "placement  1.7",
    " placement 1.8 ",
    "PLACEMENT 1.9",
    "placement latest",
    "placement Latest",
    "latest",
    "1.10",
    "compute 2.90",
    "compute 2.90, placement 1.17",
    "placement 1.3, placement 1.24",
    "placement 1.3,compute 2.1",
    "placement 1.3,",
    "",
)

ACCEPTS = (
    "application/json",
    "*/*",
    "text/html",
    "text/plain",
    "application/*",
    "text/html, application/json;q=0.5",
    "application/xml",
    "application/json;q=0",
    "text/html;q=0.9, */*;q=0.1",
    "",
)

CONTENT_TYPES = (
    "application/json; charset=utf-8",
    "APPLICATION/JSON",
    "text/plain",
    "application/x-www-form-urlencoded",
    "application/xml",
    "application/json;",
    "json",
    "",
)

METHODS = ("GET", "PUT", "POST", "DELETE", "PATCH", "HEAD", "OPTIONS", "TRACE", "BREW")

BODIES = (
    b"",
    b" ",
    b"{",
    b"[]",
    b"{}",
    b"null",
    b"true",
    b"17",
    b'"text"',
    b"[1, 2",
    b"\xff\xfe",
    b'{"name": "\xff"}',
    b'{"name": "a", "name": "b", "uuid": "11111111-1111-4111-8111-111111111111"}',
    b"not json",
    b"{'name': 'single'}",
)

VALUES: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    -1,
    1,
    1.0,
    1.5,
    2147483647,
    2147483648,
    "",
    "x",
    "1",
    "VCPU",
    "vcpu",
    "A" * 256,
    "<b>bold</b>",
    "snowman \u2603",
    [],
    {},
    ["x"],
    {"x": 1},
    "11111111-1111-4111-8111-111111111111",
    "11111111111141118111111111111111",
    "urn:uuid:11111111-1111-4111-8111-111111111111",
)


def _version(request: Request, source: random.Random) -> Request:
    return replace(request, headers=request.headers | {"OpenStack-API-Version": source.choice(VERSIONS)})


def _accept(request: Request, source: random.Random) -> Request:
    return replace(request, headers=request.headers | {"Accept": source.choice(ACCEPTS)})


def _without(request: Request, header: str) -> Request:
    return replace(
        request, headers={name: value for name, value in request.headers.items() if name != header}
    )


def _content_type(request: Request, source: random.Random) -> Request:
    if source.random() < 0.3:
        return _without(request, "Content-Type")
    return replace(request, headers=request.headers | {"Content-Type": source.choice(CONTENT_TYPES)})


def _token(request: Request, source: random.Random) -> Request:
    if source.random() < 0.5:
        return _without(request, "X-Auth-Token")
    return replace(
        request, headers=request.headers | {"X-Auth-Token": source.choice(("user", "user:project-a"))}
    )


def _method(request: Request, source: random.Random) -> Request:
    return replace(request, method=source.choice(METHODS))


def _path(request: Request, source: random.Random) -> Request:
    parts = request.path.split("/")
    at = source.randrange(1, len(parts))
    match source.randrange(6):
        case 0:
            parts.append("")
        case 1:
            parts.append("more")
        case 2:
            parts[at] = source.choice(
                ("unknown", "not-a-uuid", "x" * 300, "snowman \u2603", "a b", "%41", ".")
            )
        case 3:
            parts[at] = parts[at].upper()
        case 4:
            parts[at] = parts[at].replace("-", "")
        case _:
            del parts[at]
    return replace(request, path="/".join(parts) or "/")


def _query(request: Request, source: random.Random) -> Request:
    pairs = request.query.split("&") if request.query else []
    at = source.randrange(len(pairs)) if pairs else 0
    match source.randrange(7) if pairs else 6:
        case 0:
            pairs.append(pairs[at])
        case 1:
            pairs[at] = pairs[at].partition("=")[0] + "="
        case 2:
            pairs[at] = pairs[at].partition("=")[0]
        case 3:
            name, _, value = pairs[at].partition("=")
            pairs[at] = f"{name}=" + source.choice(
                (
                    f"{value},",
                    f",{value}",
                    f"{value}:",
                    f" {value}",
                    value.lower(),
                    f"!{value}",
                    f"in:{value}",
                )
            )
        case 4:
            name, _, value = pairs[at].partition("=")
            pairs[at] = f"{name}X={value}"
        case 5:
            value = pairs[at]
            cut = source.randrange(len(value) + 1)
            pairs[at] = (
                value[:cut]
                + source.choice(("", "0", ",", ":", "!", "=", "%20", "+", "%E2%98%83"))
                + value[cut + 1 :]
            )
        case _:
            pairs.append(
                source.choice(
                    (
                        "unknown=1",
                        "resources=",
                        "resources=VCPU",
                        "resources=VCPU:0",
                        "resources=VCPU:-1",
                        "resources=VCPU:x",
                        "resources=VCPU:1.5",
                        "resources=VCPU:99999999999999999999",
                        "resources=VCPU:1,VCPU:2",
                        "resources0=VCPU:1",
                        "resources1=VCPU:1",
                        "resources_a=VCPU:1",
                        "required=",
                        "required=,",
                        "required=!",
                        "required1=CUSTOM_RED",
                        "required=in:",
                        "member_of=",
                        "member_of=x",
                        "member_of=in:",
                        "in_tree=x",
                        "in_tree1=x",
                        "limit=0",
                        "limit=x",
                        "limit=-1",
                        "limit=x&limit=1",
                        "group_policy=all",
                        "same_subtree=",
                        "same_subtree=1",
                        "root_required=",
                        "root_required=in:CUSTOM_RED,CUSTOM_BLUE",
                        "root_required=CUSTOM_RED,!CUSTOM_RED",
                        "name=a&name=b",
                        "uuid=x",
                        "project_id=",
                        "consumer_type=x",
                        "associated=x",
                        "&&",
                        "=",
                        "%",
                        "%ff=1",
                    )
                )
            )
    return replace(request, query="&".join(pairs))


def _raw_body(request: Request, source: random.Random) -> Request:
    return replace(request, body=source.choice(BODIES))


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Every key of every object, and every position of every list, within ``value``."""
    found: list[tuple[Any, Any]] = []
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else []
    for key in keys:
        found.append((value, key))
        found += _places(value[key])
    return found


def _json_body(request: Request, source: random.Random) -> Request:
    body = request.json
    places = _places(body)
    if not places:
        return _raw_body(request, source)
    holder, key = source.choice(places)
    match source.randrange(6):
        case 0:
            del holder[key]
        case 1 | 2:
            holder[key] = source.choice(VALUES)
        case 3 if isinstance(holder, dict):
            holder["unknown"] = source.choice(VALUES)
        case 4 if isinstance(holder, dict):
            renamed = source.choice(
                (str(key).lower(), str(key).upper(), f"{key}x", "", str(key).replace("-", ""))
            )
            holder[renamed] = holder.pop(key)
        case _:
            if isinstance(holder[key], str):
                holder[key] = source.choice(
                    (holder[key].upper(), holder[key].replace("-", ""), holder[key] + " ")
                )
            elif isinstance(holder[key], int):
                holder[key] = source.choice((float(holder[key]), str(holder[key]), -holder[key]))
            else:
                holder[key] = [holder[key]]
    return replace(request, body=json.dumps(body).encode())


OF_ALL = (_version, _accept, _content_type, _token, _method, _path)
OF_READS = (*OF_ALL, _query, _query, _query, _query, _query, _query, _query, _query)
OF_WRITES = (*OF_ALL, _raw_body, _query, *[_json_body] * 8)


def _makes_up_uuid(request: Request) -> bool:
    """Whether each service would take a UUID of its own."""
    body = request.json
    return request.path == "/resource_providers" and isinstance(body, dict) and "uuid" not in body


def spoiled(world: World, build: Build) -> Build:
    """``build`` with something odd done to its request."""
    seed = world.random.getrandbits(32)

    def build_spoiled(peek: Peek) -> Request:
        request = build(peek)
        source = random.Random(seed)
        ways: tuple[Callable[[Request, random.Random], Request], ...]
        ways = OF_READS if request.body is None else OF_WRITES
        odd = source.choice(ways)(request, source)
        return request if _makes_up_uuid(odd) else odd

    return build_spoiled
