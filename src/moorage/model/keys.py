"""Idempotency keys: a request that was carried out once is answered again, and not carried out again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from moorage.model.valueclass import valueclass


@valueclass(frozen=True, slots=True)
class IdempotencyKey:
    """A client's key for one request.

    ``id`` is equal for equal keys of one project, ``fingerprint`` for equal requests. ``form`` makes the text
    that is remembered of a result.
    """

    id: str
    fingerprint: str
    form: Callable[[Any], str]


@valueclass(frozen=True, slots=True)
class RememberedAnswer:
    """What is remembered under a key: the ``text`` of a result, and the revision of its write.

    ``revision`` is None until that is known.
    """

    fingerprint: str
    text: str
    revision: int | None = None
