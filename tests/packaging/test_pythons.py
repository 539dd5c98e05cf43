"""Every supported Python that this machine has: the wheel alone serves, and the tests pass.

The environments stay below ``build/pythons`` until the locks change, so that only the first run needs the
network. ``make test-pythons`` runs all fast tests on each Python. ``make test`` runs those of ``DEPENDENT``
on one more Python than its own.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.packaging.served import run_printed, variables
from tests.tidy.locks import FOLDER, Minor, supported
from tests.tidy.sources import ROOT

ENVIRONMENTS = ROOT / "build" / "pythons"
UV = Path(sys.executable).parent / "uv"
OTHERS = [minor for minor in supported() if minor != sys.version_info.minor]
ALL = os.environ.get("MOORAGE_PYTHONS_TESTS", "").split()

DEPENDENT = [
    f"tests/unit/{room}"
    for room in (
        "model",
        "auth",
        "contracts",
        "native_client",
        "serve",
        "service",
        "store",
        "telemetry",
        "wiring",
    )
]
"""Rooms that use what changes with Python's versions: generated classes, processes and signals, ``sqlite3``,
logging, and names that other distributions do not promise."""


def candidates(minor: Minor) -> Iterator[Path]:
    """Where that Python may be: on the path, or where pyenv and uv keep theirs."""
    found = shutil.which(f"python3.{minor}")
    if found:
        yield Path(found)
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    yield from sorted(pyenv.glob(f"versions/3.{minor}.*/bin/python3.{minor}"))
    yield from sorted(
        (Path.home() / ".local/share/uv/python").glob(f"cpython-3.{minor}.*/bin/python3.{minor}")
    )


def runs(interpreter: Path, minor: Minor) -> bool:
    """Whether it is that Python: a shim may be there, and what it stands for not."""
    command = [str(interpreter), "-c", "import sys, venv; print(sys.version_info.minor)"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode == 0 and done.stdout.strip() == str(minor)


@cache
def interpreter(minor: Minor) -> Path:
    """That Python; the test is skipped if this machine has none."""
    if minor == sys.version_info.minor:
        return Path(sys.executable)
    found = next((each for each in candidates(minor) if runs(each, minor)), None)
    if found is None:
        pytest.skip(f"Python 3.{minor} is not on this machine")
    return found


def carry_out(*command: str | Path) -> None:
    """Raises AssertionError with what a command that fails has said."""
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    carry_out(sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", folder)
    [built] = folder.glob("*.whl")
    return built


def environment(minor: Minor, wheel: Path, *sets: str) -> Path:
    """The programs of an environment that holds some locked sets and the wheel, and nothing else."""
    locks = [FOLDER / f"{name}.txt" for name in sets]
    digest = hashlib.sha256(b"".join(lock.read_bytes() for lock in locks)).hexdigest()[:12]
    folder = ENVIRONMENTS / f"3.{minor}-{'-'.join(sets)}"
    stamp = folder / "locks"
    if not stamp.exists() or stamp.read_text() != digest:
        carry_out(
            UV, "venv", "--quiet", "--clear", "--no-python-downloads", "--python", interpreter(minor), folder
        )
        given = [word for lock in locks for word in ("-r", str(lock))]
        carry_out(UV, "pip", "install", "--quiet", "--python", folder, "--require-hashes", *given)
        stamp.write_text(digest)
    alone = ("--offline", "--no-deps", "--reinstall")
    carry_out(UV, "pip", "install", "--quiet", "--python", folder, *alone, wheel)
    return folder / "bin"


@pytest.mark.slow
@pytest.mark.parametrize("minor", supported(), ids="3.{}".format)
def test_the_wheel_alone_serves_and_every_command_that_it_prints_works(
    minor: Minor, wheel: Path, tmp_path: Path
) -> None:
    ran = run_printed(environment(minor, wheel, "run") / "moorage", tmp_path)
    assert [each for each in ran if not each.is_fine] == []
    assert len(ran) >= 4


def fast_tests_pass(minor: Minor, wheel: Path, folder: Path, *tests: str) -> None:
    """Raises AssertionError with what the tests that fail have said."""
    python = environment(minor, wheel, "run", "build", "test") / "python"
    options = ("-q", "-p", "no:cacheprovider", "-m", "not databases and not journey and not slow")
    done = subprocess.run(
        [python, "-m", "pytest", *options, *tests],
        cwd=ROOT,
        env=variables(folder),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-10_000:] + done.stderr


@pytest.mark.slow
@pytest.mark.skipif(bool(ALL), reason="they run on every Python")
def test_rooms_that_depend_on_python_pass_on_the_one_that_is_farthest_from_this_one(
    wheel: Path, tmp_path: Path
) -> None:
    here = [minor for minor in OTHERS if any(runs(each, minor) for each in candidates(minor))]
    if not here:
        pytest.skip("this machine has one Python")
    farthest = max(here, key=lambda minor: (abs(minor - sys.version_info.minor), minor))
    fast_tests_pass(farthest, wheel, tmp_path, *DEPENDENT)


@pytest.mark.slow
@pytest.mark.skipif(not ALL, reason="make test-pythons runs them")
@pytest.mark.parametrize("minor", OTHERS, ids="3.{}".format)
def test_the_fast_tests_pass_on_every_python(minor: Minor, wheel: Path, tmp_path: Path) -> None:
    fast_tests_pass(minor, wheel, tmp_path, *ALL)
