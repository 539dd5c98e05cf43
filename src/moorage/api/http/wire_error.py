"""A refusal on the wire: status, text, code ("" for none in particular). ``render`` makes the body of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(eq=False)
class WireError(Exception):
    """A refusal. ``extra`` goes into the error object besides the usual keys.

    ``body`` is JSON that replaces the usual object.
    """

    status: int
    message: str = ""
    code: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    extra: Mapping[str, object] = field(default_factory=dict)
    body: bytes | None = None

    def __str__(self) -> str:
        return self.message


def bad_request(message: str, code: str = "") -> WireError:
    """400."""
    return WireError(400, message, code)
