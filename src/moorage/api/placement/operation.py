"""All that the service knows about one operation of the wire, said once, beside its handler.

Routing, checks, limits, refusals, the OpenAPI document and the reference all derive from it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import field
from typing import Final

from moorage.api.http.intake import BodyCounts
from moorage.api.http.validation import Validator
from moorage.api.placement import versions
from moorage.api.placement.answers import AnswerSchemas
from moorage.api.placement.call import Handler
from moorage.api.placement.errors import UNDEFINED, ErrorType, Replies
from moorage.api.placement.versions import Since
from moorage.model import errors as model
from moorage.model.valueclass import valueclass

NEVER: Final = versions.NEWEST + 1


@valueclass(frozen=True, slots=True)
class Foreseen:
    """An error of the model that an operation can raise at versions below ``before``."""

    error: ErrorType
    before: int = NEVER


@valueclass(frozen=True, slots=True)
class Refusal:
    """One refusal. ``reason`` is the name of the model's error, "" for a refusal of the form.

    ``message`` has names in braces where the facts of a request go.
    """

    status: int
    code: str
    message: str
    reason: str = ""
    before: int = NEVER


@valueclass(frozen=True, slots=True, eq=False)
class Operation:
    """One method of one path.

    What it is: ``summary`` is one line for the reference. ``rule`` is the policy rule, None for operations
    that need no token; these ask nothing of the database. ``since`` is the first minor version that has the
    operation; ``status_before`` is the answer of older ones.

    What it takes: ``body`` is the schema of the JSON body, None if bodies are ignored. ``query`` is the
    schema of the query string, None if it is ignored. ``counts`` says how to count what a body names; without
    it, a body names one thing only. ``provider_first``: the provider in the path is looked up before the body
    is validated. ``of_project``: the rule depends on the ``project_id`` of the query string. ``check_path``
    checks the path before the body. ``asks_text``: it hands text of a client other than UUIDs to the
    database, which may lack its characters; every write also records the user and the project.

    What it gives: ``answers`` are the schemas of its successful answers, by status. ``sends_json``: the
    client must accept JSON. ``locates``: its answer has a location, as answers of status 201 have anyway.
    ``foreseen`` are the errors of the model that it can raise, besides the service being unavailable.
    ``grammar`` are refusals by its own code, beyond its schemas. ``replies`` are its own answers to errors of
    the model.
    """

    method: str
    path: str
    handler: Handler
    summary: str
    rule: str | None
    since: int = versions.OLDEST
    status_before: int = 404
    body: Since[Validator | None] | None = None
    query: Since[Validator] | None = None
    counts: BodyCounts = ()
    provider_first: bool = False
    of_project: bool = False
    check_path: Callable[[Mapping[str, str]], None] | None = None
    asks_text: bool = True
    answers: AnswerSchemas = field(default_factory=dict)
    sends_json: bool = False
    locates: bool = False
    foreseen: tuple[Foreseen, ...] = ()
    grammar: tuple[Refusal, ...] = ()
    replies: Replies = field(default_factory=dict)

    @property
    def name(self) -> str:
        """``METHOD /path``."""
        return f"{self.method} {self.path}"


def can_raise(*kinds: ErrorType) -> tuple[Foreseen, ...]:
    """Errors of these ``kinds``, at any version."""
    return tuple(map(Foreseen, kinds))


def can_raise_before(minor: int, *kinds: ErrorType) -> tuple[Foreseen, ...]:
    """Errors of these ``kinds``, at versions below ``minor``."""
    return tuple(Foreseen(kind, minor) for kind in kinds)


NO_PROVIDER: Final = can_raise(model.ProviderNotFoundError)
UNKNOWN_NAMES: Final = can_raise(model.ResourceClassNotFoundError, model.TraitNotFoundError)

TOO_MANY: Final = Refusal(400, UNDEFINED, "The request names … …; at most … are allowed.")

BAD_NAME: Final = (Refusal(400, UNDEFINED, "The name in the path is not one that clients may create."),)
