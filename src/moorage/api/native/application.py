"""The native application: every check of a request's form, and errors as problems (RFC 9457).

The order of the checks is: sizes, authentication (401), headers (400), path and method (404, 405), Accept
(406), content type (415), policy (403), query string and body (400).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final

import falcon

from moorage.api.http import accept, departures, intake
from moorage.api.http.application import (
    Gate,
    Resource,
    assembled,
    request_id,
)
from moorage.api.http.exchange import Answer, WsgiApplication
from moorage.api.http.observer import RequestObserver
from moorage.api.http.render import title
from moorage.api.http.settings import Limits
from moorage.api.http.wire_error import WireError
from moorage.api.native import parameters, problems, strict, unknown, writes
from moorage.api.native.endpoint import REVISION_HEADER, Endpoint, NativeCall, ReadQuery
from moorage.api.native.endpoints import by_path
from moorage.api.native.openapi import EVERYTHING
from moorage.api.native.problems import PAGES, PROBLEM_TYPE, REVISION
from moorage.auth.identity import Authenticator, Identity
from moorage.auth.policy import ANYTHING, ForbiddenError, Policy, Target
from moorage.model.errors import MoorageError
from moorage.model.values import Requester
from moorage.service.facade import Service

WRITE: Final = "placement:allocations:update"
"""Rule that stands for all writes where a request is refused before its own rule is known."""

_OPEN: Final = frozenset(
    endpoint.path for endpoint in EVERYTHING if endpoint.rule is None and "{" not in endpoint.path
)


def is_open(path: str) -> bool:
    """Whether a path needs no token: it describes the service and shows nothing of the account."""
    return path in _OPEN or path.startswith(f"{PAGES}/")


def create(
    service: Service,
    read_query: ReadQuery,
    limits: Limits,
    authenticator: Authenticator,
    policy: Policy,
    observers: Sequence[RequestObserver] = (),
    endpoints: Sequence[Endpoint] = EVERYTHING,
) -> WsgiApplication:
    """The native API on top of ``service``, or those ``endpoints`` of it.

    ``read_query`` reads Placement's query strings.
    """
    gate = Gate(authenticator, policy, limits, is_open, WRITE, observers)
    desk = NativeDesk(service, read_query, limits, policy)
    resources = {path: Resource(methods, desk.answer) for path, methods in by_path(endpoints).items()}
    return assembled(gate, resources, desk.translate, refuse)


class NativeDesk:
    """Takes a request through the checks of its endpoint to its handler."""

    def __init__(self, service: Service, read_query: ReadQuery, limits: Limits, policy: Policy) -> None:
        self._service = service
        self._read_query = read_query
        self._limits = limits
        self._few = limits.fewest
        self._policy = policy

    def answer(self, endpoint: Endpoint, request: falcon.Request, fields: dict[str, str]) -> Answer:
        """The handler's answer. Raises WireError, MoorageError."""
        if endpoint.sends_json:
            accept.check(request.get_header("accept"))
        if endpoint.body is not None:
            intake.check_media_type(request.content_type)
        context = request.context
        identity: Identity = context.identity
        own_project = None
        if endpoint.projects is None:
            own_project = self._reach(identity, endpoint)
        call = NativeCall(
            service=self._service,
            limits=self._limits,
            identity=identity,
            requester=Requester(
                identity.user_id,
                identity.project_id or "",
                context.request_id,
                context.global_request_id,
                "native",
            ),
            prefix=request.env.get("SCRIPT_NAME", ""),
            path=fields,
            read_query=self._read_query,
            may=partial(self._may, identity),
            accept=request.get_header("accept"),
            query=parameters.read(endpoint.parameters, request.query_string),
            name=endpoint.name,
            is_gone=departures.gone_in(request.env),
            last_event_id=request.get_header("last-event-id"),
            own_project=own_project,
        )
        key = request.get_header(writes.KEY_HEADER) if endpoint.writes else None
        if key is not None:
            call.key = writes.key_in(key)
        if endpoint.body is not None:
            content = intake.read(request.env, self._limits.body_bytes)
            count = partial(intake.check_body, endpoint.counts, limits=self._limits)
            call.body = intake.decode(content, strict.ANYTHING, count, self._few)
            strict.check(call.body, endpoint.body, is_large=len(content) > intake.LARGE_BODY)
        if endpoint.projects is not None:
            for project_id in endpoint.projects(call):
                self._authorise(identity, endpoint, Target(project_id))
            call.own_project = self._reach(identity, endpoint)
        return endpoint.handler(call)

    def _may(self, identity: Identity, rule: str, target: Target | None = None) -> bool:
        try:
            self._policy.authorise(identity, rule, target)
        except ForbiddenError:
            return False
        return True

    def _reach(self, identity: Identity, endpoint: Endpoint) -> str | None:
        """The project that a client is confined to; None for none. Raises WireError (403)."""
        rule = endpoint.rule
        if rule is not None and endpoint.owned:
            if self._may(identity, rule, ANYTHING):
                return None
            if endpoint.projects is None:
                self._authorise(identity, endpoint)
            return identity.project_id or ""
        if endpoint.projects is None:
            self._authorise(identity, endpoint)
        return None

    def _authorise(self, identity: Identity, endpoint: Endpoint, target: Target | None = None) -> None:
        if endpoint.rule is None:
            return
        try:
            self._policy.authorise(identity, endpoint.rule, target)
        except ForbiddenError as error:
            raise WireError(403, error.message) from None

    def translate(self, _request: falcon.Request, error: MoorageError) -> WireError | None:
        """The refusal for an error of the model, with the nearest known names for unknown ones."""
        return unknown.refusal_of(error, self._service) or problems.of_model(error)


def refuse(request: falcon.Request, response: falcon.Response, refused: WireError) -> None:
    """Answer with a problem, whatever the client accepts."""
    body = problems.body_of(refused, request.env.get("SCRIPT_NAME", ""), request_id(request))
    response.status = f"{refused.status} {title(refused.status)}"
    response.content_type = PROBLEM_TYPE
    # Escaped: details quote text of clients, which may have halves of surrogate pairs.
    response.data = json.dumps(body).encode()
    for name, value in _headers(refused, body).items():
        response.set_header(name, value)


def _headers(refused: WireError, body: Mapping[str, Any]) -> dict[str, str]:
    headers = dict(refused.headers)
    after = body["retry"].get("after_seconds")
    if after is not None:
        headers.setdefault("retry-after", str(after))
    if REVISION in body:
        headers[REVISION_HEADER] = str(body[REVISION])
    return headers
