"""``/moorage/v1/unmet`` and ``/moorage/v1/explanations/{request_id}``: searches that found nothing."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime
from typing import Final

from moorage.api.http.exchange import Answer
from moorage.api.native import kept_explanations
from moorage.api.native.claims import moment
from moorage.api.native.endpoint import Endpoint, NativeCall, at_revision
from moorage.api.native.explanations import SEE_HOLDERS, SEE_NAMES, check_trees
from moorage.api.native.pages import MOST
from moorage.api.native.parameters import Parameter
from moorage.api.native.problems import INVALID_REQUEST, NOT_FOUND, REVISION, VERSION, refusal
from moorage.api.native.shapes import AMOUNT, TEXT, array, nullable, record, reference

USUAL_SECONDS: Final = 24 * 3600
"""How far back the list goes if the request does not say."""

LAST_SECOND: Final = 253_402_300_799
"""The end of the year 9999, beyond which there is no ISO 8601."""

USUAL_GROUPS: Final = 100

_SPAN: Final = re.compile(r"([0-9]{1,6})([smhd])")
_UNIT_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 24 * 3600}

_ID: Final = re.compile(r"[!-~]{1,64}")
"""What may be the id of a request."""


def show(call: NativeCall) -> Answer:
    """Show why a search of the past found nothing."""
    request_id = call.path["request_id"]
    found = call.service.unmet(request_id, call.own_project) if _ID.fullmatch(request_id) else None
    if found is None:
        kept = call.service.unmet_kept
        detail = (
            f"No search that found nothing is kept under this request id. The newest {kept:,} are kept, and "
            "an explanation comes a second or two after its search. While very many searches find nothing, "
            "some of them are only counted."
            if kept
            else "This service keeps no searches: unmet_kept in [moorage] is 0."
        )
        raise refusal(NOT_FOUND, detail)
    kept_one, sees_holders = found.record, call.may(SEE_HOLDERS)
    asked = kept_explanations.ask_of(kept_one.ask)
    names_a_tree = any("in_tree" in group for group in asked["groups"].values())
    check_trees(names_a_tree=names_a_tree, sees_holders=sees_holders)
    body = kept_explanations.view(
        kept_one.explanation, with_holders=sees_holders, with_names=call.may(SEE_NAMES)
    )
    more = {
        "ask": asked,
        "request_id": kept_one.request_id,
        "global_request_id": kept_one.global_request_id,
        "at": _moment(kept_one.at),
        "others": list(found.others),
    }
    return at_revision(kept_one.revision, {**body, **more})


def list_(call: NativeCall) -> Answer:
    """List what searches did not find."""
    since = _seconds(call.query["since"]) if "since" in call.query else int(time.time()) - USUAL_SECONDS
    revision = call.service.revision()
    groups = call.service.unmet_groups(since, call.query.get("limit", USUAL_GROUPS))
    shown = [
        {
            "ask": kept_explanations.ask_of(group.ask),
            "verdict": group.verdict,
            "count": group.searches,
            "first_at": _moment(group.first),
            "last_at": _moment(group.last),
            "request_id": group.request_id,
            "global_request_id": group.global_request_id,
        }
        for group in groups
    ]
    return at_revision(revision, {"unmet": shown, "since": _moment(since), "kept": call.service.unmet_kept})


def _moment(seconds: int) -> str | None:
    return moment(datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None))


def _seconds(text: str) -> int:
    """Seconds since 1970 of a time in ISO 8601, or of a span before now. Raises WireError (400)."""
    span = _SPAN.fullmatch(text)
    if span is not None:
        return max(0, int(time.time()) - int(span[1]) * _UNIT_SECONDS[span[2]])
    try:
        said = datetime.fromisoformat(text)
    except ValueError:
        detail = "since: neither a time such as 2027-01-31T08:00:00Z nor a span such as 30m, 24h or 7d."
        raise refusal(INVALID_REQUEST, detail, parameter="since") from None
    at = said if said.tzinfo is not None else said.replace(tzinfo=UTC)
    return min(max(0, int(at.timestamp())), LAST_SECOND)


_TIME: Final = {"type": "string", "format": "date-time"}

_WHOSE: Final = {"request_id": TEXT, "global_request_id": nullable(TEXT)}

ENDPOINTS: Final = (
    Endpoint(
        "GET",
        f"{VERSION}/explanations/{{request_id}}",
        show,
        summary="Show why a search of the past found nothing",
        rule="moorage:explanations:show",
        asks_also=(SEE_HOLDERS, SEE_NAMES),
        about=(
            "Searches for allocation candidates that found nothing are explained in the background, on the "
            "state that they were asked of. `request_id` is the id that the service gave the request, or the "
            "one that the client sent in `X-OpenStack-Request-Id`, as Nova does with its global request id. "
            "If several searches had it, the newest is shown, and `others` names the rest. `revision` is "
            "that of the search. A client that is confined to its project finds the searches of that project."
        ),
        owned=True,
        answer={
            "allOf": [
                reference("Explanation"),
                record(
                    {"ask": {"type": "object"}, **_WHOSE, "at": _TIME, "others": array(TEXT)},
                ),
            ]
        },
        problems=(NOT_FOUND,),
        examples=("",),
    ),
    Endpoint(
        "GET",
        f"{VERSION}/unmet",
        list_,
        summary="List what searches did not find",
        rule="moorage:unmet:list",
        about=(
            "Kept searches that found nothing, by ask and verdict, the most frequent first. `request_id` and "
            "`global_request_id` are those of the newest one: `GET /moorage/v1/explanations/{request_id}` "
            "takes both. `kept` is how many searches are kept at most."
        ),
        parameters=(
            Parameter(
                "since",
                "Only searches from this time on, in ISO 8601, or a span up to now: `30m`, `24h`, `7d`. "
                "A day if it is missing.",
                {"type": "string", "minLength": 1, "maxLength": 40},
            ),
            Parameter(
                "limit",
                f"The most groups to list; {USUAL_GROUPS} if it is missing.",
                {"type": "integer", "minimum": 1, "maximum": MOST},
            ),
        ),
        answer=record(
            {
                REVISION: {"type": "integer"},
                "unmet": array(
                    record(
                        {
                            "ask": {"type": "object"},
                            "verdict": TEXT,
                            "count": AMOUNT,
                            "first_at": _TIME,
                            "last_at": _TIME,
                            **_WHOSE,
                        }
                    )
                ),
                "since": _TIME,
                "kept": AMOUNT,
            }
        ),
        examples=("since=24h", "since=2027-01-31T08:00:00Z&limit=10"),
    ),
)
