"""The environment that a client's process gets."""

from __future__ import annotations

import os
from pathlib import Path

from tests.servers.keeper import without_coverage

ROOT = Path(__file__).parents[2]


def environment(folder: Path, **more: str) -> dict[str, str]:
    """The environment without what belongs to another cloud or another user."""
    kept = {name: value for name, value in without_coverage(os.environ).items() if not name.startswith("OS_")}
    path = os.pathsep.join([str(ROOT / "src"), str(ROOT)])
    return kept | {"HOME": str(folder), "PYTHONPATH": path} | more
