"""Prepared databases, as the database tests have them, and the reference beside Moorage."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.databases.prepared import *  # noqa: F403 - fixtures are found by their names here
from tests.peer.peers import Peers, running


@pytest.fixture(scope="module")
def peers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Peers]:
    """Both services without providers."""
    with running(tmp_path_factory.mktemp("peers")) as both:
        both.reset()
        yield both
