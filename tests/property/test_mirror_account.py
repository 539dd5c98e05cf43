"""Pages of several revisions and the changes after the first one make the account of the slow twin."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from moorage_client.account import Account as Copied
from moorage_client.changes import AccountChange

from moorage.model.journal import JournalMode
from moorage.rules.decide import decide, touch
from moorage.rules.journal import Body, recorded
from tests.oracle.account import Account
from tests.oracle.compare import outcome
from tests.oracle.leased import LeasedTwin
from tests.oracle.mirrored import claims_of, comparable_claims, comparable_providers, providers_of
from tests.property.strategies_account import CONSUMERS, PROVIDERS
from tests.property.strategies_leases import lease_commands
from tests.property.strategies_search import examples
from tests.property.test_rules_account import STEPS, any_command, begun_with

"""The unit tests alone reach every line and branch of the client."""


def change(revision: int, body: Body) -> AccountChange:
    """As the service tells it."""
    told: dict[str, Any] = {"revision": revision, "kind": "k", "at": "t", "path": "p", "by": {}, **body}
    return AccountChange.of(orjson.loads(orjson.dumps(told)))


def assert_equal(copy: Copied, account: Account) -> None:
    """The copy and its indices are those of the twin."""
    expected = providers_of(account)
    assert comparable_providers(copy.providers.values()) == expected
    assert copy.by_name == {each.name: uuid for uuid, each in expected.items()}
    children: dict[str, set[str]] = {}
    trees: dict[str, set[str]] = {}
    for uuid, each in expected.items():
        trees.setdefault(each.root, set()).add(uuid)
        if each.parent is not None:
            children.setdefault(each.parent, set()).add(uuid)
    assert {key: set(group) for key, group in copy.children.items()} == children
    assert {key: set(group) for key, group in copy.trees.items()} == trees
    assert copy.claims is not None
    assert comparable_claims(copy.claims.values()) == claims_of(account)
    holders: dict[str, set[str]] = {}
    for uuid, claim in claims_of(account).items():
        for provider in claim.providers:
            holders.setdefault(provider, set()).add(uuid)
    assert {key: set(group) for key, group in copy.holders.items()} == holders


@pytest.mark.slow
@examples(1)
@given(st.data())
def test_a_copy_of_pages_equals_the_account(data: st.DataObject) -> None:
    account, memory = begun_with(LeasedTwin())
    states, changes = [deepcopy(account)], list[AccountChange]()
    for _ in range(STEPS):
        command = data.draw(st.one_of(any_command(account), lease_commands(account)))
        if outcome(account.execute, command)[0] != "done":
            continue
        body = recorded(
            memory.read(touch(command)), decide(memory.read(touch(command)), command), JournalMode.FULL
        )
        assert body is not None
        memory.execute(command)
        states.append(deepcopy(account))
        changes.append(change(len(changes) + 1, body.body))
    last = len(changes)
    copy = Copied("epoch", 0, claims=True)
    revision = 0
    # A page for each thing: the most moments that can lie between them.
    for uuid in sorted(PROVIDERS):
        revision = data.draw(st.integers(revision, last))
        found = providers_of(states[revision])
        copy.add_providers([found[uuid]] if uuid in found else [], revision)
    for uuid in sorted(CONSUMERS):
        revision = data.draw(st.integers(revision, last))
        held = claims_of(states[revision])
        copy.add_claims([held[uuid]] if uuid in held else [], revision)
    for each in changes[:revision]:
        assert not copy.is_whole
        copy.apply(each)
    assert copy.is_whole
    copy.settle()
    assert_equal(copy, states[revision])
    for each in changes[revision:]:
        copy.apply(each)
        copy.apply(each)
    assert_equal(copy, states[last])
