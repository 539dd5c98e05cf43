"""Errors as clients see them: JSON, HTML or plain text.

The forms are those of the WebOb library, which the reference is built on: an explanation by status, then the
message. Clients and tests compare them, so the white space is the same as well.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from moorage.api.http import accept, quoting
from moorage.api.http.wire_error import WireError
from moorage.model.valueclass import valueclass

_TITLES: Final[Mapping[int, str]] = {413: "Request Entity Too Large", 414: "URI Too Long"}
"""Titles that differ from the standard library's, or between its versions."""

_EXPLANATIONS: Final[Mapping[int, str]] = {
    400: (
        "The server could not comply with the request since it is either malformed or otherwise incorrect."
    ),
    401: (
        "This server could not verify that you are authorized to access the document you "
        "requested. Either you supplied the wrong credentials (e.g., bad password), or your "
        "browser does not understand how to supply the credentials required."
    ),
    403: "Access was denied to this resource.",
    404: "The resource could not be found.",
    408: "The server has waited too long for the request to be sent by the client.",
    409: "There was a conflict when trying to complete your request.",
    413: "The body of your request was too large for this server.",
    414: "The request URI was too long for this server.",
    431: "The request was refused since its header fields are too large for this server.",
    500: ("The server has either erred or is incapable of performing the requested operation."),
    503: "The server is currently unavailable. Please try again at a later time.",
}

# wire: the parenthesis of 406 is never closed.
_EXPLANATIONS_WITH_DETAILS: Final[Mapping[int, str]] = {
    405: "The method {method} is not allowed for this resource. ",
    406: (
        "The resource could not be generated that was acceptable to your browser\n(content of type {accept}. "
    ),
    415: "The request media type {content_type} is not supported by this server.\n",
}

_BREAKS: Final = "<br /><br />\n"
_LINE_BREAK: Final = re.compile("<br", re.IGNORECASE)
_COMMENT_MARK: Final = re.compile("<!--|-->")
_TAG: Final = re.compile("<")


@valueclass(frozen=True, slots=True)
class RefusedRequest:
    """The facts of a request that texts of errors depend on. ``code`` is shown unless ""."""

    method: str
    accept: str
    content_type: str | None
    request_id: str
    code: str = ""


def title(status: int) -> str:
    """The reason phrase of a status code."""
    return _TITLES.get(status) or HTTPStatus(status).phrase


def render(error: WireError, asked: RefusedRequest) -> tuple[str, bytes]:
    """Content type and body of an error, in a form that the client accepts."""
    media_type = accept.error_type(asked.accept)
    heading = f"{error.status} {title(error.status)}"
    if media_type == accept.HTML:
        fragment = _fragment(error, asked, escaped=True)
        text = (
            f"<html>\n <head>\n  <title>{heading}</title>\n </head>\n <body>\n"
            f"  <h1>{heading}</h1>\n  {fragment}\n </body>\n</html>"
        )
        return f"{media_type}; charset=UTF-8", _encoded(text)
    fragment = _fragment(error, asked, escaped=False)
    if media_type == accept.PLAIN:
        text = f"{heading}\n\n{_without_tags(fragment)}"
        return f"{media_type}; charset=UTF-8", _encoded(text)
    if error.status == HTTPStatus.UNAUTHORIZED:
        # wire: errors have the usual form only after the request is authenticated.
        shown: Mapping[str, object] = {
            "message": fragment,
            "code": heading,
            "title": title(error.status),
        }
    else:
        shown = {"errors": [_error_object(error, asked, _without_tags(fragment))]}
    return media_type, json.dumps(shown).encode()


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "backslashreplace")


def _error_object(error: WireError, asked: RefusedRequest, detail: str) -> dict[str, object]:
    shown: dict[str, object] = {
        "status": error.status,
        "title": title(error.status),
        "detail": detail,
    }
    if asked.code:
        shown["code"] = asked.code
    shown["request_id"] = asked.request_id
    shown.update(error.extra)
    return shown


def _fragment(error: WireError, asked: RefusedRequest, escaped: bool) -> str:
    """Explanation and message, with HTML's line breaks between them."""
    message = quoting.bounded(error.message)
    if escaped:
        message = _escaped(message)
    explanation = _EXPLANATIONS_WITH_DETAILS.get(error.status)
    if explanation is None:
        explanation = _EXPLANATIONS.get(error.status, title(error.status))
        return f"{explanation}{_BREAKS}{message}\n\n"
    details = {
        "method": asked.method,
        "accept": asked.accept,
        "content_type": asked.content_type or "None",
    }
    details = {name: quoting.bounded(value, quoting.MAX_QUOTED) for name, value in details.items()}
    if escaped:
        details = {name: _escaped(value) for name, value in details.items()}
    return f"{explanation.format(**details)}{_BREAKS}{message}"


def _escaped(text: str) -> str:
    """For HTML. wire: characters outside of ASCII are written as numeric references."""
    return html.escape(text).encode("ascii", "xmlcharrefreplace").decode("ascii")


def _without_tags(fragment: str) -> str:
    text = fragment.replace("\n", " ").replace("\r", "")
    text = _replaced(_LINE_BREAK, text, "\n")
    return _replaced(_TAG, _COMMENT_MARK.sub("", text), "")


def _replaced(beginning: re.Pattern[str], text: str, by: str) -> str:
    """``text`` in which ``by`` replaces every part from a ``beginning`` to the next ``>``.

    A pattern that contained the end as well would scan the rest of the text once for each beginning without
    an end.
    """
    parts: list[str] = []
    done = 0
    for found in beginning.finditer(text):
        if found.start() < done:
            continue
        end = text.find(">", found.end())
        if end < 0:
            break
        parts += text[done : found.start()], by
        done = end + 1
    return "".join((*parts, text[done:]))
