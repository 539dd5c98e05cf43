from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from moorage.wiring.parts import NEW_OBJECTS

SCRIPT = """
import gc, sys
from dataclasses import replace
from pathlib import Path
from moorage.wiring.parts import build_application
from moorage.wiring.settings import Chosen, resolve
settings = resolve(Chosen(data_directory=Path(sys.argv[1])), {}, serving=True).settings
build_application(replace(settings, sync_on_startup=True))
print(gc.get_freeze_count(), *gc.get_threshold())
"""


@pytest.mark.slow
def test_a_process_that_serves_does_not_look_for_garbage_in_what_stays(tmp_path: Path) -> None:
    process = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path)], capture_output=True, text=True, check=True
    )
    frozen, new_objects, *_ = map(int, process.stdout.split())
    assert frozen > 10_000
    assert new_objects == NEW_OBJECTS
