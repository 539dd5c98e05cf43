"""``moorage run`` as a process of its own, with its signals, and a service whose state is the test's."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import pytest

from moorage.cli.client.supervision import kernel
from tests.table import each
from tests.unit.cli.client.leasing import LEASE, Leasing, gpu, leasing, problem

pytestmark = pytest.mark.slow

SECONDS = 20.0
"""Nothing takes so long."""

RELEASED = f"/moorage/v1/leases/{LEASE}?claims=release"


@dataclass
class Running:
    """A running ``moorage run``; ``read`` and ``said`` are lines of the command and of moorage."""

    process: subprocess.Popen[str]

    @property
    def _streams(self) -> tuple[IO[str], IO[str]]:
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        return self.process.stdout, self.process.stderr

    def read(self) -> str:
        return self._streams[0].readline().rstrip()

    def said(self, wanted: str) -> str:
        """Wait for a line of moorage."""
        lines = []
        for line in self._streams[1]:
            lines.append(line)
            if wanted in line:
                return line
        raise AssertionError(f"{wanted!r} is not in {lines}")

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def end(self) -> int:
        return self.process.wait(SECONDS)


def arguments(service: Leasing, *options: str) -> list[str]:
    usual = ["--url", service.url, "--host", "host", "--resources", "PGPU=1"]
    return [sys.executable, "-m", "moorage", "run", *usual, *options]


def run(service: Leasing, *options: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        arguments(service, *options),
        capture_output=True,
        text=True,
        timeout=SECONDS,
        env={**os.environ, **variables},
        check=False,
    )


@contextmanager
def running(service: Leasing, *options: str) -> Iterator[Running]:
    process = subprocess.Popen(
        arguments(service, *options), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    with process:
        try:
            yield Running(process)
        finally:
            process.kill()


def gone(pid: int) -> bool:
    """Whether a process has ended, within some time."""
    until = time.monotonic() + SECONDS
    while time.monotonic() < until:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX":
                return True
        except OSError:
            return True
        time.sleep(0.01)
    return False


@pytest.fixture
def service() -> Iterator[Leasing]:
    with leasing() as state:
        yield state


SHELL = ("--", "sh", "-c")

TWO = (*SHELL, "sleep 1000 & echo $$ $!; wait")
"""A command that prints its own process and that of another one below it."""


def answering(name: str, status: int) -> list[str]:
    """A command of one process, which says when it is ready and when it gets a signal.

    A shell will not do where processes are stopped: it may wait in the kernel for a child that is.
    """
    script = (
        "import signal, sys, time\n"
        f"signal.signal(signal.{name}, lambda *_: (print('got', flush=True), sys.exit({status})))\n"
        "print('ready', flush=True)\n"
        "time.sleep(1000)"
    )
    return [sys.executable, "-c", script]


# What the command gets, and what its end is


def test_the_command_gets_its_devices_its_claim_and_its_lease(service: Leasing) -> None:
    service.gpus = (2, 0)
    result = run(
        service,
        "--env",
        "CUDA_VISIBLE_DEVICES={PGPU.index}",
        "--env",
        "WHERE={PGPU.host}/{PGPU.label}:{{{PGPU.amount}}}",
        *SHELL,
        "echo $CUDA_VISIBLE_DEVICES $CUDA_DEVICE_ORDER $WHERE $MOORAGE_PROVIDERS; "
        "echo $MOORAGE_FENCE $MOORAGE_LEASE",
    )
    assert result.returncode == 0, result.stderr
    devices, order, where, providers, fence, lease = result.stdout.split()
    assert (devices, order, fence, lease) == ("0,2", "PCI_BUS_ID", "9", LEASE)
    assert where == "host/nvidia0,nvidia2:{1,1}"
    assert sorted(providers.split(",")) == ["host-nvidia0", "host-nvidia2"]
    assert "claimed 1 PGPU of host-nvidia" in result.stderr
    assert [path for path, _ in service.sent("DELETE", "/")] == [RELEASED]


def test_the_claim_hangs_on_a_lease_that_outlasts_the_end_of_the_command(service: Leasing) -> None:
    options = ("--for", "8h", "--kill-after", "20s", "--ttl", "90s", "--label", "job=7", "--type", "JOB")
    assert run(service, *options, "--project", "p", "--", "true").returncode == 0
    [(_, lease)] = service.sent("POST", "/moorage/v1/leases")
    assert {**lease, "owner": ""} == {
        "owner": "",
        "ttl": "90s",
        "grace": "25s",
        "on_expiry": "release",
        "max_life": "28800s",
    }
    [(_, claims)] = service.sent("POST", "/moorage/v1/claims")
    [entry] = claims["claims"]
    assert entry.pop("ask")["query"].startswith("resources=PGPU%3A1&in_tree=aaaa")
    assert entry == {
        "lease": LEASE,
        "project_id": "p",
        "consumer_type": "JOB",
        "labels": {"job": "7"},
    }


QUERIES: list[tuple[tuple[str, ...], str]] = [
    (("--query", "resources=PGPU:1"), r"resources=PGPU%3A1&in_tree=aaaa.*"),
    (("--query", "resources=PGPU:1&in_tree=x"), r"resources=PGPU%3A1&in_tree=x"),
    (("--query", "resources_a=PGPU:1&resources_b=VCPU:1"), r".*&in_tree_a=aaaa[^&]*&in_tree_b=aaaa.*"),
    (("--query", "/allocation_candidates?resources=PGPU:1&resources1=VCPU:1"), r"resources=.*&in_tree=[^&]*"),
    (("--query", "resources=PGPU:1", "--anywhere"), r"resources=PGPU%3A1"),
]


@each(("options", "asked"), QUERIES)
def test_only_this_machine_will_do_unless_anywhere_is_given(options: tuple[str, ...], asked: str) -> None:
    host = () if "--anywhere" in options else ("--host", "host")
    with leasing() as service:
        command = [
            sys.executable,
            "-m",
            "moorage",
            "run",
            "--url",
            service.url,
            *host,
            *options,
            "--",
            "true",
        ]
        assert subprocess.run(command, check=False, capture_output=True).returncode == 0
        [(_, body)] = service.sent("POST", "/moorage/v1/claims")
    assert re.fullmatch(asked, body["claims"][0]["ask"]["query"])


STATUSES: list[tuple[tuple[str, ...], int]] = [
    (("true",), 0),
    (("sh", "-c", "exit 7"), 7),
    (("sh", "-c", "kill -9 $$"), 137),
    (("sh", "-c", "kill -TERM $$"), 143),
    (("no-such-command-anywhere",), 127),
    (("/etc/passwd",), 126),
    (("/etc/passwd/x",), 127),
]


@each(("command", "status"), STATUSES)
def test_the_status_is_that_of_the_command_and_what_it_held_is_given_back(
    command: tuple[str, ...], status: int
) -> None:
    with leasing() as service:
        result = run(service, "--", *command)
        assert result.returncode == status, result.stderr
        assert len(service.sent("DELETE", RELEASED)) == 1
    if status in (126, 127):
        assert "cannot be executed" in result.stderr


def test_words_after_the_command_are_its_own(service: Leasing) -> None:
    result = run(service, "echo", "--env", "x", "--wait", "--help")
    assert result.stdout == "--env x --wait --help\n"


def test_what_the_command_leaves_behind_ends_with_it(service: Leasing) -> None:
    result = run(service, *SHELL, "setsid sleep 1000 & sleep 1000 & echo $!; exit 5")
    assert result.returncode == 5
    assert gone(int(result.stdout))
    assert len(service.sent("DELETE", RELEASED)) == 1


def test_what_does_not_end_by_term_is_killed(service: Leasing) -> None:
    stubborn = (
        "sh -c 'trap \"\" TERM; echo; while :; do sleep 0.1; done' & echo $!; read x < /dev/null; sleep 0.2"
    )
    result = run(service, "--kill-after", "100ms", *SHELL, stubborn)
    assert gone(int(result.stdout.split()[0]))


# Signals


@each("name", ["TERM", "INT", "HUP", "QUIT", "USR1", "USR2"])
def test_signals_reach_the_command_and_its_answer_counts(name: str) -> None:
    with leasing() as service:
        script = f"trap 'echo got; exit 9' {name}; echo ready; while :; do sleep 0.05; done"
        with running(service, *SHELL, script) as started:
            assert started.read() == "ready"
            started.signal(getattr(signal, f"SIG{name}"))
            assert started.read() == "got"
            assert started.end() == 9
        assert len(service.sent("DELETE", RELEASED)) == 1


def test_a_command_that_a_signal_ends_gives_its_number(service: Leasing) -> None:
    with running(service, *TWO) as started:
        pids = list(map(int, started.read().split()))
        started.signal(signal.SIGTERM)
        assert started.end() == 128 + signal.SIGTERM
    assert all(map(gone, pids))


def test_a_stopped_command_keeps_what_it_holds_and_goes_on(service: Leasing) -> None:
    with running(service, "--", *answering("SIGCONT", 0)) as started:
        assert started.read() == "ready"
        started.signal(signal.SIGTSTP)
        started.said("The command is stopped")
        assert service.sent("DELETE", RELEASED) == []
        started.signal(signal.SIGCONT)
        assert started.read() == "got"
        assert started.end() == 0


def test_a_stopped_command_hears_the_signal_that_ends_it(service: Leasing) -> None:
    with running(service, *SHELL, "echo ready; kill -STOP $$") as started:
        started.said("The command is stopped")
        started.signal(signal.SIGTERM)
        assert started.end() == 128 + signal.SIGTERM


TAKE_TERMINAL = (
    "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); "
    "os.execv(sys.argv[1], sys.argv[1:])"
)
"""Makes the standard input the terminal of its session, and becomes the command that follows."""


def test_on_a_terminal_the_command_has_the_foreground(service: Leasing) -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", TAKE_TERMINAL, *arguments(service, "--", *answering("SIGINT", 3))],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    try:
        read_until(ours, b"ready")
        os.write(ours, b"\x1a")
        read_until(ours, b"The command is stopped")
        os.write(ours, b"\x1a\x03")
        read_until(ours, b"got")
        assert process.wait(SECONDS) == 3
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def read_until(descriptor: int, wanted: bytes) -> None:
    heard = b""
    while wanted not in heard:
        assert select.select([descriptor], [], [], SECONDS)[0], heard
        heard += os.read(descriptor, 4096)


# A lease that is lost


def test_a_lost_lease_ends_the_command_with_term(service: Leasing) -> None:
    service.ttl = "1s"
    script = "trap 'echo saved; exit 4' TERM; echo ready; while :; do sleep 0.05; done"
    with running(service, *SHELL, script) as started:
        assert started.read() == "ready"
        service.gone = "released"
        assert started.read() == "saved"
        assert "the service says that it is released" in started.said("The lease is lost")
        assert started.end() == 4


def test_a_command_that_does_not_end_by_term_is_killed_after_a_pause(service: Leasing) -> None:
    service.ttl = "1s"
    script = "trap '' TERM; sleep 1000 & echo $$ $!; while :; do sleep 0.05; done"
    with running(service, "--kill-after", "200ms", *SHELL, script) as started:
        pids = list(map(int, started.read().split()))
        service.gone = "quarantined"
        assert started.end() == 128 + signal.SIGKILL
    assert all(map(gone, pids))


def test_a_service_that_does_not_answer_ends_the_command_when_the_lease_may_have_ended(
    service: Leasing,
) -> None:
    service.ttl = "1s"
    with running(service, *TWO) as started:
        pids = list(map(int, started.read().split()))
        assert service.renewals.acquire(timeout=SECONDS)
        service.silent = True
        started.said("The lease was not renewed, and is tried again")
        started.said("no renewal was confirmed in time")
        assert started.end() == 128 + signal.SIGTERM
        assert all(map(gone, pids))


def test_a_service_that_answers_again_in_time_changes_nothing(service: Leasing) -> None:
    service.ttl = "3s"
    with running(service, *SHELL, "echo ready; while :; do sleep 0.05; done") as started:
        assert started.read() == "ready"
        assert service.renewals.acquire(timeout=SECONDS)
        service.silent = True
        started.said("is tried again")
        service.silent = False
        assert service.renewals.acquire(timeout=SECONDS)
        started.signal(signal.SIGTERM)
        assert started.end() == 128 + signal.SIGTERM
    assert len(service.sent("DELETE", RELEASED)) == 1


def test_the_longest_time_ends_the_command_so_early_that_kill_fits_in(service: Leasing) -> None:
    result = run(
        service, "--for", "1s", "--kill-after", "500ms", *SHELL, "trap '' TERM; sleep 1000; sleep 1000"
    )
    assert result.returncode == 128 + signal.SIGKILL
    assert "The time of --for is over" in result.stderr
    assert "lost" not in result.stderr


# Ends that nothing announces


@each("victim", ["client", "both"])
def test_nothing_of_the_command_lives_on_when_the_client_is_killed(victim: str) -> None:
    with leasing() as service, running(service, "--kill-after", "500ms", *TWO) as started:
        pids = list(map(int, started.read().split()))
        [guard] = [pid for pid in kernel.below(started.process.pid) if pid not in pids]
        if victim == "both":
            # The kernel ends the command itself. What is below it has no guard any more.
            os.kill(guard, signal.SIGKILL)
            started.signal(signal.SIGKILL)
            assert gone(pids[0])
            with suppress(ProcessLookupError):
                os.kill(pids[1], signal.SIGKILL)
        else:
            started.signal(signal.SIGKILL)
            assert all(map(gone, pids))
            assert gone(guard)
        assert service.sent("DELETE", RELEASED) == []


def test_a_command_whose_guard_is_killed_is_killed(service: Leasing) -> None:
    with running(service, *TWO) as started:
        pids = list(map(int, started.read().split()))
        [guard] = [pid for pid in kernel.below(started.process.pid) if pid not in pids]
        os.kill(guard, signal.SIGKILL)
        started.said("guards the command was killed")
        assert started.end() == 128 + signal.SIGKILL
        assert all(map(gone, pids))
    assert len(service.sent("DELETE", RELEASED)) == 1


def test_a_client_that_is_stopped_cannot_let_the_command_outlive_its_lease(service: Leasing) -> None:
    service.ttl = "1s"
    with running(service, "--kill-after", "200ms", *TWO) as started:
        pids = list(map(int, started.read().split()))
        started.signal(signal.SIGSTOP)
        assert all(map(gone, pids))
        started.signal(signal.SIGCONT)
        assert started.end() == 128 + signal.SIGTERM


# No place


def no_room(**explanation: Any) -> tuple[int, Any]:
    told = {"summary": "No tree can serve this now.", "constraints": [], **explanation}
    return problem(409, "no_room", revision=7, explanation=told)


FREED = {"event": "freed", "provider": "x", "name": "host-nvidia0", "resource_class": "PGPU", "amount": 1}


def page(revision: int = 8, freed_at: int | None = None) -> tuple[int, Any]:
    return 200, {
        "changes": [],
        "next_after": revision,
        "epoch": "e",
        "revision": revision,
        "more": False,
        "freed_at": freed_at,
    }


def test_without_a_place_the_reason_is_said_and_the_status_is_3(service: Leasing) -> None:
    service.refusals = [no_room(unlocked_by=[[FREED]])]
    result = run(service, "--", "true")
    assert (result.returncode, result.stdout) == (3, "")
    assert "moorage: No tree can serve this now." in result.stderr
    assert "It fits after: 1 PGPU freed on host-nvidia0." in result.stderr
    assert service.sent("POST", "/moorage/v1/leases") == []


def test_what_never_fits_is_not_waited_for(service: Leasing) -> None:
    service.refusals = [problem(409, "never_fits", revision=7)]
    assert run(service, "--wait", "1h", "--", "true").returncode == 3


@each(("host", "is_said"), [("box", True), (gpu(0), False)])
def test_a_host_whose_name_could_not_be_looked_up_may_be_another_one(
    host: str, is_said: bool, service: Leasing
) -> None:
    service.names_shown = False
    service.refusals = [problem(409, "nobody_offers", revision=7)]
    result = run(service, "--host", host, "--", "true")
    assert result.returncode == 3
    assert ("So box stands for the provider that 'moorage load' makes" in result.stderr) == is_said
    service.refusals = [no_room()]
    assert "stands for" not in run(service, "--host", host, "--", "true").stderr


def test_a_place_is_waited_for_by_changes_that_may_help(service: Leasing) -> None:
    service.refusals = [no_room(unlocked_by=[[FREED]] * 5), no_room()]
    service.pages = [page(), problem(503, "busy"), page(freed_at=8), page(freed_at=8)]
    result = run(service, "--wait", "1h", "--", "true")
    assert result.returncode == 0, result.stderr
    assert "Waiting for a place, 3600s at most." in result.stderr
    assert "It also fits after 2 other events." in result.stderr
    assert service.pages == []
    asked = [path for path, _ in service.sent("GET", "/moorage/v1/changes")]
    assert all("tree=aaaa" in path and "frees=PGPU" in path for path in asked)
    assert "after=8&epoch=e" in asked[1]
    # Questions take no lease.
    assert len(service.sent("DELETE", RELEASED)) == 1


def test_a_client_that_sees_no_changes_of_others_is_told_when_they_make_room(service: Leasing) -> None:
    service.refusals = [no_room()]
    service.pages = [problem(403, "forbidden"), page(revision=9), page(freed_at=10, revision=10)]
    assert run(service, "--wait", "1h", "--project", "p", "--", "true").returncode == 0
    asked = [path for path, _ in service.sent("GET", "/moorage/v1/changes")]
    assert ["project_id=p" in path for path in asked] == [False, True, True]


def test_a_client_that_sees_no_changes_at_all_asks_again_after_a_pause(service: Leasing) -> None:
    service.refusals = [no_room()]
    service.pages = [problem(403, "forbidden")]
    assert run(service, "--wait", "1h", "--", "true").returncode == 0


def test_a_journal_that_does_not_go_on_is_a_reason_to_ask_again(service: Leasing) -> None:
    service.refusals = [no_room()]
    service.pages = [problem(410, "compacted")]
    assert run(service, "--wait", "1h", "--", "true").returncode == 0


def test_a_service_without_changes_is_an_error_and_not_a_long_wait(service: Leasing) -> None:
    service.refusals = [no_room()]
    service.pages = [problem(404, "not_found")]
    result = run(service, "--wait", "1h", "--", "true")
    assert result.returncode == 1
    assert "shows no changes" in result.stderr


@pytest.mark.parametrize(
    ("path", "times", "leases"),
    [
        ("/resource_providers?name=host", 1, 1),
        ("/moorage/v1/explanations", 1, 1),
        ("/moorage/v1/claims", 4, 2),
        (f"/moorage/v1/trees/{gpu(0)}", 1, 2),
    ],
)
def test_a_service_that_is_away_when_a_place_is_asked_for_is_asked_again(
    service: Leasing, path: str, times: int, leases: int
) -> None:
    """What became of the claim is not known, so its lease is ended, and another one is taken."""
    service.away[path] = times
    result = run(service, "--wait", "30s", *SHELL, "echo mine")
    assert (result.returncode, result.stdout) == (0, "mine\n"), result.stderr
    assert "The next try is in 1 s." in result.stderr
    assert len(service.sent("POST", "/moorage/v1/leases")) == len(service.sent("DELETE", RELEASED)) == leases


@pytest.mark.parametrize("path", ["/resource_providers?name=host", "/moorage/v1/explanations"])
def test_a_service_that_is_away_is_an_error_without_patience(service: Leasing, path: str) -> None:
    service.away[path] = 9
    result = run(service, *SHELL, "echo mine")
    assert (result.returncode, result.stdout) == (1, "")


def test_a_service_that_does_not_come_back_in_time_is_an_error(service: Leasing) -> None:
    service.silent = True
    result = run(service, "--wait", "1s", *SHELL, "echo mine")
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.count("The next try is in") == 1


def test_a_host_that_nobody_knows_is_an_error_at_once_with_patience_too(service: Leasing) -> None:
    result = run(service, "--wait", "1h", "--host", "elsewhere", *SHELL, "echo mine")
    assert result.returncode == 1
    assert "There is no resource provider 'elsewhere'" in result.stderr


def test_waiting_ends_in_time_with_status_3(service: Leasing) -> None:
    service.refusals = [no_room()]
    result = run(service, "--wait", "10ms", "--", "true")
    assert result.returncode == 3
    assert "There was no place in time." in result.stderr


def test_a_signal_ends_the_waiting(service: Leasing) -> None:
    service.refusals = [no_room()]
    service.pages = [problem(503, "busy")] * 9
    with running(service, "--wait", "1h", "--", "true") as started:
        started.said("The next try is in")
        started.signal(signal.SIGTERM)
        assert started.end() == 128 + signal.SIGTERM


# Mistakes


MISTAKES: list[tuple[tuple[str, ...], str]] = [
    (("--env", "A"), "'A' is not NAME=TEXT."),
    (("--env", "1=x"), "'1=x' is not NAME=TEXT."),
    (("--env", "A={PGPU}"), "'{PGPU}' in A is not {CLASS.FIELD}"),
    (("--env", "A={PGPU.colour}"), "is not {CLASS.FIELD} with a resource class and one of index"),
    (("--env", "A=}"), "'}' in A is not"),
    (("--env", "A={VGPU.index}"), "A names VGPU, which the request does not ask for."),
    (("--anywhere",), "Use --host or --anywhere."),
    (("--query", "resources=VCPU:1"), "Use --query, or say what is needed"),
    (("--for", "0s"), "'0s' is shorter than 1s."),
    (("--for", "soon"), "'soon' is no duration"),
]


@each(("options", "told"), MISTAKES)
def test_mistakes_are_refused_before_anything_is_claimed(options: tuple[str, ...], told: str) -> None:
    with leasing() as service:
        result = run(service, *options, "--", "true")
        assert result.returncode == 2, result.stderr
        assert told in " ".join(result.stderr.split())
        assert service.sent("POST", "/") == []


def test_a_machine_that_has_no_provider_is_named_with_what_to_do(service: Leasing) -> None:
    command = [sys.executable, "-m", "moorage", "run", "--url", service.url, "--resources", "PGPU=1", "true"]
    unknown = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "MOORAGE_HOST": ""}
    )
    assert unknown.returncode == 2
    assert "--anywhere" in unknown.stderr
    named = {**os.environ, "MOORAGE_HOST": "host"}
    assert subprocess.run(command, capture_output=True, check=False, env=named).returncode == 0


def test_a_device_without_an_index_gives_back_what_was_claimed(
    service: Leasing, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = {"uuid": "bbbb0000-0000-4000-8000-000000000000", "name": "h", "root": "r"}
    monkeypatch.setattr(service, "tree", lambda: [row])
    result = run(service, "--env", "A={PGPU.index}", "--", "true")
    assert result.returncode == 1
    assert "h itself has PGPU, so there is no index" in result.stderr
    assert len(service.sent("DELETE", RELEASED)) == 1


def test_a_service_without_leases_is_said(service: Leasing) -> None:
    service.has_leases = False
    result = run(service, "--", "true")
    assert result.returncode == 1
    assert "it is an older Moorage" in result.stderr


def test_a_claim_that_cannot_be_released_is_said_and_the_status_is_the_commands(service: Leasing) -> None:
    with running(service, *SHELL, "echo ready; sleep 1000") as started:
        assert started.read() == "ready"
        service.silent = True
        started.signal(signal.SIGTERM)
        started.said("The claim could not be released")
        assert started.end() == 128 + signal.SIGTERM
