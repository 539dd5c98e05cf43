"""How much one request may be and ask for, so that none can take a worker hostage.

What a search costs is bounded elsewhere, by its steps; here is what comes before it: bytes, and how
many things a query string or a body names. Bodies are counted before their schema is held against
them, so they may have any shape here; what is not there counts as nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from itertools import filterfalse
from typing import Any, Final

from moorage.api.settings import Limits
from moorage.api.wire_error import WireError, bad_request

_NO_HEADERS: Final = frozenset(name for name in os.environ if not name.startswith("HTTP_")) | {
    "CONTENT_LENGTH",
    "CONTENT_TYPE",
    "GATEWAY_INTERFACE",
    "PATH_INFO",
    "QUERY_STRING",
    "REMOTE_ADDR",
    "REQUEST_METHOD",
    "SCRIPT_NAME",
    "SERVER_NAME",
    "SERVER_PORT",
    "SERVER_PROTOCOL",
    "SERVER_SOFTWARE",
    "wsgi.errors",
    "wsgi.input",
    "wsgi.input_terminated",
    "wsgi.multiprocess",
    "wsgi.multithread",
    "wsgi.run_once",
    "wsgi.url_scheme",
    "wsgi.version",
}
"""What a server adds to the environ of a request, some of it from the environment of its process (PEP 3333):
often more than there are headers, and passed over faster than looked at."""

REQUEST_GROUPS: Final = "request groups"
TRAITS: Final = "traits"
AGGREGATES: Final = "aggregates"
INVENTORIES: Final = "inventories"
ALLOCATIONS: Final = "allocations"

_LIMITS: Final[Mapping[str, Callable[[Limits], int]]] = {
    REQUEST_GROUPS: lambda limits: limits.request_groups,
    TRAITS: lambda limits: limits.traits,
    AGGREGATES: lambda limits: limits.aggregates,
    INVENTORIES: lambda limits: limits.inventories,
    ALLOCATIONS: lambda limits: limits.allocations,
}


def check_head(environ: Mapping[str, Any], limits: Limits) -> None:
    """Raises WireError (414, 431) for too long a URL or too many bytes of headers."""
    url = len(environ.get("PATH_INFO", "")) + len(environ.get("QUERY_STRING", ""))
    if url > limits.url_bytes:
        raise WireError(414, f"Path and query string must not be longer than {limits.url_bytes} bytes.")
    headers = 0
    for name in filterfalse(_NO_HEADERS.__contains__, environ):
        if name[:5] == "HTTP_":
            headers += len(name) + len(environ[name])
    if headers > limits.header_bytes:
        raise WireError(431, f"All headers together must not be longer than {limits.header_bytes} bytes.")


def check_counts(counts: Mapping[str, int], limits: Limits) -> None:
    """Hold ``counts``, by what is counted, against the limits. Raises WireError (400)."""
    for what, count in counts.items():
        most = _LIMITS[what](limits)
        if count > most:
            raise bad_request(f"The request names {count} {what}, and at most {most} are taken.")


def check_body(operation: str, decoded: object, limits: Limits) -> None:
    """Count what the body of an operation (``"PUT /path"``) names. Raises WireError (400)."""
    check_counts({what: count(decoded) for what, count in BODY_COUNTS.get(operation, ())}, limits)


def _part(value: object, key: str) -> object:
    return value.get(key) if isinstance(value, dict) else None


def _items(value: object) -> Iterable[object]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _size(value: object) -> int:
    return len(value) if isinstance(value, dict | list) else 0


def _part_size(key: str) -> Callable[[object], int]:
    return lambda body: _size(_part(body, key))


def _aggregates(body: object) -> int:
    return _size(body if isinstance(body, list) else _part(body, "aggregates"))


def _held(claim: object) -> int:
    """Amounts that one consumer shall hold; letting go of all is one thing to do, too."""
    held = [_size(_part(item, "resources")) or 1 for item in _items(_part(claim, "allocations"))]
    return sum(held) or 1


def _held_by_all(claims: object) -> int:
    return sum(map(_held, _items(claims)))


def _inventories_of_all(inventories: object) -> int:
    return sum(max(1, _size(_part(item, "inventories"))) for item in _items(inventories))


BODY_COUNTS: Final[Mapping[str, tuple[tuple[str, Callable[[object], int]], ...]]] = {
    "PUT /resource_providers/{uuid}/inventories": ((INVENTORIES, _part_size("inventories")),),
    "PUT /resource_providers/{uuid}/aggregates": ((AGGREGATES, _aggregates),),
    "PUT /resource_providers/{uuid}/traits": ((TRAITS, _part_size("traits")),),
    "PUT /allocations/{consumer_uuid}": ((ALLOCATIONS, _held),),
    "POST /allocations": ((ALLOCATIONS, _held_by_all),),
    "POST /reshaper": (
        (INVENTORIES, lambda body: _inventories_of_all(_part(body, "inventories"))),
        (ALLOCATIONS, lambda body: _held_by_all(_part(body, "allocations"))),
    ),
}
"""What is counted in a body, by operation. All others name one thing only."""
