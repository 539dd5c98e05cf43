"""One browser for all tests of a process."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.console.browser import Driven, driven
from tests.console.opened import WIDE


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Driven]:
    """A window with an empty profile, for all services in turn."""
    with driven(tmp_path_factory.mktemp("profile"), *WIDE) as window:
        yield window
