"""Reports over HTTP, to workers that share a database: findings age, and are acted on once."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.journeys.client import Client, running_service

pytestmark = pytest.mark.journey

SETTLE_SECONDS = 3
LONGEST_SECONDS = 60

OPTIONS = {
    "OS_PLACEMENT_MOORAGE__AUDIT_HEAL": "farm:release",
    "OS_PLACEMENT_MOORAGE__AUDIT_SETTLE_SECONDS": str(SETTLE_SECONDS),
}


def test_what_is_leaked_is_released_once_however_many_workers_get_the_report(
    tmp_path: Path,
) -> None:
    provider, leak, runs = (str(uuid4()) for _ in range(3))
    database = f"sqlite:///{tmp_path / 'reports.sqlite'}"
    with running_service(database, tmp_path, workers=2, variables=OPTIONS) as port:
        with Client(port) as client:
            client.add_provider(provider, "host", {"VCPU": {"total": 8}})
            for consumer in (leak, runs):
                assert client.claim(consumer, provider, {"VCPU": 2}).status == 204
        report = {
            "covers": {"trees": [provider]},
            "complete": True,
            "consumers": {runs: {provider: {"VCPU": 2}}},
            "accept_shrink": True,
        }

        def tell(_number: int) -> Any:
            with Client(port) as own:
                return own.must("PUT", "/moorage/v1/reports/farm", report).json

        begun = time.monotonic()
        (finding,) = tell(0)["findings"]
        assert (finding["kind"], finding["action"]) == ("leaked", "release")
        actions: list[Any] = []
        with ThreadPoolExecutor(4) as pool:
            while not actions and time.monotonic() < begun + LONGEST_SECONDS:
                actions = [action for told in pool.map(tell, range(4)) for action in told["actions"]]
        assert time.monotonic() >= begun + SETTLE_SECONDS, "the finding had not settled"
        done = [each for each in actions if each["trouble"] is None]
        assert [(each["consumer"], each["action"]) for each in done] == [(leak, "release")]
        with Client(port) as client:
            assert client.get(f"/allocations/{leak}")["allocations"] == {}
            assert client.get(f"/allocations/{runs}")["allocations"] != {}
            (change,) = client.must("GET", "/moorage/v1/changes?after=0&kinds=allocations.heal").json[
                "changes"
            ]
            assert change["reason"]["finding"] == finding["id"]
