"""``moorage lease`` and claims that hang on leases, as typed, against the real service."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from moorage.cli.client import holding, spans
from moorage.cli.client.address import Address
from moorage.cli.client.holding import Holding
from moorage.cli.client.lease import lease as lease_group
from moorage.cli.client.supervision.kernel import boot_clock
from tests.table import each
from tests.unit.cli.client.conftest import Terminal
from tests.unit.cli.client.leasing import LEASE, Leasing, leasing

SECONDS = 20.0

UNKNOWN = "99999999-0000-4000-8000-000000000000"


def create(terminal: Terminal, *options: str) -> str:
    lease: str = terminal.json("lease", "create", "--owner", "me", *options)["lease"]
    return lease


def claim(terminal: Terminal, lease: str, consumer: str = "job") -> None:
    terminal.does("claim", "create", "--resources", "VCPU=1", "--consumer", consumer, "--lease", lease)


# Against the real service


def test_a_lease_is_made_shown_listed_renewed_and_ended_with_its_claims(host: Terminal) -> None:
    told = host.does("lease", "create", "--owner", "agent", "--ttl", "30s", "--grace", "5m")
    assert re.fullmatch(r"Lease [0-9a-f-]{36} of agent holds for [\d.]+s\.\n", told)
    lease = create(host, "--on-expiry", "release", "--max-life", "8h")
    claim(host, lease)
    claim(host, lease, "other")
    shown = host.json("lease", "show", lease)
    assert (shown["state"], shown["on_expiry"], shown["claims"]) == ("active", "release", 2)
    assert len(shown["consumers"]) == 2
    assert "holds " in host.does("lease", "show", lease)
    assert {each["owner"] for each in host.json("lease", "list")} == {"agent", "me"}
    assert host.json("lease", "list", "--state", "quarantined") == []
    assert "agent" not in host.does("lease", "list", "--owner", "me")
    assert "holds for" in host.does("lease", "renew", lease)
    assert host.json("claim", "show", "job")["lease"] == lease
    assert host.does("lease", "release", lease) == f"Lease {lease} has ended: its claims are released.\n"
    assert host.does("lease", "release", lease, status=3) == f"Lease {lease} had ended already.\n"
    assert "holds nothing" in host.does("claim", "show", "job", status=3)
    assert "is released" in host.does("lease", "renew", lease, status=3)
    assert "is not known" in host.does("lease", "renew", UNKNOWN, status=3)


def test_a_lease_may_end_without_its_claims(host: Terminal) -> None:
    lease = create(host)
    claim(host, lease)
    told = host.does("lease", "release", "--keep-claims", lease)
    assert told == f"Lease {lease} has ended: its claims stay.\n"
    assert host.json("claim", "show", "job")["lease"] is None


def test_claims_are_attached_and_detached(host: Terminal) -> None:
    lease = create(host)
    host.does("claim", "create", "--resources", "VCPU=1", "--consumer", "job")
    told = host.does("lease", "attach", lease, "job")
    assert told.endswith(f"holds ends with the lease {lease}.\n")
    assert host.json("claim", "show", "job")["lease"] == lease
    assert "no longer ends with" in host.does("lease", "detach", lease, "job")
    assert host.json("claim", "show", "job")["lease"] is None


def test_a_claim_on_a_lease_that_has_ended_is_refused(host: Terminal) -> None:
    lease = create(host)
    host.does("lease", "release", lease)
    told = host.refused("claim", "create", "--resources", "VCPU=1", "--lease", lease)
    assert "released" in told
    assert "Get a new one" in told


def test_what_is_not_quarantined_cannot_be_restored(host: Terminal) -> None:
    assert "active" in host.refused("lease", "restore", create(host))


@each(
    ("options", "told"),
    [
        (("create", "--ttl", "1"), "'1' is no duration"),
        (("create", "--ttl", "10ms"), "'10ms' is shorter than 1s"),
        (("keep",), "Name leases, or use --file."),
        (("keep", "--file", "x", UNKNOWN), "Name leases, or use --file."),
    ],
)
def test_mistakes_are_refused(options: tuple[str, ...], told: str) -> None:
    result = Terminal("http://127.0.0.1:1").run("lease", *options)
    assert result.exit_code == 2
    assert told in " ".join(result.stderr.split())


# Keeping


@pytest.fixture
def service() -> Iterator[Leasing]:
    with leasing() as state:
        yield state


class Keep:
    """A running ``moorage lease keep``."""

    def __init__(self, service: Leasing, *options: str, **variables: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "moorage", "lease", "keep", "--url", service.url, *options],
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **variables},
        )

    def __enter__(self) -> Keep:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()

    def said(self, wanted: str) -> None:
        assert self.process.stderr is not None
        lines = []
        for line in self.process.stderr:
            lines.append(line)
            if wanted in line:
                return
        raise AssertionError(lines)

    def end(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(SECONDS)


@pytest.mark.slow
def test_a_lease_is_kept_until_the_command_is_ended_and_the_manager_hears_of_it(
    service: Leasing, tmp_path: Path
) -> None:
    service.ttl = "1s"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.settimeout(SECONDS)
        manager.bind(str(tmp_path / "notify"))
        with Keep(service, LEASE, NOTIFY_SOCKET=str(tmp_path / "notify")) as keep:
            keep.said(f"Keeping {LEASE}.")
            assert manager.recv(1000) == f"READY=1\nSTATUS=Keeping {LEASE}".encode()
            for _ in range(3):
                assert service.renewals.acquire(timeout=SECONDS)
            assert keep.end() == 0
    assert service.sent("DELETE", "/") == []


@pytest.mark.slow
@each(("at_end", "claims"), [("release", "release"), ("keep", "keep")])
def test_a_kept_lease_may_end_with_the_command(at_end: str, claims: str) -> None:
    with leasing() as service, Keep(service, LEASE, "--at-end", at_end) as keep:
        keep.said("Keeping")
        assert keep.end(signal.SIGINT) == 0
        assert [path for path, _ in service.sent("DELETE", "/")] == [
            f"/moorage/v1/leases/{LEASE}?claims={claims}"
        ]


@pytest.mark.slow
def test_a_lease_is_kept_through_its_grace_while_the_service_is_away(service: Leasing) -> None:
    service.ttl = "1s"
    with Keep(service, LEASE) as keep:
        keep.said("Keeping")
        service.silent = True
        keep.said("Not renewed, and tried again")
        service.revived, service.silent = True, False
        keep.said("Renewed again.")
        keep.said("had expired, and is active again.")
        service.gone = "quarantined"
        keep.said(f"Lease {LEASE} is quarantined.")
        keep.said("No lease is left to renew.")
        assert keep.process.wait(SECONDS) == 1


@pytest.mark.slow
def test_a_file_names_the_lease_that_is_kept_or_gets_a_new_one(service: Leasing, tmp_path: Path) -> None:
    path = tmp_path / "agent.lease"
    with Keep(service, "--file", str(path), "--owner", "agent", "--grace", "5m") as keep:
        keep.said("Keeping")
        assert path.read_text() == f"{LEASE}\n"
        assert keep.end() == 0
    [(_, body)] = service.sent("POST", "/moorage/v1/leases")[:1]
    assert body == {"owner": "agent", "ttl": "60s", "grace": "300s", "on_expiry": "quarantine"}
    with Keep(service, "--file", str(path)) as keep:
        keep.said("Keeping")
        assert keep.end() == 0
    granted = [path for path, _ in service.sent("POST", "/moorage/v1/leases") if path.endswith("leases")]
    assert len(granted) == 1
    path.write_text(UNKNOWN)
    service.gone = "released"
    with Keep(service, "--file", str(path)) as keep:
        keep.said("No lease is left to renew.")
    assert path.read_text() == f"{LEASE}\n"


# Holding


def test_a_lease_holds_from_when_its_renewal_was_sent() -> None:
    held = Holding.granted("c3", sent=100.0, remaining=60.0)
    assert (held.deadline, held.due) == (160.0, 120.0)
    held.postpone(130.0)
    assert held.due == 135.0
    held.postpone(159.9)
    assert held.due == pytest.approx(160.0)
    held.postpone(161.0)
    assert held.due == 166.0
    assert [held.patience(at) for at in (100.0, 159.7, 161.0)] == [20.0, 0.5, 10.0]


def test_a_thread_that_renews_takes_no_signals() -> None:
    with leasing(ttl="1s") as service:
        heard = threading.Event()

        def renewed(_deadline: float) -> None:
            masks.append(signal.pthread_sigmask(signal.SIG_BLOCK, ()))
            heard.set()

        masks: list[set[int]] = []
        held = Holding.granted(LEASE, boot_clock(), 1.0)
        renewing = holding.Renewing(
            Address(service.url, "admin", ""), held, renewed, lambda _: None, lambda _: None
        )
        renewing.start()
        assert heard.wait(SECONDS)
        renewing.stop()
        assert {signal.SIGTERM, signal.SIGINT, signal.SIGTSTP} <= masks[0]
        assert signal.SIGTERM not in signal.pthread_sigmask(signal.SIG_BLOCK, ())


@each(("text", "seconds"), [("250ms", 0.25), ("90s", 90.0), ("1.5m", 90.0), ("8h", 28800.0), ("1d", 86400.0)])
def test_durations_are_read(text: str, seconds: float) -> None:
    assert spans.seconds(text) == pytest.approx(seconds)


@each(("seconds", "text"), [(0.25, "0.25s"), (60, "60s"), (0, "0s")])
def test_durations_are_written(seconds: float, text: str) -> None:
    assert spans.written(seconds) == text


def test_the_unit_of_the_guide_starts_a_command_line_that_parses() -> None:
    page = (Path(__file__).parents[4] / "docs/how-to/run-jobs.md").read_text()
    [line] = re.findall(r"^ExecStart=/usr/bin/moorage lease keep (.*)$", page, re.MULTILINE)
    assert "Type=notify" in page
    keep = lease_group.commands["keep"]
    assert keep.make_context("keep", line.split()).params["ttl"] == 60
