"""Consoles of commands, and texts of errors. Imports little, because most commands need it."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Final

import click
from rich.console import Console

from moorage.model.errors import MoorageError

PROGRAM: Final = "moorage"


def stdout() -> Console:
    """Console for answers. Without styles if stdout is no terminal; lines are never broken."""
    return Console(soft_wrap=True, highlight=False)


def stderr() -> Console:
    """Console for progress and problems."""
    return Console(stderr=True, soft_wrap=True, highlight=False)


def described(error: Exception) -> str:
    """An error as one line for the user."""
    if isinstance(error, MoorageError):
        return error.in_full()
    if isinstance(error, click.ClickException):
        return error.format_message()
    first_line = (str(error).splitlines() or [""])[0]
    return f"Unexpected {type(error).__name__}: {first_line} (moorage --debug ... shows where)"


def hint_of(error: Exception) -> str:
    """A hint on an error; empty if there is none."""
    return str(getattr(error, "advice", ""))


def program() -> list[str]:
    """The words by which a shell on this machine calls this program from any folder."""
    called = Path(sys.argv[0])
    if called.name != PROGRAM:
        return [sys.executable, "-m", PROGRAM]
    found = shutil.which(PROGRAM)
    if found is not None and Path(found).resolve() == called.resolve():
        return [PROGRAM]
    return [str(called.absolute())]
