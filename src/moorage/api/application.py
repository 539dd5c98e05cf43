"""The WSGI application: every check of a request's form, in the order that the wire has.

That order is the reference's, observed: who asks (401), microversion (406, 400), body headers
(400), route and method (404, 405), whether the microversion has the operation, Accept (406) or
content type (415), policy (403), the provider in the path (404), body or query string (400).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from time import perf_counter
from typing import Any, Final

import falcon
import orjson

from moorage.api import (
    accept,
    body,
    encode,
    errors,
    limits,
    openapi,
    query,
    render,
    request_ids,
    versions,
)
from moorage.api.exchange import NO_BODY, Answer, Call
from moorage.api.observer import NO_ROUTE, OTHER_METHOD, Ended, Observer
from moorage.api.routes import ROUTES, Methods, Operation
from moorage.api.schemas import Validator
from moorage.api.settings import ApiSettings, Limits
from moorage.api.wire_error import WireError
from moorage.auth.identity import Authenticator, Identity, UnauthorisedError, UnreachableError
from moorage.auth.noauth import NoAuth
from moorage.auth.policy import ForbiddenError, Policy, Target, default_policy
from moorage.model.errors import MoorageError
from moorage.model.values import Requester
from moorage.service.facade import Service

LOG: Final = logging.getLogger(__name__)

WsgiApplication = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

REQUEST_ID_HEADER: Final = "x-openstack-request-id"

SAID_BY_SCHEME: Final = {"http": ":80", "https": ":443"}
"""Ports as they stand at the end of an address, by the scheme that has them without saying so."""

OPEN_PATHS: Final = frozenset({"/", openapi.PATH})
"""Paths that tell what the service is, not what it holds: nobody is asked who it is."""

NOBODY: Final = Identity(user_id="")
"""Who asks for what is open to all, without saying who it is."""


def create(
    service: Service,
    settings: ApiSettings | None = None,
    authenticator: Authenticator | None = None,
    policy: Policy | None = None,
    observers: Sequence[Observer] = (),
) -> WsgiApplication:
    """The Placement API on top of ``service``, for any WSGI server and under any prefix.

    Without ``authenticator`` and ``policy`` clients are believed and the default rules hold.
    """
    settings = settings or ApiSettings()
    gate = Gate(authenticator or NoAuth(), settings.limits)
    # Falcon asks the last one first on the way back, so that observers see what the gate added.
    middleware: list[Gate | Watch] = [Watch(observers), gate] if observers else [gate]
    application: falcon.App[falcon.Request, falcon.Response] = falcon.App(middleware=middleware)
    application.router_options.default_to_on_request = True
    # An answer without a body shall not claim a type; Falcon's own type says "str" here.
    application.resp_options.default_media_type = None  # type: ignore[assignment]
    desk = Desk(service, settings, policy or default_policy())
    for path, methods in (*ROUTES.items(), (openapi.PATH, openapi.METHODS)):
        application.add_route(path, Resource(path, methods, desk))
    for kind in (Exception, falcon.HTTPError, falcon.HTTPStatus):
        application.add_error_handler(kind, _answer_error)
    return application


class Watch:
    """Tells observers of every request."""

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._begun = [observer.request_begun for observer in observers]
        self._ended = [observer.request_ended for observer in observers]

    def process_request(self, request: falcon.Request, response: falcon.Response) -> None:
        """Tell that it came."""
        request.context.begun = perf_counter()
        request_id = _request_id(request)
        for tell in self._begun:
            tell(request_id, request.env)

    def process_response(
        self,
        request: falcon.Request,
        response: falcon.Response,
        resource: object,
        succeeded: bool,
    ) -> None:
        """Tell how it went."""
        context = request.context
        method, _, route = getattr(context, "operation", f"{OTHER_METHOD} {NO_ROUTE}").partition(" ")
        ended = Ended(
            _request_id(request),
            method,
            route,
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
    """What is asked of every request before its route is looked for."""

    def __init__(self, authenticator: Authenticator, allowed: Limits) -> None:
        self._authenticator = authenticator
        self._limits = allowed

    def process_request(self, request: falcon.Request, response: falcon.Response) -> None:
        """Raises WireError (400, 401, 404, 406, 414, 431, 503)."""
        context = request.context
        _request_id(request)
        limits.check_head(request.env, self._limits)
        context.identity = self._identity(request)
        try:
            context.minor = versions.negotiate(request.get_header(versions.HEADER))
        except versions.MalformedVersionError as error:
            raise WireError(400, f"Invalid microversion: {error}") from None
        except versions.UnknownVersionError as error:
            raise WireError(
                406,
                f"Invalid microversion: {error}",
                extra={
                    "max_version": versions.spelled(versions.NEWEST),
                    "min_version": versions.spelled(versions.OLDEST),
                },
            ) from None
        body.check_headers(request.env)
        _check_path(request.env.get("PATH_INFO", ""))
        if request.method not in falcon.COMBINED_METHODS:
            # Falcon answers 400 to methods that it does not know. So that the route can say
            # what is allowed, they come as one that no route has; the true one is in the environ.
            request.method = "OPTIONS"

    def _identity(self, request: falcon.Request) -> Identity:
        if request.path in OPEN_PATHS:
            return NOBODY
        try:
            return self._authenticator.identify(request.env)
        except UnauthorisedError as error:
            raise WireError(401, headers=error.headers, body=error.body) from None
        except UnreachableError:
            raise WireError(503, "Who asks cannot be found out now: Keystone does not answer.") from None

    def process_response(
        self,
        request: falcon.Request,
        response: falcon.Response,
        resource: object,
        succeeded: bool,
    ) -> None:
        """Headers that every answer has."""
        if getattr(request.context, "identity", NOBODY) is not NOBODY:
            # No thread waits for what a stranger sends.
            body.drain(request.env)
        response.set_header(REQUEST_ID_HEADER, _request_id(request))
        minor = getattr(request.context, "minor", None)
        if minor is not None:
            version = f"{versions.SERVICE_TYPE} {versions.spelled(minor)}"
            response.set_header(versions.HEADER, version)
            response.append_header("vary", versions.HEADER)


def _check_path(path: str) -> None:
    """Nothing has a name that is not text. Raises WireError (404)."""
    if "\0" in path or path.startswith("//"):
        raise WireError(404)
    if not path.isascii():
        try:
            path.encode("latin-1").decode("utf-8")
        except UnicodeError:
            raise WireError(404) from None


class Resource:
    """All methods of one path, as Falcon wants them."""

    def __init__(self, path: str, methods: Methods, desk: Desk) -> None:
        self._path = path
        self._methods = methods
        self._desk = desk

    def on_request(self, request: falcon.Request, response: falcon.Response, **fields: str) -> None:
        """Answer any method. Raises WireError, MoorageError."""
        method = request.env["REQUEST_METHOD"]
        if not all(fields.values()):
            # Falcon lets a trailing slash stand for an empty field.
            raise WireError(404)
        operation = self._methods.get(method)
        if operation is None:
            raise WireError(
                405,
                "The method specified is not allowed for this resource.",
                headers={"allow": ", ".join(self._methods)},
            )
        request.context.operation = f"{method} {self._path}"
        request.context.facts = dict(fields)
        _write(request, response, self._desk.answer(operation, request, fields))

    # Falcon would answer OPTIONS itself, with 200.
    on_options = on_request


class Desk:
    """Takes a request through the checks of its operation to its handler."""

    def __init__(self, service: Service, settings: ApiSettings, policy: Policy) -> None:
        self._service = service
        self._settings = settings
        self._policy = policy

    def answer(self, operation: Operation, request: falcon.Request, fields: dict[str, str]) -> Answer:
        """What the handler says. Raises WireError, MoorageError."""
        minor: int = request.context.minor
        if minor < operation.since:
            raise WireError(operation.status_before)
        validator = None if operation.body is None else operation.body.at(minor)
        if operation.sends_json and not accept.takes_json(request.get_header("accept")):
            raise WireError(406, f"Only {accept.JSON} is provided")
        if validator is not None:
            body.check_media_type(request.content_type)
        identity: Identity = request.context.identity
        self._authorise(identity, operation, request.query_string)
        if operation.check_path is not None:
            operation.check_path(fields)
        call = Call(
            service=self._service,
            settings=self._settings,
            minor=minor,
            requester=Requester(identity.user_id, identity.project_id or "", request.context.request_id),
            prefix=request.env.get("SCRIPT_NAME", ""),
            path=fields,
            facts=request.context.facts,
        )
        if validator is not None:
            call.body = self._body(operation, request, validator, fields)
        if operation.query is not None:
            call.query = query.read(request.query_string, operation.query.at(minor))
            limits.check_counts(call.query.counts, self._settings.limits)
        return operation.handler(call)

    def _authorise(self, identity: Identity, operation: Operation, query_string: str) -> None:
        if operation.rule is None:
            return
        target = Target(query.parse(query_string).last("project_id")) if operation.of_project else None
        try:
            self._policy.authorise(identity, operation.rule, target)
        except ForbiddenError as error:
            raise WireError(403, error.message) from None

    def _body(
        self,
        operation: Operation,
        request: falcon.Request,
        validator: Validator,
        fields: dict[str, str],
    ) -> Any:
        try:
            allowed = self._settings.limits
            count = partial(limits.check_body, request.context.operation, limits=allowed)
            return body.decode(body.read(request.env, allowed.body_bytes), validator, count)
        except WireError:
            # A provider that is not there is told of first, but only who errs pays for the look.
            if operation.provider_first:
                self._service.provider(fields["uuid"])
            raise


def _write(request: falcon.Request, response: falcon.Response, answer: Answer) -> None:
    response.status = answer.status
    if answer.body is not NO_BODY:
        response.content_type = accept.JSON
        response.data = answer.body if isinstance(answer.body, bytes) else orjson.dumps(answer.body)
    if answer.location is not None:
        response.set_header("location", _origin(request.env) + answer.location)
    if answer.dated and request.context.minor >= versions.CACHE_HEADERS:
        response.set_header("cache-control", "no-cache")
        response.set_header("last-modified", encode.http_date(answer.modified))


def _origin(environ: Mapping[str, Any]) -> str:
    """Scheme and host as the client names them. wire: without a port that goes without saying."""
    scheme: str = environ["wsgi.url_scheme"]
    host = environ.get("HTTP_HOST") or f"{environ['SERVER_NAME']}:{environ['SERVER_PORT']}"
    return f"{scheme}://{host}".removesuffix(SAID_BY_SCHEME.get(scheme, ""))


def _request_id(request: falcon.Request) -> str:
    """The id of a request, also of one that Falcon refuses before the gate sees it."""
    known: str | None = getattr(request.context, "request_id", None)
    if known is None:
        known = request.context.request_id = request_ids.new()
    return known


def _answer_error(
    request: falcon.Request, response: falcon.Response, error: Exception, fields: dict[str, Any]
) -> None:
    """Tell the client of any error, in the form that it takes."""
    request_id = _request_id(request)
    refusal = _refusal(request, error)
    if refusal is None:
        LOG.error("unexpected error in request %s", request_id, exc_info=error)
        refusal = WireError(500, "An unexpected error occurred. The log has more, by the request id.")
    elif isinstance(error, MoorageError) and refusal.status >= 500:
        LOG.warning("request %s could not be answered: %s", request_id, error)
    asked = render.Asked(
        method=request.env["REQUEST_METHOD"],
        accept=accept.stated(request.get_header("accept")),
        content_type=request.content_type or None,
        request_id=request_id,
        minor=getattr(request.context, "minor", None),
    )
    response.status = f"{refusal.status} {render.title(refusal.status)}"
    if refusal.body is None:
        response.content_type, response.data = render.render(refusal, asked)
    else:
        response.content_type, response.data = accept.JSON, refusal.body
    for name, value in refusal.headers.items():
        response.set_header(name, value)


def _refusal(request: falcon.Request, error: Exception) -> WireError | None:
    """``error`` as an answer, None for what nobody foresaw."""
    if isinstance(error, WireError):
        return error
    if isinstance(error, MoorageError):
        operation = getattr(request.context, "operation", "")
        return errors.translate(error, operation, getattr(request.context, "facts", {}))
    if isinstance(error, falcon.HTTPError):
        return WireError(error.status_code)
    return None
