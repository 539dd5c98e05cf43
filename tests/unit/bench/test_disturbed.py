"""The benchmark of disturbances: its figures, its table, and a short run."""

from __future__ import annotations

import socket
import threading
import time
from pathlib import Path

import pytest
from rich.console import Console

from benchmarks import disturbed, disturbed_report
from benchmarks.claim_clients import Orders, Traffic, carry_out
from tests.servers.plugin import skip_or_fail
from tests.servers.session import MissingServerError
from tests.unit.bench.test_claims import NO_CONTENT

EXCHANGES = [
    (0.0, 0.1, ""),
    (0.1, 2.5, ""),
    (0.2, 0.4, "claim closed"),
    (0.5, 0.9, "search 503"),
    (2.5, 2.6, ""),
]


def test_figures_tell_how_long_nobody_had_a_success_and_how_long_requests_were_refused() -> None:
    assert disturbed.figures(EXCHANGES) == {
        "requests": 5,
        "per_second": 1.2,
        "refused": {"claim closed": 1, "search 503": 1},
        "silence": 2.4,
        "longest": 2.4,
        "refusing": 0.5,
        "slowest_refusal": 0.4,
    }


def test_a_run_without_a_success_is_silent_from_its_beginning_to_its_end() -> None:
    found = disturbed.figures([(1.0, 2.0, "claim 503"), (2.0, 4.0, "claim 503")])
    assert (found["silence"], found["longest"]) == (3.0, 0.0)


def test_only_what_a_disturbance_explains_is_excused() -> None:
    row = {"refused": {"claim closed": 2, "search 503": 3, "claim full": 5, "free 500": 7}}
    excuses = {each.name: each.excuses for each in disturbed.DISTURBANCES}
    assert disturbed.unexcused(row, excuses["nothing"]) == 17
    assert disturbed.unexcused(row, excuses["workers rolled"]) == 17
    assert disturbed.unexcused(row, excuses["worker killed"]) == 15
    assert disturbed.unexcused(row, excuses["fail-over"]) == 14


def test_losses_and_unexcused_answers_are_faults_but_what_a_client_cannot_know_is_not() -> None:
    audit = {"over_capacity": 1, "lost": 2, "phantom": 4, "unknown": 8}
    assert disturbed.faults({"results": [{"audit": audit, "unexcused": 16}]}) == 23


def test_a_client_that_is_asked_to_connects_anew_and_waits_after_a_refusal() -> None:
    """The server hangs up after each answer; only the second client's claim was not answered by then."""
    closing = NO_CONTENT.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    refusal = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n"
    answers = [closing, refusal, NO_CONTENT]
    arrived = []

    def serve(listener: socket.socket) -> None:
        for answer in answers:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65_536)
                arrived.append(time.perf_counter())
                connection.sendall(answer)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = threading.Thread(target=serve, args=(listener,))
        server.start()
        orders = Orders(
            listener.getsockname()[1], "claim", 1, 60.0, 7, ["provider"], 0.2, keep_exchanges=True
        )
        told = carry_out(orders, lambda: len(arrived) == len(answers))
        server.join()
    assert [outcome for *_, outcome in told.exchanges] == ["", "claim 503", ""]
    assert told.refused == {"claim 503": 1}
    assert arrived[2] - arrived[1] >= orders.pause_seconds


@pytest.mark.slow
def test_traffic_goes_on_until_it_is_ended() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        traffic = Traffic(Orders(listener.getsockname()[1], "claim", 1, 60.0, 7, ["provider"]))
        connection, _ = listener.accept()
        with connection:
            for _ in range(3):
                connection.recv(65_536)
                connection.sendall(NO_CONTENT)
            connection.recv(65_536)
            ended = threading.Timer(0.5, lambda: connection.sendall(NO_CONTENT))
            ended.start()
            told = traffic.end()
    assert len(told.held) == 4


@pytest.mark.databases
@pytest.mark.journey
@pytest.mark.slow
def test_a_killed_worker_and_a_fail_over_lose_no_claim(tmp_path: Path) -> None:
    plan = disturbed.Plan(seconds=1.0, clients=4, only=("worker killed", "fail-over"), scenarios=("cycle",))
    try:
        found = disturbed.run(plan, Console(quiet=True), tmp_path)
    except MissingServerError as missing:
        skip_or_fail(missing)
    assert disturbed.faults(found) == 0, found["results"]
    killed, failed_over = found["results"]
    assert (killed["disturbance"], failed_over["disturbance"]) == plan.only
    assert killed["requests"] > plan.clients
    # The audit is not one of an empty database: nothing at all was acknowledged in that time.
    assert failed_over["silence"] > disturbed.NOTICE_SECONDS
    text = disturbed_report.markdown(found)
    assert "| worker killed | cycle |" in text
    assert "| fail-over | cycle |" in text
