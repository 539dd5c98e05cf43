"""The benchmark of claims: its clients, its audit and its tables."""

from __future__ import annotations

import socket
import threading
from pathlib import Path
from random import Random
from types import SimpleNamespace

import pytest

from benchmarks import claim_clients, claim_report, claims, loader
from benchmarks.claim_clients import Orders, Reply, Told, carry_out, reason
from benchmarks.clouds import Provider
from benchmarks.services import Moorage
from benchmarks.writer import CLAIM
from moorage.model.values import Inventory
from moorage.store.settings import StoreSettings
from moorage.store.store import Store
from moorage.store.tables import allocations, consumers

NO_CONTENT = b"HTTP/1.1 204 No Content\r\n\r\n"


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (Reply(0, b""), "unanswered"),
        (Reply(0, b"", closed=True), "closed"),
        (Reply(503, b""), "503"),
        (Reply(409, b'{"code": "placement.concurrent_update"}'), "conflict"),
        (Reply(409, b'{"code": "placement.undefined_code"}'), "full"),
    ],
)
def test_why_a_request_did_not_succeed_is_told(reply: Reply, expected: str) -> None:
    assert reason(reply) == expected


def serve(listener: socket.socket, answers: list[bytes]) -> None:
    """Take one connection; answer each of its requests with the next of ``answers``, then hang up."""
    connection, _ = listener.accept()
    with connection:
        for answer in answers:
            connection.recv(65_536)
            connection.sendall(answer)
        connection.recv(65_536)


def test_clients_count_what_they_were_told() -> None:
    """Of a claim without a whole answer nobody knows whether it is held."""
    refusal = b"HTTP/1.1 409 Conflict\r\ncontent-length: 2\r\n\r\n{}"
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = threading.Thread(target=serve, args=(listener, [NO_CONTENT, refusal, NO_CONTENT]))
        server.start()
        over = iter([False] * 5 + [True])
        told = carry_out(
            Orders(listener.getsockname()[1], "claim", 1, 60.0, 7, ["provider"]), lambda: next(over)
        )
        server.join()
    assert told.finished == len(told.held) == len(told.seconds["claim"]) == 2
    assert set(told.held.values()) == {"provider"}
    assert told.refused == {"claim full": 1, "claim closed": 1}
    assert len(told.unknown) == 1


@pytest.mark.slow
def test_each_request_of_a_cycle_that_succeeds_is_a_third_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    # The server leaves the last request unanswered.
    monkeypatch.setattr(claim_clients, "DRAIN_SECONDS", 0.2)
    allocations = '{"provider": {"resources": {"VCPU": 1}}}'
    body = f'{{"allocation_requests": [{{"allocations": {allocations}}}]}}'.encode()
    found = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)
    refusal = b"HTTP/1.1 409 Conflict\r\ncontent-length: 2\r\n\r\n{}"
    answers = [found, NO_CONTENT, NO_CONTENT, found, refusal, found, NO_CONTENT]
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = threading.Thread(target=serve, args=(listener, answers))
        server.start()
        told = carry_out(Orders(listener.getsockname()[1], "cycle", 1, 1.0, 7, ["provider"]))
        server.join()
    assert told.finished == pytest.approx(2)
    assert [len(seconds) for seconds in told.seconds.values()] == [3, 2, 1]


def audited(folder: Path, used: int, account: claims.Account) -> dict[str, int]:
    """The audit of a database with one provider with room for one claim, and one consumer."""
    url = f"sqlite:///{folder / 'x.sqlite'}"
    store = Store(StoreSettings(url))
    store.migrate()
    store.synchronise_names()
    room = {name: Inventory(amount) for name, amount in CLAIM.items()}
    loader.load(url, [[Provider("provider", "name", room, held=(CLAIM,))]], Random(7))
    with store.engines.write.begin() as connection:
        connection.execute(consumers.update().values(uuid="consumer"))
        connection.execute(allocations.update().values(consumer_id="consumer"))
        connection.execute(
            allocations.update().where(allocations.c.used == CLAIM["MEMORY_MB"]).values(used=used)
        )
    store.close()
    return claims.audit(url, account)


def test_an_audit_finds_nothing_where_all_is_as_told(tmp_path: Path) -> None:
    account = claims.Account()
    account.add(Told(held={"consumer": "provider"}))
    found = audited(tmp_path, CLAIM["MEMORY_MB"], account)
    assert found == {"over_capacity": 0, "lost": 0, "phantom": 0, "unknown": 0}


def test_an_audit_finds_what_is_lost_too_much_or_nobodys(tmp_path: Path) -> None:
    account = claims.Account(held={"other": "provider"})
    found = audited(tmp_path, CLAIM["MEMORY_MB"] + 1, account)
    assert found == {"over_capacity": 1, "lost": 1, "phantom": 1, "unknown": 0}


def test_an_audit_does_not_blame_for_what_a_client_cannot_know(tmp_path: Path) -> None:
    found = audited(tmp_path, CLAIM["MEMORY_MB"], claims.Account(unknown={"consumer"}))
    assert found == {"over_capacity": 0, "lost": 0, "phantom": 0, "unknown": 1}


def test_a_reference_that_never_answered_in_time_gives_no_ratio() -> None:
    ours = {"per_second": 100.0}
    assert claims.rate_ratio(ours, {"per_second": 4.0}) == 25.0
    assert claims.rate_ratio(ours, {"per_second": 0.0}) is None
    assert claims.rate_ratio(ours, {}) is None
    assert claims.rate_ratio({}, ours) is None


def test_conflicts_that_no_client_caused_are_mistakes() -> None:
    row = {"moorage": {"refused": {"claim full": 9, "claim conflict": 2, "search 500": 1}}}
    assert claims.mistakes(row) == 3


def test_a_site_has_each_provider_once_and_a_hot_one_for_each_number_of_clients() -> None:
    site = claims.Site(Random(7))
    trees = list(site.trees())
    hot = claims.SCENARIOS[0]
    assert len({tree[0].uuid for tree in trees}) == len(trees)
    chosen = [site.providers(hot, clients) for clients in hot.clients]
    assert len({uuid for [uuid] in chosen}) == len(hot.clients)


def test_figures_are_of_all_turns() -> None:
    told, later = Told(elapsed=2.0, finished=3, refused={"claim full": 1}), Told(elapsed=3.0, finished=7)
    told.seconds["claim"], later.seconds["claim"] = [0.1], [0.2, 0.3]
    later.refused = {"claim full": 2, "claim 503": 1}
    later.held, later.unknown = {"ship": "pier"}, ["boat"]
    told.add(later)
    found = claims.figures(told, 0.3)
    assert (found["per_second"], found["requests"], found["cpu_ms"]) == (2, 3, 100)
    assert found["refused"] == {"claim full": 3, "claim 503": 1}
    assert (told.held, told.unknown) == ({"ship": "pier"}, ["boat"])


def test_there_is_a_turn_at_least() -> None:
    assert claims.parser().parse_args(["--turns", "3"]).turns == 3
    with pytest.raises(SystemExit):
        claims.parser().parse_args(["--turns", "0"])


def test_tables_show_both_services_beside_each_other() -> None:
    told = Told(elapsed=2.0, finished=4_000)
    told.seconds["claim"] = [0.01] * 99 + [0.2]
    ours = claims.figures(told, 0.05)
    assert (ours["per_second"], ours["cpu_ms"], ours["claim_p99_ms"]) == (2_000, 0.5, 10)
    rows = [
        {"scenario": "hot", "clients": 1, "workers": 1, "moorage": ours, "ratio": 50.0, "p99_ratio": None}
    ]
    audits = [
        {
            "workers": 1,
            "order": "random",
            "moorage": {"over_capacity": 0, "lost": 0, "phantom": 0, "unknown": 2},
        }
    ]
    run = {
        "database": "sqlite",
        "database_version": "3",
        "cores": 2,
        "processor": "X",
        "versions": {},
        "seed": 7,
        "seconds": 2.0,
        "turns": 3,
        "load": 31.0,
        "scenarios": {"hot": "one provider"},
    }
    text = claim_report.markdown({"run": run, "results": rows, "audits": audits})
    assert (
        "| hot | - | 1 | 1 | 2,000 | 10 ms | 10 ms | 0.5 ms | none | - | - | - | - | - | 50 x | - |" in text
    )
    assert "| moorage | random | 1 | 0 | 0 | 0 | 2 |" in text
    assert "; seed 7, 3 times 2 s per row" in text
    assert "(31 processes for 2 cores)" in text
    assert claim_report.in_turns(1) == ""
    assert not claim_report.busy(0.5, 2)


def test_only_clients_that_search_are_measured_with_each_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """All entrants have their turns one after the other, so that a faster minute is no entrant's alone."""
    turns: list[int] = []

    def told(orders: Orders) -> Told:
        turns.append(orders.port)
        return Told(elapsed=1.0, finished=orders.port)

    monkeypatch.setattr(claim_clients, "run", told)
    plan = claims.Plan("sqlite", 1.0, 2, 7, (1,), ("hot", "cycle"), (), (Moorage,))
    contest = claims.Contest(plan, 1)
    site = claims.Site(Random(7))
    assert list(site.trees())
    for port, order in enumerate(claims.ORDERS, start=1):
        service = SimpleNamespace(name="moorage", port=port, cpu_seconds=lambda: 0.0)
        contest._entrants.append(claims.Entrant(service, order, site))  # type: ignore[arg-type]
    by_name = {each.name: each for each in claims.SCENARIOS}
    [hot] = contest._round(by_name["hot"], 1)
    assert (hot["order"], hot["moorage"]["per_second"], turns) == (None, 1, [1, 1])
    rows = contest._round(by_name["cycle"], 1)
    assert [(row["order"], row["moorage"]["per_second"]) for row in rows] == [("default", 1), ("random", 2)]
    assert turns[2:] == [1, 2, 1, 2]
