"""Records of random writes, undone from the present back, against the twin's states."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from itertools import pairwise
from typing import Any

import orjson
from hypothesis import given
from hypothesis import strategies as st

from moorage.model.journal import JournalMode
from moorage.rules.decide import decide, touch
from moorage.rules.journal import Body, record_of, recorded, references
from moorage.rules.undo import Past, consumer_parts
from tests.oracle.compare import outcome
from tests.oracle.history import View, assert_has, undone, view_of
from tests.oracle.leased import LeasedTwin
from tests.property.strategies_leases import lease_commands
from tests.property.strategies_search import examples
from tests.property.test_rules_account import STEPS, any_command, begun_with

"""The unit tests alone reach every line and branch of the rules."""


@examples(1)
@given(st.data())
def test_undoing_the_records_leads_from_the_present_to_any_earlier_state(data: st.DataObject) -> None:
    account, memory = begun_with(LeasedTwin())
    views, bodies = [view_of(account)], list[Body]()
    for _ in range(STEPS):
        command = data.draw(st.one_of(any_command(account), lease_commands(account)))
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
    past = past_of(views)
    for view, body in zip(reversed(views[:-1]), reversed(bodies), strict=True):
        present = undone(present, body)
        assert present == view
        past.take_back(body)
        assert there(past) == in_parts(view)


def past_of(views: Sequence[View]) -> Past:
    """The last view, which follows all that was ever there."""
    past = Past(**deepcopy(in_parts(views[-1])))
    past.follow(uuid for view in views for uuid in view["providers"])
    for view in views:
        for uuid in view["consumers"]:
            past.consumers.setdefault(uuid, consumer_parts(None))
    return past


def in_parts(view: View) -> dict[str, Any]:
    """A view in the form of the rules."""
    consumers: dict[str, Any] = {}
    for uuid, consumer in view["consumers"].items():
        held: dict[str, dict[str, int]] = {}
        for (provider, name), amount in consumer["held"].items():
            held.setdefault(provider, {})[name] = amount
        consumers[uuid] = {**consumer, "held": held}
    return {"providers": view["providers"], "consumers": consumers}


def there(past: Past) -> dict[str, Any]:
    """What is there, without what holds nothing."""
    consumers = {
        uuid: {
            **{name: value for name, value in parts.items() if (name, value) != ("lease", None)},
            "held": {provider: held for provider, held in parts["held"].items() if held},
        }
        for uuid, parts in past.consumers.items()
        if parts["generation"] is not None
    }
    providers = {uuid: each for uuid, each in past.providers.items() if each["generation"] is not None}
    return {"providers": providers, "consumers": consumers}
