"""The front: leaves each request to the application that its path belongs to.

All applications have one port, and with it TLS, limits of the server and the prefix that a proxy adds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any, Final

from moorage.api.http.exchange import WsgiApplication

READABLE: Final = ("GET", "HEAD")

NO_MORE: Final[Mapping[str, WsgiApplication]] = MappingProxyType({})


class Dispatcher:
    """Dispatches between applications by path.

    ``own`` are single paths that can only be read, ``at`` are single paths with all methods, and ``below``
    are paths with everything below them. Of several of these that fit, the longest counts. All other paths
    belong to ``application``.
    """

    def __init__(
        self,
        application: WsgiApplication,
        own: Mapping[str, WsgiApplication],
        below: Mapping[str, WsgiApplication] = NO_MORE,
        at: Mapping[str, WsgiApplication] = NO_MORE,
    ) -> None:
        self._application = application
        self._single: Mapping[str, WsgiApplication] = {
            **{path: partial(_read_only, reading) for path, reading in own.items()},
            **at,
        }
        self._below = sorted(below.items(), reverse=True)
        self._beginnings = tuple(below)

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        path: str = environ.get("PATH_INFO", "")
        single = self._single.get(path)
        if single is not None:
            return single(environ, start_response)
        # Nearly all requests end here, so there is one test for all paths of ``below``.
        application = self._of(path) if path.startswith(self._beginnings) else self._application
        return application(environ, start_response)

    def _of(self, path: str) -> WsgiApplication:
        for beginning, application in self._below:
            if path.startswith(beginning) and path[len(beginning) :][:1] in ("", "/"):
                return application
        return self._application


def _read_only(
    application: WsgiApplication, environ: dict[str, Any], start_response: Callable[..., Any]
) -> Iterable[bytes]:
    method = environ["REQUEST_METHOD"]
    if method not in READABLE:
        start_response("405 Method Not Allowed", [("Allow", ", ".join(READABLE)), ("Content-Length", "0")])
        return []
    body = application(environ, start_response)
    return [] if method == "HEAD" else body
