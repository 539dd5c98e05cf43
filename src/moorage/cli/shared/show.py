"""Formats answers for a terminal: tables, bars and lines that fit its width."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final, TypeVar

import click
from rich.cells import cell_len, chop_cells

from moorage.cli.shared.names import is_written_as_uuid

T = TypeVar("T")

USUAL_WIDTH: Final = 80
"""Columns of a line if the width is unknown: in a pipe without COLUMNS."""

LEAST_CELL: Final = 10
"""Least columns of a cell when a table is made narrower."""

GAP: Final = "  "
"""The separator of two columns."""

BAR_CELLS: Final = 16
TABLE_BAR_CELLS: Final = 8
"""Width of a bar of use, in a drawing and in a table."""

SHOWN_SHARE: Final = 0.005
"""A smaller share would be rounded to 0 %."""

SLOW: Final = 20
"""Least number of requests for which a progress bar is shown."""

_BREAKS: Final = re.compile(r"(?<=[ \-_./:,])")
"""Where text may be broken: after separators of words."""

SPACES: Final = re.compile(r"(?<= )")
"""Where sentences may be broken."""

_NUMBERS: Final = re.compile(r"(\d+)")


def width() -> int:
    """Columns of a line: from COLUMNS, else from the terminal, else ``USUAL_WIDTH``."""
    return shutil.get_terminal_size((USUAL_WIDTH, 24)).columns


def natural(text: str) -> list[tuple[int, int, str]]:
    """Sort key by which host2 comes before host10."""
    parts = _NUMBERS.split(text)
    return [(0, int(part), part) if part.isdecimal() else (1, 0, part) for part in parts if part]


def table(
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    numbers: Sequence[str] = (),
    *,
    extras: Sequence[str] = (),
) -> None:
    """Print rows under headings, with ``numbers`` aligned right. Without rows, say that there are none.

    If the lines do not fit, columns in ``extras`` are left out in order; then long texts are broken.
    """
    cells = [["" if value is None else str(value) for value in row] for row in rows]
    if not cells:
        click.echo("None.")
        return
    headings = [name.upper() for name in columns]
    room = width()
    shown = _columns_that_fit(columns, extras, [headings, *cells], room)
    widths = _widths([[row[place] for place in shown] for row in (headings, *cells)], room)
    right = [columns[place] in numbers for place in shown]
    for number, row in enumerate((headings, *cells)):
        for line in _lines([row[place] for place in shown], widths, right):
            click.echo(line if number else click.style(line, bold=True))
    left_out = [columns[place] for place in range(len(columns)) if place not in shown]
    if left_out and sys.stderr.isatty():
        note = f"Left out for lack of width: {', '.join(left_out)}. A wider terminal or -f json shows it."
        click.secho(note, err=True, dim=True)


def _columns_that_fit(
    columns: Sequence[str], extras: Sequence[str], rows: Sequence[Sequence[str]], room: int
) -> list[int]:
    shown = list(range(len(columns)))
    for name in extras:
        if sum(_widths([[row[place] for place in shown] for row in rows])) + 2 * (len(shown) - 1) <= room:
            break
        shown.remove(columns.index(name))
    return shown


def _widths(rows: Sequence[Sequence[str]], room: int | None = None) -> list[int]:
    """Width of each column. The widest become narrower until a line fits into ``room``, UUIDs last."""
    columns = list(zip(*rows, strict=True))
    widths = [max(map(cell_len, column)) for column in columns]
    if room is None:
        return widths
    texts = [place for place, column in enumerate(columns) if not any(map(is_written_as_uuid, column))]
    for places in (texts, range(len(columns))):
        while sum(widths) + len(GAP) * (len(widths) - 1) > room:
            widest = max(places, key=widths.__getitem__, default=None)
            if widest is None or widths[widest] <= LEAST_CELL:
                break
            widths[widest] -= 1
    return widths


def _lines(row: Sequence[str], widths: Sequence[int], right: Sequence[bool]) -> list[str]:
    """The lines of one row, without blanks at their ends."""
    parts = [broken(text, most) for text, most in zip(row, widths, strict=True)]
    lines = []
    for number in range(max(map(len, parts))):
        cells = [part[number] if number < len(part) else "" for part in parts]
        padded = [
            f"{' ' * (most - cell_len(cell))}{cell}"
            if to_the_right
            else f"{cell}{' ' * (most - cell_len(cell))}"
            for cell, most, to_the_right in zip(cells, widths, right, strict=True)
        ]
        lines.append(GAP.join(padded).rstrip())
    return lines


def broken(text: str, most: int, breaks: re.Pattern[str] = _BREAKS) -> list[str]:
    """``text`` in lines of at most ``most`` columns, broken between words where that is possible."""
    lines = [""]
    for word in breaks.split(text):
        if lines[-1] and cell_len(lines[-1]) + cell_len(word.rstrip()) > most:
            lines.append("")
        if cell_len(word.rstrip()) > most:
            *full, word = chop_cells(word, most)
            lines[-1:] = [*full, ""]
        lines[-1] += word
    return [line.rstrip() for line in lines]


def progress(task: str, items: Collection[T]) -> Iterator[T]:
    """The items, with a bar on stderr while they are gone through, on terminals only."""
    if not sys.stderr.isatty() or len(items) < SLOW:
        yield from items
        return
    with click.progressbar(items, label=task, file=sys.stderr) as bar_of_items:
        yield from bar_of_items


def age(moment: str | None, now: datetime | None = None) -> str:
    """The age of a moment in its largest unit: 40s, 12m, 5h, 3d."""
    if moment is None:
        return ""
    seconds = int(((now or datetime.now(UTC)) - datetime.fromisoformat(moment)).total_seconds())
    for unit, length in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= length:
            return f"{seconds // length}{unit}"
    return f"{max(0, seconds)}s"


def lines(names: Iterable[str]) -> None:
    """Print names, one to a line."""
    for name in names:
        click.echo(name)


def pairs(values: Mapping[str, object]) -> None:
    """Print names and values, one pair per line; a long value continues below itself."""
    longest = max(map(len, values), default=0)
    for name, value in values.items():
        text = "" if value is None else str(value)
        first, *others = broken(text, max(LEAST_CELL, width() - longest - len(GAP)))
        click.echo(f"{click.style(name.ljust(longest), bold=True)}{GAP}{first}" if first else name)
        for other in others:
            click.echo(f"{' ' * longest}{GAP}{other}")


def capacity(inventory: Mapping[str, int | float]) -> int:
    """The capacity of an inventory as the API shows it. Source: API reference, "capacity"."""
    return int((inventory["total"] - inventory["reserved"]) * inventory["allocation_ratio"])


def bar(used: int, most: int, *, cells: int = BAR_CELLS, fancy: bool | None = None) -> str:
    """A bar of use, and the share in percent. It is full for no capacity, and for shares over 100 %."""
    if fancy is None:
        fancy = (sys.stdout.encoding or "").lower().replace("-", "").startswith("utf")
    share = used / most if most else float(bool(used))
    filled = min(cells, round(share * cells))
    # The smallest use fills one cell.
    filled = max(filled, 1) if used else filled
    full, empty = ("█", "░") if fancy else ("#", ".")
    percent = " <1%" if 0 < share < SHOWN_SHARE else f"{share:4.0%}"
    return f"{full * filled}{empty * (cells - filled)} {percent}"


def table_bar(used: int, most: int) -> str:
    """A bar of use for a table."""
    return bar(used, most, cells=TABLE_BAR_CELLS)
