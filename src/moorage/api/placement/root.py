"""``/``: the supported versions."""

from __future__ import annotations

from typing import Final

from moorage.api.http.exchange import Answer
from moorage.api.placement import versions
from moorage.api.placement.answers import reference
from moorage.api.placement.call import Call
from moorage.api.placement.operation import Operation


def show(call: Call) -> Answer:
    """Show the one version and its microversions."""
    oldest, newest = versions.spelled(versions.OLDEST), versions.spelled(versions.NEWEST)
    version = {
        "id": f"v{oldest}",
        "max_version": newest,
        "min_version": oldest,
        "status": "CURRENT",
        # wire: the link is relative, so that it is valid under any prefix.
        "links": [{"rel": "self", "href": ""}],
    }
    return Answer(body={"versions": [version]}, dated=True)


OPERATIONS: Final = (
    Operation(
        "GET",
        "/",
        show,
        summary="List the supported versions",
        rule=None,
        asks_text=False,
        answers={200: reference("Versions")},
    ),
)
