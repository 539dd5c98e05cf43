"""Line charts on logarithmic scales, as SVG text: few lines instead of a large dependency."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 720, 420
"""Of the picture, in pixels."""

LEFT, RIGHT, TOP, BOTTOM = 80, 200, 40, 50
"""Margins around the plot, for labels and the legend."""

COLOURS = ("#0b6e99", "#c4442b", "#2f8f4e", "#8a5ab5", "#b8860b", "#555555")
"""Dark enough on white, and told apart by those who see red and green alike."""

FONT = 'font-family="sans-serif" font-size="12"'

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Line:
    """A named line through points; all coordinates are above 0."""

    name: str
    points: Sequence[Point]
    dashed: bool = False


@dataclass(frozen=True, slots=True)
class Chart:
    """What a chart shows. Both axes are logarithmic."""

    title: str
    x_label: str
    y_label: str
    lines: Sequence[Line]


def decades(values: Sequence[float]) -> tuple[int, int]:
    """Exponents of the powers of ten that enclose all values, at least one decade."""
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    return low, max(high, low + 1)


def number(value: float) -> str:
    """1000 as 1,000 and 0.1 as 0.1."""
    return f"{value:,.0f}" if value >= 1 else f"{value:g}"


def svg(chart: Chart) -> str:
    """The chart as an SVG document. Raises ValueError if there is no point at all."""
    points = [point for line in chart.lines for point in line.points]
    if not points:
        raise ValueError("nothing to draw")
    scale = _Scale(decades([x for x, _ in points]), decades([y for _, y in points]))
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" {FONT}>',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        f'<text x="{LEFT}" y="24" font-size="15">{escape(chart.title)}</text>',
        *_axes(chart, scale),
    ]
    for place, line in enumerate(chart.lines):
        parts += _drawn(line, COLOURS[place % len(COLOURS)], TOP + 12 + 18 * place, scale)
    return "\n".join([*parts, "</svg>", ""])


@dataclass(frozen=True, slots=True)
class _Scale:
    """From values to pixels."""

    x_decades: tuple[int, int]
    y_decades: tuple[int, int]

    def x(self, value: float) -> float:
        low, high = self.x_decades
        return round(LEFT + (math.log10(value) - low) / (high - low) * (WIDTH - LEFT - RIGHT), 1)

    def y(self, value: float) -> float:
        low, high = self.y_decades
        return round(HEIGHT - BOTTOM - (math.log10(value) - low) / (high - low) * (HEIGHT - TOP - BOTTOM), 1)


def _axes(chart: Chart, scale: _Scale) -> Iterator[str]:
    bottom, right = HEIGHT - BOTTOM, WIDTH - RIGHT
    for exponent in range(scale.x_decades[0], scale.x_decades[1] + 1):
        x = scale.x(10.0**exponent)
        yield f'<line x1="{x}" y1="{TOP}" x2="{x}" y2="{bottom}" stroke="#dddddd"/>'
        yield f'<text x="{x}" y="{bottom + 18}" text-anchor="middle">{number(10.0**exponent)}</text>'
    for exponent in range(scale.y_decades[0], scale.y_decades[1] + 1):
        y = scale.y(10.0**exponent)
        yield f'<line x1="{LEFT}" y1="{y}" x2="{right}" y2="{y}" stroke="#dddddd"/>'
        yield f'<text x="{LEFT - 6}" y="{y + 4}" text-anchor="end">{number(10.0**exponent)}</text>'
    middle = (LEFT + right) / 2
    yield f'<text x="{middle}" y="{HEIGHT - 10}" text-anchor="middle">{escape(chart.x_label)}</text>'
    turned = f"rotate(-90 16 {(TOP + bottom) / 2})"
    yield (
        f'<text x="16" y="{(TOP + bottom) / 2}" text-anchor="middle" transform="{turned}">'
        f"{escape(chart.y_label)}</text>"
    )


def _drawn(line: Line, colour: str, legend_y: float, scale: _Scale) -> Iterator[str]:
    style = f'stroke="{colour}" stroke-width="2"' + (' stroke-dasharray="6 4"' if line.dashed else "")
    places = [(scale.x(x), scale.y(y)) for x, y in line.points]
    yield f'<polyline fill="none" {style} points="{" ".join(f"{x},{y}" for x, y in places)}"/>'
    if not line.dashed:
        for x, y in places:
            yield f'<circle cx="{x}" cy="{y}" r="3" fill="{colour}"/>'
    start = WIDTH - RIGHT + 12
    yield f'<line x1="{start}" y1="{legend_y}" x2="{start + 24}" y2="{legend_y}" {style}/>'
    yield f'<text x="{start + 30}" y="{legend_y + 4}">{escape(line.name)}</text>'
