"""Percentiles, ratios, and whether two services gave the same answer."""

from __future__ import annotations

import json
from typing import Any

import pytest

from benchmarks.figures import TIME_OUT, Content, Measured, agreement, content_of, percentile, ratio
from benchmarks.processes import parse_memory, parse_ticks
from benchmarks.runner import Effort, result_of, write_figures
from benchmarks.scenarios import SCENARIOS, query
from benchmarks.writer import LATE_SECONDS, Written, next_due, writes

EFFORT = Effort(timeout_seconds=30, seconds=2, least=3, most=5, turn_seconds=1)
LIMITED = query([("resources", "VCPU:1")], 10)


def body(*candidates: dict[str, Any]) -> bytes:
    return json.dumps({"allocation_requests": candidates, "provider_summaries": {}}).encode()


def candidate(provider: str, *serving: str) -> dict[str, Any]:
    return {"allocations": {provider: {"resources": {"VCPU": 1}}}, "mappings": {"": list(serving)}}


@pytest.mark.parametrize(("percent", "expected"), [(50, 5), (99, 10), (100, 10), (1, 1)])
def test_a_percentile_is_one_of_the_values(percent: int, expected: int) -> None:
    assert percentile([10, 9, 8, 7, 6, 5, 4, 3, 2, 1], percent) == expected


def test_there_is_no_percentile_of_nothing() -> None:
    with pytest.raises(ValueError, match="no values"):
        percentile([], 50)


def test_the_order_of_candidates_and_mappings_does_not_matter() -> None:
    one = content_of([body(candidate("a", "x", "y"), candidate("b"))])
    assert one == content_of([body(candidate("b"), candidate("a", "y", "x"))])
    assert one.candidates == 2


def test_other_amounts_are_another_answer() -> None:
    changed = candidate("a")
    changed["allocations"]["a"]["resources"]["VCPU"] = 2
    assert content_of([body(candidate("a"))]) != content_of([body(changed)])


def test_without_a_limit_the_answers_must_be_equal_and_with_one_their_number() -> None:
    one, other, fewer = Content(2, "x"), Content(2, "y"), Content(1, "x")
    assert agreement(one, one, limited=False) is True
    assert agreement(one, other, limited=False) is False
    assert agreement(one, other, limited=True) is True
    assert agreement(one, fewer, limited=True) is False
    assert agreement(one, None, limited=True) is None


def test_a_ratio_says_how_much_longer_the_other_takes() -> None:
    assert ratio(0.002, 1.0) == 500
    assert ratio(None, 1.0) is None
    assert ratio(0.002, None) is None


@pytest.mark.parametrize(
    ("seconds", "trouble", "expected"),
    [
        ([], "", False),
        ([], TIME_OUT, True),
        ([9.0, 9.0], "", False),
        ([9.0, 9.0, 9.0], "", True),
        ([0.1] * 4, "", False),
        ([0.1] * 5, "", True),
    ],
)
def test_requests_go_on_until_there_are_enough(seconds: list[float], trouble: str, expected: bool) -> None:
    assert EFFORT.suffices(Measured(seconds=seconds, trouble=trouble)) is expected


def test_figures_are_in_milliseconds_and_per_request() -> None:
    measured = Measured(seconds=[0.001, 0.002, 0.004], cpu_seconds=0.003, content=Content(7, "x"))
    figures = measured.figures()
    assert (figures["median_ms"], figures["p99_ms"], figures["cpu_ms"]) == (2.0, 4.0, 1.0)
    assert figures["candidates"] == 7
    assert "first_ms" not in figures
    assert Measured(first_seconds=0.5).figures()["first_ms"] == 500.0


def test_a_time_out_gives_a_ratio_that_is_at_least() -> None:
    measured = {
        "moorage": Measured(seconds=[0.003], content=Content(1, "x")),
        "reference": Measured(trouble=TIME_OUT, silent_seconds=30.0),
    }
    row = result_of(LIMITED, measured, {})
    assert (row["ratio"], row["ratio_at_least"], row["agree"]) == (None, 10_000, None)


def test_a_service_that_was_not_asked_is_told_of() -> None:
    row = result_of(LIMITED, {"moorage": Measured(seconds=[0.003])}, {"reference": "not asked"})
    assert row["reference"] == {"trouble": "not asked"}


def test_writes_are_counted_per_second() -> None:
    told = write_figures(Written(elapsed=2.0, refused=1, seconds=[0.001, 0.003, 0.002]))
    assert (told["per_second"], told["refused"], told["median_ms"], told["p99_ms"]) == (1.5, 1, 2.0, 3.0)
    assert "median_ms" not in write_figures(Written(elapsed=2.0))


def test_who_is_a_little_late_catches_up_and_who_is_very_late_does_not() -> None:
    assert next_due(10.0, 0.5, now=10.1) == 10.5
    assert next_due(10.0, 0.5, now=10.5 + LATE_SECONDS / 2) == 10.5
    assert next_due(10.0, 0.5, now=99.0) == 99.0


def test_each_claim_is_followed_by_its_release() -> None:
    stream = writes(["p1", "p2"])
    claim, release, second = next(stream), next(stream), next(stream)
    target = claim.split()[1]
    assert (claim.split()[0], release.split()[0]) == (b"PUT", b"DELETE")
    assert release.split()[1] == target
    assert second.split()[1] != target
    assert b"p1" in claim
    assert b"p2" in second


def test_a_processs_name_does_not_disturb_its_ticks() -> None:
    stat = "42 (a (b) c) S 1 42 42 0 -1 4194560 1 2 3 4 150 25 0 0 20 0 9 0 100"
    assert parse_ticks(stat) == 175
    assert parse_ticks("") == 0


def test_memory_is_read_in_mebibytes() -> None:
    memory = parse_memory("Name:\tx\nVmHWM:\t  4096 kB\nVmRSS:\t    2048 kB\n")
    assert (memory.now, memory.peak) == (2.0, 4.0)
    assert parse_memory("").now == 0.0


def test_only_queries_with_a_limit_may_leave_candidates_out() -> None:
    named = {each.name: each.limited for scenario in SCENARIOS for each in scenario.queries}
    assert named["limit=10"]
    assert not named["all"]
