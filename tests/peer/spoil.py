"""Requests made wrong, or odd, in one place each."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from tests.peer import oddities
from tests.peer.exchange import Request
from tests.peer.world import Build, Peek, World


def _version(request: Request, source: random.Random) -> Request:
    return replace(
        request, headers=request.headers | {"OpenStack-API-Version": source.choice(oddities.VERSIONS)}
    )


def _accept(request: Request, source: random.Random) -> Request:
    return replace(request, headers=request.headers | {"Accept": source.choice(oddities.ACCEPTS)})


def _without(request: Request, header: str) -> Request:
    return replace(
        request, headers={name: value for name, value in request.headers.items() if name != header}
    )


def _content_type(request: Request, source: random.Random) -> Request:
    if source.random() < 0.3:
        return _without(request, "Content-Type")
    return replace(request, headers=request.headers | {"Content-Type": source.choice(oddities.CONTENT_TYPES)})


def _token(request: Request, source: random.Random) -> Request:
    if source.random() < 0.2:
        return _without(request, "X-Auth-Token")
    token = {"X-Auth-Token": source.choice(oddities.TOKENS)}
    roles = {"X-Roles": source.choice(oddities.ROLES)} if source.random() < 0.7 else {}
    return replace(request, headers=request.headers | token | roles)


def _method(request: Request, source: random.Random) -> Request:
    return replace(request, method=source.choice(oddities.METHODS))


def _header(request: Request, source: random.Random) -> Request:
    name, value = source.choice(oddities.HEADERS)
    return replace(request, headers=request.headers | {name: value})


def _prefix(request: Request, source: random.Random) -> Request:
    return replace(request, prefix=source.choice(oddities.PREFIXES))


def _path(request: Request, source: random.Random) -> Request:
    parts = request.path.split("/")
    at = source.randrange(1, len(parts))
    match source.randrange(8):
        case 0:
            parts.append("")
        case 1:
            parts.append("more")
        case 2:
            parts[at] = source.choice(oddities.SEGMENTS)
        case 3:
            parts[at] = parts[at].upper()
        case 4:
            parts[at] = parts[at].replace("-", "")
        case 5:
            parts[at] += source.choice((" ", "\n", "\0", ";x", oddities.NOT_UTF8, "/"))
        case 6:
            parts.insert(at, "")
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
            pairs[at] = value[:cut] + source.choice(oddities.INSERTIONS) + value[cut + 1 :]
        case _:
            pairs.append(source.choice(oddities.PARAMETERS))
    return replace(request, query=source.choice("&&&&;").join(pairs))


def _raw_body(request: Request, source: random.Random) -> Request:
    return replace(request, body=source.choice(oddities.BODIES))


def _body_as_sent(request: Request, source: random.Random) -> Request:
    """The same JSON, in another guise."""
    body = request.body or b""
    match source.randrange(6):
        case 0:
            return replace(request, chunked=True)
        case 1:
            return replace(request, body=b"\xef\xbb\xbf" + body)
        case 2:
            return replace(request, body=body.decode().encode(source.choice(("utf-16", "utf-32"))))
        case 3:
            return replace(request, body=body[: source.randrange(len(body) + 1)])
        case 4:
            # A key that comes twice: the last one counts.
            keys = list(request.json) if isinstance(request.json, dict) else ["x"]
            twice = json.dumps({source.choice(keys or ["x"]): source.choice(oddities.VALUES)})
            return replace(request, body=body.replace(b"{", twice[:-1].encode() + b", ", 1))
        case _:
            return replace(request, body=source.choice((b"\n\t ", b"")) + body + b" \r\n")


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
            holder[key] = source.choice(oddities.VALUES)
        case 3 if isinstance(holder, dict):
            holder["unknown"] = source.choice(oddities.VALUES)
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


OF_ALL = (_version, _accept, _content_type, _token, _method, _path, _header, _prefix)
OF_READS = (*OF_ALL, _query, _query, _query, _query, _query, _query, _query, _query)
OF_WRITES = (*OF_ALL, _raw_body, _body_as_sent, _query, *[_json_body] * 8)


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
