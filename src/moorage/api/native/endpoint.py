"""All that the service knows about one operation of the native API, said once, beside its handler."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from moorage.api.http.exchange import JSON, Answer
from moorage.api.http.intake import BodyCounts
from moorage.api.http.settings import Limits
from moorage.api.http.validation import Schema, Validator
from moorage.api.native.parameters import Parameter
from moorage.api.native.problems import REVISION, ProblemType
from moorage.auth.identity import Identity
from moorage.model.requests import CandidateRequest
from moorage.model.valueclass import valueclass
from moorage.model.values import Requester
from moorage.service.facade import Service

ReadQuery = Callable[[str, Limits], CandidateRequest]
"""Reads a query string in the grammar of Placement's newest version. Raises WireError (400).

The application that has this grammar provides it: no API imports another one.
"""

REVISION_HEADER: Final = "moorage-revision"


@dataclass(slots=True)
class NativeCall:
    """A request that has passed all checks of its form, as its handler sees it.

    ``may`` says whether the policy allows what a further rule names. ``prefix`` is the path that the service
    is mounted under ("" at the root of a host). ``query`` has a value for each parameter that is there.
    ``body`` is the decoded JSON, valid by its schema. ``accept`` and ``last_event_id`` are headers of these
    names. ``key`` is the idempotency key, and ``name`` is the endpoint's. ``is_gone``: whether the
    client has closed its connection. ``own_project``: the project that the client is confined to, whose
    things alone are there for it; None for a client that may see all.
    """

    service: Service
    limits: Limits
    identity: Identity
    requester: Requester
    prefix: str
    path: Mapping[str, str]
    read_query: ReadQuery
    may: Callable[[str], bool]
    accept: str | None
    query: Mapping[str, Any]
    name: str
    is_gone: Callable[[], bool]
    key: str | None = None
    body: Any = None
    last_event_id: str | None = None
    own_project: str | None = None

    def reaches(self, project_id: str) -> bool:
        """Whether things of a project are there for the client."""
        return self.own_project is None or self.own_project == project_id


NativeHandler = Callable[[NativeCall], Answer]


@valueclass(frozen=True, slots=True, eq=False)
class Endpoint:
    """One method of one path.

    What it is: ``summary`` is one line for the reference, ``about`` the rest of what it says. ``rule`` is the
    policy rule, None for endpoints that need no token; these ask nothing of the account. ``asks_also`` are
    rules that decide on parts of the answer.

    What it takes: ``parameters`` of the query string; ``body`` validates the JSON body, None if there is
    none; ``counts`` says how to count what a body names. Whatever it does not list is refused. ``writes``: it
    takes an idempotency key. ``projects``: the projects that the rule is asked for, of a request with its
    body; None if it depends on none. ``owned``: what it shows or changes belongs to projects. A client that
    the rule is true for only because of its project is confined to that one.

    What it gives: ``status`` and ``answer`` are those of success; ``answer`` is a schema, None for a page.
    ``media_types`` are those of the answer. ``problems`` are those that it can raise beyond those of any
    request. ``examples`` are valid query strings or bodies; tests run them.
    """

    method: str
    path: str
    handler: NativeHandler
    summary: str
    rule: str | None
    about: str = ""
    asks_also: tuple[str, ...] = ()
    parameters: tuple[Parameter, ...] = ()
    body: Validator | None = None
    counts: BodyCounts = ()
    projects: Callable[[NativeCall], Iterable[str | None]] | None = None
    owned: bool = False
    writes: bool = False
    status: int = 200
    answer: Schema | None = None
    media_types: tuple[str, ...] = (JSON,)
    problems: tuple[ProblemType, ...] = ()
    examples: tuple[object, ...] = ()

    @property
    def name(self) -> str:
        """``METHOD /path``."""
        return f"{self.method} {self.path}"

    @property
    def sends_json(self) -> bool:
        """Whether the client must accept JSON."""
        return self.media_types == (JSON,)


def at_revision(revision: int, body: Mapping[str, object], status: int = 200) -> Answer:
    """An answer from the account, with the revision that it is true at."""
    return Answer(status, {REVISION: revision, **body}, headers={REVISION_HEADER: str(revision)})
