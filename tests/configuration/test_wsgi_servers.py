"""``moorage.wsgi:application`` behind the WSGI servers that operators have."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.journeys.client import Client
from tests.servers.ports import free_port

pytestmark = pytest.mark.journey

TARGET = "moorage.wsgi:application"
BIN = Path(sys.executable).parent
START_SECONDS = 120.0
STOP_SECONDS = 60.0
PROCESSES = 2
READY = "Index of "  # what each process logs once, when it has loaded the service
PROVIDER = "11111111-1111-4111-8111-111111111111"
CORES = 10
CLIENTS = 8
CLAIMS_PER_CLIENT = 4

GUNICORN = [sys.executable, "-m", "gunicorn", "--bind", "127.0.0.1:{port}", TARGET]
UWSGI = [
    str(BIN / "uwsgi"),
    "--http-socket",
    "127.0.0.1:{port}",
    "--module",
    TARGET,
    "--master",
    "--die-on-term",
    "--need-app",
    "--virtualenv",
    sys.prefix,
]

SERVERS = {
    "gunicorn, two processes": [*GUNICORN, "--workers", str(PROCESSES)],
    "gunicorn, loaded before the fork": [
        *GUNICORN,
        "--workers",
        str(PROCESSES),
        "--threads",
        "4",
        "--preload",
    ],
    "uwsgi, loaded before the fork": [*UWSGI, "--processes", str(PROCESSES), "--threads", "4"],
    "uwsgi, loaded in each process": [*UWSGI, "--processes", str(PROCESSES), "--threads", "4", "--lazy-apps"],
}


@contextmanager
def running(command: Sequence[str], folder: Path, environment: dict[str, str]) -> Iterator[int]:
    """The server's port, once each of its processes serves; it has to end by itself after SIGTERM.

    A process that still loads the service when it has to end would tell so with a traceback.
    """
    port = free_port()
    log = folder / "server.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [word.format(port=port) for word in command],
            cwd=folder,
            env=os.environ | environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        until = time.monotonic() + START_SECONDS
        while not answers(port) or log.read_text().count(READY) < PROCESSES:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < until, log.read_text()
            time.sleep(0.1)
        yield port
        process.send_signal(signal.SIGTERM)
        process.wait(STOP_SECONDS)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    assert "Traceback" not in log.read_text(), log.read_text()


def answers(port: int) -> bool:
    try:
        with Client(port, keep_alive=False) as client:
            return client.request("GET", "/").status == 200
    except OSError:
        return False


@pytest.fixture
def environment(tmp_path: Path, sqlite_url: str) -> dict[str, str]:
    """A configuration directory, its database made."""
    (tmp_path / "placement.conf").write_text(
        f"[placement_database]\nconnection = {sqlite_url}\n[api]\nauth_strategy = noauth2\n"
    )
    found = {"OS_PLACEMENT_CONFIG_DIR": str(tmp_path)}
    subprocess.run(
        [sys.executable, "-P", "-m", "moorage", "db", "sync"],
        env=os.environ | found,
        check=True,
        stdout=subprocess.DEVNULL,
    )
    return found


@pytest.mark.parametrize("command", SERVERS.values(), ids=SERVERS.keys())
def test_several_processes_and_threads_keep_one_account(
    command: Sequence[str], environment: dict[str, str], tmp_path: Path
) -> None:
    with running(command, tmp_path, environment) as port:
        with Client(port, keep_alive=False) as client:
            client.add_provider(PROVIDER, "host", {"VCPU": {"total": CORES}})

        def claim(number: int) -> list[int]:
            # A server that takes one request at a time is to see others in between.
            with Client(port, keep_alive=False) as mine:
                consumers = [
                    f"{number:08d}-0000-4000-8000-{round_:012d}" for round_ in range(CLAIMS_PER_CLIENT)
                ]
                return [mine.claim(consumer, PROVIDER, {"VCPU": 1}).status for consumer in consumers]

        with ThreadPoolExecutor(CLIENTS) as pool:
            statuses = [status for told in pool.map(claim, range(CLIENTS)) for status in told]
        assert sorted(statuses) == [204] * CORES + [409] * (CLIENTS * CLAIMS_PER_CLIENT - CORES)
        with Client(port, keep_alive=False) as client:
            # Whichever process answers has seen what the others wrote.
            for _ in range(8):
                usages = client.get(f"/resource_providers/{PROVIDER}/usages")["usages"]
                assert usages == {"VCPU": CORES}
                found = client.get("/allocation_candidates?resources=VCPU:1")
                assert found["allocation_requests"] == []


def test_a_configuration_that_cannot_work_ends_the_server_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "placement.conf").write_text("[placement]\nmax_allocation_candidates = many\n")
    ended = subprocess.run(
        [word.format(port=free_port()) for word in [*GUNICORN, "--workers", "1"]],
        cwd=tmp_path,
        env=os.environ | {"OS_PLACEMENT_CONFIG_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=START_SECONDS,
        check=False,
    )
    assert ended.returncode != 0
    assert "[placement] max_allocation_candidates: " in ended.stderr


@pytest.mark.databases
def test_the_file_that_devstack_writes_starts_the_service_without_an_edit(
    mariadb_url: str, tmp_path: Path
) -> None:
    """Only where the database is differs. There is no Keystone, so that nobody gets in."""
    written = (Path(__file__).parent / "devstack.conf").read_text()
    placeholder = "mysql+pymysql://root:secretdatabase@127.0.0.1/placement"
    assert placeholder in written
    (tmp_path / "placement.conf").write_text(written.replace(placeholder, mariadb_url))
    environment = {"OS_PLACEMENT_CONFIG_DIR": str(tmp_path)}
    subprocess.run(
        [sys.executable, "-P", "-m", "moorage", "db", "sync"],
        env=os.environ | environment,
        check=True,
        stdout=subprocess.DEVNULL,
    )
    with running(SERVERS["uwsgi, loaded in each process"], tmp_path, environment) as port:
        with Client(port, keep_alive=False) as client:
            assert client.request("GET", "/healthz").status == 200
            until = time.monotonic() + START_SECONDS
            while client.request("GET", "/readyz").status != 200:
                assert time.monotonic() < until
                time.sleep(0.1)
        with Client(port, {}, keep_alive=False) as stranger:
            assert stranger.request("GET", "/").json["versions"][0]["id"] == "v1.0"
            assert stranger.request("GET", "/resource_providers").status == 401
            token = {"X-Auth-Token": "gAAAAA-a-token-that-nobody-shall-read"}
            assert stranger.request("GET", "/resource_providers", headers=token).status == 503
    log = (tmp_path / "server.log").read_text()
    assert "DEBUG" in log
    for secret in ("secretservice", "that-nobody-shall-read", ":moorage@", "SECRET_KEY"):
        assert secret not in log
