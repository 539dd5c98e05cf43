from __future__ import annotations

import pytest

from moorage.model.errors import KeyReusedError, UnavailableError
from moorage.model.keys import IdempotencyKey, RememberedAnswer
from moorage.rules.keys import once
from moorage.rules.state import Changes, State

KEY = IdempotencyKey("k", "f", lambda result: f"<{result}>")


def counted() -> Changes[int]:
    return Changes(7, "counted")


def test_the_first_time_the_answer_is_remembered() -> None:
    state = State(keys={"k": None})
    changes = once(state, KEY, counted)
    assert (changes.result, changes.kind) == (7, "counted")
    assert changes.keys == {"k": RememberedAnswer("f", "<7>")}
    # There is something to write though nothing else has changed.
    assert changes
    assert state.keys == {"k": None}


def test_later_it_is_answered_and_nothing_changes() -> None:
    known = RememberedAnswer("f", "<7>", 12)
    changes = once(State(keys={"k": known}), KEY, pytest.fail)
    assert changes.result is known
    assert not changes


def test_another_request_with_the_key_is_refused() -> None:
    with pytest.raises(KeyReusedError):
        once(State(keys={"k": RememberedAnswer("other", "", 12)}), KEY, counted)


def test_a_refusal_is_not_remembered() -> None:
    def refused() -> Changes[int]:
        raise UnavailableError("no")

    state = State(keys={"k": None})
    with pytest.raises(UnavailableError):
        once(state, KEY, refused)
    assert state.keys == {"k": None}
