"""Writes of the native API: carried out once for each idempotency key, answered with their revision.

Source: draft-ietf-httpapi-idempotency-key-header-07. Unlike there, a request that comes while the first one
is on its way waits for that one's answer, and only successes are remembered.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

import orjson

from moorage.api.http.exchange import Answer
from moorage.api.native import problems
from moorage.api.native.endpoint import NativeCall, at_revision
from moorage.api.native.problems import INVALID_REQUEST
from moorage.model.commands import Command, WriteOutcome
from moorage.model.keys import IdempotencyKey
from moorage.model.values import Requester

KEY_HEADER: Final = "idempotency-key"
REPLAYED_HEADER: Final = "idempotency-replayed"

REPLAYED: Final = "replayed"
STATE_NOW: Final = "state_now"
"""Fields of an answer: whether it is one that was given before, and what has become of the claims since."""

DECIDED_AT: Final = "decided_at"
"""Field of an answer. What is remembered of it are two numbers, since the revision is not known by then."""

FENCE: Final = "fence"
"""Field of an answer: the revision of its write, which is not known by the time that it is remembered."""

HELD: Final = "held"
CHANGED: Final = "changed"
RELEASED: Final = "released"

_KEY: Final = re.compile(r'"((?:[ !#-\[\]-~]|\\["\\]){1,255})"|([!#-~]{1,255})')
"""A string of structured fields (RFC 8941), or the key itself."""

ResultT = TypeVar("ResultT")

Form = Callable[[ResultT], Mapping[str, object]]
Left = Callable[[Mapping[str, Any]], Mapping[str, int]]
StateNow = Callable[[NativeCall, Mapping[str, Any]], str]


def key_in(header: str) -> str:
    """The key that a header gives. Raises WireError (400)."""
    found = _KEY.fullmatch(header.strip())
    if found is None:
        detail = "Idempotency-Key is 1 to 255 visible characters of ASCII, in quotes or without."
        raise problems.refusal(INVALID_REQUEST, detail, header=KEY_HEADER)
    quoted, bare = found.groups()
    return bare if quoted is None else re.sub(r"\\(.)", r"\1", quoted)


def _digest(*parts: str | bytes) -> str:
    """A digest of parts, each with its length, so that no two lists of parts have the same one."""
    digest = hashlib.sha256()
    for part in parts:
        content = part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part
        digest.update(b"%d:" % len(content))
        digest.update(content)
    return digest.hexdigest()


def _key_of(call: NativeCall, form: Form[Any]) -> IdempotencyKey | None:
    if call.key is None:
        return None
    requester = call.requester
    body = orjson.dumps(call.body, option=orjson.OPT_SORT_KEYS)
    return IdempotencyKey(
        _digest(requester.project_id, call.key),
        _digest(call.name, orjson.dumps(dict(call.path)), body, requester.user_id),
        lambda result: orjson.dumps(form(result)).decode(),
    )


def carried_out(
    call: NativeCall,
    command: Command[ResultT],
    form: Form[ResultT],
    left: Left | None,
    refused: Callable[[WriteOutcome[ResultT]], Exception] | None = None,
    status: int = 200,
    perform: Callable[[Any, Requester, IdempotencyKey | None], WriteOutcome[ResultT]] | None = None,
    more: Callable[[ResultT, dict[str, Any]], dict[str, Any]] | None = None,
    state_now: StateNow | None = None,
) -> Answer:
    """The answer to a write: ``form`` makes it of the result.

    ``more`` adds to it what is not remembered.

    ``left`` says what an answer has left behind: generations of consumers by UUID, 0 for one that should hold
    nothing. Without it ``state_now`` says what has become of what a remembered answer tells. ``refused``
    makes the exception to raise for a refusal. ``perform`` carries the command out, in place of
    ``Service.outcome``.
    """
    outcome = (perform or call.service.outcome)(command, call.requester, _key_of(call, form))
    if outcome.replayed is not None:
        body = orjson.loads(outcome.replayed)
        now = "" if state_now is None else state_now(call, body)
        now = now if left is None else _state_now(call, left(body))
        again = {**_decided(outcome.revision, body), REPLAYED: True, STATE_NOW: now}
        answer = at_revision(outcome.revision, again, status)
        return answer._replace(headers={**answer.headers, REPLAYED_HEADER: "true"})
    if outcome.error is not None or outcome.result is None:
        raise (
            problems.refused(outcome.error, revision=outcome.revision)
            if refused is None
            else refused(outcome)
        )
    body = _decided(outcome.revision, form(outcome.result))
    if more is not None:
        body = more(outcome.result, body)
    return at_revision(outcome.revision, {**body, REPLAYED: False}, status)


def _decided(revision: int, body: Mapping[str, Any]) -> dict[str, Any]:
    """The body of an answer at ``revision``, with the revision of the state that places were chosen on.

    That is the one before, unless other processes have written since the index was asked.
    """
    shown = dict(body)
    if FENCE in shown:
        shown[FENCE] = revision
    decision = shown.pop(DECIDED_AT, None)
    if decision is None:
        return shown
    known, after = decision
    return {DECIDED_AT: revision - 1 if known + after == revision - 1 else known, **shown}


def _state_now(call: NativeCall, left: Mapping[str, int]) -> str:
    held = call.service.generations(left, call.own_project)
    if all(held.get(consumer, 0) == generation for consumer, generation in left.items()):
        return HELD if any(left.values()) else RELEASED
    return CHANGED if held else RELEASED
