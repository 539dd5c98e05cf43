"""What can go wrong: one exception class for each ``code`` of a problem, and some for what is no answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from moorage_client.explanation import explanation_in


class MoorageError(Exception):
    """Anything that this client raises."""


class UnreachableError(MoorageError):
    """Nothing answers at the address, or it closed the connection."""


class AnswerTimeoutError(UnreachableError):
    """The service has not answered in time."""


class UnusableAnswerError(MoorageError):
    """What answers is no Moorage: a proxy, say, or another service. ``status`` is its HTTP status."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class NoNativeApiError(UnusableAnswerError):
    """The service has no native API: it is OpenStack Placement, or a Moorage without it."""


class LeaseLostError(MoorageError):
    """A lease may have ended: no renewal was confirmed in time, or the service has said so."""


class MirrorError(MoorageError):
    """A mirror has no copy to answer from: it has not begun, has ended, or cannot go on (``__cause__``)."""


class TooLargeError(MirrorError):
    """The account has more providers and claims than the mirror may hold."""


@dataclass(frozen=True)
class Retry:
    """When the same request may succeed.

    ``when`` is ``never``, ``state_changes``, ``now`` or ``later``; ``after_seconds`` belongs to ``later``.
    """

    when: str
    after_seconds: int | None = None


@dataclass(frozen=True)
class UnknownName:
    """A name that the service does not know, with the nearest ones that it knows."""

    name: str
    nearest: tuple[str, ...]


class ProblemError(MoorageError):
    """The service refused a request (RFC 9457). Each known code has a class of its own below this one.

    ``outcome`` is ``nothing_changed`` or ``unknown``. ``revision`` is the state that the refusal was decided
    on, None if it depends on none. ``pointer`` (RFC 6901) or ``parameter`` is the place of a fault. ``body``
    is the whole answer.
    """

    code: str = ""
    """Of a class: the code that it stands for. Of an error: its own, which a newer service may have added."""

    def __init__(self, status: int, body: Mapping[str, Any]) -> None:
        self.status = status
        self.body = body
        self.code = str(body.get("code", ""))
        self.title: str = str(body.get("title", ""))
        self.detail: str = str(body.get("detail", ""))
        self.type: str = str(body.get("type", ""))
        self.request_id: str | None = body.get("request_id")
        self.revision: int | None = body.get("revision")
        self.outcome: str = str(body.get("outcome", "unknown"))
        retry = body.get("retry") or {}
        self.retry = Retry(str(retry.get("when", "never")), retry.get("after_seconds"))
        self.pointer: str | None = body.get("pointer")
        self.parameter: str | None = body.get("parameter")
        self.nearest: tuple[str, ...] = tuple(body.get("nearest", ()))
        self.names = tuple(
            UnknownName(each["name"], tuple(each.get("nearest", ()))) for each in body.get("names", ())
        )
        self.explanation = explanation_in(body)
        super().__init__(self.detail or self.title)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.status, self.body)


class InvalidRequestError(ProblemError):
    """The request is malformed, or it contradicts itself."""

    code = "invalid_request"


class UnknownNameError(ProblemError):
    """The request names a resource class or a trait that does not exist: ``names``."""

    code = "unknown_name"


class UnauthenticatedError(ProblemError):
    """The token is missing, has expired, or is not valid."""

    code = "unauthenticated"


class ForbiddenError(ProblemError):
    """The policy does not allow the request."""

    code = "forbidden"


class NotFoundError(ProblemError):
    """The path does not exist, or what it names does not."""

    code = "not_found"


class MethodNotAllowedError(ProblemError):
    """The path exists, but not with this method."""

    code = "method_not_allowed"


class NotAcceptableError(ProblemError):
    """The service offers no form of answer that the request accepts."""

    code = "not_acceptable"


class BodyTimeoutError(ProblemError):
    """The body of the request did not arrive in time."""

    code = "body_timeout"


class NoRoomError(ProblemError):
    """No tree can serve the request now. In an empty cloud one could: ``explanation``."""

    code = "no_room"


class NeverFitsError(ProblemError):
    """No tree could serve the request even if nothing were used: ``explanation``."""

    code = "never_fits"


class GenerationConflictError(ProblemError):
    """What the request changes has changed since the client read it."""

    code = "generation_conflict"


class AlreadyHoldsError(ProblemError):
    """A consumer that the request takes for new holds something already."""

    code = "already_holds"


class CannotHealError(ProblemError):
    """The finding says too little to be healed, or is not of a kind that is healed so."""

    code = "cannot_heal"


class LeaseGoneError(ProblemError):
    """The lease has expired, is quarantined or released, or is not known."""

    code = "lease_gone"


class InUseError(ProblemError):
    """The request removes something that is still in use."""

    code = "in_use"


class CompactedError(ProblemError):
    """The journal does not go back to the revision that the request names."""

    code = "compacted"

    @property
    def restart_after(self) -> int | None:
        """The revision from which to go on, after the state was read again."""
        return self.body.get("restart_after")


class DifferentHistoryError(ProblemError):
    """The revision that the request names is of another history: the database was restored, say."""

    code = "different_history"

    @property
    def epoch(self) -> str | None:
        """The name of the present history."""
        return self.body.get("epoch")


class BusyError(ProblemError):
    """As many clients wait for changes as one worker lets wait."""

    code = "busy"


class BodyTooLargeError(ProblemError):
    """The body is longer than the service accepts."""

    code = "body_too_large"


class UrlTooLongError(ProblemError):
    """Path and query string are longer than the service accepts."""

    code = "url_too_long"


class UnsupportedMediaTypeError(ProblemError):
    """The body is not JSON, or its content type does not say so."""

    code = "unsupported_media_type"


class KeyReusedError(ProblemError):
    """The idempotency key was used for another request."""

    code = "key_reused"


class TooHardError(ProblemError):
    """The search needs more steps than one request may take."""

    code = "too_hard"

    @property
    def steps(self) -> int | None:
        """The limit."""
        steps: int | None = self.body.get("steps")
        return steps


class HeadersTooLargeError(ProblemError):
    """The headers are longer than the service accepts: often the token."""

    code = "headers_too_large"


class InternalError(ProblemError):
    """The service failed at something that it does not foresee."""

    code = "internal_error"


class UnavailableError(ProblemError):
    """The service cannot answer now. The client has tried again as often as it may."""

    code = "unavailable"


class OutcomeUnknownError(ProblemError):
    """It is not known whether the request took effect."""

    code = "outcome_unknown"


BY_CODE: Mapping[str, type[ProblemError]] = {kind.code: kind for kind in ProblemError.__subclasses__()}
"""The class of each code. A code that is not here gives a ``ProblemError``."""


def problem(status: int, body: Mapping[str, Any]) -> ProblemError:
    """The error for a problem's body."""
    return BY_CODE.get(str(body.get("code")), ProblemError)(status, body)
