"""The environment that a client's process gets."""

from __future__ import annotations

import os
from pathlib import Path

from tests.servers.keeper import without_coverage

ROOT = Path(__file__).parents[2]


def environment(folder: Path, **more: str) -> dict[str, str]:
    """The environment without what belongs to another cloud or another user.

    The cache of installed entry points is kept: with a new home, each process would look for them again.
    """
    kept = {name: value for name, value in without_coverage(os.environ).items() if not name.startswith("OS_")}
    path = os.pathsep.join([str(ROOT / "src"), str(ROOT)])
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return kept | {"HOME": str(folder), "XDG_CACHE_HOME": cache, "PYTHONPATH": path} | more
