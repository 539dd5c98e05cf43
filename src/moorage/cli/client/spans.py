"""Durations as the native API writes them: ``90s``, ``1.5s``, ``5m``, ``8h``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

import click

_SECONDS: Final[Mapping[str, float]] = {"ms": 0.001, "s": 1, "m": 60, "h": 3_600, "d": 86_400}

_SPAN: Final = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,3})?)(ms|[smhd])")


def seconds(text: str) -> float:
    """A duration in seconds. Raises ValueError."""
    found = _SPAN.fullmatch(text)
    if found is None:
        raise ValueError(f"'{text}' is no duration, such as 90s, 5m or 8h")
    return float(found[1]) * _SECONDS[found[2]]


def written(span: float) -> str:
    """Seconds as a duration."""
    return f"{span:.3f}".rstrip("0").rstrip(".") + "s"


class Span(click.ParamType[float]):
    """A duration of the command line, in seconds; ``least`` is the shortest one."""

    name = "duration"

    def __init__(self, least: float = 0.0) -> None:
        self._least = least

    def convert(
        self, value: str | float, parameter: click.Parameter | None, context: click.Context | None
    ) -> float:
        """Raises BadParameter."""
        if not isinstance(value, str):
            return value
        try:
            found = seconds(value)
        except ValueError as error:
            self.fail(f"{error}.", parameter, context)
        if found < self._least:
            self.fail(f"'{value}' is shorter than {written(self._least)}.", parameter, context)
        return found
