"""``/moorage/v1/findings``: what reports and the account disagree about."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from moorage.api.http.exchange import Answer
from moorage.api.http.validation import BODY_FORMATS, Schema, Validator
from moorage.api.native import pages, writes
from moorage.api.native.claims import moment
from moorage.api.native.endpoint import Endpoint, NativeCall, at_revision
from moorage.api.native.parameters import Parameter
from moorage.api.native.problems import (
    CANNOT_HEAL,
    GENERATION_CONFLICT,
    INVALID_REQUEST,
    KEY_REUSED,
    NEVER_FITS,
    NO_ROOM,
    NOT_FOUND,
    OUTCOME_UNKNOWN,
    REVISION,
    VERSION,
    refusal,
)
from moorage.api.native.shapes import AMOUNT, INTEGER, TEXT, array, record, reference, written
from moorage.model.commands import HealClaim, Healed, WriteOutcome
from moorage.model.keys import IdempotencyKey
from moorage.model.reports import KINDS, QUARANTINED, STATES, FindingSelection, KnownFinding
from moorage.model.values import Requester

HEAL: Final = "heal"
IGNORE: Final = "ignore"
REOPEN: Final = "reopen"
QUARANTINE: Final = "quarantine"


def shown(call: NativeCall, known: KnownFinding, now: int) -> dict[str, object]:
    """A finding at the service time ``now``."""
    finding = known.finding
    due = call.service.reports.due_in(finding, now)
    owner = finding.owner
    return {
        "id": finding.id,
        "source": finding.source,
        "kind": finding.kind,
        "state": finding.state,
        "consumer": finding.consumer,
        "tree": finding.tree,
        "held": finding.held,
        "reported": finding.reported,
        "rest": finding.rest,
        "project_id": None if owner is None else owner.project_id,
        "consumer_type": None if owner is None else owner.consumer_type,
        "since": moment(datetime.fromtimestamp(known.at, UTC).replace(tzinfo=None)),
        "age_seconds": max(0, now - finding.since) // 1000,
        "compared_at": finding.revision,
        "action": finding.action,
        "due_in_seconds": None if due is None else -(-due // 1000),
        "trouble": finding.trouble,
    }


def list_(call: NativeCall) -> Answer:
    """List findings."""
    revision = call.service.revision()
    page = call.service.reports.page(
        FindingSelection(
            limit=call.query.get(pages.LIMIT.name, pages.USUAL),
            after=call.query.get(pages.AFTER.name, ""),
            source=call.query.get("source"),
            kind=call.query.get("kind"),
            state=call.query.get("state"),
            consumer=call.query.get("consumer"),
        )
    )
    last = page.findings[-1].finding.id if page.has_more else None
    return at_revision(
        revision,
        {
            "findings": [shown(call, each, page.now) for each in page.findings],
            "total": page.total,
            pages.NEXT: last,
        },
    )


def show(call: NativeCall) -> Answer:
    """Show one finding."""
    revision = call.service.revision()
    known = call.service.reports.find(call.path["id"])
    return at_revision(revision, shown(call, known, call.service.reports.now()))


def resolve(call: NativeCall) -> Answer:
    """Heal, ignore or reopen a finding."""
    id_, action = call.path["id"], call.body["action"]
    over_capacity = call.body.get("allow_overcommit", False)
    if over_capacity and action != HEAL:
        detail = "allow_overcommit is for the action heal only."
        raise refusal(INVALID_REQUEST, detail, pointer="/allow_overcommit")
    quarantines = action == QUARANTINE
    if action != HEAL and not quarantines:
        known = call.service.reports.answer(id_, action)
        return at_revision(
            call.service.revision(), {"finding": id_, "state": known.finding.state, writes.REPLAYED: False}
        )

    def heal(_: HealClaim, requester: Requester, key: IdempotencyKey | None) -> WriteOutcome[Healed]:
        return call.service.reports.heal(
            id_, requester, key, over_capacity=over_capacity, quarantines=quarantines
        )

    return writes.carried_out(
        call,
        HealClaim(id_, None),
        lambda healed: {
            "finding": id_,
            "state": QUARANTINED if quarantines else "healed",
            "consumer": healed.consumer,
            "generation": healed.generation,
            "held": healed.held,
        },
        _left,
        perform=heal,
    )


def _left(body: Mapping[str, Any]) -> dict[str, int]:
    return {body["consumer"]: body["generation"]}


RESOLUTION: Final[Schema] = {
    "type": "object",
    "properties": {
        "action": {
            "type": "string",
            "enum": [HEAL, QUARANTINE, IGNORE, REOPEN],
            "description": "`heal`, `quarantine`, `ignore` or `reopen`.",
        },
        "allow_overcommit": {
            "type": "boolean",
            "description": "With heal: even if there is no room, since it runs anyway.",
        },
    },
    "required": ["action"],
    "additionalProperties": False,
}

_PROVIDERS: Final = {"type": "object", "additionalProperties": {"type": "object"}}

ENDPOINTS: Final = (
    Endpoint(
        "GET",
        f"{VERSION}/findings",
        list_,
        summary="List what reports and the account disagree about",
        rule="moorage:findings:list",
        about=(
            "All given parameters must hold. `kind` is `leaked` for what is held and not reported, `missing` "
            "for what is reported and not held, `differs` for other amounts, `moved` for what is held of "
            "another tree. `held` is what the source covers of the claim, `rest` what the consumer holds "
            "besides. `action` is what the service will do of itself with a report that still shows the "
            "finding in `due_in_seconds`, null if nothing. `age_seconds` begins anew when the claim or the "
            "report changes. `trouble` says why the last action was refused. `total` counts all that fit."
        ),
        parameters=(
            Parameter("kind", "Findings of this kind.", {"type": "string", "enum": list(KINDS)}),
            Parameter(
                "source", "Findings of this source.", {"type": "string", "minLength": 1, "maxLength": 64}
            ),
            Parameter("state", "Findings in this state.", {"type": "string", "enum": list(STATES)}),
            Parameter("consumer", "Findings about this consumer.", pages.UUID),
            pages.LIMIT,
            pages.AFTER,
        ),
        answer=record(
            {
                REVISION: INTEGER,
                "findings": array(reference("Finding")),
                "total": AMOUNT,
                pages.NEXT: pages.NEXT_SCHEMA,
            }
        ),
        examples=("kind=leaked&source=nova", "state=open&limit=100"),
    ),
    Endpoint(
        "GET",
        f"{VERSION}/findings/{{id}}",
        show,
        summary="Show a finding",
        rule="moorage:findings:show",
        about="As one item of the list. A finding that the last report no longer shows is not found.",
        answer={"allOf": [record({REVISION: INTEGER}), reference("Finding")]},
        problems=(NOT_FOUND,),
        examples=("",),
    ),
    Endpoint(
        "POST",
        f"{VERSION}/findings/{{id}}/resolution",
        resolve,
        summary="Heal or ignore a finding",
        rule="moorage:findings:resolve",
        about=(
            "`heal` lets the consumer hold what is reported, at once: what is leaked is released, as far as "
            "the source covers it. `quarantine` hangs a leaked claim on a quarantined lease instead: its "
            "capacity stays taken until an operator releases or restores the lease. The journal has the "
            "finding as the reason. A claim that has changed since the report is left alone. `ignore` leaves "
            "the finding alone as long as claim and report stay as they are; `reopen` takes that back."
        ),
        body=Validator(RESOLUTION, BODY_FORMATS),
        writes=True,
        answer=written(
            {
                REVISION: INTEGER,
                "finding": TEXT,
                "state": TEXT,
                "consumer": TEXT,
                "generation": INTEGER,
                "held": _PROVIDERS,
            },
            optional=("consumer", "generation", "held"),
        ),
        problems=(
            NOT_FOUND,
            CANNOT_HEAL,
            GENERATION_CONFLICT,
            NO_ROOM,
            NEVER_FITS,
            KEY_REUSED,
            OUTCOME_UNKNOWN,
        ),
        examples=({"action": IGNORE}, {"action": HEAL, "allow_overcommit": False}),
    ),
)
