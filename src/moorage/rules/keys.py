"""A command with an idempotency key is carried out once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from moorage.model.errors import KeyReusedError
from moorage.model.keys import IdempotencyKey, RememberedAnswer
from moorage.rules.state import Changes, State


def once(state: State, key: IdempotencyKey, decide: Callable[[], Changes[Any]]) -> Changes[Any]:
    """What ``decide`` changes, and the key. If the key is known: nothing, with the remembered answer.

    A refusal is not remembered: it has changed nothing, and the same key may be used again. Raises
    KeyReusedError if the key was used for another request, and what ``decide`` raises.
    """
    known = state.keys[key.id]
    if known is None:
        changes = decide()
        changes.keys[key.id] = RememberedAnswer(key.fingerprint, key.form(changes.result))
        return changes
    if known.fingerprint != key.fingerprint:
        raise KeyReusedError
    return Changes(known, "replay")
