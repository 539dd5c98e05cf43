"""What `make audit` makes of pip-audit's reports: not to know is not the same as none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tools.audit import CLEAN, UNKNOWN, VULNERABLE, audit, judge, layers

FINE = {"name": "fine", "version": "1", "vulns": []}
SKIPPED = {"name": "gone", "skip_reason": "Dependency not found on PyPI"}
BAD = {"name": "bad", "version": "2", "vulns": [{"id": "PYSEC-1", "fix_versions": ["3"]}]}
UNFIXED = {"name": "worse", "version": "2", "vulns": [{"id": "PYSEC-2", "fix_versions": []}]}

LOCK = Path("requirements/run.txt")


@pytest.mark.parametrize(
    ("dependencies", "status", "words"),
    [
        ([FINE, FINE], CLEAN, "2 distributions"),
        ([FINE, BAD], VULNERABLE, "bad 2: PYSEC-1, fixed in 3"),
        ([SKIPPED, UNFIXED], VULNERABLE, "worse 2: PYSEC-2, fixed in no version yet"),
        ([FINE, SKIPPED], UNKNOWN, "1 of 2 distributions could not be looked up"),
        ([], UNKNOWN, "0 of 0"),
    ],
)
def test_a_report_is_judged(dependencies: list[Any], status: int, words: str) -> None:
    found, said = judge({"dependencies": dependencies})
    assert found == status
    assert words in "\n".join(said)


def test_another_service_is_asked_if_the_first_does_not_know_all() -> None:
    asked: list[str] = []

    def ask(_lock: Path, service: str) -> dict[str, Any] | None:
        asked.append(service)
        return {"dependencies": [FINE, SKIPPED if service == "pypi" else FINE]}

    assert audit(LOCK, ask)[0] == CLEAN
    assert asked == ["pypi", "osv"]


def test_without_any_answer_nothing_is_known() -> None:
    assert audit(LOCK, lambda _lock, _service: None)[0] == UNKNOWN


def test_who_knows_of_a_vulnerability_is_believed_at_once() -> None:
    def ask(_lock: Path, service: str) -> dict[str, Any]:
        assert service == "pypi"
        return {"dependencies": [BAD]}

    assert audit(LOCK, ask)[0] == VULNERABLE


def test_what_is_locked_for_another_python_is_looked_up_as_well() -> None:
    digest = " \\\n    --hash=sha256:0\n    # via x==1\n"
    old, new = "numpy==2.4 ; python_full_version < '3.12'", "numpy==2.5 ; python_full_version >= '3.12'"
    text = f"# Written\n{old}{digest}{new}{digest}falcon==4.3{digest}"
    assert layers(text) == [["numpy==2.4", "falcon==4.3"], ["numpy==2.5"]]
