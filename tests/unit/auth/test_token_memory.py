"""For how long, and of whom, a token is remembered."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from moorage.auth import token_memory
from moorage.auth.identity import Identity
from moorage.auth.token_memory import REMEMBER_SECONDS, TokenMemory

SOMEBODY = Identity("somebody")
NOW = datetime(2026, 1, 1, tzinfo=UTC)


class Times:
    """Clocks that stand still until a test moves them."""

    def __init__(self) -> None:
        self.passed = 0.0

    def clock(self) -> float:
        return 1000 + self.passed

    def now(self) -> float:
        return NOW.timestamp() + self.passed


def expiring(seconds: float) -> dict[str, object]:
    """What Keystone says of a token that ends so soon."""
    return {"expires_at": (NOW + timedelta(seconds=seconds)).isoformat().replace("+00:00", "Z")}


@pytest.fixture
def times() -> Times:
    return Times()


@pytest.fixture
def memory(times: Times) -> TokenMemory:
    return TokenMemory(times.clock, times.now)


def test_a_token_is_remembered_for_a_moment(memory: TokenMemory, times: Times) -> None:
    assert memory.recall("t") is None
    memory.remember("t", SOMEBODY, expiring(3600))
    assert memory.recall("t") is SOMEBODY
    assert memory.recall("another") is None
    times.passed = REMEMBER_SECONDS
    assert memory.recall("t") is None


def test_a_token_is_not_remembered_beyond_its_end(memory: TokenMemory, times: Times) -> None:
    memory.remember("t", SOMEBODY, expiring(REMEMBER_SECONDS / 2))
    times.passed = REMEMBER_SECONDS / 4
    assert memory.recall("t") is SOMEBODY
    times.passed = REMEMBER_SECONDS / 2
    assert memory.recall("t") is None


@pytest.mark.parametrize(
    "facts",
    [
        {},
        {"expires_at": None},
        {"expires_at": "tomorrow"},
        expiring(0),
        expiring(-5),
        {**expiring(60), "application_credential": {"access_rules": []}},
        {**expiring(60), "bind": {"kerberos": "somebody"}},
    ],
)
def test_what_is_not_good_for_every_request_is_not_remembered(
    memory: TokenMemory, facts: dict[str, object]
) -> None:
    memory.remember("t", SOMEBODY, facts)
    assert memory.recall("t") is None


def test_an_application_credential_without_rules_is_as_good_as_a_password(memory: TokenMemory) -> None:
    memory.remember("t", SOMEBODY, {**expiring(60), "application_credential": {"id": "c"}})
    assert memory.recall("t") is SOMEBODY


def test_memory_has_an_end(times: Times, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(token_memory, "REMEMBERED_BYTES", 100_000)
    memory = TokenMemory(times.clock, times.now)
    tokens = [letter * 20_000 for letter in "abcdefghij"]
    for token in tokens:
        memory.remember(token, SOMEBODY, expiring(60))
    known = [memory.recall(token) for token in tokens]
    assert known.count(SOMEBODY) == 4
    assert known[-1] is SOMEBODY
