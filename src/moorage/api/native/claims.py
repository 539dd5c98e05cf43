"""``/moorage/v1/claims``: consumers with what they hold."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import Final

from moorage.api.http.exchange import Answer
from moorage.api.native import pages
from moorage.api.native.endpoint import Endpoint, NativeCall, at_revision
from moorage.api.native.parameters import Parameter
from moorage.api.native.problems import NOT_FOUND, REVISION, VERSION
from moorage.api.native.shapes import array, record, reference
from moorage.model.values import ClaimSelection, ListedClaim


def list_(call: NativeCall) -> Answer:
    """List claims."""
    wanted = ClaimSelection(
        limit=call.query.get(pages.LIMIT.name, pages.USUAL),
        after=call.query.get(pages.AFTER.name, ""),
        project_id=call.query.get("project_id"),
        provider=call.query.get("provider"),
        consumer_type=call.query.get("type"),
    )
    revision, page = call.service.claim_page(wanted)
    last = page.claims[-1].consumer if page.has_more else None
    return at_revision(revision, {"claims": [_shown(claim) for claim in page.claims], pages.NEXT: last})


def _shown(claim: ListedClaim) -> dict[str, object]:
    resources: Counter[str] = Counter()
    for amounts in claim.held.values():
        resources.update(amounts)
    return {
        "consumer": claim.consumer,
        "consumer_type": claim.consumer_type,
        "project_id": claim.project_id,
        "user_id": claim.user_id,
        "generation": claim.generation,
        "since": moment(claim.since),
        "resources": dict(sorted(resources.items())),
        "providers": claim.held,
    }


def moment(time: datetime | None) -> str | None:
    """A naive UTC time in ISO 8601; None if it is not known."""
    return None if time is None else f"{time.isoformat(timespec='seconds')}Z"


_TEXT: Final = {"type": "string", "minLength": 1, "maxLength": 255}

ENDPOINTS: Final = (
    Endpoint(
        "GET",
        f"{VERSION}/claims",
        list_,
        summary="List consumers with what they hold",
        rule="moorage:claims:list",
        about=(
            "All given parameters must hold. `resources` adds up what the consumer holds of all `providers`. "
            "`since` is when the consumer was made, null if that is not known."
        ),
        parameters=(
            Parameter("project_id", "Claims of this project.", _TEXT),
            Parameter("provider", "Claims that hold something of the provider with this UUID.", pages.UUID),
            Parameter("type", "Claims of consumers of this type; `unknown` for those without one.", _TEXT),
            pages.LIMIT,
            pages.AFTER,
        ),
        answer=record(
            {
                REVISION: {"type": "integer"},
                "claims": array(reference("Claim")),
                pages.NEXT: pages.NEXT_SCHEMA,
            }
        ),
        problems=(NOT_FOUND,),
        examples=("project_id=p1&limit=100", "type=INSTANCE"),
    ),
)
