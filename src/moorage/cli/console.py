"""Where commands write to, and how an error is told. Imports little: most commands need it."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console

from moorage.model.errors import MoorageError


def stdout() -> Console:
    """Console for answers. Plain where stdout is no terminal; lines are never broken."""
    return Console(soft_wrap=True, highlight=False)


def stderr() -> Console:
    """Console for progress and problems."""
    return Console(stderr=True, soft_wrap=True, highlight=False)


def described(error: Exception) -> str:
    """An error as one line for the user."""
    if isinstance(error, MoorageError):
        return str(error)
    first_line = (str(error).splitlines() or [""])[0]
    return f"Unexpected {type(error).__name__}: {first_line} (moorage --debug ... shows where)"


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows as lines with columns below each other; as wide as they are, so that they can be searched."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
