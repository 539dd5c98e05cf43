"""The commands of osc-placement, run as an operator runs them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.clients.environment import environment

pytestmark = [pytest.mark.slow, pytest.mark.journey]


class Operator:
    """An operator at a shell with ``openstack``. ``version`` is a microversion, or "1" to negotiate one."""

    def __init__(self, endpoint: str, folder: Path, version: str) -> None:
        self._environment = environment(
            folder,
            OS_AUTH_TYPE="admin_token",
            OS_ENDPOINT=endpoint,
            OS_TOKEN="admin",
            OS_PLACEMENT_API_VERSION=version,
        )

    def __enter__(self) -> Operator:
        self._shell = subprocess.Popen(
            [sys.executable, "-m", "tests.clients.osc_shell"],
            env=self._environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._shell.communicate()

    def run(self, line: str, *more: str) -> subprocess.CompletedProcess[str]:
        """A command, with arguments that may have spaces after it."""
        assert self._shell.stdin is not None
        assert self._shell.stdout is not None
        arguments = [*line.split(), *more]
        self._shell.stdin.write(json.dumps(arguments) + "\n")
        self._shell.stdin.flush()
        return subprocess.CompletedProcess(arguments, **json.loads(self._shell.stdout.readline()))

    def does(self, line: str, *more: str) -> None:
        """A command that must succeed and print nothing."""
        finished = self.run(line, *more)
        assert (finished.returncode, finished.stdout, finished.stderr) == (0, "", ""), finished

    def sees(self, line: str, *more: str) -> Any:
        """What a command that must succeed prints."""
        finished = self.run(line, *more, "-f", "json")
        assert (finished.returncode, finished.stderr) == (0, ""), finished
        return json.loads(finished.stdout)


@pytest.fixture
def operate(endpoint: str, tmp_path: Path) -> Iterator[Callable[[str], Operator]]:
    """Call it with a microversion for an operator who asks with it."""
    with ExitStack() as stack:
        yield lambda version: stack.enter_context(Operator(endpoint, tmp_path, version))


def column(rows: Sequence[dict[str, Any]], name: str) -> list[Any]:
    return sorted(row[name] for row in rows)


def test_an_operator_fills_a_cloud_and_claims_from_it(operate: Callable[[str], Operator]) -> None:
    operator = operate("1.39")
    host, disk, consumer, aggregate, project, user = (str(uuid4()) for _ in range(6))

    created = operator.sees(f"resource provider create osc-host --uuid {host}")
    assert created == {
        "uuid": host,
        "name": "osc-host",
        "generation": 0,
        "root_provider_uuid": host,
        "parent_provider_uuid": None,
    }
    operator.sees(f"resource provider create osc-disk --uuid {disk} --parent-provider {host}")
    assert column(operator.sees(f"resource provider list --in-tree {disk}"), "uuid") == sorted([host, disk])
    operator.does("resource class create CUSTOM_OSC_BERTH")
    operator.does("trait create CUSTOM_OSC_FAST")

    inventory = operator.sees(
        f"resource provider inventory set {host} --resource VCPU=8 --resource VCPU:allocation_ratio=2.0 "
        "--resource CUSTOM_OSC_BERTH=3"
    )
    assert {row["resource_class"]: row["total"] for row in inventory} == {"VCPU": 8, "CUSTOM_OSC_BERTH": 3}
    operator.sees(f"resource provider inventory set {disk} --resource DISK_GB=1")
    operator.sees(f"resource provider inventory class set {disk} DISK_GB --total 100 --reserved 10")
    shown = operator.sees(f"resource provider inventory show {disk} DISK_GB")
    assert (shown["total"], shown["reserved"], shown["used"]) == (100, 10, 0)

    traits = operator.sees(f"resource provider trait set {host} --trait CUSTOM_OSC_FAST")
    assert traits == [{"name": "CUSTOM_OSC_FAST"}]
    aggregates = operator.sees(
        f"resource provider aggregate set {host} --aggregate {aggregate} --generation 2"
    )
    assert aggregates == [{"uuid": aggregate}]

    candidates = operator.sees(
        "allocation candidate list --resource VCPU=2 --resource DISK_GB=5 --required CUSTOM_OSC_FAST "
        f"--member-of {aggregate}"
    )
    assert column(candidates, "resource provider") == sorted([host, disk])

    allocated = operator.sees(
        f"resource provider allocation set {consumer} --allocation rp={host},VCPU=2 "
        f"--allocation rp={disk},DISK_GB=5 --project-id {project} --user-id {user} --consumer-type INSTANCE"
    )
    assert {row["resource_provider"]: row["resources"] for row in allocated} == {
        host: {"VCPU": 2},
        disk: {"DISK_GB": 5},
    }
    used = operator.sees(f"resource provider usage show {host}")
    assert {row["resource_class"]: row["usage"] for row in used} == {"VCPU": 2, "CUSTOM_OSC_BERTH": 0}
    held = operator.sees(f"resource provider show {host} --allocations")["allocations"]
    assert held[consumer]["resources"] == {"VCPU": 2}

    refused = operator.run(f"resource provider delete {disk}")
    assert refused.returncode == 1
    assert "Resource provider has allocations" in refused.stderr

    operator.sees(f"resource provider allocation unset {consumer} --provider {disk}")
    left = operator.sees(f"resource provider allocation show {consumer}")
    assert [(row["resource_provider"], row["consumer_type"]) for row in left] == [(host, "INSTANCE")]
    operator.does(f"resource provider allocation delete {consumer}")
    operator.does(f"resource provider delete {disk}")
    assert operator.sees(f"resource provider list --in-tree {host}")[0]["uuid"] == host


def test_an_operator_without_a_version_gets_one_that_both_speak(operate: Callable[[str], Operator]) -> None:
    operator = operate("1")
    name = f"osc-{uuid4()}"
    created = operator.sees(f"resource provider create {name}")
    assert operator.sees("resource provider list --name", name) == [created]


def test_a_project_sees_what_it_uses(operate: Callable[[str], Operator]) -> None:
    operator = operate("1.28")
    host, consumer, project = (str(uuid4()) for _ in range(3))
    operator.sees(f"resource provider create {host} --uuid {host}")
    operator.sees(f"resource provider inventory set {host} --resource VCPU=8")
    operator.sees(
        f"resource provider allocation set {consumer} --allocation rp={host},VCPU=3 --project-id {project} "
        f"--user-id {project}"
    )
    assert operator.sees(f"resource usage show {project}") == [{"resource_class": "VCPU", "usage": 3}]
    operator.does(f"resource provider allocation delete {consumer}")
    assert operator.sees(f"resource usage show {project}") == []
