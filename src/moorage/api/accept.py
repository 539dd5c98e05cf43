"""What a client takes, by its ``Accept`` header (RFC 9110, 12.5.1)."""

from __future__ import annotations

from typing import Final

from falcon import mediatypes
from falcon.errors import InvalidMediaRange, InvalidMediaType

JSON: Final = "application/json"
HTML: Final = "text/html"
PLAIN: Final = "text/plain"


def takes_json(accept: str | None) -> bool:
    """Whether a client takes JSON; one whose header is missing or makes no sense does."""
    return not accept or _quality(JSON, accept) > 0


def stated(accept: str | None) -> str:
    """What a client says that it takes of errors; one that takes all takes JSON."""
    return JSON if not accept or accept == "*/*" else accept


def error_type(accept: str) -> str:
    """The media type in which a client that takes ``accept`` is told of an error."""
    # wire: HTML comes first where both are welcome.
    html, json = _quality(HTML, accept), _quality(JSON, accept)
    if html == json == 0:
        return PLAIN
    return HTML if html >= json else JSON


def _quality(media_type: str, accept: str) -> float:
    try:
        return mediatypes.quality(media_type, accept)
    except (InvalidMediaRange, InvalidMediaType):
        return 1.0
