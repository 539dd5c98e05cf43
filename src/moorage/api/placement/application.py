"""The application: every check of a request's form, in the order of the wire.

This order was observed on the reference. First come authentication (401), microversion (406, 400) and body
headers (400). Then come path and method (404, 405), and whether the microversion has the operation. Last come
Accept (406) or content type (415), policy (403), the provider in the path (404), body or query string (400).
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Final

import falcon

from moorage.api.http import accept, intake, render
from moorage.api.http.application import (
    Gate,
    Resource,
    assembled,
    request_id,
)
from moorage.api.http.exchange import JSON, Answer, WsgiApplication
from moorage.api.http.observer import RequestObserver
from moorage.api.http.validation import Validator
from moorage.api.http.wire_error import WireError
from moorage.api.placement import errors, openapi, query, versions
from moorage.api.placement.call import Call
from moorage.api.placement.operation import Operation
from moorage.api.placement.routes import OPERATIONS, by_path
from moorage.api.placement.settings import ApiSettings
from moorage.api.placement.versions import Since
from moorage.auth.identity import Authenticator, Identity
from moorage.auth.noauth import NoAuth
from moorage.auth.policy import ForbiddenError, Policy, Target, default_policy
from moorage.model.errors import MoorageError
from moorage.model.values import Requester
from moorage.service.facade import Service

HINT_HEADER: Final = "moorage-hint"
"""Header of an error: the request failed because it names no microversion. The error's text stays that of the
wire."""

OPEN_PATHS: Final = frozenset({"/", openapi.PATH})
"""Paths that need no token: they describe the service and show none of its data."""

WRITE: Final = "placement:allocations:update"
"""Rule of the most frequent write. It stands for all writes where a request is refused before its own rule is
known."""


def create(
    service: Service,
    settings: ApiSettings | None = None,
    authenticator: Authenticator | None = None,
    policy: Policy | None = None,
    observers: Sequence[RequestObserver] = (),
) -> WsgiApplication:
    """The Placement API on top of ``service``, for any WSGI server and under any prefix.

    Without ``authenticator``, the service trusts the identity that a client names. Without ``policy``, the
    default rules apply.
    """
    settings = settings or ApiSettings()
    policy = policy or default_policy()
    gate = VersionGate(
        authenticator or NoAuth(), policy, settings.limits, OPEN_PATHS.__contains__, WRITE, observers
    )
    desk = Desk(service, settings, policy)
    resources = {
        path: Resource(methods, desk.answer)
        for path, methods in by_path((*OPERATIONS, openapi.OPERATION)).items()
    }
    return assembled(gate, resources, _translate, _refuse)


class VersionGate(Gate):
    """The gate of an API with microversions."""

    def read_version(self, request: falcon.Request) -> None:
        """Raises WireError (400, 406)."""
        try:
            request.context.minor = versions.negotiate(request.get_header(versions.HEADER))
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

    def add_headers(self, request: falcon.Request, response: falcon.Response) -> None:
        """Add the microversion, and a hint if the request failed for want of one."""
        hint = getattr(request.context, "hint", None)
        if hint is not None:
            response.set_header(HINT_HEADER, hint)
        minor = getattr(request.context, "minor", None)
        if minor is not None:
            response.set_header(versions.HEADER, versions.NAMES[minor])
            response.append_header("vary", versions.HEADER)


class Desk:
    """Takes a request through the checks of its operation to its handler."""

    def __init__(self, service: Service, settings: ApiSettings, policy: Policy) -> None:
        self._service = service
        self._settings = settings
        self._few = settings.limits.fewest
        self._policy = policy

    def answer(self, operation: Operation, request: falcon.Request, fields: dict[str, str]) -> Answer:
        """The handler's answer. Raises WireError, MoorageError."""
        minor: int = request.context.minor
        if minor < operation.since:
            _hint(request, operation.since)
            raise WireError(operation.status_before)
        validator = None if operation.body is None else operation.body.at(minor)
        if operation.sends_json:
            accept.check(request.get_header("accept"))
        if validator is not None:
            intake.check_media_type(request.content_type)
        context = request.context
        identity: Identity = context.identity
        self._authorise(identity, operation, request.query_string)
        if operation.check_path is not None:
            operation.check_path(fields)
        call = Call(
            service=self._service,
            settings=self._settings,
            minor=minor,
            requester=Requester(
                identity.user_id,
                identity.project_id or "",
                context.request_id,
                context.global_request_id,
                "placement",
            ),
            prefix=request.env.get("SCRIPT_NAME", ""),
            path=fields,
            facts=request.context.facts,
        )
        if validator is not None:
            call.body = self._body(operation, request, validator, fields)
        if operation.query is not None:
            call.query = self._query(operation.query, request)
            intake.check_counts(call.query.counts, self._settings.limits)
        answer = operation.handler(call)
        if answer.dated and minor < versions.CACHE_HEADERS:
            answer = answer._replace(dated=False)
        return answer

    @staticmethod
    def _query(forms: Since[Validator], request: falcon.Request) -> query.Query:
        try:
            return query.read(request.query_string, forms.at(request.context.minor))
        except WireError:
            if _names_no_version(request):
                with suppress(WireError):
                    query.read(request.query_string, forms.at(versions.NEWEST))
                    _hint(request, versions.NEWEST)
            raise

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
            count = partial(intake.check_body, operation.counts, limits=allowed)
            content = intake.read(request.env, allowed.body_bytes)
            try:
                return intake.decode(content, validator, count, self._few)
            except WireError:
                newest = None if operation.body is None else operation.body.at(versions.NEWEST)
                if newest is not None and _names_no_version(request):
                    with suppress(WireError):
                        intake.decode(content, newest, count)
                        _hint(request, versions.NEWEST)
                raise
        except WireError:
            # A missing provider is reported before an invalid body; only an invalid body costs this lookup.
            if operation.provider_first:
                self._service.provider(fields["uuid"])
            raise


def _names_no_version(request: falcon.Request) -> bool:
    return request.get_header(versions.HEADER) is None


def _hint(request: falcon.Request, since: int) -> None:
    """If a request names no microversion, add the hint that it needs at least ``since``."""
    if _names_no_version(request):
        request.context.hint = (
            f"The request names no microversion, so the service uses {versions.spelled(versions.OLDEST)}. "
            f"It needs {versions.HEADER}: {versions.SERVICE_TYPE} {versions.spelled(since)}"
        )


def _refuse(request: falcon.Request, response: falcon.Response, refusal: WireError) -> None:
    """Answer with a refusal, in a form that the client accepts."""
    minor = getattr(request.context, "minor", None)
    asked = render.RefusedRequest(
        method=request.env["REQUEST_METHOD"],
        accept=accept.stated(request.get_header("accept")),
        content_type=request.content_type or None,
        request_id=request_id(request),
        code=(refusal.code or errors.UNDEFINED)
        if minor is not None and minor >= versions.ERROR_CODES
        else "",
    )
    response.status = f"{refusal.status} {render.title(refusal.status)}"
    if refusal.body is None:
        response.content_type, response.data = render.render(refusal, asked)
    else:
        response.content_type, response.data = JSON, refusal.body
    for name, value in refusal.headers.items():
        response.set_header(name, value)


def _translate(request: falcon.Request, error: MoorageError) -> WireError | None:
    operation: Operation | None = getattr(request.context, "operation", None)
    own = {} if operation is None else operation.replies
    return errors.translate(error, own, getattr(request.context, "facts", {}))
