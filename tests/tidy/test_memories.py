"""All that a process remembers stands in one table, with its bound in bytes and its end."""

from __future__ import annotations

import ast
import importlib
import re
from typing import NamedTuple

import pytest

from moorage.model.cache import KIB, MIB
from moorage.model.requests import DEFAULT_KEPT_BYTES
from moorage.search.match.answers import KEPT_BYTES
from moorage.search.match.outcomes import MOST_BYTES
from tests.tidy.memories import CACHE, memories, memories_in, name_of
from tests.tidy.sources import ROOT

PAGE = ROOT / "docs" / "explanation" / "search.md"
HEAD = "| What | Where | Key | Bytes at most | Ends |"

WORK = {
    "api.placement.encode:_NOTHING_GIVEN": "a default that stays empty",
    "api.http.wire_error:WireError": "a refusal",
    "api.native.placing:Teller._explained": "a request",
    "auth.identity:UnauthorisedError": "a refusal",
    "auth.keystone:_Answer": "a request",
    "cli.client.drawing:Node": "a command",
    "cli.client.sources.document:ReportDocument": "a command",
    "cli.client.syntax:GroupConditions": "a command",
    "serve.departure:Departure._future": "a request",
    "serve.front:Front._waiting": "requests that wait for a thread, one per connection",
    "cli.discovery.machine:_Making": "a command",
    "cli.loading:_Run": "a command",
    "cli.parsing:_Parser": "a command",
    "serve.comebacks:Comebacks": "two numbers for each worker",
    "serve.changes.application:ChangesApplication._streams": "streams that are open, one per client",
    "serve.changes.feed:Feed._lanes": "what open streams want, one at most for each",
    "serve.changes.feed:Feed._sleeping": "clients that wait, one entry for each",
    "serve.body_slots:BodyReading": "a number for each thread that may wait",
    "serve.lazy_application:LazyApplication": "the application itself",
    "model.cache:Cache": "what all others are made of",
    "model.uuids:_ready": "UUIDs of one read that are not used yet",
    "rules.audit:Facts": "a verification",
    "rules.journal_audit:_Present": "a verification",
    "rules.undo:Leading": "a segment of the journal that is being indexed",
    "rules.undo:Past": "a request",
    "rules.undo:Unresolved": "a request",
    "store.past:_Now": "a request",
    "store.past:_Records": "a request",
    "rules.state:AccountParts": "a transaction",
    "rules.state:State": "a transaction",
    "search.match.answers:Collector": "the answer of a search",
    "search.match.drawn:DrawnRun": "the answer of a search",
    "search.match.outcomes:Script": "the text of an answer",
    "search.index.columns:PagedInts": "the index itself",
    "search.match.constraints:OneProviderPerTree._held": "placements in a tree",
    "search.match.constraints:RoomForAll._taken": "placements in a tree",
    "search.explain.copies:_Copies._shared": "an explanation",
    "search.explain.distance:Distances._by_suffix": "an explanation",
    "search.match.variables:Variable": "the plan of a search",
    "search.match.constraints:Matching": "placements in a tree",
    "service.committer:Committer": "writes that wait, one per thread",
    "service.leases:_Waiting.found": "a request",
    "service.lookalikes:Lookalikes": "a group of writes",
    "search.order.board:Board._ahead": "a group of writes",
    "search.order.chances:MixTerms.asked": "the mix itself",
    "service.placing:SnapshotStock._places": "a request",
    "service.unmet:UnmetRecorder._handed": "searches that wait for the next round",
    "service.unmet:UnmetRecorder._repeats": "searches that wait for the next write",
    "service.unmet:UnmetRecorder._waiting": "searches that wait for their explanation",
    "service.live_index:SharedPoll": "a question under way",
    "store.nouns.noun:GroupWork": "a transaction",
}
"""What holds no memory but what is worked on, and what that is. All of a class, or one attribute of it."""

PASSED_ON = {
    "search.match.answers:KeptAnswers._answers": DEFAULT_KEPT_BYTES,
    "search.match.outcomes:Memory._known": MOST_BYTES,
    "search.index.block:Block.kept": KEPT_BYTES,
}
"""Bounds that come from somewhere else than where they hold."""

UNITS = {"": 1, "B": 1, "KiB": KIB, "MiB": MIB}


class Row(NamedTuple):
    """A line of the table."""

    places: list[str]
    key: str
    size: str
    end: str


def table() -> list[Row]:
    lines = PAGE.read_text().partition(HEAD)[2].splitlines()[2:]
    found: list[Row] = []
    for line in lines:
        if not line.startswith("|"):
            break
        _, where, key, size, end = [cell.strip() for cell in line.strip("|").split("|")]
        found.append(Row(re.findall(r"`([^`]+)`", where), key, size, end))
    return found


def is_work(place: str) -> bool:
    return place in WORK or place.rpartition(".")[0] in WORK


def bound_in_source(place: str) -> int | None:
    """Bytes of a ``Cache``, where its source names them."""
    made = memories()[place].made
    caches = [] if made is None else [node for node in ast.walk(made) if name_of(node) == CACHE]
    for node in caches:
        if isinstance(node, ast.Call) and ast.unparse(node.args[0]) != "most":
            module = importlib.import_module(f"moorage.{place.partition(':')[0]}")
            return int(eval(ast.unparse(node.args[0]), vars(module)))
    return PASSED_ON.get(place)


def test_every_memory_stands_in_the_table() -> None:
    listed = [place for row in table() for place in row.places]
    assert len(listed) == len(set(listed))
    found = {place for place in memories() if not is_work(place)}
    assert found - set(listed) == set(), "add it to the table, with its bound in bytes and its end"
    assert set(listed) - found == set(), "there is no such memory any more"


def test_every_row_has_a_key_a_bound_in_bytes_and_an_end() -> None:
    rows = table()
    assert len(rows) > 20
    for row in rows:
        assert row.places, row
        assert row.key, row
        assert row.end, row
        assert re.search(r"\d+ (B|KiB|MiB)\b|\d+ per provider", row.size), row


def test_nothing_is_excused_that_is_not_there() -> None:
    excused = {name for place in memories() for name in (place, place.rpartition(".")[0])}
    assert WORK.keys() <= excused


def test_bounds_are_those_of_the_source() -> None:
    checked = 0
    for row in table():
        told = re.match(r"([\d.]+) (B|KiB|MiB)\b", row.size)
        for place in row.places:
            bound = bound_in_source(place)
            if bound is not None:
                assert told is not None, row
                assert float(told[1]) * UNITS[told[2]] == bound, place
                checked += 1
    assert checked > 12


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("KNOWN = {}", ["KNOWN"]),
        ("KNOWN: dict[str, int] = dict()", ["KNOWN"]),
        ("class A:\n def __init__(self):\n  self._known = OrderedDict()", ["A._known"]),
        ("class A:\n def __init__(self):\n  self._known: Cache[int, int] = Cache(5, len)", ["A._known"]),
        ("class A:\n def __init__(self):\n  self._known = Cache[int, int](5, len)", ["A._known"]),
        ("class A:\n def __init__(self):\n  self._found = ()", ["A._found"]),
        ("@dataclass(slots=True)\nclass A:\n known: set[int] = field(default_factory=set)", ["A.known"]),
        ("@dataclass\nclass A:\n known: X = field(default_factory=lambda: Cache(5))", ["A.known"]),
        ("@functools.lru_cache(maxsize=5)\ndef f(): ...", ["f"]),
        ("class A:\n @cached_property\n def f(self): ...", ["A.f"]),
        ("class A:\n def __init__(self):\n  self.f = cache(g)", ["A.f"]),
        ("known = lru_cache(maxsize=5)(f)", ["known"]),
        ("class A:\n def f(self):\n  if self._x is None:\n   self._x = 5", ["A._x"]),
    ],
)
def test_a_memory_is_recognised(source: str, found: list[str]) -> None:
    assert [memory.name for memory in memories_in(source)] == found


@pytest.mark.parametrize(
    "source",
    [
        "NAMES = {'a': 1}",
        "def f():\n known = {}",
        "@valueclass(frozen=True)\nclass A:\n held: dict = field(default_factory=dict)",
        "class A:\n def __init__(self, known):\n  self._known = known",
        "class A:\n def __init__(self):\n  self.found = []",
    ],
)
def test_what_does_not_grow_is_not_taken_for_a_memory(source: str) -> None:
    assert not list(memories_in(source))
