"""The reference's own tests, from the installed distribution, against Moorage."""

from __future__ import annotations

from pathlib import Path

import placement
import pytest

from tests.databases.prepared import Prepare
from tests.servers.binaries import MARIADB, POSTGRESQL
from tests.servers.databases import SQLITE
from tests.wire.stage import SETTINGS, Stage, content_of

FOLDER = Path(placement.__file__).parent / "tests" / "functional" / "gabbits"

FILES = 79
"""So many files, with so many exchanges, the pinned release of the reference has."""
EXCHANGES = 1316


def files() -> list[Path]:
    return sorted(FOLDER.glob("*.yaml"))


def test_all_files_of_the_reference_are_there() -> None:
    contents = [content_of(path) for path in files()]
    assert len(contents) == FILES
    assert sum(len(content["tests"]) for content in contents) == EXCHANGES
    assert {name for content in contents for name in content["fixtures"]} == SETTINGS.keys()


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind",
    [
        SQLITE,
        pytest.param(POSTGRESQL, marks=pytest.mark.databases),
        pytest.param(MARIADB, marks=pytest.mark.databases),
    ],
)
@pytest.mark.parametrize("path", files(), ids=lambda path: path.stem)
def test_a_file_of_the_reference_finds_nothing_wrong(kind: str, path: Path, prepare: Prepare) -> None:
    outcome = Stage(prepare(kind)).play(path)
    if outcome.wrong:
        pytest.fail("\n".join(outcome.wrong), pytrace=False)
    assert outcome.answered == outcome.asked > 0
