from __future__ import annotations

import inspect
from dataclasses import fields
from typing import Any

from moorage.model import errors
from moorage.model.errors import (
    CapacityExceededError,
    ConflictError,
    ConsumerGenerationError,
    InvalidError,
    MoorageError,
    NotFoundError,
    OutcomeUnknownError,
    ProviderNotFoundError,
    StaleGenerationError,
    UnavailableError,
)
from tests.table import each

EVERY_ERROR: list[type[MoorageError]] = [
    kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, MoorageError)
]

FAMILIES = (NotFoundError, InvalidError, ConflictError)


def sample(kind: type[MoorageError]) -> MoorageError:
    """An error whose facts are told by their names."""
    values: dict[str, Any] = {item.name: f"<{item.name}>" for item in fields(kind)}
    return kind(**values)


@each("kind", EVERY_ERROR)
def test_every_error_can_be_shown(kind: type[MoorageError]) -> None:
    text = str(sample(kind))
    assert text
    assert "{" not in text


@each("kind", EVERY_ERROR)
def test_what_an_error_shows_are_its_own_facts(kind: type[MoorageError]) -> None:
    shown = {part.split(">")[0] for part in str(sample(kind)).split("<")[1:]}
    assert shown <= {item.name for item in fields(kind)}


@each("kind", [kind for kind in EVERY_ERROR if kind not in (MoorageError, *FAMILIES)])
def test_every_kind_of_error_has_a_sentence_of_its_own(kind: type[MoorageError]) -> None:
    assert "template" in vars(kind)


@each("kind", EVERY_ERROR)
def test_no_error_belongs_to_two_families(kind: type[MoorageError]) -> None:
    assert sum(issubclass(kind, family) for family in FAMILIES) <= 1


def test_errors_are_told_apart_by_identity() -> None:
    first, second = ProviderNotFoundError("a"), ProviderNotFoundError("a")
    assert first != second
    assert len({first, second}) == 2


def test_who_claims_again_can_tell_a_consumer_that_changed_from_a_full_provider() -> None:
    """Nova retries a claim unless these words are in it."""
    words = "consumer generation conflict"
    assert str(ConsumerGenerationError("ship", 3, 2)) == f"{words} - expected 3 but got 2"
    assert words not in str(CapacityExceededError("pier", "VCPU"))
    assert words not in str(StaleGenerationError("pier", 1, 2))


def test_an_outcome_that_is_not_known_is_a_case_of_not_being_available() -> None:
    assert isinstance(OutcomeUnknownError("gone"), UnavailableError)
    assert str(OutcomeUnknownError("gone")).endswith("gone")
