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

KEY_HEADER: Final = "idempotency-key"
REPLAYED_HEADER: Final = "idempotency-replayed"

REPLAYED: Final = "replayed"
STATE_NOW: Final = "state_now"
"""Fields of an answer: whether it is one that was given before, and what has become of the claims since."""

HELD: Final = "held"
CHANGED: Final = "changed"
RELEASED: Final = "released"

_KEY: Final = re.compile(r'"((?:[ !#-\[\]-~]|\\["\\]){1,255})"|([!#-~]{1,255})')
"""A string of structured fields (RFC 8941), or the key itself."""

ResultT = TypeVar("ResultT")

Form = Callable[[ResultT], Mapping[str, object]]
Left = Callable[[Mapping[str, Any]], Mapping[str, int]]


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
    left: Left,
    refused: Callable[[WriteOutcome[ResultT]], Exception] | None = None,
    status: int = 200,
) -> Answer:
    """The answer to a write: ``form`` makes it of the result.

    ``left`` says what an answer has left behind: generations of consumers by UUID, 0 for one that should hold
    nothing. ``refused`` makes the exception to raise for a refusal.
    """
    outcome = call.service.outcome(command, call.requester, _key_of(call, form))
    if outcome.replayed is not None:
        body = orjson.loads(outcome.replayed)
        again = {**body, REPLAYED: True, STATE_NOW: _state_now(call, left(body))}
        answer = at_revision(outcome.revision, again, status)
        return answer._replace(headers={**answer.headers, REPLAYED_HEADER: "true"})
    if outcome.error is not None or outcome.result is None:
        raise (
            problems.refused(outcome.error, revision=outcome.revision)
            if refused is None
            else refused(outcome)
        )
    return at_revision(outcome.revision, {**form(outcome.result), REPLAYED: False}, status)


def _state_now(call: NativeCall, left: Mapping[str, int]) -> str:
    held = call.service.generations(left)
    if all(held.get(consumer, 0) == generation for consumer, generation in left.items()):
        return HELD if any(left.values()) else RELEASED
    return CHANGED if held else RELEASED
