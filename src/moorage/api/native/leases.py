"""``/moorage/v1/leases``: what makes claims end that nothing renews."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final
from uuid import uuid4

from moorage.api.http import intake
from moorage.api.http.exchange import Answer
from moorage.api.http.validation import BODY_FORMATS, Schema, Validator, canonical
from moorage.api.native import durations, pages, writes
from moorage.api.native.endpoint import Endpoint, NativeCall, at_revision
from moorage.api.native.parameters import Parameter
from moorage.api.native.problems import KEY_REUSED, LEASE_GONE, NOT_FOUND, OUTCOME_UNKNOWN, REVISION, VERSION
from moorage.api.native.shapes import (
    INTEGER,
    LEASE_STATES,
    TEXT,
    array,
    nullable,
    record,
    reference,
    written,
)
from moorage.model.commands import AttachClaim, DetachClaim, EndLease, GrantLease, ResolveLease, WriteOutcome
from moorage.model.errors import LeaseCrowdedError, LeaseNotFoundError
from moorage.model.keys import IdempotencyKey
from moorage.model.leases import (
    ENDED,
    Gone,
    LeaseAt,
    LeaseSelection,
    LeaseState,
    OnExpiry,
    Renewed,
    Resolution,
)
from moorage.model.values import Requester
from moorage.service.keeper import TOGETHER

LEAST_TTL_MS: Final = 1_000
MOST_RENEWALS: Final = 1_000
"""Leases of one request at most."""

RELEASE: Final = "release"
KEEP: Final = "keep"
GONE: Final = "gone"
"""What a replayed answer says of a lease that is not known any more."""


def create(call: NativeCall) -> Answer:
    """Grant a lease."""
    body = call.body
    most = body.get("max_life")
    command = GrantLease(
        str(uuid4()),
        body["owner"],
        call.requester.project_id,
        call.requester.user_id,
        durations.milliseconds(body["ttl"], "ttl", least=LEAST_TTL_MS),
        durations.milliseconds(body.get("grace", "0s"), "grace"),
        OnExpiry(body.get("on_expiry", OnExpiry.QUARANTINE.value)),
        None if most is None else durations.milliseconds(most, "max_life", least=LEAST_TTL_MS),
    )
    return writes.carried_out(call, command, _granted, None, status=201, state_now=_state_now)


def renew(call: NativeCall) -> Answer:
    """Renew leases."""
    wanted = [canonical(each) for each in call.body["leases"]]
    revision, found = call.service.leases.renew(wanted, call.own_project)
    renewed = [
        {"lease": each.uuid, "remaining": durations.seconds(each.remaining_ms), "revived": each.revived}
        for each in found
        if isinstance(each, Renewed)
    ]
    gone = [
        {
            "lease": each.uuid,
            "state": None if each.state is None else each.state.value,
            "revision": each.revision,
        }
        for each in found
        if isinstance(each, Gone)
    ]
    return at_revision(revision, {"renewed": renewed, "gone": gone})


def list_(call: NativeCall) -> Answer:
    """List leases."""
    wanted = LeaseSelection(
        limit=call.query.get(pages.LIMIT.name, pages.USUAL),
        after=call.query.get(pages.AFTER.name, ""),
        states=_states(call.query.get("state")),
        owner=call.query.get("owner"),
        project_id=call.query.get("project_id", call.own_project),
    )
    revision, page = call.service.leases.page(wanted)
    last = page.leases[-1].lease.uuid if page.has_more else None
    return at_revision(revision, {"leases": [_shown(each) for each in page.leases], pages.NEXT: last})


def _states(word: str | None) -> tuple[LeaseState, ...]:
    if word is None:
        return ()
    return ENDED if word == LeaseState.RELEASED.value else (LeaseState(word),)


def show(call: NativeCall) -> Answer:
    """Show a lease."""
    revision, found = call.service.leases.lease(call.path["lease"])
    if not call.reaches(found.lease.project_id):
        raise LeaseNotFoundError(found.lease.uuid)
    return at_revision(revision, _shown(found))


def attach(call: NativeCall) -> Answer:
    """Hang a claim on a lease."""
    consumer = call.path["consumer"]
    command = AttachClaim(call.path["lease"], consumer, call.own_project)
    return writes.carried_out(call, command, _with_consumer(consumer), None, state_now=_state_now)


def detach(call: NativeCall) -> Answer:
    """Take a claim off a lease."""
    consumer = call.path["consumer"]
    command = DetachClaim(call.path["lease"], consumer, call.own_project)
    return writes.carried_out(call, command, _with_consumer(consumer), None, state_now=_state_now)


def end(call: NativeCall) -> Answer:
    """End a lease."""
    keeps = call.query.get("claims", KEEP) == KEEP
    command = EndLease(call.path["lease"], keeps, call.own_project)
    perform = _letting_go(call) if keeps else _taking_away(call)
    return writes.carried_out(call, command, _basics, None, perform=perform, state_now=_state_now)


def resolve(call: NativeCall) -> Answer:
    """Decide about a quarantined lease."""
    resolution = Resolution(call.body["action"])
    command = ResolveLease(call.path["lease"], resolution, call.own_project)
    perform = _taking_away(call) if resolution is Resolution.RELEASE else _letting_go(call)
    return writes.carried_out(call, command, _basics, None, perform=perform, state_now=_state_now)


Perform = Callable[[Any, Requester, IdempotencyKey | None], WriteOutcome[LeaseAt]]


def _taking_away(call: NativeCall) -> Perform:
    """Ends a lease, and takes its claims away before it answers. Otherwise the service does it soon."""

    def perform(command: Any, requester: Requester, key: IdempotencyKey | None) -> WriteOutcome[LeaseAt]:
        outcome: WriteOutcome[LeaseAt] = call.service.outcome(command, requester, key)
        if outcome.error is None:
            call.service.leases.take_away(command.uuid, requester)
        return outcome

    return perform


def _letting_go(call: NativeCall) -> Perform:
    """Ends a lease whose claims stay. If very many hang on it, some lose it before in their own writes."""

    def perform(command: Any, requester: Requester, key: IdempotencyKey | None) -> WriteOutcome[LeaseAt]:
        outcome: WriteOutcome[LeaseAt] = call.service.outcome(command, requester, key)
        while isinstance(outcome.error, LeaseCrowdedError):
            call.service.leases.let_some_go(command.uuid, requester)
            outcome = call.service.outcome(command, requester, key)
        return outcome

    return perform


def _state_now(call: NativeCall, body: Mapping[str, Any]) -> str:
    try:
        return _word(call.service.leases.lease(body["lease"])[1].lease.state)
    except LeaseNotFoundError:
        return GONE


def _word(state: LeaseState) -> str:
    """The state as clients see it: claims that are still being taken away are the service's affair."""
    return LeaseState.RELEASED.value if state in ENDED else state.value


def _basics(found: LeaseAt) -> dict[str, object]:
    lease = found.lease
    return {
        "lease": lease.uuid,
        "owner": lease.owner,
        "project_id": lease.project_id,
        "user_id": lease.user_id,
        "state": _word(lease.state),
        "remaining": durations.seconds(found.remaining_ms),
        "ttl": durations.told(lease.ttl_ms),
        "grace": durations.told(lease.grace_ms),
        "on_expiry": lease.on_expiry.value,
        "ends_in": None
        if lease.end_tick is None
        else durations.seconds(max(0, lease.end_tick - found.ticks)),
    }


def _granted(found: LeaseAt) -> dict[str, object]:
    # The revision of the grant is known once it is committed: see ``writes.carried_out``.
    return {**_basics(found), writes.FENCE: None}


def _with_consumer(consumer: str) -> Callable[[LeaseAt], Mapping[str, object]]:
    return lambda found: {**_basics(found), "consumer": consumer}


def _shown(found: LeaseAt) -> dict[str, object]:
    lease = found.lease
    return {**_basics(found), writes.FENCE: lease.fence, "changed_at": lease.revision, "claims": found.claims}


_UUID: Final[Schema] = {"type": "string", "format": "uuid"}

GRANT: Final[Schema] = {
    "type": "object",
    "properties": {
        "owner": {
            "type": "string",
            "minLength": 1,
            "maxLength": 255,
            "description": "What holds the lease, in words of the client: an agent, a job.",
        },
        "ttl": {
            **durations.SCHEMA,
            "description": "How long it lasts without a renewal, as `30s`, `5m`, `24h`; 1 s at least.",
        },
        "grace": {
            **durations.SCHEMA,
            "description": "How long after that nothing is taken away, and a renewal revives it; none by "
            "default.",
        },
        "on_expiry": {
            "type": "string",
            "enum": [each.value for each in OnExpiry],
            "description": "What then becomes of its claims: `quarantine`, the default, keeps them until an "
            "operator decides; `release` takes them away.",
        },
        "max_life": {
            "anyOf": [durations.SCHEMA, {"type": "null"}],
            "description": "When it ends whatever is renewed, without a grace; null, the default, for never.",
        },
    },
    "required": ["owner", "ttl"],
    "additionalProperties": False,
}

RENEWALS: Final[Schema] = {
    "type": "object",
    "properties": {
        "leases": {
            "type": "array",
            "items": _UUID,
            "minItems": 1,
            "maxItems": MOST_RENEWALS,
            "description": "The leases to renew.",
        }
    },
    "required": ["leases"],
    "additionalProperties": False,
}

RESOLUTION: Final[Schema] = {
    "type": "object",
    "properties": {
        "action": {
            "type": "string",
            "enum": [each.value for each in Resolution],
            "description": "`release` takes its claims away. `restore` makes it active again, with its full "
            "ttl.",
        }
    },
    "required": ["action"],
    "additionalProperties": False,
}

_TEXT: Final = {"type": "string", "minLength": 1, "maxLength": 255}


_SELECTED: Final[Schema] = {"type": "string", "enum": LEASE_STATES}
_NOW: Final = (*LEASE_STATES, GONE)
_LEASE: Final = reference("Lease")


def _answer(more: Schema) -> Schema:
    return {"allOf": [record({REVISION: INTEGER}), _LEASE, written(more, now=_NOW)]}


_FACTS: Final[Schema] = {writes.FENCE: INTEGER, "changed_at": INTEGER, "claims": INTEGER}
_WRITES: Final = (NOT_FOUND, LEASE_GONE, KEY_REUSED, OUTCOME_UNKNOWN)

_EXAMPLE: Final = "5f0f2a55-8f6e-4d0e-9a35-6f6a1e0b7c22"

ENDPOINTS: Final = (
    Endpoint(
        "POST",
        f"{VERSION}/leases",
        create,
        summary="Grant a lease",
        rule="moorage:leases:create",
        about=(
            "Claims that hang on a lease end with it. It is `active` for its `ttl` of service time after its "
            "grant and after each renewal. Then it is `expired` for its `grace`: nothing is taken away, and "
            "a renewal revives it. After that it is `quarantined`, or `released` with its claims, as "
            "`on_expiry` says. Its holder stops what it does once `remaining` has passed, by its own steady "
            "clock, since it *sent* the request. `fence` grows from grant to grant: hand it to what the "
            "lease guards. `ends_in` is what is left of `max_life`."
        ),
        body=Validator(GRANT, BODY_FORMATS),
        writes=True,
        status=201,
        answer=_answer({writes.FENCE: INTEGER}),
        problems=(KEY_REUSED, OUTCOME_UNKNOWN),
        examples=(
            {"owner": "agent-h7", "ttl": "60s", "grace": "5m"},
            {"owner": "job-42", "ttl": "30s", "on_expiry": "release", "max_life": "8h"},
        ),
    ),
    Endpoint(
        "POST",
        f"{VERSION}/leases/renewals",
        renew,
        summary="Renew leases",
        rule="moorage:leases:renew",
        owned=True,
        about=(
            "One request renews many leases. A renewal raises no revision and is not in the journal. It may "
            "be sent again at any time, and takes no idempotency key. `revived`: the lease had expired. "
            "`gone` has those that can no longer be renewed, with `state`, null for one that is not known, "
            "and the `revision` that ended it."
        ),
        body=Validator(RENEWALS, BODY_FORMATS),
        counts=((intake.ALLOCATIONS, intake.part_size("leases")),),
        answer=record(
            {
                REVISION: INTEGER,
                "renewed": array(record({"lease": TEXT, "remaining": TEXT, "revived": {"type": "boolean"}})),
                "gone": array(
                    record(
                        {
                            "lease": TEXT,
                            "state": nullable({"enum": LEASE_STATES}),
                            "revision": nullable(INTEGER),
                        }
                    )
                ),
            }
        ),
        examples=({"leases": [_EXAMPLE]},),
    ),
    Endpoint(
        "GET",
        f"{VERSION}/leases",
        list_,
        summary="List leases",
        rule="moorage:leases:list",
        projects=lambda call: (call.query.get("project_id", call.identity.project_id),),
        owned=True,
        about=(
            "All given parameters must hold. `claims` counts those that hang on the lease; `GET "
            "/moorage/v1/claims?lease=` lists them. A released lease is known for a day of service time. For "
            "a client that is confined to its project, leases of other projects are not there."
        ),
        parameters=(
            Parameter("state", "Leases in this state.", _SELECTED),
            Parameter("owner", "Leases of this owner.", _TEXT),
            Parameter("project_id", "Leases that clients of this project have been granted.", _TEXT),
            pages.LIMIT,
            pages.AFTER,
        ),
        answer=record(
            {
                REVISION: INTEGER,
                "leases": array({"allOf": [_LEASE, record(_FACTS)]}),
                pages.NEXT: pages.NEXT_SCHEMA,
            }
        ),
        examples=("state=quarantined&limit=100", "owner=agent-h7"),
    ),
    Endpoint(
        "GET",
        f"{VERSION}/leases/{{lease}}",
        show,
        summary="Show a lease",
        rule="moorage:leases:show",
        owned=True,
        about="As one item of the list. `changed_at` is the revision of its last change but renewals.",
        answer={"allOf": [record({REVISION: INTEGER}), _LEASE, record(_FACTS)]},
        problems=(NOT_FOUND,),
        examples=("",),
    ),
    Endpoint(
        "PUT",
        f"{VERSION}/leases/{{lease}}/claims/{{consumer}}",
        attach,
        summary="Hang a claim on a lease",
        rule="moorage:leases:update",
        owned=True,
        about="What the consumer holds ends with the lease from now on, in place of any other lease.",
        writes=True,
        answer=_answer({"consumer": TEXT}),
        problems=_WRITES,
        examples=("",),
    ),
    Endpoint(
        "DELETE",
        f"{VERSION}/leases/{{lease}}/claims/{{consumer}}",
        detach,
        summary="Take a claim off a lease",
        rule="moorage:leases:update",
        owned=True,
        about="The claim stays, without a lease.",
        writes=True,
        answer=_answer({"consumer": TEXT}),
        problems=_WRITES,
        examples=("",),
    ),
    Endpoint(
        "DELETE",
        f"{VERSION}/leases/{{lease}}",
        end,
        summary="End a lease",
        rule="moorage:leases:delete",
        owned=True,
        about=(
            "With `claims` `keep`, the default, its claims stay without it. With `release` they are taken "
            f"away, {TOGETHER} in each commit; the answer comes when all are."
        ),
        parameters=(
            Parameter(
                "claims",
                "What becomes of its claims: `keep` or `release`.",
                {"type": "string", "enum": [KEEP, RELEASE]},
            ),
        ),
        writes=True,
        answer=_answer({}),
        problems=_WRITES,
        examples=("", "claims=release"),
    ),
    Endpoint(
        "POST",
        f"{VERSION}/leases/{{lease}}/resolution",
        resolve,
        summary="Decide about a quarantined lease",
        rule="moorage:leases:resolve",
        owned=True,
        about="`restore` of a lease that the service has made itself ends the lease, and leaves its claims.",
        body=Validator(RESOLUTION, BODY_FORMATS),
        writes=True,
        answer=_answer({}),
        problems=_WRITES,
        examples=({"action": "release"}, {"action": "restore"}),
    ),
)
