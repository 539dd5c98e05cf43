"""Whatever a file says and whatever was there before: a second run of ``moorage load`` writes nothing."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moorage.cli.document import Document
from moorage.cli.loading import load
from moorage.cli.parsing import BadFileError, parse
from moorage.cli.shared.names import consumer_uuid, provider_uuid
from moorage.service.facade import Service
from tests.databases.prepared import sqlite_template, store_on
from tests.property.strategies_search import examples

__all__ = ["sqlite_template"]


NAMES = ["p0", "p1", "p2"]
# One of them is what another provider's name gives: a file may say it for any provider.
UUIDS = [provider_uuid("p0"), "AAAAAAAA00004000800000000000AAAA"]
ROOM = {"VCPU": 4}

inventories = st.sampled_from(
    [ROOM, ROOM, {"VCPU": 2}, {"CUSTOM_X": {"total": 4, "allocation_ratio": 1.1}}, {}]
)
traits = st.lists(st.sampled_from(["HW_NUMA_ROOT", "CUSTOM_T"]), unique=True)
aggregates = st.lists(st.sampled_from(["x", UUIDS[1], UUIDS[0]]), unique=True)
held = st.sampled_from([{"VCPU": 1}, {"VCPU": 2}, {"VCPU": 4}, {"CUSTOM_X": 1}])


def optional(draw: st.DrawFn, **said: st.SearchStrategy[Any]) -> dict[str, Any]:
    """Some of these keys."""
    return {key: draw(value) for key, value in said.items() if draw(st.booleans())}


@st.composite
def documents(draw: st.DrawFn) -> Document:
    """A file as ``json`` or a person may write it; one with a mistake stands for one with nothing."""
    children: dict[str | None, list[str]] = {}
    names = draw(st.permutations(NAMES))[: draw(st.integers(1, 3))]
    for number, name in enumerate(names):
        children.setdefault(draw(st.sampled_from([None, *names[:number]])), []).append(name)

    def entry(name: str) -> dict[str, Any]:
        said = optional(draw, uuid=st.sampled_from(UUIDS), traits=traits, aggregates=aggregates)
        below = [entry(child) for child in children.get(name, ())]
        return {"name": name, "inventories": draw(inventories), **said, "children": below}

    consumers = [
        {
            "name": name,
            "allocations": draw(st.dictionaries(st.sampled_from(names), held, max_size=2)),
            **optional(
                draw,
                uuid=st.sampled_from([consumer_uuid(name), consumer_uuid(name).upper()]),
                project=st.sampled_from(["p", "P"]),
                type=st.sampled_from([None, "INSTANCE"]),
            ),
        }
        for name in ("c0", "c1")
    ]
    text = json.dumps({"providers": [entry(name) for name in children.get(None, ())], "consumers": consumers})
    try:
        return parse(text, "drawn")
    except BadFileError:
        return Document(())


@pytest.mark.slow
@examples(0.5)
@given(st.lists(documents(), min_size=1, max_size=3), st.booleans())
def test_second_run_of_any_file_writes_nothing(
    sqlite_template: Path, files: list[Document], prune: bool
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(sqlite_template, Path(folder) / "copy.sqlite")
        store = store_on(f"sqlite:///{folder}/copy.sqlite")
        service = Service(store)
        try:
            for file in files:
                first = load(service, file, prune=prune)
                revision = store.revision()
                again = load(service, file, prune=prune)
                assert again.done == []
                assert store.revision() == revision
                assert {str(each.step) for each in again.refused} == {
                    str(each.step) for each in first.refused
                }
        finally:
            service.close()
