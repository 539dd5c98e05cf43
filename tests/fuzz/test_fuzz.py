"""A running service under odd requests: no 5xx, no hang, nothing changed by what is refused.

``MOORAGE_FUZZ_SEED`` repeats a run, ``MOORAGE_FUZZ_FROM`` begins with a later request of it,
``MOORAGE_FUZZ_SECONDS`` says for how long, ``MOORAGE_FUZZ_DATABASE`` on which kind of database only.
``make fuzz`` sets what is long.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from moorage.cli.serve import load_demo
from moorage.wiring.parts import opened_service
from moorage.wiring.settings import Chosen, resolve
from tests.fuzz.campaign import Campaign
from tests.fuzz.requests import request
from tests.journeys.client import running_service
from tests.servers.databases import SQLITE, fresh_database

pytestmark = [pytest.mark.journey, pytest.mark.slow]

ALL = "all"
SERVERS = ("postgresql", "mariadb")

SHORT_REQUESTS = 500
"""Requests of a run in `make test`, where no time is given."""

EXAMPLES = os.environ.get("MOORAGE_FUZZ_EXAMPLES", "3")
"""Examples that Schemathesis makes for each operation, beside those that cover each of its parts."""

SCHEMA_CHECKS = (
    "not_a_server_error,content_type_conformance,response_schema_conformance,negative_data_rejection"
)

NATIVE_CHECKS = f"{SCHEMA_CHECKS},status_code_conformance,response_headers_conformance,unsupported_method"


USUAL_SEED = 1
"""Of `make test`: the same requests every time."""


def seed_of_this_run() -> int:
    """The seed that was asked for, a new one in a run that has its own time, or the usual one."""
    if asked := os.environ.get("MOORAGE_FUZZ_SEED"):
        return int(asked)
    return random.SystemRandom().randrange(1 << 32) if "MOORAGE_FUZZ_SECONDS" in os.environ else USUAL_SEED


def kinds() -> list[object]:
    """Kinds of databases to fuzz on: that which was asked for, or all."""
    asked = os.environ.get("MOORAGE_FUZZ_DATABASE") or ALL
    assert asked in {ALL, SQLITE, *SERVERS}, f"MOORAGE_FUZZ_DATABASE is {asked}"
    found: list[object] = [SQLITE] if asked in {ALL, SQLITE} else []
    found += [pytest.param(kind, marks=pytest.mark.databases) for kind in SERVERS if asked in {ALL, kind}]
    return found


@pytest.mark.parametrize("kind", kinds())
def test_odd_requests_get_a_clear_answer_and_change_nothing_if_refused(kind: str, tmp_path: Path) -> None:
    seed = seed_of_this_run()
    seconds = float(os.environ.get("MOORAGE_FUZZ_SECONDS") or 0)
    first = int(os.environ.get("MOORAGE_FUZZ_FROM") or 0)
    until = time.monotonic() + seconds
    with fresh_database(kind, tmp_path) as database, running_service(database, tmp_path) as port:
        campaign = Campaign(port, database, seed)
        number = first
        try:
            while time.monotonic() < until if seconds else number < first + SHORT_REQUESTS:
                campaign.step(number)
                number += 1
        finally:
            campaign.close()
            sys.stdout.write(f"\nfuzz: {kind}, seed {seed}, from {first}: {campaign.tally}" + "\n")
    assert campaign.tally.changes > 0
    assert {200, 204, 400, 404, 409} <= campaign.tally.by_status.keys()


def schemathesis(document: str, seed: int, checks: str, folder: Path, *options: str) -> None:
    """Requests made from the document at an address, and the answers held against it."""
    command = [
        str(Path(sys.executable).parent / "schemathesis"),
        *("run", document, "--seed", str(seed), "--max-examples", EXAMPLES, *options),
        *("-H", "X-Auth-Token: admin", "-H", "X-Roles: admin,service"),
        *("--phases", "examples,coverage,fuzzing", "--checks", checks),
        *("--generation-database", "none", "--continue-on-failure", "--no-color", "--warnings", "off"),
    ]
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=folder)
    summary = done.stdout[done.stdout.rfind("= SUMMARY =") :]
    sys.stdout.write(f"\nschemathesis, seed {seed}: {summary}" + "\n")
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr


def test_the_openapi_document_is_kept_to_under_generated_requests(tmp_path: Path) -> None:
    """Schemathesis makes requests from the document and holds the answers against it."""
    newest = ("-H", "OpenStack-API-Version: placement 1.39")
    with fresh_database(SQLITE, tmp_path) as database, running_service(database, tmp_path) as port:
        document = f"http://127.0.0.1:{port}/openapi.json"
        schemathesis(document, seed_of_this_run(), SCHEMA_CHECKS, tmp_path, *newest)


def test_the_native_document_is_kept_to_on_the_sample_cloud(tmp_path: Path) -> None:
    """As above, with each status that an endpoint may answer with."""
    with fresh_database(SQLITE, tmp_path) as database:
        settings = resolve(Chosen(database=database), {}, serving=True).settings
        with opened_service(settings, migrate=True) as service:
            load_demo(service)
        with running_service(database, tmp_path) as port:
            document = f"http://127.0.0.1:{port}/moorage/v1/openapi.json"
            schemathesis(document, seed_of_this_run(), NATIVE_CHECKS, tmp_path)


def test_a_request_is_the_same_for_the_same_seed_and_number() -> None:
    assert [request(7, number) for number in range(50)] == [request(7, number) for number in range(50)]
    assert request(7, 1) != request(8, 1)
    assert len({request(7, number) for number in range(50)}) == 50
