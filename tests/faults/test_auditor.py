"""The auditor on histories and ledgers made by hand: what it finds, and what it must not find."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from moorage.model.commands import (
    Claim,
    CreateProvider,
    DeleteAllocations,
    ReplaceAllocations,
    SetInventories,
)
from moorage.model.errors import MoorageError
from moorage.model.values import Inventory
from tests.faults.auditor import Beginning, Verdict, audit
from tests.faults.history import History, Operation, Outcome, Reading
from tests.faults.leased import LeasedAccount
from tests.faults.ledger import Entry, Ledger
from tests.faults.mischief import Fault
from tests.faults.record import HEADING, Session, add_row
from tests.faults.runs import UNDISTURBED, Report, with_room
from tests.faults.targets import KEEPER_PAUSED
from tests.table import each

HOST, CONSUMER, OTHER = "host", "consumer", "other"


def claim(consumer: str, amount: int, generation: int | None = None) -> ReplaceAllocations:
    return ReplaceAllocations(
        (Claim(consumer, {HOST: {"VCPU": amount}}, "project", "user", generation, "INSTANCE"),)
    )


def operation(
    tag: str, command: Any, begun: float, ended: float | None, outcome: Outcome = Outcome.ACKNOWLEDGED
) -> Operation:
    status = {Outcome.ACKNOWLEDGED: 204, Outcome.REFUSED: 409}.get(outcome)
    return Operation(tag, command, begun, outcome, ended, status)


def ledger(tags: Sequence[str], operations: Sequence[Operation], revision: int | None = None) -> Ledger:
    """What a database says in which these writes were done in this order."""
    account = deepcopy(beginning().account)
    by_tag = {each.tag: each for each in operations}
    for tag in tags:
        try:
            account.execute(by_tag[tag].command)
        except (MoorageError, KeyError):
            continue
    entries = [Entry(2 + place, tag, "admin", "", f"t{place}", "kind") for place, tag in enumerate(tags, 1)]
    return Ledger(revision if revision is not None else 2 + len(tags), entries, account, [])


def beginning() -> Beginning:
    account = LeasedAccount()
    account.execute(CreateProvider(HOST, HOST))
    account.execute(SetInventories(HOST, 0, {"VCPU": Inventory(4)}))
    return Beginning(account, 2)


def verdict(operations: list[Operation], tags: Sequence[str], *readings: Reading, **fields: Any) -> Verdict:
    return audit(History(operations, list(readings)), beginning(), ledger(tags, operations, **fields))


FIRST = operation("a", claim(CONSUMER, 3), 1, 2)
SECOND = operation("b", DeleteAllocations(CONSUMER), 3, 4)


def test_what_went_as_it_should_is_not_found() -> None:
    refused = operation("c", claim(OTHER, 2), 2.1, 2.9, Outcome.REFUSED)
    refused.code = "placement.undefined_code"
    refused.detail = (
        "Unable to allocate inventory: Unable to create allocation for 'VCPU' on resource provider 'host'. "
        "The requested amount would exceed the capacity."
    )
    unknown = operation("d", claim(OTHER, 1), 2.5, None, Outcome.UNKNOWN)
    usage = Reading(
        ("usages", HOST), 2.1, 2.2, 200, {"resource_provider_generation": 2, "usages": {"VCPU": 3}}
    )
    found = verdict([FIRST, SECOND, refused, unknown], ["a", "b"], usage)
    assert found.violations == []
    assert found.revisions == 2
    assert verdict([FIRST, SECOND, refused, unknown], ["a", "d", "b"]).violations == []


@each(
    ("operations", "tags", "kind"),
    [
        ([FIRST, SECOND], ["a"], "acknowledged yet lost"),
        ([FIRST, SECOND], ["b", "a"], "order"),
        ([operation("a", claim(CONSUMER, 3), 1, 2, Outcome.REFUSED)], ["a"], "refused yet done"),
        ([operation("a", claim(CONSUMER, 3), 1, 2, Outcome.TURNED_AWAY)], ["a"], "turned away yet done"),
        ([operation("a", claim(CONSUMER, 3), 1, 2, Outcome.UNSENT)], ["a"], "unsent yet done"),
        ([operation("a", claim(CONSUMER, 3), 1, 2, Outcome.FAILED)], ["a"], "unforeseen answer"),
        ([operation("a", claim(CONSUMER, 3), 1, 2, Outcome.REFUSED)], [], "refusal"),
        ([operation("a", claim(CONSUMER, 5), 1, 2)], ["a"], "against the rules"),
        ([FIRST], ["a", "a"], "done twice"),
        ([FIRST], ["a", "z"], "stranger"),
    ],
)
def test_what_must_not_be_is_found(operations: list[Operation], tags: list[str], kind: str) -> None:
    assert kind in verdict(operations, tags).kinds


def test_a_gap_and_a_row_too_many_are_found() -> None:
    assert "density" in verdict([FIRST], ["a"], revision=4).kinds
    assert "density" in verdict([FIRST], ["a"], revision=2).kinds


@pytest.mark.parametrize(("begun", "used", "wrong"), [(2.1, 3, False), (2.1, 0, True), (1.5, 0, False)])
def test_an_answer_is_as_new_as_what_was_acknowledged_before(begun: float, used: int, wrong: bool) -> None:
    body = {"resource_provider_generation": 2 if used else 1, "usages": {"VCPU": used}}
    reading = Reading(("usages", HOST), begun, 2.2, 200, body)
    assert verdict([FIRST], ["a"], reading).kinds == ({"reading"} if wrong else set())


def test_an_answer_is_not_newer_than_what_came_later() -> None:
    body = {"resource_provider_generation": 2, "usages": {"VCPU": 0}}
    reading = Reading(("usages", HOST), 2.1, 2.2, 200, body)
    assert verdict([FIRST, SECOND], ["a", "b"], reading).kinds == {"reading"}


def test_a_wrong_generation_in_an_answer_is_found() -> None:
    order = operation("a", SetInventories(HOST, 1, {"VCPU": Inventory(5)}), 1, 2)
    order.status = 200
    order.body = {"resource_provider_generation": 2}
    assert verdict([order], ["a"]).violations == []
    order.body = {"resource_provider_generation": 3}
    assert verdict([order], ["a"]).kinds == {"answer"}


def test_a_table_that_says_something_else_is_found() -> None:
    said = ledger(["a"], [FIRST])
    said.account.nodes[HOST].generation += 1
    assert audit(History([FIRST]), beginning(), said).kinds == {"final state"}
    said = ledger(["a"], [FIRST])
    del said.account.holders[CONSUMER]
    assert audit(History([FIRST]), beginning(), said).kinds == {"final state"}


def test_rows_are_added_at_the_end_of_the_table(tmp_path: Path) -> None:
    page = tmp_path / "record.md"
    page.write_text(f"# Record\n\n{HEADING}\n|---|\n| first |\n\nMore.\n")
    report = Report("sqlite", 7, 60.0, 2, 1, {"acknowledged": 5}, {"worker killed": 1}, 0, 5)
    session = Session("sqlite", 7, [report, Report("sqlite", 8, 60.0, 1, 1, {}, {}, 0, 0, ["order: x"])])
    add_row(session, "abc", page)
    lines = page.read_text().splitlines()
    assert lines[4] == "| first |"
    assert lines[5].endswith("| 7 to 8 | 5 acknowledged | 1 worker killed | 1 (seeds 8) |")
    assert lines[6:] == ["", "More."]
    assert "2 | 2 | 7 to 8" in session.row("abc", datetime.now(UTC))
    assert "MOORAGE_FAULTS_SEED=7" in str(report)


@pytest.mark.parametrize(
    ("seconds", "faults"),
    [
        (10.0, {"worker killed"}),
        (20.0, {"worker killed", KEEPER_PAUSED}),
        (60.0, {"worker killed", KEEPER_PAUSED, UNDISTURBED}),
    ],
)
def test_a_run_has_the_faults_that_it_has_time_for(seconds: float, faults: set[str]) -> None:
    known: dict[str, Fault] = {name: lambda _: None for name in ("worker killed", KEEPER_PAUSED)}
    assert set(with_room(known, seconds)) == faults
