"""``POST /moorage/v1/claims``: claims for new consumers, and moves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from moorage.api.http.exchange import Answer
from moorage.api.http.validation import BODY_FORMATS, Validator
from moorage.api.native import entries, explanation_body, orders, problems, unknown, writes
from moorage.api.native.candidates import ranked_shown
from moorage.api.native.endpoint import Endpoint, NativeCall
from moorage.api.native.entries import WantedClaim
from moorage.api.native.explanations import SEE_HOLDERS, SEE_NAMES
from moorage.api.native.problems import (
    ALREADY_HOLDS,
    GENERATION_CONFLICT,
    KEY_REUSED,
    LEASE_GONE,
    NEVER_FITS,
    NO_ROOM,
    OUTCOME_UNKNOWN,
    REVISION,
    TOO_HARD,
    UNKNOWN_NAME,
    VERSION,
    ProblemType,
)
from moorage.api.native.shapes import INTEGER, array, reference, written
from moorage.model.commands import Claim, GrantClaims, PlaceClaims
from moorage.model.errors import EntriesRefusedError, MoorageError, NothingFitsError
from moorage.model.explanations import CUT_SHORT, NOBODY_OFFERS, ExplainRequest
from moorage.model.explanations import NEVER_FITS as NEVER
from moorage.model.orders import Order
from moorage.model.placing import Choice, Granted, GrantedEntry
from moorage.model.requests import Candidate

MOST_EXPLAINED: Final = 3
"""Different asks of one request whose refusals are explained."""


def create(call: NativeCall) -> Answer:
    """Claim."""
    wanted = entries.wanted(call.body)
    asked = entries.asked(call.body, call.read_query, call.limits)
    least = entries.least_of(call.body, len(wanted))
    held, stale = entries.holders(wanted, call.service.claim, call.reaches)
    if stale is not None:
        # Refused where its key is looked up: the change may be this very request's.
        moved, error = stale
        nothing = Claim(moved.consumer, {}, "", "")
        return _carried_out(call, GrantClaims((nothing,), 1, (error,)), Teller(call, (moved,), asked))
    chosen_by = {
        number: orders.chosen(call, entry["order"], ("claims", number, "order"))
        for number, entry in enumerate(call.body["claims"])
        if "order" in entry
    }
    origins = entries.origins(call.body, {number: each.profile for number, each in chosen_by.items()})
    only_own = call.own_project is not None
    claims = entries.claims_of(wanted, call.requester, held, origins, only_own=only_own)
    passed_on = tuple([entries.passed_on(each, held, only_own=only_own) for each in wanted]) if held else ()
    if not asked:
        teller = Teller(call, wanted, asked)
        return _carried_out(call, GrantClaims(claims, least, passed_on=passed_on), teller)
    by_entry = {number: found.single for number, found in asked.items()}
    requests = tuple([by_entry.get(each.entry) for each in wanted])
    freed = tuple([entries.freed(each, held) for each in wanted]) if held else ()
    best_by = {number: each.order for number, each in chosen_by.items()}
    ordered = tuple([best_by.get(each.entry) for each in wanted])
    teller = Teller(call, wanted, asked, best_by)
    explained = call.body.get("explain") == entries.ALWAYS
    command = PlaceClaims(claims, requests, least, freed, passed_on, ordered, explained)
    return _carried_out(call, command, teller)


def _carried_out(call: NativeCall, command: GrantClaims | PlaceClaims, teller: Teller) -> Answer:
    return writes.carried_out(
        call,
        command,
        teller.shown,
        _left,
        lambda outcome: teller.refused(outcome.error, outcome.revision),
        status=201,
        perform=call.service.place if isinstance(command, PlaceClaims) else None,
        more=teller.explained if isinstance(command, PlaceClaims) and command.explained else None,
    )


def _left(body: Mapping[str, Any]) -> dict[str, int]:
    return {claim["consumer"]: claim["generation"] for claim in body["claims"]}


class Teller:
    """Makes an answer of what became of the claims of a request."""

    def __init__(
        self,
        call: NativeCall,
        wanted: Sequence[WantedClaim],
        asked: entries.Asked,
        orders_by: Mapping[int, Order] | None = None,
    ) -> None:
        self._call = call
        self._orders_by = orders_by or {}
        self._wanted = wanted
        self._asked = asked
        self._explains = call.body.get("explain") != entries.NEVER
        self._explained: dict[int, tuple[ProblemType, Mapping[str, object] | None]] = {}

    def shown(self, granted: Granted) -> dict[str, object]:
        """The body of a success."""
        claims, unplaced = [], []
        for each, became in zip(self._wanted, granted.entries, strict=True):
            if isinstance(became, GrantedEntry):
                claims.append(_claim(each, became, scored=self._call.own_project is None))
            else:
                unplaced.append(self._unplaced(each, became))
        body: dict[str, object] = {"claims": claims, "unplaced": unplaced}
        if granted.decision is not None:
            body[writes.DECIDED_AT] = [granted.decision.revision, granted.decision.after]
        return body

    def explained(self, granted: Granted, body: dict[str, Any]) -> dict[str, Any]:
        """The body of a success, in which the first claim of each entry says why it is where it is."""
        decision = granted.decision
        assert decision is not None, "the service has chosen the places"
        done: set[int] = set()
        at: Mapping[str, GrantedEntry] = {
            each.consumer: each for each in granted.entries if isinstance(each, GrantedEntry)
        }
        for claim in body["claims"]:
            number, choice = claim["entry"], at[claim["consumer"]].choice
            if choice is not None and number not in done and len(done) < MOST_EXPLAINED:
                done.add(number)
                shown = self._why(number, choice, at[claim["consumer"]], decision.revision)
                if shown is not None:
                    claim["explanation"] = shown
        return body

    def _why(
        self, entry: int, choice: Choice, granted: GrantedEntry, revision: int
    ) -> dict[str, object] | None:
        call, ask, order = self._call, self._asked[entry], self._orders_by.get(entry)
        sees_holders = call.may(SEE_HOLDERS)
        # Counts of a single tree would say how much of it is free.
        if any(group.in_tree for group in ask.request.groups) and not sees_holders:
            return None
        found = call.service.explain_choice(revision, choice, ask.request, order)
        if found is None:
            return None
        explained, ranked = found
        explanation = replace(explained.explanation, notes=(*ask.notes, *explained.explanation.notes))
        explained = replace(explained, explanation=explanation)
        if not sees_holders:
            return explanation_body.redacted(explained)
        shown = explanation_body.whole(explained, with_names=call.may(SEE_NAMES))
        if order is not None:
            others = [each for each in ranked if each.candidate.allocations != granted.allocations]
            names = explained.names if call.may(SEE_NAMES) else {}
            chosen = Candidate(granted.allocations, choice.mappings)
            shown["chosen"] = {
                **explanation_body.candidate(chosen, names),
                "score": choice.score,
                "parts": choice.parts,
            }
            shown["alternatives"] = [
                {**ranked_shown(each), **explanation_body.candidate(each.candidate, names)}
                for each in others[: ExplainRequest().alternatives]
            ]
        return shown

    def refused(self, error: MoorageError | None, revision: int) -> Exception:
        """The first refusal, with the claim that it is about, and all others in ``unplaced``."""
        if not isinstance(error, EntriesRefusedError):
            return problems.refused(error, revision=revision)
        (first, why), *_ = error.refused
        unplaced = [self._unplaced(self._wanted[number], each) for number, each in error.refused]
        facts = {**self._wanted[first].shown(), "unplaced": unplaced, "revision": revision}
        unknown_name = unknown.refusal_of(why, self._call.service)
        if unknown_name is not None:
            return replace(unknown_name, extra={**unknown_name.extra, **facts})
        if not isinstance(why, NothingFitsError):
            return problems.refused(why, **facts)
        problem, explanation = self._reason(self._wanted[first].entry, why)
        facts["revision"] = why.revision
        if explanation is not None:
            facts["explanation"] = explanation
        return problems.refusal(problem, problem.means, **facts)

    def _unplaced(self, wanted: WantedClaim, error: MoorageError) -> dict[str, object]:
        if not isinstance(error, NothingFitsError):
            return {**wanted.shown(), "code": problems.problem_of(error).code, "detail": str(error)}
        problem, explanation = self._reason(wanted.entry, error)
        shown = {**wanted.shown(), "code": problem.code, "detail": problem.means}
        return shown if explanation is None else {**shown, "explanation": explanation}

    def _reason(self, entry: int, error: NothingFitsError) -> tuple[ProblemType, Mapping[str, object] | None]:
        """The problem of an ask that found nothing, and its explanation, once for each entry."""
        known = self._explained.get(entry)
        if known is None:
            known = NO_ROOM, None
            if len(self._explained) < MOST_EXPLAINED:
                known = self._explain(entry, error)
            self._explained[entry] = known
        return known

    def _explain(
        self, entry: int, error: NothingFitsError
    ) -> tuple[ProblemType, Mapping[str, object] | None]:
        call, ask = self._call, self._asked[entry]
        sees_holders = call.may(SEE_HOLDERS)
        found = call.service.explain_refusal(error, call.requester, holders=sees_holders and self._explains)
        later = {"later": f"{call.prefix}{VERSION}/explanations/{call.requester.request_id}"}
        if found is None:
            return NO_ROOM, later if self._explains else None
        verdict = found.explanation.verdict
        problem = NEVER_FITS if verdict in (NEVER, NOBODY_OFFERS) else NO_ROOM
        # Counts of a single tree would say how much of it is free.
        names_a_tree = any(group.in_tree for group in ask.request.groups)
        if not self._explains or (names_a_tree and not sees_holders):
            return problem, None
        if verdict == CUT_SHORT:
            return problem, later
        explanation = replace(found.explanation, notes=(*ask.notes, *found.explanation.notes))
        found = replace(found, explanation=explanation)
        if not sees_holders:
            return problem, explanation_body.redacted(found)
        return problem, explanation_body.whole(found, with_names=call.may(SEE_NAMES))


def _claim(wanted: WantedClaim, granted: GrantedEntry, *, scored: bool) -> dict[str, object]:
    """One claim of an answer. Not ``scored``: without what depends on how full its tree is."""
    shown: dict[str, object] = {
        **wanted.shown(),
        "consumer": granted.consumer,
        "generation": granted.generation,
        "allocations": {
            provider: {"resources": resources} for provider, resources in granted.allocations.items()
        },
    }
    if granted.choice is not None:
        shown["mappings"] = granted.choice.mappings
        if scored and granted.choice.score is not None:
            shown |= {
                "score": granted.choice.score,
                "parts": granted.choice.parts,
                "ranked_of": granted.choice.ranked_of,
            }
    return shown


_UUIDS: Final = ("5f0f2a55-8f6e-4d0e-9a35-6f6a1e0b7c22", "7d3c0a52-52b5-4a0c-9f6f-0c0ffee00009")

ENDPOINTS: Final = (
    Endpoint(
        "POST",
        f"{VERSION}/claims",
        create,
        summary="Find and claim, for new consumers, or move what one holds",
        rule="moorage:claims:create",
        asks_also=(SEE_HOLDERS, SEE_NAMES, orders.INLINE),
        about=(
            "Each entry of `claims` makes one claim, or `count` equal ones, and has an `ask` or exact "
            "`allocations`. For an ask the service chooses the place and claims it, in one step. No other "
            "write comes in between. All claims are decided one by one, in one commit. `decided_at` is the "
            "revision of the state on which places were chosen: the last one before the claim, unless "
            "another process has written meanwhile. An ask finds no room only if nothing fitted at one "
            "revision, and `explanation` says why. A refused request has changed nothing. Its problem is "
            "that of the first claim that does not fit, with `entry`, `name` and `index` of it. `unplaced` "
            "has all that were found not to fit. With `consumer` and `generation` an entry moves or resizes "
            "what a consumer holds. With `explain` `always` the first claim of an entry that asks says in "
            "`explanation` why it is where it is, with alternatives; a repeated answer leaves that out. The "
            "policy is asked for the project of every entry. A client that is confined to its project gets "
            "no scores, and consumers of other projects can be neither moved nor taken."
        ),
        owned=True,
        body=Validator(entries.SCHEMA, BODY_FORMATS),
        counts=entries.COUNTS,
        projects=lambda call: entries.owners(call.body, call.identity.project_id),
        writes=True,
        status=201,
        answer=written(
            {
                REVISION: INTEGER,
                writes.DECIDED_AT: INTEGER,
                "claims": array(reference("NewClaim")),
                "unplaced": array(reference("Unplaced")),
            },
            optional=(writes.DECIDED_AT,),
        ),
        problems=(
            UNKNOWN_NAME,
            NO_ROOM,
            NEVER_FITS,
            ALREADY_HOLDS,
            GENERATION_CONFLICT,
            LEASE_GONE,
            KEY_REUSED,
            TOO_HARD,
            OUTCOME_UNKNOWN,
        ),
        examples=(
            {
                "claims": [
                    {
                        "name": "database",
                        "consumers": [_UUIDS[0]],
                        "consumer_type": "INSTANCE",
                        "project_id": "p1",
                        "allocations": {_UUIDS[1]: {"resources": {"VCPU": 1}}},
                    }
                ]
            },
            {
                "claims": [
                    {"name": "worker", "count": 3, "allocations": {_UUIDS[1]: {"resources": {"VCPU": 1}}}}
                ],
                "mode": {"at_least": 2},
            },
            {
                "claims": [
                    {"name": "any", "count": 2, "ask": {"groups": {"": {"resources": {"VCPU": 1}}}}},
                ]
            },
        ),
    ),
)
