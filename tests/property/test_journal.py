"""Records of random writes, undone from the present back, against the twin's states."""

from __future__ import annotations

from itertools import pairwise

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moorage.model.journal import JournalMode
from moorage.rules.decide import decide, touch
from moorage.rules.journal import Body, record_of, recorded, references
from tests.oracle.compare import outcome
from tests.oracle.history import assert_has, undone, view_of
from tests.property.strategies_search import examples
from tests.property.test_rules_account import STEPS, any_command, begun

pytestmark = pytest.mark.no_cover
"""The unit tests alone reach every line and branch of the rules."""


@examples(1)
@given(st.data())
def test_undoing_the_records_leads_from_the_present_to_any_earlier_state(data: st.DataObject) -> None:
    account, memory = begun()
    views, bodies = [view_of(account)], list[Body]()
    for _ in range(STEPS):
        command = data.draw(any_command(account))
        if outcome(account.execute, command)[0] != "done":
            continue
        state = memory.read(touch(command))
        changes = decide(state, command)
        full, short = (recorded(state, changes, mode) for mode in (JournalMode.FULL, JournalMode.REFS))
        memory.execute(command)
        assert full is not None
        assert short is not None
        assert short.body == references(full.body)
        assert record_of(short.body) == short
        assert (short.consumers, short.trees) == (full.consumers, full.trees)
        views.append(view_of(account))
        bodies.append(orjson.loads(orjson.dumps(full.body)))
    for (before, after), body in zip(pairwise(views), bodies, strict=True):
        assert_has(after, body)
        assert undone(after, body) == before
    present = views[-1]
    for view, body in zip(reversed(views[:-1]), reversed(bodies), strict=True):
        present = undone(present, body)
        assert present == view
