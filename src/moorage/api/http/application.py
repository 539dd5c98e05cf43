"""What every application over HTTP does: identity, form of a request's head, routes, errors, reports."""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from email.utils import format_datetime
from functools import lru_cache
from itertools import filterfalse
from time import perf_counter
from typing import Any, Final, Generic, Protocol, TypeVar

import falcon
import orjson

from moorage.api.http import intake
from moorage.api.http.exchange import NO_BODY, UNBUFFERED, Answer, WsgiApplication
from moorage.api.http.observer import (
    CLIENTS_ID,
    NO_ROUTE,
    OTHER_METHOD,
    REQUEST_ID,
    Ended,
    RequestObserver,
)
from moorage.api.http.settings import Limits
from moorage.api.http.wire_error import WireError, bad_request
from moorage.auth.identity import Authenticator, Identity, UnauthorisedError, UnreachableError
from moorage.auth.policy import ForbiddenError, Policy
from moorage.model.chance import own_numbers
from moorage.model.errors import MoorageError

LOG: Final = logging.getLogger(__name__)

REQUEST_ID_HEADER: Final = "x-openstack-request-id"

SAID_BY_SCHEME: Final = {"http": ":80", "https": ":443"}
"""Default ports by scheme, as they appear at the end of an address."""

_HOST: Final = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~-]*)(?::[0-9]*)?")

ANONYMOUS: Final = Identity(user_id="")
"""The identity of requests to paths that need no token."""

_numbers: Final = own_numbers()


class Routed(Protocol):
    """What a request is routed to."""

    @property
    def method(self) -> str:
        """The method."""
        ...

    @property
    def path(self) -> str:
        """The path's template."""
        ...


class Reporter:
    """Reports every request to the observers."""

    def __init__(self, observers: Sequence[RequestObserver]) -> None:
        self._begun = [observer.request_begun for observer in observers]
        self._ended = [observer.request_ended for observer in observers]

    def begin(self, request: falcon.Request) -> None:
        """Report that a request has arrived."""
        request.context.begun = perf_counter()
        known = request_id(request)
        for tell in self._begun:
            tell(known, request.env)

    def end(self, request: falcon.Request, response: falcon.Response) -> None:
        """Report the answer to a request."""
        context = request.context
        operation: Routed | None = getattr(context, "operation", None)
        ended = Ended(
            request_id(request),
            OTHER_METHOD if operation is None else operation.method,
            NO_ROUTE if operation is None else operation.path,
            getattr(context, "minor", None),
            response.status_code,
            perf_counter() - context.begun,
            getattr(context, "identity", None),
            request.env,
            len(response.data or b""),
        )
        for tell in self._ended:
            tell(ended)


class Gate:
    """The checks of every request before routing, and the headers of every answer.

    An application's own gate reads the version that a request asks for, and adds headers of its own.
    ``is_open`` says which paths need no token. ``write`` is the rule of the most frequent write; it stands
    for all writes where a request is refused before its own rule is known. ``observers`` get a report of
    every request.
    """

    def __init__(
        self,
        authenticator: Authenticator,
        policy: Policy,
        allowed: Limits,
        is_open: Callable[[str], bool],
        write: str,
        observers: Sequence[RequestObserver] = (),
    ) -> None:
        self._reporter = Reporter(observers) if observers else None
        self._authenticator = authenticator
        self._policy = policy
        self._limits = allowed
        self._is_open = is_open
        self._write = write

    def read_version(self, request: falcon.Request) -> None:
        """Read the version that a request asks for. Raises WireError."""

    def add_headers(self, request: falcon.Request, response: falcon.Response) -> None:
        """Add the headers that every answer of this API has."""

    def process_request(self, request: falcon.Request, response: falcon.Response) -> None:
        """Raises WireError (400, 401, 404, 414, 431, 503, and those of the version)."""
        context = request.context
        request_id(request)
        if self._reporter is not None:
            self._reporter.begin(request)
        told = request.env.get(CLIENTS_ID)
        context.global_request_id = told if told and REQUEST_ID.fullmatch(told) else ""
        _check_head(request.env, self._limits)
        context.identity = self._identity(request)
        self.read_version(request)
        _check_headers(request.env)
        _check_host(request.env.get("HTTP_HOST", ""))
        _check_path(request.env.get("PATH_INFO", ""))
        if request.method not in falcon.COMBINED_METHODS:
            # Falcon answers 400 to methods that it does not know. Replacing such a method by one that no
            # route has lets the route answer with the allowed methods. The environ keeps the true one.
            request.method = "OPTIONS"

    def _identity(self, request: falcon.Request) -> Identity:
        if self._is_open(request.path):
            return ANONYMOUS
        try:
            return self._authenticator.identify(request.env)
        except UnauthorisedError as error:
            raise WireError(401, headers=error.headers, body=error.body) from None
        except UnreachableError:
            raise WireError(503, "The identity service cannot be reached.") from None

    def _may_write(self, identity: Identity) -> bool:
        if identity is ANONYMOUS:
            return False
        try:
            self._policy.authorise(identity, self._write)
        except ForbiddenError:
            return False
        return True

    def process_response(
        self,
        request: falcon.Request,
        response: falcon.Response,
        resource: object,
        succeeded: bool,
    ) -> None:
        """Finish an answer and report it, whether or not the request got further than this gate."""
        # A thread reads the body of a refused request only if the client may write at all.
        if (
            intake.TAKEN not in request.env
            and intake.is_unread(request.env)
            and self._may_write(getattr(request.context, "identity", ANONYMOUS))
        ):
            intake.drain(request.env)
        response.set_header(REQUEST_ID_HEADER, request_id(request))
        self.add_headers(request, response)
        if self._reporter is not None:
            self._reporter.end(request, response)


RoutedT = TypeVar("RoutedT", bound=Routed)

Answerer = Callable[[RoutedT, falcon.Request, dict[str, str]], Answer]
"""Answers a request for an operation, with the fields of its path. May raise WireError and MoorageError."""


class Resource(Generic[RoutedT]):
    """All methods of one path, as a Falcon resource."""

    def __init__(self, methods: Mapping[str, RoutedT], answer: Answerer[RoutedT]) -> None:
        self._methods = methods
        self._answer = answer

    def on_request(self, request: falcon.Request, response: falcon.Response, **fields: str) -> None:
        """Answer any method. Raises WireError, MoorageError."""
        method = request.env["REQUEST_METHOD"]
        if not all(fields.values()):
            # Falcon matches a trailing slash as an empty field.
            raise WireError(404)
        operation = self._methods.get(method)
        if operation is None:
            raise WireError(
                405,
                "The method specified is not allowed for this resource.",
                headers={"allow": ", ".join(self._methods)},
            )
        request.context.operation = operation
        request.context.facts = dict(fields)
        _write(request, response, self._answer(operation, request, fields))

    # Falcon would answer OPTIONS itself, with 200.
    on_options = on_request


def _write(request: falcon.Request, response: falcon.Response, answer: Answer) -> None:
    response.status = answer.status
    if answer.body is not NO_BODY:
        response.content_type = answer.media_type
        response.data = answer.body if isinstance(answer.body, bytes) else orjson.dumps(answer.body)
    if answer.stream is not None:
        response.content_type = answer.media_type
        response.stream = answer.stream
        response.set_header(UNBUFFERED, "no")
    if answer.location is not None:
        response.set_header("location", origin(request.env) + answer.location)
    if answer.dated:
        response.set_header("cache-control", "no-cache")
        response.set_header("last-modified", http_date(answer.modified))
    for name, value in answer.headers.items():
        response.set_header(name, value)


def http_date(moment: datetime | None) -> str:
    """A naive UTC time in the format of HTTP headers; None means the present."""
    if moment is None:
        return _date_of(int(time.time()))
    return format_datetime(moment.replace(tzinfo=UTC), usegmt=True)


@lru_cache(maxsize=1)
def _date_of(second: int) -> str:
    """Cached, because many answers are sent within one second."""
    return format_datetime(datetime.fromtimestamp(second, UTC), usegmt=True)


Translate = Callable[[falcon.Request, MoorageError], WireError | None]
"""The refusal for an error of the model; None for an error that no table foresees."""

Refuse = Callable[[falcon.Request, falcon.Response, WireError], None]
"""Writes a refusal in an API's own form."""


def assembled(
    gate: Gate,
    resources: Mapping[str, Resource[Any]],
    translate: Translate,
    refuse: Refuse,
) -> WsgiApplication:
    """The application of these ``resources`` behind ``gate``, by the templates of their paths."""
    application: falcon.App[falcon.Request, falcon.Response] = falcon.App(middleware=[gate])
    application.router_options.default_to_on_request = True
    # An answer without a body must not have a content type; Falcon's type hint is "str" here.
    application.resp_options.default_media_type = None  # type: ignore[assignment]
    for path, resource in resources.items():
        application.add_route(path, resource)

    def answer_error(
        request: falcon.Request, response: falcon.Response, error: Exception, fields: dict[str, Any]
    ) -> None:
        refuse(request, response, _refusal(request, error, translate))

    for kind in (Exception, falcon.HTTPError, falcon.HTTPStatus):
        application.add_error_handler(kind, answer_error)
    return application


def _refusal(request: falcon.Request, error: Exception, translate: Translate) -> WireError:
    found: WireError | None = None
    if isinstance(error, WireError):
        return error
    if isinstance(error, MoorageError):
        found = translate(request, error)
        if found is not None and found.status >= 500:
            LOG.warning("request %s could not be answered: %s", request_id(request), error)
    elif isinstance(error, falcon.HTTPError):
        found = WireError(error.status_code)
    if found is None:
        LOG.error("unexpected error in request %s", request_id(request), exc_info=error)
        found = WireError(
            500, "An unexpected error occurred. The service's log has its details, under the request id."
        )
    return found


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
"""Keys that a server adds to the environ, some of them from the environment of its process (PEP 3333). They
often outnumber the headers, and skipping them is faster than checking each."""


def _check_head(environ: Mapping[str, Any], limits: Limits) -> None:
    """Check the lengths of URL and headers. Raises WireError (414, 431)."""
    url = len(environ.get("PATH_INFO", "")) + len(environ.get("QUERY_STRING", ""))
    if url > limits.url_bytes:
        raise WireError(414, f"Path and query string must not be longer than {limits.url_bytes} bytes.")
    headers = 0
    for name in filterfalse(_NO_HEADERS.__contains__, environ):
        if name[:5] == "HTTP_":
            headers += len(name) + len(environ[name])
    if headers > limits.header_bytes:
        raise WireError(431, f"All headers together must not be longer than {limits.header_bytes} bytes.")


def _check_headers(environ: Mapping[str, Any]) -> None:
    """Check that a body has a content type, and a length that is a number. Raises WireError (400)."""
    doubled = environ.get(intake.DOUBLED)
    if doubled is not None:
        raise bad_request(f"{doubled} header must be there once only")
    length = environ.get("CONTENT_LENGTH")
    if length and "HTTP_TRANSFER_ENCODING" in environ:
        # A proxy that obeys the other header would see a second request after this one (request smuggling).
        raise bad_request("content-length and transfer-encoding headers exclude each other")
    try:
        has_body = length is not None and length != "" and int(length) > 0
    except ValueError:
        raise bad_request("content-length header must be an integer") from None
    if has_body and not environ.get("CONTENT_TYPE"):
        raise bad_request("content-type header required when content-length > 0")


def _check_host(host: str) -> None:
    """Check the Host header, which becomes part of locations. Raises WireError (400; see RFC 9112)."""
    if not _HOST.fullmatch(host):
        raise bad_request("The Host header must be a name or an address, with a port or without.")


def _check_path(path: str) -> None:
    """Check that the path is valid text, as all names are. Raises WireError (404)."""
    if "\0" in path or path.startswith("//"):
        raise WireError(404)
    if not path.isascii():
        try:
            path.encode("latin-1").decode("utf-8")
        except UnicodeError:
            raise WireError(404) from None


def origin(environ: Mapping[str, Any]) -> str:
    """Scheme and host as the client names them. wire: without the scheme's default port."""
    scheme: str = environ["wsgi.url_scheme"]
    host = environ.get("HTTP_HOST") or f"{environ['SERVER_NAME']}:{environ['SERVER_PORT']}"
    return f"{scheme}://{host}".removesuffix(SAID_BY_SCHEME.get(scheme, ""))


def new_request_id() -> str:
    """``req-`` and a random UUID (RFC 4122, version 4), as this field has them.

    Does not read the system's random source, because that releases the interpreter's lock and waits to get it
    back.
    """
    digits = f"{_numbers.getrandbits(128):032x}"
    variant = "89ab"[int(digits[16], 16) & 3]
    return f"req-{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:]}"


def request_id(request: falcon.Request) -> str:
    """The id of a request, even if Falcon refuses the request before the gate sees it."""
    known: str | None = getattr(request.context, "request_id", None)
    if known is None:
        known = request.context.request_id = new_request_id()
    return known
