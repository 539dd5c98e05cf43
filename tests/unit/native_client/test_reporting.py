"""Reports and findings of the client, against the service itself."""

from __future__ import annotations

import pytest
from moorage_client import GenerationConflictError, Moorage, NotFoundError, Reported
from moorage_client.reporting import ActionTaken

from tests.unit.cli.client.conftest import Terminal

LEAK = "cccc0000-0000-4000-8000-000000000001"
LOST = "cccc0000-0000-4000-8000-000000000002"


def test_what_is_reported_becomes_findings_that_are_resolved(url: str, moorage: Moorage) -> None:
    host = Terminal(url)
    host.does("provider", "create", "host1")
    host.does("inventory", "set", "host1", "VCPU=8")
    host.does("allocation", "set", LEAK, "host1:VCPU=4", "--project", "p", "--user", "u")
    root = host.json("provider", "show", "host1")["uuid"]
    told = moorage.report(
        "lab",
        [root],
        {LOST: {root: {"VCPU": 1}}},
        complete=True,
        consumer_types=["INSTANCE", "unknown"],
        owners={LOST: {"project_id": "p", "user_id": "u"}},
        accept_shrink=True,
    )
    assert (told.source, told.suspect, told.actions, told.total) == ("lab", (), (), 2)
    found = {each.consumer: each for each in moorage.findings(source="lab", page_size=1)}
    assert {each.kind for each in found.values()} == {"leaked", "missing"}
    leak, lost = found[LEAK], found[LOST]
    assert moorage.finding(leak.id) == leak
    assert moorage.resolve(leak.id, "ignore").state == "ignored"
    assert [each.id for each in moorage.findings(state="open")] == [lost.id]
    done = moorage.resolve(lost.id, "heal", allow_overcommit=False, key="k")
    assert (done.state, done.consumer, done.held) == ("healed", LOST, {root: {"VCPU": 1}})
    assert moorage.resolve(lost.id, "heal", allow_overcommit=False, key="k").replayed
    with pytest.raises(NotFoundError):
        moorage.finding(lost.id)
    moorage.claim(allocations={root: {"VCPU": 2}}, consumer=LEAK, generation=1, project_id="p")
    with pytest.raises(GenerationConflictError):
        moorage.resolve(leak.id, "heal")


def test_actions_of_the_service_are_shown() -> None:
    action = {
        "finding": "f",
        "kind": "leaked",
        "consumer": LEAK,
        "action": "release",
        "revision": 7,
        "trouble": None,
        "later": "unknown fields are ignored",
    }
    answer = {
        "source": "lab",
        "revision": 8,
        "suspect": ["a"],
        "actions": [action],
        "held_back": 1,
        "findings": [],
        "total": 0,
    }
    told = Reported.of(answer)
    assert told.actions == (ActionTaken("f", "leaked", LEAK, "release", 7, None),)
    assert (told.suspect, told.held_back) == (("a",), 1)
