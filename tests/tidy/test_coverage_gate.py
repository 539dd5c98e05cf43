from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tools.coverage_gate import Room, failures, main, measure, room_of

FULL = {"covered_lines": 10, "num_statements": 10, "covered_branches": 4, "num_branches": 4}


def report(**files: dict[str, int]) -> dict[str, Any]:
    return {
        "meta": {"branch_coverage": True},
        "files": {
            f"src/moorage/{name}/x.py": {
                "summary": summary,
                "missing_lines": [3],
                "missing_branches": [[4, -1]],
            }
            for name, summary in files.items()
        },
    }


PURE = {"model": FULL, "rules": FULL, "search": FULL}


def test_rooms_are_told_by_their_folder() -> None:
    assert room_of("src/moorage/store/tables.py") == "store"
    assert room_of("lib/site-packages/moorage/api/inner/x.py") == "api"
    assert room_of("src/moorage/wsgi.py") == "(top)"
    assert room_of("distributions/moorage-client/src/moorage_client/ask.py") == "moorage_client"


def test_full_coverage_passes() -> None:
    assert failures(measure(report(**PURE))) == []


def test_a_pure_room_fails_for_one_branch_and_says_where() -> None:
    rooms = measure(report(**PURE | {"rules": FULL | {"covered_branches": 3}}))
    assert failures(rooms) == ["rules: 92.86 % is below 100 %", "  src/moorage/rules/x.py: 3, 4->-1"]


def test_places_are_told_once_and_not_without_end() -> None:
    content = report(**PURE | {"rules": FULL | {"covered_lines": 0}})
    details = content["files"]["src/moorage/rules/x.py"]
    details["missing_lines"] = list(range(1, 31))
    details["missing_branches"] = [[2, 3], [40, 41]]
    (message,) = failures(measure(content))[1:]
    assert message.endswith("24, 25 and 6 more")


def test_another_room_may_miss_a_twentieth_and_no_more() -> None:
    assert failures({**measure(report(**PURE)), "store": Room(95, 100)}) == []
    assert failures({**measure(report(**PURE)), "store": Room(94, 100)}) == ["store: 94.00 % is below 95 %"]


def test_a_pure_room_that_was_not_measured_fails() -> None:
    assert failures({}) == [f"{name}: not measured at all" for name in PURE]


def test_a_report_without_branches_is_refused() -> None:
    with pytest.raises(ValueError, match="branch"):
        measure({"meta": {"branch_coverage": False}, "files": {}})


def test_the_exit_status_tells_the_outcome(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "coverage.json"
    path.write_text(json.dumps(report(**PURE)))
    assert main(path) == 0
    path.write_text(json.dumps(report(store=FULL | {"covered_lines": 0})))
    assert main(path) == 1
    assert "store: 28.57 % is below 95 %" in capsys.readouterr().err
