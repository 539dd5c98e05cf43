from __future__ import annotations

import os
from uuid import RFC_4122, UUID

import pytest

from moorage.model.uuids import AT_ONCE, _ready, new_uuid
from tests.copies import told_by_a_copy


def test_uuids_are_random_ones_in_their_usual_form() -> None:
    made = [new_uuid() for _ in range(2 * AT_ONCE)]
    assert len(set(made)) == len(made)
    assert all(str(UUID(each)) == each for each in made)
    assert {(UUID(each).version, UUID(each).variant) for each in made} == {(4, RFC_4122)}


def test_many_uuids_take_one_read_of_the_systems_source(monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[int] = []
    source = os.urandom

    def read(size: int) -> bytes:
        reads.append(size)
        return source(size)

    monkeypatch.setattr("moorage.model.uuids.os.urandom", read)
    _ready.clear()
    for _ in range(AT_ONCE):
        new_uuid()
    assert reads == [16 * AT_ONCE]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="copies of a process are made otherwise")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_copy_of_the_process_makes_other_uuids() -> None:
    new_uuid()
    told = told_by_a_copy(new_uuid)
    assert told
    assert told not in [new_uuid() for _ in range(AT_ONCE)]
