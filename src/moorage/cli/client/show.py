"""How answers look in a terminal: tables and bars."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import click
from rich import box
from rich.console import Console
from rich.table import Table

BAR_CELLS: Final = 16
"""Width of a bar of use."""

SHOWN_SHARE: Final = 0.005
"""A smaller share would be rounded to nothing."""

WIDTH: Final = 250
"""Columns that a line may have: more than any table takes, so that nothing is folded or cut off."""


def screen() -> Console:
    """A console for tables, as wide as they take: a UUID that a terminal wraps can still be copied."""
    return Console(highlight=False, width=WIDTH)


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], numbers: Sequence[str] = ()) -> None:
    """Print rows under headings; columns that are ``numbers`` stand to the right. No rows: say so."""
    cells = [[_cell(value) for value in row] for row in rows]
    if not cells:
        click.echo("None.")
        return
    drawn = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 0, 0, 1))
    for name in columns:
        drawn.add_column(name, justify="right" if name in numbers else "left", overflow="fold")
    for row in cells:
        drawn.add_row(*row)
    screen().print(drawn)


def _cell(value: object) -> str:
    """What stands in a cell; brackets stay brackets."""
    text = "" if value is None else str(value)
    return text.replace("[", r"\[")


def lines(names: Iterable[str]) -> None:
    """Print names, one to a line."""
    for name in names:
        click.echo(name)


def pairs(values: Mapping[str, object]) -> None:
    """Print names and values, one pair to a line."""
    drawn = Table(box=None, show_header=False, pad_edge=False)
    drawn.add_column(style="bold", no_wrap=True)
    drawn.add_column(overflow="fold")
    for name, value in values.items():
        drawn.add_row(name, _cell(value))
    screen().print(drawn)


def capacity(inventory: Mapping[str, int | float]) -> int:
    """What may be held of an inventory as the API shows it. Source: API reference, "capacity"."""
    return int((inventory["total"] - inventory["reserved"]) * inventory["allocation_ratio"])


def bar(used: int, most: int, *, fancy: bool | None = None) -> str:
    """A bar of use, and the share in percent. Full if nothing can be had; over 100 % it stays full."""
    if fancy is None:
        fancy = (sys.stdout.encoding or "").lower().replace("-", "").startswith("utf")
    share = used / most if most else float(bool(used))
    cells = min(BAR_CELLS, round(share * BAR_CELLS))
    # Whoever uses anything at all is to be seen.
    cells = max(cells, 1) if used else cells
    full, empty = ("█", "░") if fancy else ("#", ".")
    percent = " <1%" if 0 < share < SHOWN_SHARE else f"{share:4.0%}"
    return f"{full * cells}{empty * (BAR_CELLS - cells)} {percent}"
