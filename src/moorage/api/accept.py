"""What a client takes, by its ``Accept`` header (RFC 9110, 12.5.1).

WebOb reads the header, as it does for the reference: which headers make no sense, what a parameter
excludes and which of two welcome types comes first, each library decides in its own way.
"""

from __future__ import annotations

from typing import Final

from webob.acceptparse import create_accept_header

JSON: Final = "application/json"
HTML: Final = "text/html"
PLAIN: Final = "text/plain"

_ANYTHING: Final = frozenset({"", JSON, "*/*"})
"""Headers that most clients send: they need no reading."""


def takes_json(accept: str | None) -> bool:
    """Whether a client takes JSON; one whose header is missing or makes no sense does."""
    return (accept or "") in _ANYTHING or _best(accept, JSON) == JSON


def stated(accept: str | None) -> str:
    """What a client says that it takes of errors; one that takes all takes JSON."""
    return JSON if not accept or accept == "*/*" else accept


def error_type(accept: str) -> str:
    """The media type in which a client that takes ``accept`` is told of an error."""
    # wire: HTML comes first where both are as welcome.
    return _best(accept, HTML, JSON) or PLAIN


def _best(accept: str | None, *offers: str) -> str | None:
    """The most welcome of ``offers``, the first of those that are as welcome; None if none is."""
    found = create_accept_header(accept).acceptable_offers(offers)
    return found[0][0] if found else None
