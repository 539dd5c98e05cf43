"""Which refusals each operation can give, for the reference and the OpenAPI document.

An operation lists the errors of the model that it foresees; ``errors`` and its own replies define their
texts. Refusals of a request's form follow from what it takes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from http import HTTPStatus
from typing import Any, Final

from moorage.api.placement import errors, versions
from moorage.api.placement.errors import UNDEFINED, ErrorType
from moorage.api.placement.operation import NEVER, TOO_MANY, Foreseen, Operation, Refusal, can_raise
from moorage.model import errors as model

_SERVICE_AWAY: Final = can_raise(model.UnavailableError, model.OutcomeUnknownError)
_UNSTORABLE: Final = can_raise(model.UnstorableError)


class _Facts(dict[str, object]):
    """Any fact of a request, as its own name in braces."""

    def __missing__(self, name: str) -> str:
        return f"{{{name}}}"


def example(kind: ErrorType) -> model.MoorageError:
    """An error of ``kind`` whose fields have their names in braces as values."""
    values: dict[str, Any] = {item.name: f"{{{item.name}}}" for item in fields(kind)}
    return kind(**values)


def _told(foreseen: Foreseen, operation: Operation) -> Refusal:
    told = errors.translate(example(foreseen.error), operation.replies, _Facts())
    assert told is not None, f"{foreseen.error.__name__} has no answer"
    return Refusal(told.status, told.code, told.message, foreseen.error.__name__, foreseen.before)


def _of_form(operation: Operation) -> Iterator[Refusal]:
    """Refusals that follow from what an operation takes, in the order of the checks."""
    yield Refusal(414, UNDEFINED, "Path and query string must not be longer than … bytes.")
    yield Refusal(431, UNDEFINED, "All headers together must not be longer than … bytes.")
    if operation.rule is not None:
        yield Refusal(401, UNDEFINED, "The token is missing or not valid.")
    yield Refusal(400, UNDEFINED, "Invalid microversion: …, or headers that contradict each other.")
    yield Refusal(406, UNDEFINED, "Invalid microversion: Unacceptable version header: …")
    if operation.sends_json:
        yield Refusal(406, UNDEFINED, "Only application/json is provided")
    if _takes_body(operation):
        yield Refusal(415, UNDEFINED, "The media type … is not supported, use application/json")
    if operation.rule is not None:
        yield Refusal(403, UNDEFINED, f"Policy does not allow {operation.rule} to be performed.")
    if operation.check_path is not None:
        yield Refusal(400, UNDEFINED, "A UUID in the path is malformed.")
    if _takes_body(operation):
        yield Refusal(413, UNDEFINED, "The request body must not be longer than … bytes.")
        yield Refusal(408, UNDEFINED, "The request body did not arrive in time.")
        yield Refusal(400, UNDEFINED, "Malformed JSON: …")
        yield Refusal(400, UNDEFINED, "JSON does not validate: …")
    if operation.query is not None:
        yield Refusal(400, UNDEFINED, "Invalid query string parameters: …")
    yield Refusal(
        500,
        UNDEFINED,
        "An unexpected error occurred. The service's log has its details, under the request id.",
    )


def _takes_body(operation: Operation) -> bool:
    return operation.body is not None and operation.body.at(versions.NEWEST) is not None


def of_grammar(operation: Operation) -> tuple[Refusal, ...]:
    """Refusals of an operation by its own code, beyond its schemas."""
    return (*operation.grammar, TOO_MANY) if operation.counts else operation.grammar


def of_model(operation: Operation) -> list[Refusal]:
    """Refusals of an operation for errors of the model, at any version."""
    away = () if operation.rule is None else _SERVICE_AWAY
    unstorable = _UNSTORABLE if operation.asks_text else ()
    return [_told(foreseen, operation) for foreseen in (*operation.foreseen, *unstorable, *away)]


def at_newest(operation: Operation) -> dict[HTTPStatus, list[Refusal]]:
    """All refusals of an operation at the newest version, by status."""
    found: dict[HTTPStatus, list[Refusal]] = {}
    for refusal in (*_of_form(operation), *of_grammar(operation), *of_model(operation)):
        if refusal.before == NEVER:
            found.setdefault(HTTPStatus(refusal.status), []).append(refusal)
    return dict(sorted(found.items()))
