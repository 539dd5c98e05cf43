"""A browser with the console in it, for all tests of pages."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from typing import Final

import pytest

from tests.console.browser import Driven, is_there

MARKS: Final = [
    pytest.mark.journey,
    pytest.mark.skipif(
        not is_there(), reason="no browser: Debian's packages are chromium and chromium-driver"
    ),
]

WIDE, NARROW = (1280, 900), (390, 844)


@dataclass(frozen=True)
class Opened:
    """A browser and the address of the console in it."""

    browser: Driven
    service: str

    @property
    def base(self) -> str:
        return f"{self.service}/moorage/console/"

    def open(self, path: str) -> Driven:
        self.browser.open(self.base + path)
        return self.browser


def moorage(*words: str) -> str:
    """What a command prints."""
    command = [sys.executable, "-P", "-m", "moorage", *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def reported(page: Driven, number: int) -> list[str]:
    """So many errors that the browser reports, as it does for each answer that is one. Waits for them."""
    lines: list[str] = []

    def are_there() -> bool:
        lines.extend(page.complaints())
        return len(lines) >= number

    page.until(are_there, f"{number} errors")
    return lines


def of_tree(page: Driven, name: str) -> tuple[int, int]:
    """The middle of a tree's cell on the map, counted from the corner of the canvas."""
    page.until(lambda: page.run("return Boolean(document.querySelector('canvas')?.heat)"), "the map")
    found = page.run(
        "const {overview} = await import(new URL('cloud.js', document.baseURI));"
        "const cloud = await overview(); return cloud.names.indexOf(arguments[0]);",
        name,
    )
    box = page.run("return document.querySelector('canvas').heat.find(arguments[0])", found)
    return round(box["x"] + box["width"] / 2), round(box["y"] + box["height"] / 2)
