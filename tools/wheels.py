"""Print the table of wheels: for which Python and which machine each locked distribution has one.

A lock pins files by hash, and a hash does not say what a file is for; names of wheels do. `make lock` gives
locks in the form of pylock.toml, which lists them, as arguments.
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

HEAD = """\
# Written by `make lock`. Do not edit.
# The tags of the wheels of each locked distribution that a Linux with glibc on x86_64 or aarch64 can install.
"""

PLATFORM = re.compile(r"any|(many)?linux.*_(x86_64|aarch64)")
"""Platforms that the table is about, as a wheel's file names them: several are joined by dots."""


def file_name(wheel: dict[str, Any]) -> str:
    """The name of a wheel's file, which stands alone or at the end of its address."""
    name: str = wheel.get("name") or wheel["url"].rpartition("/")[2].partition("#")[0]
    return name


def tag(name: str) -> str:
    """Python, ABI and platform of a wheel's file: the last three of its fields."""
    return "-".join(name.removesuffix(".whl").split("-")[-3:])


def table(locks: Iterable[dict[str, Any]]) -> dict[str, list[str]]:
    """Tags by pin. A pin is there even if it has no wheel at all."""
    found: dict[str, set[str]] = {}
    for lock in locks:
        for package in lock["packages"]:
            tags = found.setdefault(f"{package['name']}=={package['version']}", set())
            named = (tag(file_name(wheel)) for wheel in package.get("wheels", ()))
            tags.update(each for each in named if PLATFORM.fullmatch(each.rpartition("-")[2]))
    return {pin: sorted(found[pin]) for pin in sorted(found)}


def main() -> None:
    locks = [tomllib.loads(Path(path).read_text()) for path in sys.argv[1:]]
    sys.stdout.write(HEAD)
    for pin, tags in table(locks).items():
        sys.stdout.write(f"{pin}\t{' '.join(tags)}\n")


if __name__ == "__main__":
    main()
