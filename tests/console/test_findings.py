"""The page Findings: what it shows of each kind, and that its buttons settle it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.console.browser import Driven
from tests.console.opened import MARKS, NARROW, WIDE, Opened
from tests.journeys.client import Client, running_service

pytestmark = MARKS

HOSTS = tuple(f"aaaa0000-0000-4000-8000-00000000000{number}" for number in (1, 2))
LEAKED, MISSING, DIFFERS, MOVED = (f"cccc000{number}-0000-4000-8000-000000000000" for number in range(4))
OWNER = {"project_id": "vision", "user_id": "anna"}


@dataclass
class Served:
    """A console, and a client to prepare what it shows."""

    opened: Opened
    client: Client

    def report(self) -> None:
        """One finding of each kind."""
        consumers = {
            MISSING: {HOSTS[0]: {"VCPU": 2}},
            DIFFERS: {HOSTS[0]: {"VCPU": 3}},
            MOVED: {HOSTS[1]: {"VCPU": 1}},
        }
        told = self.client.request(
            "PUT",
            "/moorage/v1/reports/lab",
            {
                "covers": {"trees": list(HOSTS)},
                "complete": True,
                "consumers": consumers,
                "owners": dict.fromkeys(consumers, OWNER),
            },
        )
        assert told.status == 200, told


@contextmanager
def served_at(browser: Driven, folder: Path, *, writes: bool = True) -> Iterator[Served]:
    variables = {"OS_PLACEMENT_MOORAGE__CONSOLE_WRITES": str(writes).lower()}
    database = f"sqlite:///{folder}/findings.sqlite"
    with running_service(database, folder, variables=variables) as port, Client(port) as client:
        for number, host in enumerate(HOSTS):
            client.add_provider(host, f"lab-host{number}", {"VCPU": {"total": 8}})
        for consumer, amount in ((LEAKED, 2), (DIFFERS, 1), (MOVED, 1)):
            assert client.claim(consumer, HOSTS[0], {"VCPU": amount}).status == 204
        yield Served(Opened(browser, f"http://127.0.0.1:{port}"), client)


@pytest.fixture(scope="module")
def served(browser: Driven, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    browser.complaints()
    browser.resize(*WIDE)
    with served_at(browser, tmp_path_factory.mktemp("findings")) as found:
        yield found


def test_findings_are_shown_and_settled(served: Served) -> None:
    page = served.opened.open("findings")
    assert "moorage report file" in page.until_text("Reports and the account agree")
    served.report()
    page = served.opened.open("findings")
    text = page.until_text("4 findings")
    assert all(kind in text for kind in ("leaked", "missing", "differs", "moved"))
    assert "VCPU 2 of lab-host0" in text
    assert "VCPU 1 of lab-host1" in text
    assert "nothing by itself" in text
    for size in (WIDE, NARROW):
        page.resize(*size)
        assert page.run("return document.documentElement.scrollWidth") <= size[0]
    page.resize(*WIDE)
    page.run("document.querySelector('select').value = 'leaked'")
    page.run("document.querySelector('select').dispatchEvent(new Event('change'))")
    page.until_text("1 finding")
    assert "kind=leaked" in page.address
    page.click_text("Quarantine")
    page.until_text("its lease is quarantined until an operator decides")
    assert "Quarantine" not in page.text("main .row")
    [lease] = served.client.get("/moorage/v1/leases?state=quarantined")["leases"]
    assert lease["owner"] == "finding of lab"
    page.click_text("Release")
    page.until_text("No finding is left by these filters.")
    assert served.client.get(f"/allocations/{LEAKED}")["allocations"] == {}
    page = served.opened.open("findings?kind=differs")
    page.until_text("1 finding")
    page.click_text("Ignore")
    page.until_text("ignored until claim or report change")
    page.click_text("Reopen")
    page.until_text("nothing by itself")
    page.click_text("Heal")
    page.until_text("No finding is left by these filters.")
    assert served.client.get(f"/allocations/{DIFFERS}")["allocations"][HOSTS[0]]["resources"] == {"VCPU": 3}
    assert page.complaints() == []


def test_a_finding_that_cannot_be_healed_says_why(served: Served) -> None:
    page = served.opened.browser
    served.client.must("DELETE", f"/allocations/{DIFFERS}")
    assert served.client.claim(DIFFERS, HOSTS[0], {"VCPU": 2}).status == 204
    served.report()
    served.client.must("DELETE", f"/allocations/{DIFFERS}")
    served.opened.open("findings?kind=differs")
    page.until_text("1 finding")
    page.click_text("Heal")
    assert "(409)" in page.until_text("Try again")
    assert all("409" in line for line in page.complaints())


def test_a_console_that_only_reads_settles_nothing(browser: Driven, tmp_path: Path) -> None:
    with served_at(browser, tmp_path, writes=False) as served:
        served.report()
        page = served.opened.open("findings")
        page.until_text("4 findings")
        assert page.run("return document.querySelectorAll('main button').length") == 0
        page.press("g", "m")
        page.until(lambda: page.address.endswith("map"), "the map")
        page.until_settled()
        page.press("g", "f")
        page.until_text("4 findings")
        page.until_settled()
