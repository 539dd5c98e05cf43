"""Each refusal has a problem: by its code, by the error of the model, or else by its status."""

from __future__ import annotations

from moorage.api.http.wire_error import WireError
from moorage.api.native import problems
from moorage.api.native.names import nearest
from moorage.api.native.problems import PROBLEMS, Again
from moorage.model import errors as model
from tests.table import each


def test_codes_are_unique_and_only_what_may_succeed_later_has_a_time() -> None:
    assert len({listed.code for listed in PROBLEMS}) == len(PROBLEMS)
    assert [listed.status for listed in PROBLEMS] == sorted(listed.status for listed in PROBLEMS)
    for listed in PROBLEMS:
        assert (listed.after_seconds is not None) == (listed.again is Again.LATER)


@each(
    ("status", "code", "found"),
    [
        (400, "", "invalid_request"),
        (400, "placement.query.bad_value", "invalid_request"),
        (400, "unknown_name", "unknown_name"),
        (503, "", "unavailable"),
        (503, "outcome_unknown", "outcome_unknown"),
        (418, "", "invalid_request"),
        (599, "", "internal_error"),
    ],
)
def test_a_refusal_has_the_problem_of_its_code_or_of_its_status(status: int, code: str, found: str) -> None:
    refused = WireError(status, "said", code)
    assert problems.of_refusal(refused).code == found
    assert problems.body_of(refused, "", "req-1")["status"] == status


@each(
    ("error", "code", "detail"),
    [
        (model.ProviderNotFoundError("u"), "not_found", "No resource provider with uuid u found."),
        (model.ResourceClassNotFoundError("A"), "unknown_name", "No such resource class A."),
        (model.UnstorableError(), "invalid_request", "The database cannot store"),
        (model.SearchLimitError(7), "too_hard", "more than 7 steps"),
        (model.UnavailableError("mysql://db is away"), "unavailable", "too many requests wait"),
        (model.OutcomeUnknownError("mysql://db"), "outcome_unknown", "is not known"),
    ],
)
def test_an_error_of_the_model_has_a_problem_that_hides_the_database(
    error: model.MoorageError, code: str, detail: str
) -> None:
    refused = problems.of_model(error)
    assert refused is not None
    assert refused.code == code
    assert detail in refused.message
    assert "mysql" not in refused.message


def test_the_steps_of_a_search_that_is_too_hard_are_in_its_problem() -> None:
    refused = problems.of_model(model.SearchLimitError(7))
    assert refused is not None
    assert problems.body_of(refused, "/p", "req-1")["steps"] == 7


def test_an_error_that_no_table_foresees_has_none() -> None:
    assert problems.of_model(model.SchemaError("it is old")) is None


def test_names_that_look_alike_are_found_whatever_their_case() -> None:
    assert nearest("vcpus", ["PGPU", "VCPU", "DISK_GB"])[0] == "VCPU"
    assert nearest("zzz", ["VCPU"]) == []
    assert nearest("V" * 300, ["V" * 255]) == []
    assert len(nearest("CUSTOM_A1", [f"CUSTOM_A{number}" for number in range(9)])) == 3
