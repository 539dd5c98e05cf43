"""The media types that a client accepts, by its ``Accept`` header (RFC 9110, 12.5.1).

WebOb reads the header, as it does for the reference. Libraries differ in which headers they consider
malformed, in what a parameter excludes, and in which of two equally accepted types comes first.
"""

from __future__ import annotations

from typing import Final

from webob.acceptparse import create_accept_header

from moorage.api.http.exchange import JSON
from moorage.api.http.wire_error import WireError

HTML: Final = "text/html"
PLAIN: Final = "text/plain"

_ANYTHING: Final = frozenset({"", JSON, "*/*"})
"""The headers that most clients send; they are recognised without parsing."""


def check(accept: str | None) -> None:
    """Check that a client accepts JSON; a missing or malformed header means that it does.

    Raises WireError (406).
    """
    if (accept or "") not in _ANYTHING and _best(accept, JSON) != JSON:
        raise WireError(406, f"Only {JSON} is provided")


def stated(accept: str | None) -> str:
    """The media types that a client accepts for errors; a client that accepts all types gets JSON."""
    return JSON if not accept or accept == "*/*" else accept


def error_type(accept: str) -> str:
    """The media type of errors for a client that sends ``accept``."""
    # wire: HTML comes first where the client accepts both equally.
    return _best(accept, HTML, JSON) or PLAIN


def prefers_html(accept: str | None) -> bool:
    """Whether a client prefers HTML to plain text, as browsers do."""
    return _best(accept, PLAIN, HTML) == HTML


def _best(accept: str | None, *offers: str) -> str | None:
    """The first of those ``offers`` that the client prefers most; None if it accepts none."""
    found = create_accept_header(accept).acceptable_offers(offers)
    return found[0][0] if found else None
