"""What ``benchmarks.best`` asks, and what it makes of the answers."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from random import Random
from typing import Any

import orjson
import pytest

from benchmarks import best
from benchmarks.client import Answer
from moorage.model.valueclass import valueclass

ROW = ("sqlite", "`pack`", 1, "10", "1.0 ms", "2.0 ms")
FOUND = Answer(200, b'{"candidates": [{}]}', 0.5)


@valueclass(frozen=True, slots=True)
class Connection:
    """Gives the same answer always, and keeps what was sent."""

    answer: Answer
    sent: list[bytes]

    def exchange(self, sent: bytes) -> Answer:
        self.sent.append(sent)
        return self.answer


def clients(monkeypatch: pytest.MonkeyPatch, answer: Answer) -> tuple[best.Clients, list[bytes]]:
    sent: list[bytes] = []
    monkeypatch.setattr(best, "Connection", lambda _port, _patience: Connection(answer, sent))
    return best.Clients(1, ["host"], Random(1)), sent


def test_each_search_comes_after_a_change_and_the_first_ones_do_not_count(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made, sent = clients(monkeypatch, FOUND)
    assert made.seconds("pack", [{"VCPU": 2}], 10, 3) == [0.5] * 3
    methods = [each.split(b" ", 2)[:2] for each in sent]
    assert len(methods) == 2 * (best.UNMEASURED + 3)
    assert all(method == b"PUT" and path.startswith(b"/allocations/") for method, path in methods[::2])
    assert all(each == [b"POST", b"/moorage/v1/candidates"] for each in methods[1::2])
    body = orjson.loads(sent[1].partition(b"\r\n\r\n")[2])
    assert body["order"] == {"strategy": "pack"}
    assert body["limit"] == 10


@pytest.mark.parametrize("answer", [Answer(409, b"no", 0.1), Answer(200, b'{"candidates": []}', 0.1)])
def test_a_refusal_and_an_empty_answer_are_failures(answer: Answer, monkeypatch: pytest.MonkeyPatch) -> None:
    made, _ = clients(monkeypatch, answer)
    with pytest.raises(best.FailedError):
        made.ask({"VCPU": 1}, "pack", 10)


def test_all_databases_are_in_one_table(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def rows(database: str, _options: argparse.Namespace) -> Iterator[tuple[Any, ...]]:
        if database == "mariadb":
            raise best.FailedError("A search found nothing.")
        yield (database, *ROW[1:])

    monkeypatch.setattr(best, "rows", rows)
    assert best.main(["--database", "sqlite", "--database", "postgresql"]) == 0
    assert capsys.readouterr().out.count("| `pack` | 1 | 10 | 1.0 ms | 2.0 ms |") == 2
    assert best.main(["--database", "mariadb"]) == 1
    assert capsys.readouterr().err == "A search found nothing.\n"
