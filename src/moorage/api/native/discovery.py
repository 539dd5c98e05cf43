"""``/moorage``, ``/moorage/v1`` and the pages of problems: what the service says of itself."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Final

from moorage.api.http import accept
from moorage.api.http.exchange import Answer
from moorage.api.http.wire_error import WireError
from moorage.api.native.endpoint import Endpoint, NativeCall
from moorage.api.native.problems import (
    BY_CODE,
    NOT_FOUND,
    PAGES,
    PROBLEMS,
    ROOT,
    VERSION,
    Again,
    Effect,
    ProblemType,
)
from moorage.api.native.shapes import array, record, reference

FEATURES: Final[Sequence[str]] = (
    "at",
    "bulk_reads",
    "changes",
    "claims",
    "explain",
    "frees",
    "leases",
    "order",
    "reports",
    "unmet",
)
"""What this version can do beyond the frame. Clients look here before they use a feature."""

VERSION_ID: Final = "v1"


def _version(prefix: str) -> dict[str, object]:
    return {
        "id": VERSION_ID,
        "status": "CURRENT",
        "href": prefix + VERSION,
        "openapi": f"{prefix}{VERSION}/openapi.json",
        "problems": prefix + PAGES,
        "features": list(FEATURES),
    }


def show_versions(call: NativeCall) -> Answer:
    """List the versions of the native API."""
    return Answer(body={"versions": [_version(call.prefix)]})


def show_version(call: NativeCall) -> Answer:
    """Show one version."""
    return Answer(body=_version(call.prefix))


# Pages of problems

_AGAIN: Final = {
    Again.NEVER: "The same request will not succeed.",
    Again.STATE_CHANGES: "The same request may succeed after the state has changed.",
    Again.NOW: "The same request may be sent again at once.",
    Again.LATER: "The same request may be sent again later.",
}
_EFFECT: Final = {
    Effect.NOTHING_CHANGED: "The request has changed nothing.",
    Effect.UNKNOWN: "It is not known whether the request took effect.",
}


def show_problems(call: NativeCall) -> Answer:
    """List all problems, as a page."""
    lines = [(problem.path, f"{problem.code} ({problem.status})", problem.means) for problem in PROBLEMS]
    if _wants_html(call):
        prefix = html.escape(call.prefix)
        items = "".join(
            f'<dt><a href="{prefix}{path}">{html.escape(name)}</a></dt><dd>{html.escape(means)}</dd>\n'
            for path, name, means in lines
        )
        return _html("Problems", f"<dl>\n{items}</dl>\n")
    return _plain("Problems\n\n" + "".join(f"{name}: {means}\n" for _, name, means in lines))


def show_problem(call: NativeCall) -> Answer:
    """Explain one problem, as a page."""
    problem = BY_CODE.get(call.path["code"].replace("-", "_"))
    if problem is None:
        raise WireError(404, f"There is no problem with this code; GET {PAGES} lists all.")
    heading = f"{problem.title} ({problem.status}, {problem.code})"
    if _wants_html(call):
        parts = "".join(
            f"<h2>{html.escape(name)}</h2>\n<p>{html.escape(text)}</p>\n" for name, text in told(problem)
        )
        link = f'<a href="{html.escape(call.prefix)}{PAGES}">All problems</a>'
        return _html(heading, f"{parts}<p>{link}</p>\n")
    return _plain(f"{heading}\n\n" + "\n".join(f"{name}\n  {text}\n" for name, text in told(problem)))


def told(problem: ProblemType) -> list[tuple[str, str]]:
    """The sections of a problem's page: heading and text."""
    return [
        ("What it means", problem.means),
        ("What to do", problem.remedy),
        ("What has happened", f"{_EFFECT[problem.effect]} {_AGAIN[problem.again]}"),
    ]


def _wants_html(call: NativeCall) -> bool:
    return accept.prefers_html(call.accept)


def _html(heading: str, body: str) -> Answer:
    text = (
        '<!DOCTYPE html>\n<html lang="en">\n<head><meta charset="utf-8">'
        f"<title>{html.escape(heading)}</title></head>\n<body>\n<h1>{html.escape(heading)}</h1>\n{body}</body>\n</html>\n"
    )
    headers = {"content-security-policy": "default-src 'none'", "x-content-type-options": "nosniff"}
    return Answer(body=text.encode(), headers=headers, media_type=f"{accept.HTML}; charset=utf-8")


def _plain(text: str) -> Answer:
    headers = {"x-content-type-options": "nosniff"}
    return Answer(body=text.encode(), headers=headers, media_type=f"{accept.PLAIN}; charset=utf-8")


ENDPOINTS: Final = (
    Endpoint(
        "GET",
        ROOT,
        show_versions,
        summary="List the versions of the native API",
        rule=None,
        about="Each version lists its `features`. It may get further ones, and loses none.",
        answer=record({"versions": array(reference("Version"))}),
    ),
    Endpoint(
        "GET",
        VERSION,
        show_version,
        summary="Show this version and its features",
        rule=None,
        answer=reference("Version"),
    ),
    Endpoint(
        "GET",
        PAGES,
        show_problems,
        summary="List all problems",
        rule=None,
        about="A page for people, in HTML or as text.",
        media_types=(accept.HTML, accept.PLAIN),
    ),
    Endpoint(
        "GET",
        f"{PAGES}/{{code}}",
        show_problem,
        summary="Explain a problem",
        rule=None,
        about="The `type` of a problem leads here. A page for people, in HTML or as text.",
        media_types=(accept.HTML, accept.PLAIN),
        problems=(NOT_FOUND,),
    ),
)
