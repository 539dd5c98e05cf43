"""Results in a form that the real account and its twin can be compared in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from moorage.model.commands import Command
from moorage.model.errors import MoorageError

TIMES = {"created_at", "updated_at", "modified", "dates"}
"""Fields of results that only a clock can fill."""

UNORDERED = {"traits", "aggregates"}
"""Fields of results whose order is the business of the database."""


def comparable(value: Any) -> Any:
    """A result without times and without an order that nobody promised."""
    if isinstance(value, MoorageError):
        return type(value), str(value)
    if isinstance(value, tuple | list):
        return tuple(comparable(item) for item in value)
    if isinstance(value, Mapping):
        return {key: comparable(item) for key, item in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        return {
            item.name: tuple(sorted(found)) if item.name in UNORDERED else comparable(found)
            for item in fields(value)
            if item.name not in TIMES
            for found in [getattr(value, item.name)]
        }
    return value


def outcome(execute: Callable[[Command[Any]], Any], command: Command[Any]) -> tuple[str, Any, str]:
    """What became of a command: ("done", its result, "") or ("refused", class of error, its text)."""
    try:
        return "done", comparable(execute(command)), ""
    except MoorageError as refusal:
        return "refused", type(refusal), str(refusal)
