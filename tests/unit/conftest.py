"""What all unit tests share."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import pytest

from moorage.auth import rules


@pytest.fixture(scope="session", autouse=True)
def _rules_are_read_once() -> Iterator[None]:
    """Each application parses the texts of all default rules twice. oslo.policy copies what it registers."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rules, "defaults", cache(rules.defaults))
        yield
