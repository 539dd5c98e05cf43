"""``/``: which versions there are."""

from __future__ import annotations

from moorage.api import versions
from moorage.api.exchange import Answer, Call


def show(call: Call) -> Answer:
    """The one version, and the microversions in it."""
    oldest, newest = versions.spelled(versions.OLDEST), versions.spelled(versions.NEWEST)
    version = {
        "id": f"v{oldest}",
        "max_version": newest,
        "min_version": oldest,
        "status": "CURRENT",
        # wire: the link is relative to itself, so that it holds under any prefix.
        "links": [{"rel": "self", "href": ""}],
    }
    return Answer(body={"versions": [version]}, dated=True)
