"""How searches that found nothing are kept: the Ask as JSON, and the explanation as compressed JSON.

An explanation is kept as each client may see it, so that a later answer needs nothing else.
"""

from __future__ import annotations

import zlib
from typing import Any, Final

import orjson

from moorage.api.native import ask, explanation_body
from moorage.model.explanations import Explained
from moorage.model.requests import CandidateRequest

_WHOLE: Final = "whole"
_UNNAMED: Final = "unnamed"
_REDACTED: Final = "redacted"


class KeptForms:
    """See ``service.unmet.UnmetForms``."""

    def ask(self, request: CandidateRequest) -> str:
        """The Ask of a request, the same text for equal requests."""
        return orjson.dumps(ask.shown(request), option=orjson.OPT_SORT_KEYS).decode()

    def explanation(self, found: Explained) -> bytes:
        """An explanation in all its views."""
        views = {
            _WHOLE: explanation_body.whole(found, with_names=True),
            _UNNAMED: explanation_body.whole(found, with_names=False),
            _REDACTED: explanation_body.redacted(found),
        }
        return zlib.compress(orjson.dumps(views))


def ask_of(text: str) -> dict[str, Any]:
    """The Ask that was kept as ``text``."""
    found: dict[str, Any] = orjson.loads(text)
    return found


def view(kept: bytes, *, with_holders: bool, with_names: bool) -> dict[str, Any]:
    """A kept explanation as a client may see it."""
    name = (_WHOLE if with_names else _UNNAMED) if with_holders else _REDACTED
    found: dict[str, Any] = orjson.loads(zlib.decompress(kept))[name]
    return found
