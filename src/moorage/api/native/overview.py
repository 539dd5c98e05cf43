"""``/moorage/v1/overview``: the whole cloud at a glance, in columns."""

from __future__ import annotations

from typing import Final

import orjson

from moorage.api.http.exchange import Answer
from moorage.api.native.endpoint import REVISION_HEADER, Endpoint, NativeCall
from moorage.api.native.problems import REVISION, VERSION
from moorage.api.native.shapes import AMOUNT, TEXT, array, mapping, record


def show(call: NativeCall) -> Answer:
    """Show all trees."""
    revision, found = call.service.overview()
    body = {
        REVISION: revision,
        "trees": {
            "root": found.roots,
            "name": found.names,
            "providers": found.providers,
            "aggregate_set": found.sets,
        },
        "aggregate_sets": found.aggregate_sets,
        "classes": {
            name: {"capacity": capacities, "used": used} for name, (capacities, used) in found.classes.items()
        },
    }
    return Answer(body=orjson.dumps(body), headers={REVISION_HEADER: str(revision)})


_AMOUNTS = array(AMOUNT)

ENDPOINTS: Final = (
    Endpoint(
        "GET",
        f"{VERSION}/overview",
        show,
        summary="Show the whole cloud at a glance",
        rule="moorage:overview:show",
        about=(
            "Lists of equal length, with one place for each tree. `aggregate_set` is a position in "
            "`aggregate_sets`, and names the aggregates of all providers of the tree. `classes` has capacity "
            "and use of each tree, 0 for a tree that has none of the class. Amounts stop at 2^53 - 1."
        ),
        answer=record(
            {
                REVISION: {"type": "integer"},
                "trees": record(
                    {
                        "root": array(TEXT),
                        "name": array(TEXT),
                        "providers": _AMOUNTS,
                        "aggregate_set": _AMOUNTS,
                    }
                ),
                "aggregate_sets": array(array(TEXT)),
                "classes": mapping(record({"capacity": _AMOUNTS, "used": _AMOUNTS})),
            }
        ),
        examples=("",),
    ),
)
