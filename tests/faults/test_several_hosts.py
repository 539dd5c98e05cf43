"""Two hosts behind a load balancer, and a database that fails over under load: nothing is lost.

The set-up is the one that ``docs/how-to/run-on-several-hosts.md`` tells of.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from tests.faults.fleet import ADDRESSES, CONFIGURATION
from tests.faults.opening import GALERA, STANDBY, run_where_the_harness_holds
from tests.faults.runs import Plan, chosen_seed
from tests.servers.plugin import skip_or_fail
from tests.servers.session import MissingServerError

pytestmark = [pytest.mark.journey, pytest.mark.slow, pytest.mark.databases]

SECONDS = 11.0

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "run-on-several-hosts.md"


@pytest.mark.parametrize(
    ("database", "faults"),
    [
        (STANDBY, ("primary killed, standby promoted", "service killed")),
        (GALERA, ("writer killed", "writer switched", "service killed")),
    ],
)
def test_a_fail_over_under_load_loses_nothing_on_two_hosts(database: str, faults: tuple[str, ...]) -> None:
    try:
        plan = Plan(chosen_seed(1), SECONDS, workers=1, only=faults, hosts=len(ADDRESSES))
        report = run_where_the_harness_holds(database, plan)
    except MissingServerError as missing:
        skip_or_fail(missing)
    sys.stdout.write(f"{report}\n")
    assert not report.violations, str(report)
    assert report.faults


def test_the_load_balancer_of_the_test_is_set_up_as_the_page_says() -> None:
    """All but addresses, ports and how often it looks."""
    (shown,) = re.findall(r"```text\n(defaults\n.*?)```", PAGE.read_text(), re.DOTALL)

    def directives(text: str) -> list[str]:
        lines = [line.strip() for line in text.splitlines()]
        own = ("#", "bind", "server ", "global", "maxconn", "{servers}")
        return [line for line in lines if line and not line.startswith(own)]

    assert directives(shown) == directives(CONFIGURATION)
