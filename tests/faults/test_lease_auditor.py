"""The auditor of leases on a history made by hand: what it finds, and what it must not find."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine

from moorage.model.commands import (
    AttachClaim,
    Claim,
    Command,
    CreateProvider,
    CreateTrait,
    DetachClaim,
    EndLease,
    GrantLease,
    PlaceClaims,
    ReplaceAllocations,
    ResolveLease,
    SetInventories,
)
from moorage.model.leases import OnExpiry, Resolution
from moorage.model.requests import CandidateRequest, RequestGroup
from moorage.model.values import Inventory
from tests.faults import service_time
from tests.faults.auditor import Beginning, audit
from tests.faults.history import History, Operation, Outcome, Reading, Renewal
from tests.faults.lease_auditor import LeaseAudit, calm_seconds
from tests.faults.leased import EXPIRE_KIND, TAKE_AWAY_KIND, LeasedAccount, lease_differences
from tests.faults.ledger import Entry, Ledger
from tests.faults.placed import key_id
from tests.faults.service_time import Look, Ticks, TimeWatch, engine_of, look
from tests.table import each

HOST, CONSUMER, OTHER, LEASE, END = "host", "consumer", "other", "lease", 9
FOREVER = [(0.0, 1e6)]

GRANT = GrantLease("", "agent", "p", "u", 1_000, 1_000, OnExpiry.RELEASE)
REQUEST = CandidateRequest((RequestGroup(resources={"VCPU": 1}),))
CLAIM = PlaceClaims((Claim(CONSUMER, {}, "p", "u", None, "INSTANCE", lease=LEASE),), (REQUEST,), 1)
OF_ANOTHER = ReplaceAllocations((Claim(OTHER, {HOST: {"VCPU": 1}}, "p", "u", None, "INSTANCE"),))


def record(before: str, after: str, lease: str = LEASE) -> Any:
    return {"leases": {lease: {"state": [before, after]}}}


def taken(*consumers: str) -> Any:
    return {
        "consumers": {each: {"lease": [LEASE, None]} for each in consumers},
        **record("releasing", "released"),
    }


def done(tag: str, command: Command[Any], begun: float, body: Any = None) -> Operation:
    return Operation(tag, command, begun, Outcome.ACKNOWLEDGED, begun + 0.1, 200, body=body)


@dataclass
class Tale:
    """A lease is granted and claimed with, is renewed once, expires, and is released with its claim."""

    orders: dict[int, Operation] = field(
        default_factory=lambda: {
            3: done("grant", GRANT, 10.0, {"lease": LEASE, "fence": 3}),
            4: done(
                "claim",
                CLAIM,
                10.2,
                {
                    "claims": [
                        {
                            "consumer": CONSUMER,
                            "allocations": {HOST: {"resources": {"VCPU": 1}}},
                            "generation": 1,
                        }
                    ],
                    "decided_at": 3,
                },
            ),
            5: done("another", OF_ANOTHER, 12.0),
            END: done("last", CreateTrait("CUSTOM_LAST"), 18.0),
        }
    )
    records: dict[int, tuple[str, Any]] = field(
        default_factory=lambda: {
            6: (EXPIRE_KIND, record("active", "expired")),
            7: (EXPIRE_KIND, record("expired", "releasing")),
            8: (TAKE_AWAY_KIND, taken(CONSUMER)),
        }
    )
    renewals: list[Renewal] = field(
        default_factory=lambda: [
            Renewal((LEASE,), 11.0, 11.1, 200, {"renewed": [{"lease": LEASE, "revived": False}], "gone": []})
        ]
    )
    refused: list[Operation] = field(default_factory=list)
    readings: list[Reading] = field(default_factory=list)
    moments: dict[int, float] = field(default_factory=lambda: {6: 14.8, 7: 16.2, 8: 16.3})
    looks: list[Look] = field(default_factory=lambda: [Look(at, at, at * 1_000, 1) for at in range(5, 40)])
    disturbed: list[tuple[float, float]] = field(default_factory=list)
    end: Callable[[LeasedAccount], None] | None = None

    def kinds(self) -> set[str]:
        """What kinds of violations there are."""
        return {text.partition(":")[0] for text in self.violations()}

    def violations(self) -> list[str]:
        beginning = LeasedAccount()
        beginning.execute(CreateProvider(HOST, HOST))
        beginning.execute(SetInventories(HOST, 0, {"VCPU": Inventory(4)}))
        entries = {
            **{
                revision: Entry(revision, order.tag, "admin", "", str(revision), "kind")
                for revision, order in self.orders.items()
            },
            **{
                revision: Entry(revision, "", "", "", str(revision), kind)
                for revision, (kind, _) in self.records.items()
            },
        }
        last = max(entries)
        answers = {
            key_id(order.tag, order.tag): (revision, json.dumps(order.body))
            for revision, order in self.orders.items()
            if order.body is not None
        }
        journal = {revision: body for revision, (_, body) in self.records.items() if body is not None}
        history = History([*self.orders.values(), *self.refused], self.readings, self.renewals)

        def audited(found: LeasedAccount) -> Any:
            ledger = Ledger(last, [entries[each] for each in sorted(entries)], found, [], answers, journal)
            return audit(history, Beginning(deepcopy(beginning), 2), ledger, self.moments)

        # The tables are what the replay gives, unless the tale wants something else.
        found = deepcopy(audited(deepcopy(beginning)).account)
        if self.end is not None:
            self.end(found)
        beginning.story = type(beginning.story)()
        verdict = audited(found)
        leases = LeaseAudit(history, verdict, self.moments, Ticks(self.looks), self.disturbed)
        return [*verdict.violations, *leases.run()]


def test_nothing_is_wrong_with_a_lease_that_ended_in_time() -> None:
    assert Tale().violations() == []


def test_a_renewal_that_may_have_counted_excuses_both() -> None:
    """Its answer was lost: the lease may have been revived, and expired again, or not."""
    tale = Tale()
    tale.renewals.append(Renewal((LEASE,), 15.0, None, None, None))
    assert tale.violations() == []
    tale.records = {
        6: (EXPIRE_KIND, record("active", "expired")),
        7: (EXPIRE_KIND, record("active", "expired")),
        8: (EXPIRE_KIND, record("expired", "releasing")),
    }
    tale.moments[7], tale.moments[8] = 19.0, 21.0
    tale.orders[END] = replace(tale.orders[END], begun=22.0, ended=22.1)
    assert tale.violations() == []


def renewed(begun: float, state: str | None = None) -> Renewal:
    gone = [] if state is None else [{"lease": LEASE, "state": state, "revision": 8}]
    found = [{"lease": LEASE, "revived": False}] if state is None else []
    return Renewal((LEASE,), begun, begun + 0.1, 200, {"renewed": found, "gone": gone})


def refusal(command: Command[Any], code: str, begun: float) -> Operation:
    return Operation("refused", command, begun, Outcome.REFUSED, begun + 0.1, 409, code)


def _moment(revision: int, moment: float) -> Callable[[Tale], None]:
    return lambda tale: tale.moments.update({revision: moment})


def _records(revision: int, kind: str, body: Any) -> Callable[[Tale], None]:
    return lambda tale: tale.records.update({revision: (kind, body)})


def _slow(tale: Tale) -> None:
    tale.looks = [replace(each, ticks=each.ticks // 2) for each in tale.looks]


def _late(tale: Tale) -> None:
    """A write of long after comes first in the order of revisions."""
    tale.orders[5] = replace(tale.orders[5], begun=26.0, ended=26.1)
    tale.orders[END] = replace(tale.orders[END], begun=38.0, ended=38.1)
    tale.moments.update({6: 26.2, 7: 27.8, 8: 27.9})


def _late_by_service_time(tale: Tale) -> None:
    _late(tale)
    tale.disturbed = FOREVER


def _late_by_the_clock(tale: Tale) -> None:
    _late(tale)
    tale.looks = []


def _back(tale: Tale) -> None:
    tale.looks.append(Look(40, 40, 1, 1))


def _fast(tale: Tale) -> None:
    tale.looks = [replace(each, ticks=each.ticks * 4) for each in tale.looks]


def _renewal(renewal: Renewal) -> Callable[[Tale], None]:
    return lambda tale: tale.renewals.append(renewal)


def _refused(operation: Operation) -> Callable[[Tale], None]:
    return lambda tale: tale.refused.append(operation)


def _order(revision: int, command: Command[Any], body: Any) -> Callable[[Tale], None]:
    def order(tale: Tale) -> None:
        tale.orders[revision] = done("order", command, 18.0, body)

    return order


def _ends(change: Callable[[LeasedAccount], None]) -> Callable[[Tale], None]:
    def spoil(tale: Tale) -> None:
        tale.end = change

    return spoil


def _still_active(account: LeasedAccount) -> None:
    account.leases[LEASE].state = "active"


def _still_hangs(account: LeasedAccount) -> None:
    account.attached[OTHER] = LEASE


SPOILT: Mapping[str, Callable[[Tale], None]] = {
    "lease early": _moment(6, 11.9),
    "lease early, in its grace": _moment(7, 12.5),
    "lease early, by service time": _slow,
    "lease late, by service time": _late_by_service_time,
    "lease late, while nothing disturbed it": _late_by_the_clock,
    "lease clock": _back,
    "lease clock, too fast": _fast,
    "lease, ends twice": _records(END + 1, EXPIRE_KIND, record("expired", "releasing")),
    "lease, expires twice": _records(7, EXPIRE_KIND, record("active", "expired")),
    "lease, without its grace": _records(6, EXPIRE_KIND, record("active", "releasing")),
    "lease, another state than it should": _records(7, EXPIRE_KIND, record("expired", "quarantined")),
    "lease, one that is not known": _records(7, EXPIRE_KIND, record("active", "expired", "x")),
    "lease, more than an expiry": _records(
        6, EXPIRE_KIND, {**record("active", "expired"), "consumers": {CONSUMER: {}}}
    ),
    "lease, not in the journal": _records(6, EXPIRE_KIND, None),
    "lease, takes another claim": _records(8, TAKE_AWAY_KIND, taken(CONSUMER, OTHER)),
    "lease, leaves its claim": _records(8, TAKE_AWAY_KIND, taken()),
    "lease, takes claims of none": _records(8, TAKE_AWAY_KIND, {"consumers": {OTHER: {}}}),
    "lease, takes claims of one that goes on": _records(6, TAKE_AWAY_KIND, taken(CONSUMER)),
    "lease, ends again": _order(10, EndLease(LEASE, True), {}),
    "lease, granted again": _order(10, GRANT, {"lease": LEASE}),
    "lease, wrong fence": _order(10, GRANT, {"lease": "another", "fence": 4}),
    "lease, attached after its end": _order(10, AttachClaim(LEASE, OTHER), {}),
    "lease, resolved though it was not quarantined": _order(10, ResolveLease(LEASE, Resolution.RESTORE), {}),
    "renewal, after the end": _renewal(renewed(18.5)),
    "renewal, refused while it is active": _renewal(renewed(11.5, "released")),
    "renewal, refused with another state": _renewal(renewed(18.5, "quarantined")),
    "renewal, of what is not known": _renewal(replace(renewed(8.0, "released"))),
    "unforeseen answer": _renewal(Renewal((LEASE,), 11.0, None, 500, None)),
    "refusal": _refused(refusal(AttachClaim(LEASE, CONSUMER), "lease_gone", 11.0)),
    "refusal, with another code": _refused(refusal(AttachClaim(LEASE, "nothing"), "lease_gone", 11.0)),
    "refusal, detached": _refused(refusal(DetachClaim(LEASE, CONSUMER), "not_found", 11.0)),
    "refusal, ended": _refused(refusal(EndLease(LEASE, True), "lease_gone", 11.0)),
    "refusal, of a claim": _refused(refusal(CLAIM, "lease_gone", 11.0)),
    "reading": lambda tale: tale.readings.append(
        Reading(("hanging", LEASE), 11.0, 11.1, 200, {"claims": [{"consumer": OTHER}]})
    ),
    "final state": _ends(_still_active),
    "final state, of a claim": _ends(_still_hangs),
}
"""Faults in a history, each with the kind that it must be found as."""


@each("name", list(SPOILT))
def test_what_must_not_be_is_found(name: str) -> None:
    tale = Tale()
    SPOILT[name](tale)
    assert name.partition(",")[0] in tale.kinds(), tale.violations()


@each(
    "operation",
    [
        refusal(AttachClaim(LEASE, "nothing"), "not_found", 11.0),
        refusal(AttachClaim(LEASE, OTHER), "lease_gone", 18.5),
        refusal(AttachClaim("unknown", OTHER), "not_found", 18.5),
        refusal(DetachClaim(LEASE, OTHER), "not_found", 12.5),
        refusal(EndLease(LEASE, True), "lease_gone", 18.5),
        refusal(ResolveLease(LEASE, Resolution.RELEASE), "lease_gone", 11.0),
        refusal(CLAIM, "lease_gone", 18.5),
    ],
)
def test_what_is_refused_with_reason_is_not_found(operation: Operation) -> None:
    tale = Tale()
    tale.refused.append(operation)
    tale.readings.append(Reading(("hanging", LEASE), 11.0, 11.1, 200, {"claims": [{"consumer": CONSUMER}]}))
    tale.renewals.append(renewed(18.5, "released"))
    assert tale.violations() == []


def test_a_lease_at_the_end_of_its_life_is_not_renewed_and_may_end_before_its_ttl() -> None:
    tale = Tale()
    tale.orders[3].command = replace(GRANT, ttl_ms=9_000, max_life_ms=1_500)
    tale.records[6] = (EXPIRE_KIND, record("active", "releasing"))
    tale.records[7] = (TAKE_AWAY_KIND, taken(CONSUMER))
    del tale.records[8], tale.orders[END]
    tale.renewals.append(renewed(13.0, "active"))
    assert tale.violations() == []
    tale.moments[6] = 11.0
    assert "lease early" in tale.kinds()


def test_a_quarantined_lease_keeps_its_claims_until_it_is_resolved() -> None:
    tale = Tale()
    tale.orders[3].command = replace(GRANT, on_expiry=OnExpiry.QUARANTINE, grace_ms=0)
    tale.records = {6: (EXPIRE_KIND, record("active", "quarantined"))}
    tale.orders |= {
        7: done("restore", ResolveLease(LEASE, Resolution.RESTORE), 16.0, {"lease": LEASE}),
        8: done("detach", DetachClaim(LEASE, CONSUMER), 16.3, {"lease": LEASE}),
        9: done("attach", AttachClaim(LEASE, OTHER), 16.6, {"lease": LEASE}),
        10: done("end", EndLease(LEASE, keeps_claims=True), 17.0, {"lease": LEASE}),
    }
    tale.renewals.append(renewed(16.2))
    assert tale.violations() == []
    tale.renewals.append(renewed(15.0))
    assert tale.kinds() == {"renewal", "lease early"}


def test_the_claims_of_a_lease_that_a_request_has_ended_may_go_in_its_name() -> None:
    tale = Tale()
    tale.records = {}
    tale.orders = {each: tale.orders[each] for each in (3, 4, 5)}
    tale.orders[6] = done("end", EndLease(LEASE, keeps_claims=False), 13.0, {"lease": LEASE})
    assert tale.violations() == []


def test_a_claim_that_comes_to_another_project_hangs_on_its_lease_no_more() -> None:
    tale = Tale()
    claim = Claim(CONSUMER, {HOST: {"VCPU": 2}}, "p", "u", 1, "INSTANCE")
    tale.orders[5].command = ReplaceAllocations((claim,))
    assert tale.violations() == []
    tale.orders[5].command = ReplaceAllocations((replace(claim, project_id="q"),))
    assert tale.kinds() == {"lease"}
    tale.records[8] = (TAKE_AWAY_KIND, taken())
    assert tale.violations() == []


def test_calm_begins_again_some_time_after_a_fault() -> None:
    assert calm_seconds([], 1.0, 5.0, 8.0) == 4.0
    assert calm_seconds([(10.0, 12.0), (2.0, 3.0), (50.0, 51.0)], 0.0, 30.0, 8.0) == 2.0 + 10.0
    assert calm_seconds(FOREVER, 1.0, 5.0, 8.0) == 0.0


def test_leases_that_differ_are_named_but_for_one_that_was_revived() -> None:
    tale = Tale()
    tale.records = {6: (EXPIRE_KIND, record("active", "expired"))}
    tale.orders = {each: tale.orders[each] for each in (3, 4, 5)}
    tale.renewals.append(Renewal((LEASE,), 15.0, None, None, None))
    tale.end = _still_active
    assert tale.violations() == []
    assert lease_differences(LeasedAccount(), LeasedAccount()) == []


def test_service_time_is_looked_at_until_it_is_told_to_stop(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'clock.sqlite'}"
    watch = TimeWatch(lambda: url)
    with pytest.raises(Exception, match="moorage_clock"):
        look(engine_of(url))
    watch.start()
    with create_engine(url).begin() as connection:
        connection.exec_driver_sql("CREATE TABLE moorage_clock (ticks INTEGER, term INTEGER)")
        connection.exec_driver_sql("INSERT INTO moorage_clock VALUES (7, 2)")
    while not watch.looks:
        pass
    watch.stop()
    assert (watch.looks[0].ticks, watch.looks[0].term) == (7, 2)
    ticks = Ticks(watch.looks)
    assert (ticks.least(0.0), ticks.most(0.0), ticks.most(1e12)) == (None, 7, None)


def test_a_database_that_never_answers_does_not_keep_the_watch_of_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked, answered = threading.Event(), threading.Event()

    def never(_: object) -> Look:
        asked.set()
        answered.wait()
        return Look(0.0, 1.0, 5, 1)

    monkeypatch.setattr(service_time, "look", never)
    monkeypatch.setattr(service_time, "STOP_SECONDS", 0.0)
    watch = TimeWatch(lambda: "sqlite://")
    watch.start()
    assert asked.wait(30)
    watch.stop()
    assert watch.looks == []
    answered.set()
