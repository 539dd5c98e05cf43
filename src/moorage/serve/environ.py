"""The WSGI environ (PEP 3333) of a request, made from the bytes that came.

Granian can make one itself, but then names are joined before any Python sees them: ``X_Auth_Token`` counts
as ``X-Auth-Token``, and a value that is not ASCII is empty. Its ASGI scope has names and values as they were
sent.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from typing import Any, Final
from urllib.parse import unquote_to_bytes

from moorage.api.http.intake import DOUBLED

NO_PATH: Final = "//"
"""A path that no route has."""

_BASE: Final[Mapping[str, Any]] = {
    "SCRIPT_NAME": "",
    "wsgi.version": (1, 0),
    "wsgi.errors": sys.stderr,
    # ``read`` ends at the end of the body, also of one in chunks.
    "wsgi.input_terminated": True,
    "wsgi.multithread": True,
    "wsgi.multiprocess": True,
    "wsgi.run_once": False,
}

_PROTOCOLS: Final[Mapping[str, str]] = {"1": "HTTP/1.0"}
"""Versions that an environ spells differently."""

_FREQUENT: Final = (
    "accept",
    "accept-encoding",
    "connection",
    "content-length",
    "content-type",
    "host",
    "openstack-api-version",
    "user-agent",
    "x-auth-token",
    "x-openstack-request-id",
    "x-roles",
)

_BARE: Final = frozenset({"CONTENT_LENGTH", "CONTENT_TYPE"})
"""Headers that have no prefix in an environ."""

_SINGLE: Final = _BARE | {"HTTP_HOST"}
"""Headers that a request may have only once. A proxy may obey the first of two, and a service the second."""


def environ_of(scope: Mapping[str, Any]) -> dict[str, Any]:
    """What an ASGI scope says, as an environ without its input.

    A header that has an underscore in its name is left out, as nginx does it: in an environ it would be
    another one, which a proxy may have removed. ``DOUBLED`` names one that came twice, though only one can
    count.
    """
    path: bytes = scope["raw_path"]
    if b"%" in path:
        path = unquote_to_bytes(path)
    version: str = scope["http_version"]
    environ = {
        **_BASE,
        "REQUEST_METHOD": scope["method"],
        # A target without a slash (``GET resource_providers``) is taken for a host; its path is empty.
        "PATH_INFO": path.decode("latin-1") or NO_PATH,
        "QUERY_STRING": scope["query_string"].decode("latin-1"),
        "SERVER_PROTOCOL": _PROTOCOLS.get(version) or f"HTTP/{version}",
        "wsgi.url_scheme": scope["scheme"],
    }
    environ["SERVER_NAME"], environ["SERVER_PORT"] = scope["server"]
    environ["REMOTE_ADDR"] = scope["client"][0]
    _add_headers(environ, scope["headers"])
    return environ


def _add_headers(environ: dict[str, Any], headers: Iterable[tuple[bytes, bytes]]) -> None:
    for name, content in headers:
        key = _KEYS.get(name) or _key(name)
        value = content.decode("latin-1")
        if not key:
            continue
        if key not in environ:
            environ[key] = value
        elif key not in _SINGLE:
            environ[key] += f"{'; ' if key == 'HTTP_COOKIE' else ', '}{value}"
        else:
            environ[DOUBLED] = name.decode("latin-1")


def _key(name: bytes) -> str:
    """The key of a header, given in lower case; empty for one that is left out."""
    if b"_" in name:
        return ""
    key = name.decode("latin-1").upper().replace("-", "_")
    return key if key in _BARE else f"HTTP_{key}"


_KEYS: Final[Mapping[bytes, str]] = {name.encode(): _key(name.encode()) for name in _FREQUENT}
