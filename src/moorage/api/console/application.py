"""The application that sends the console's files, and the door that leads browsers to it.

It needs no token and shows nothing of the account: the pages ask the two APIs, as any client does. All
addresses within the pages are relative, so they work under any prefix.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from moorage.api.console.files import StaticFile, packaged_files, static_file
from moorage.api.http.accept import HTML
from moorage.api.http.exchange import WsgiApplication

PATH: Final = "/moorage/console"
"""The path of the console below the service's own address."""

PAGES: Final[Sequence[str]] = (
    "map",
    "tree",
    "search",
    "classes",
    "consumer",
    "changes",
    "why",
    "leases",
    "findings",
)
"""Paths below the console that all show the one document, which reads them."""

DOCUMENT: Final = "index.html"
SETTINGS: Final = "settings.json"
"""What the pages have to know of the service before they can ask it."""

READABLE: Final = ("GET", "HEAD")

PROTECTION: Final[Sequence[tuple[str, str]]] = (
    (
        "Content-Security-Policy",
        "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; object-src 'none'",
    ),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
)
"""Headers of all answers: nothing from other origins, no script or style within a page, no frames."""

FOUND: Final = "302 Found"

StartResponse = Callable[..., Any]


class Console:
    """Sends the files of the console. ``strategy`` is how the service authenticates its clients.

    ``writes``: the pages offer to claim. The policy still decides what a client may do.
    """

    def __init__(self, strategy: str, *, writes: bool = False) -> None:
        files = packaged_files()
        settings = json.dumps({"auth_strategy": strategy, "writes": writes})
        files[SETTINGS] = static_file(SETTINGS, settings.encode())
        document = files[DOCUMENT]
        self._files: Mapping[str, StaticFile] = {**files, "": document, **dict.fromkeys(PAGES, document)}

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        method: str = environ["REQUEST_METHOD"]
        path: str = environ["PATH_INFO"][len(PATH) :]
        if method not in READABLE:
            return _refuse(start_response, "405 Method Not Allowed", [("Allow", ", ".join(READABLE))])
        if not path:
            # Relative to the parent of this path, so it holds under any prefix.
            return _lead(start_response, "console/")
        file = self._files.get(path[1:])
        if file is None:
            return _refuse(start_response, "404 Not Found", [], is_head=method == "HEAD")
        return _send(file, environ, start_response, is_head=method == "HEAD")


def _send(
    file: StaticFile, environ: Mapping[str, Any], start_response: StartResponse, *, is_head: bool
) -> Iterable[bytes]:
    # A browser asks each time whether its copy still holds, so an upgrade is seen at once.
    headers = [*PROTECTION, ("ETag", file.tag), ("Cache-Control", "no-cache"), ("Vary", "Accept-Encoding")]
    if _holds(environ.get("HTTP_IF_NONE_MATCH", ""), file.tag):
        start_response("304 Not Modified", headers)
        return []
    content = file.content
    if _takes_gzip(environ.get("HTTP_ACCEPT_ENCODING", "")):
        content = file.squeezed
        headers.append(("Content-Encoding", "gzip"))
    headers += [("Content-Type", file.media_type), ("Content-Length", str(len(content)))]
    start_response("200 OK", headers)
    return [] if is_head else [content]


def _holds(header: str, tag: str) -> bool:
    # A proxy that compresses makes a tag weak.
    return any(part.strip().removeprefix("W/") in {tag, "*"} for part in header.split(","))


def _takes_gzip(header: str) -> bool:
    for part in header.lower().split(","):
        name, _, weight = part.partition(";")
        if name.strip() == "gzip":
            return weight.replace(" ", "") not in {"q=0", "q=0.0", "q=0.00", "q=0.000"}
    return False


def _refuse(
    start_response: StartResponse, status: str, headers: list[tuple[str, str]], *, is_head: bool = False
) -> Iterable[bytes]:
    text = f"{status}\n".encode()
    kind = [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(text)))]
    start_response(status, [*PROTECTION, *kind, *headers])
    return [] if is_head else [text]


def _lead(start_response: StartResponse, location: str, *more: tuple[str, str]) -> Iterable[bytes]:
    start_response(FOUND, [*PROTECTION, ("Location", location), ("Content-Length", "0"), *more])
    return []


class Door:
    """``/``: leads a browser to the console, and leaves all other clients to ``application``.

    A browser is a client that reads, takes HTML, shows no token and names no microversion.
    """

    def __init__(self, application: WsgiApplication) -> None:
        self._application = application

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        if not is_browser(environ):
            return self._application(environ, start_response)
        # Relative where there is a slash to be relative to: a proxy may add a prefix and not say so.
        base = "" if environ.get("PATH_INFO") else environ.get("SCRIPT_NAME", "") + "/"
        vary = ("Vary", "Accept, X-Auth-Token, OpenStack-API-Version")
        return _lead(start_response, f"{base}{PATH[1:]}/", vary, ("Cache-Control", "no-store"))


def is_browser(environ: Mapping[str, Any]) -> bool:
    """Whether a request comes from a person's browser that opened the address of the service."""
    return (
        environ["REQUEST_METHOD"] in READABLE
        and "HTTP_X_AUTH_TOKEN" not in environ
        and "HTTP_OPENSTACK_API_VERSION" not in environ
        and _names_html(environ.get("HTTP_ACCEPT", ""))
    )


def _names_html(header: str) -> bool:
    return any(part.partition(";")[0].strip().lower() == HTML for part in header.split(","))
