"""The one table of problems: the code of each refusal, what it means, and what a client can do about it.

Bodies, pages, the OpenAPI document and the reference derive from it. Source: RFC 9457.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from enum import Enum
from typing import Any, Final

import orjson

from moorage.api.http import quoting
from moorage.api.http.wire_error import WireError
from moorage.model import errors as model
from moorage.model.valueclass import valueclass

PROBLEM_TYPE: Final = "application/problem+json"
"""The media type of a problem."""

ROOT: Final = "/moorage"
"""All paths of this API are this one, or below it."""

VERSION: Final = f"{ROOT}/v1"

PAGES: Final = f"{VERSION}/problems"
"""Path of the page of all problems; each one's own page is below it."""

REVISION: Final = "revision"
"""Field of every answer from the account, and of problems that depend on its state."""


class Effect(Enum):
    """What a refused request has changed."""

    NOTHING_CHANGED = "nothing_changed"
    UNKNOWN = "unknown"


class Again(Enum):
    """When the same request may succeed."""

    NEVER = "never"
    STATE_CHANGES = "state_changes"
    NOW = "now"
    LATER = "later"


@valueclass(frozen=True, slots=True)
class ProblemType:
    """One code.

    ``means`` and ``remedy`` are for the page. ``after_seconds`` is there if ``again`` is ``LATER``.
    """

    code: str
    status: int
    title: str
    means: str
    remedy: str
    again: Again = Again.NEVER
    effect: Effect = Effect.NOTHING_CHANGED
    after_seconds: int | None = None

    @property
    def path(self) -> str:
        """The path of its page, which is its ``type`` too."""
        return f"{PAGES}/{self.code.replace('_', '-')}"

    @property
    def retry(self) -> dict[str, object]:
        """When the same request may succeed, as a body says it."""
        said: dict[str, object] = {"when": self.again.value}
        return said if self.after_seconds is None else {**said, "after_seconds": self.after_seconds}


RETRY_AFTER_SECONDS: Final = 5
"""About the time of a fail-over of the database, or of draining a queue."""

PROBLEMS: Final = (
    ProblemType(
        "invalid_request",
        400,
        "Invalid request",
        "The request is malformed, or it contradicts itself.",
        "Read detail. If the fault is in the body, pointer says where (RFC 6901); if it is in the query "
        "string, parameter names it. nearest has known names that look like an unknown one. A misspelt field "
        "is refused, because ignoring it would answer another question.",
    ),
    ProblemType(
        "unknown_name",
        400,
        "Unknown name",
        "The request names a resource class or a trait that does not exist.",
        "Look at names: each has the nearest known names. If the name is right, create it first.",
    ),
    ProblemType(
        "unauthenticated",
        401,
        "No valid token",
        "The token is missing, has expired, or is not valid.",
        "Send a valid token in the header X-Auth-Token.",
    ),
    ProblemType(
        "forbidden",
        403,
        "Forbidden",
        "The policy does not allow the request.",
        "Use a token with the role that the rule in detail demands, or let an operator change the policy.",
    ),
    ProblemType(
        "not_found",
        404,
        "Not found",
        "The path does not exist, or what it names does not.",
        "Check the path; GET /moorage/v1/openapi.json lists all of them.",
    ),
    ProblemType(
        "method_not_allowed",
        405,
        "Method not allowed",
        "The path exists, but not with this method.",
        "Use one of the methods in the header Allow.",
    ),
    ProblemType(
        "not_acceptable",
        406,
        "Not acceptable",
        "The client does not accept JSON.",
        "Send Accept: application/json, or no such header.",
    ),
    ProblemType(
        "body_timeout",
        408,
        "Body too slow",
        "The body did not arrive in time.",
        "Send the request again over a better connection.",
        Again.NOW,
    ),
    ProblemType(
        "no_room",
        409,
        "No room",
        "No tree can serve the request now. In an empty cloud one could.",
        "Read explanation: it says what is missing and what would fit. Ask again when the state has changed.",
        Again.STATE_CHANGES,
    ),
    ProblemType(
        "never_fits",
        409,
        "Never fits",
        "No tree could serve the request even if nothing were used.",
        "Ask for less, or let an operator add providers: explanation says which constraint nothing meets.",
    ),
    ProblemType(
        "generation_conflict",
        409,
        "Generation conflict",
        "What the request changes has changed since the client read it.",
        "Read it again, decide again, and send the new generation.",
        Again.STATE_CHANGES,
    ),
    ProblemType(
        "already_holds",
        409,
        "Already holds",
        "A consumer that the request takes for new holds something already.",
        "If it is yours, show it: an earlier request may have succeeded. Otherwise choose another UUID, or "
        "leave that to the service.",
    ),
    ProblemType(
        "cannot_heal",
        409,
        "Cannot heal",
        "The finding says too little, or the service cannot do what was asked with a finding of its kind.",
        "Let the source report the amounts, and in owners the project and the user of a consumer that is "
        "missing. Or ignore the finding.",
    ),
    ProblemType(
        "lease_gone",
        409,
        "Lease gone",
        "The lease is not in a state that allows the request: it has expired, is quarantined or released, or "
        "is not known.",
        "Show the lease. A renewal revives one that has expired. Otherwise stop what the lease stood for, "
        "and ask for a new one.",
        Again.STATE_CHANGES,
    ),
    ProblemType(
        "in_use",
        409,
        "In use",
        "The request removes something that is still in use.",
        "Release what uses it first.",
        Again.STATE_CHANGES,
    ),
    ProblemType(
        "compacted",
        410,
        "Compacted",
        "The journal does not go back to the revision that the request names. compacted is the last revision "
        "that it lacks.",
        "Read the state that you follow, and go on from the revision at which it was read. restart_after is "
        "the present one.",
    ),
    ProblemType(
        "different_history",
        410,
        "Different history",
        "The revision that the request names is of another history: the database was restored, or another "
        "program has written to it. epoch names the present history.",
        "Read the state that you follow, and go on from the revision at which it was read.",
    ),
    ProblemType(
        "body_too_large",
        413,
        "Body too large",
        "The body is longer than the service accepts.",
        "Split the request, or let an operator raise max_body_bytes in [moorage].",
    ),
    ProblemType(
        "url_too_long",
        414,
        "URL too long",
        "Path and query string are longer than the service accepts.",
        "Shorten the query, or let an operator raise max_url_bytes in [moorage].",
    ),
    ProblemType(
        "unsupported_media_type",
        415,
        "Unsupported media type",
        "The body is not JSON, or its content type does not say so.",
        "Send Content-Type: application/json.",
    ),
    ProblemType(
        "key_reused",
        422,
        "Key reused",
        "The idempotency key was used for another request of the same project.",
        "Use a new key for each request, and the same one only to repeat it.",
    ),
    ProblemType(
        "too_hard",
        422,
        "Too hard",
        "The search needs more steps than one request may take; steps is the limit. Or claims that must be "
        "placed together fit in none of the ways that were tried; searched says how many.",
        "Ask for fewer or narrower groups, or let an operator raise search_step_limit in [moorage].",
    ),
    ProblemType(
        "headers_too_large",
        431,
        "Headers too large",
        "The headers are longer than the service accepts.",
        "Use a smaller token, or let an operator raise max_header_bytes in [moorage].",
    ),
    ProblemType(
        "internal_error",
        500,
        "Internal error",
        "The service failed at something that it does not foresee. This is a bug.",
        "Report it with what the service's log says under request_id.",
        effect=Effect.UNKNOWN,
    ),
    ProblemType(
        "unavailable",
        503,
        "Unavailable",
        "The database or the identity service cannot be reached, or too many requests wait.",
        "Send the same request again after the time in the header Retry-After.",
        Again.LATER,
        after_seconds=RETRY_AFTER_SECONDS,
    ),
    ProblemType(
        "busy",
        503,
        "Busy",
        "As many clients wait for changes as one process lets wait.",
        "Ask without wait now and then, or wait at the address that an operator has set as changes_listen.",
        Again.LATER,
        after_seconds=RETRY_AFTER_SECONDS,
    ),
    ProblemType(
        "outcome_unknown",
        503,
        "Outcome unknown",
        "The connection to the database was lost: whether the request took effect is not known.",
        "Send the same request with the same Idempotency-Key: it is carried out once. Without a key, read "
        "what the request would have changed, and decide then.",
        Again.NOW,
        Effect.UNKNOWN,
    ),
)
"""All problems, by status."""

BY_CODE: Final[Mapping[str, ProblemType]] = {problem.code: problem for problem in PROBLEMS}

INVALID_REQUEST: Final = BY_CODE["invalid_request"]
UNKNOWN_NAME: Final = BY_CODE["unknown_name"]
NOT_FOUND: Final = BY_CODE["not_found"]
NO_ROOM: Final = BY_CODE["no_room"]
NEVER_FITS: Final = BY_CODE["never_fits"]
GENERATION_CONFLICT: Final = BY_CODE["generation_conflict"]
CANNOT_HEAL: Final = BY_CODE["cannot_heal"]
LEASE_GONE: Final = BY_CODE["lease_gone"]
ALREADY_HOLDS: Final = BY_CODE["already_holds"]
KEY_REUSED: Final = BY_CODE["key_reused"]
TOO_HARD: Final = BY_CODE["too_hard"]
INTERNAL_ERROR: Final = BY_CODE["internal_error"]
UNAVAILABLE: Final = BY_CODE["unavailable"]
BUSY: Final = BY_CODE["busy"]
COMPACTED: Final = BY_CODE["compacted"]
DIFFERENT_HISTORY: Final = BY_CODE["different_history"]
OUTCOME_UNKNOWN: Final = BY_CODE["outcome_unknown"]

_BY_STATUS: Final[Mapping[int, ProblemType]] = {problem.status: problem for problem in reversed(PROBLEMS)}
"""The problem of a refusal that has no code of its own: the first of its status."""

_OF_MODEL: Final[Mapping[type[model.MoorageError], ProblemType]] = {
    model.NotFoundError: NOT_FOUND,
    model.InvalidError: INVALID_REQUEST,
    model.ResourceClassNotFoundError: UNKNOWN_NAME,
    model.TraitNotFoundError: UNKNOWN_NAME,
    model.SearchLimitError: TOO_HARD,
    model.KeyReusedError: KEY_REUSED,
    model.NothingFitsError: NO_ROOM,
    model.GangTooHardError: TOO_HARD,
    model.CapacityExceededError: NO_ROOM,
    model.NoInventoryError: NEVER_FITS,
    model.UnitViolatedError: NEVER_FITS,
    model.ConsumerGenerationError: GENERATION_CONFLICT,
    model.ConsumerTakenError: ALREADY_HOLDS,
    # Only a consumer that is taken for new can meet one that the database holds equal.
    model.EqualNameError: ALREADY_HOLDS,
    model.FindingChangedError: GENERATION_CONFLICT,
    model.CannotHealError: CANNOT_HEAL,
    model.LeaseGoneError: LEASE_GONE,
    model.UnavailableError: UNAVAILABLE,
    model.OutcomeUnknownError: OUTCOME_UNKNOWN,
    model.BusyError: BUSY,
    model.CompactedError: COMPACTED,
    model.DifferentHistoryError: DIFFERENT_HISTORY,
}


def refusal(problem: ProblemType, detail: str, **facts: object) -> WireError:
    """A refusal with this problem; ``facts`` are further fields of its body."""
    return WireError(problem.status, detail, problem.code, extra=facts)


def of_model(error: model.MoorageError) -> WireError | None:
    """The refusal for an error of the model; None for one that no table foresees."""
    problem = _problem_of(error)
    if problem is None:
        return None
    if isinstance(error, model.SearchLimitError):
        return refusal(problem, str(error), steps=error.limit)
    if isinstance(error, model.GangTooHardError):
        return refusal(problem, str(error), searched=f"{error.orders} orders")
    if isinstance(error, model.CompactedError):
        return refusal(problem, str(error), compacted=error.compacted, restart_after=error.restart_after)
    if isinstance(error, model.DifferentHistoryError):
        return refusal(problem, str(error), epoch=error.epoch)
    if isinstance(error, model.BusyError) and error.elsewhere:
        return refusal(problem, f"{problem.means} Many more may wait at {error.elsewhere}.")
    # Why the service cannot answer is for its log: the reason may name the database.
    return refusal(problem, problem.means if problem.status >= 500 else str(error))


def refused(error: model.MoorageError | None, **facts: object) -> Exception:
    """What to raise for an error of the model, with further fields of the body.

    The error itself if no table foresees it.
    """
    assert error is not None, "a refusal has an error"
    found = of_model(error)
    return error if found is None else replace(found, extra={**found.extra, **facts})


def _problem_of(error: model.MoorageError) -> ProblemType | None:
    if isinstance(error, model.ConsumerGenerationError) and error.given is None:
        return ALREADY_HOLDS
    return next((_OF_MODEL[kind] for kind in type(error).__mro__ if kind in _OF_MODEL), None)


def problem_of(error: model.MoorageError) -> ProblemType:
    """The problem for an error of the model."""
    return _problem_of(error) or INTERNAL_ERROR


def of_refusal(refused: WireError) -> ProblemType:
    """The problem of a refusal: by its code, or else by its status."""
    known = BY_CODE.get(refused.code) or _BY_STATUS.get(refused.status)
    if known is not None:
        return known
    return INVALID_REQUEST if refused.status < 500 else INTERNAL_ERROR


def _said_in(body: bytes | None) -> str:
    """The message of an answer of an authenticator in its own words; "" if it has none."""
    try:
        said = orjson.loads(body or b"{}")
    except ValueError:
        return ""
    message = said.get("message") if isinstance(said, dict) else None
    return message if isinstance(message, str) else ""


def body_of(refused: WireError, prefix: str, request_id: str) -> dict[str, Any]:
    """The body of a problem. ``prefix`` is the path that the service is mounted under."""
    problem = of_refusal(refused)
    return {
        "type": prefix + problem.path,
        "title": problem.title,
        "status": refused.status,
        "code": problem.code,
        "detail": quoting.bounded(refused.message or _said_in(refused.body)) or problem.means,
        "request_id": request_id,
        "outcome": problem.effect.value,
        "retry": problem.retry,
        **refused.extra,
    }
