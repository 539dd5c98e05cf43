"""The page Leases, and what consumers and trees say of the end of claims."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.console.browser import Driven
from tests.console.opened import MARKS, NARROW, WIDE, Opened
from tests.journeys.client import Client, running_service

pytestmark = MARKS

HOST = "aaaa0000-0000-4000-8000-000000000001"
ENDS_SOON = ("agent-lost", "agent-gone")


@dataclass
class Served:
    """A console, and a client to prepare what it shows: leases, and claims on them, by owner."""

    opened: Opened
    client: Client
    leases: dict[str, str]
    claims: dict[str, str]

    def lease(self, owner: str, ttl: str, **more: str) -> None:
        """A lease with a claim on it."""
        body = {"owner": owner, "ttl": ttl, **more}
        lease = self.client.must("POST", "/moorage/v1/leases", body).json["lease"]
        entry = {"ask": {"query": "resources=VCPU:1"}, "lease": lease, "project_id": "vision"}
        claimed = self.client.must("POST", "/moorage/v1/claims", {"claims": [entry]}).json
        self.leases[owner] = lease
        self.claims[owner] = claimed["claims"][0]["consumer"]

    def wait(self, owner: str, state: str) -> None:
        """Until a lease is in a state. Service time decides, so this takes some seconds."""
        until = time.monotonic() + 60
        while self.client.get(f"/moorage/v1/leases/{self.leases[owner]}")["state"] != state:
            assert time.monotonic() < until
            time.sleep(0.2)


@contextmanager
def served_at(browser: Driven, folder: Path, *, writes: bool = True) -> Iterator[Served]:
    variables = {
        "OS_PLACEMENT_MOORAGE__CONSOLE_WRITES": str(writes).lower(),
        "OS_PLACEMENT_MOORAGE__SELF_SERVICE": "true",
    }
    database = f"sqlite:///{folder}/leases.sqlite"
    with running_service(database, folder, variables=variables) as port, Client(port) as client:
        client.add_provider(HOST, "lab-host", {"VCPU": {"total": 8}})
        yield Served(Opened(browser, f"http://127.0.0.1:{port}"), client, {}, {})


@pytest.fixture(scope="module")
def served(browser: Driven, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    browser.complaints()
    browser.resize(*WIDE)
    with served_at(browser, tmp_path_factory.mktemp("leases")) as found:
        assert "moorage run" in found.opened.open("leases").until_text("There are no leases")
        found.lease("agent-alive", "24h", max_life="48h")
        found.lease("agent-late", "1s", grace="5h", on_expiry="release")
        for owner in ENDS_SOON:
            found.lease(owner, "1s")
        found.wait("agent-late", "expired")
        for owner in ENDS_SOON:
            found.wait(owner, "quarantined")
        yield found


def test_leases_say_what_is_left_of_them_and_what_comes_then(served: Served) -> None:
    page = served.opened.open("leases")
    text = page.until_text("4 leases")
    assert "of 24h, unless it is renewed; at most" in text
    assert "of grace, then its claims are released" in text
    assert text.count("kept until an operator decides") == 2
    for size in (WIDE, NARROW):
        page.resize(*size)
        assert page.run("return document.documentElement.scrollWidth") <= size[0]
    page.resize(*WIDE)
    before = page.text(".left")
    page.until(lambda: page.text(".left") != before or "min" in before, "the countdown")
    page.run("document.querySelector('select').value = 'expired'")
    page.run("document.querySelector('select').dispatchEvent(new Event('change'))")
    page.until_text("1 lease")
    assert "state=expired" in page.address
    page.click_text("agent-late")
    text = page.until_text("Its claims")
    assert served.claims["agent-late"][:8] in page.until_text("Consumer", "main")
    assert "after each renewal, and 5h of grace" in text
    assert page.complaints() == []


def test_a_quarantine_is_released_or_restored(served: Served) -> None:
    page = served.opened.open("leases?state=quarantined&owner=agent-lost")
    page.until_text("1 lease")
    page.click_text("Release its claims")
    page.until_text("No lease is left by these filters.")
    assert served.client.get(f"/allocations/{served.claims['agent-lost']}")["allocations"] == {}
    page = served.opened.open(f"leases?id={served.leases['agent-gone']}")
    page.until_text("kept until an operator decides")
    page.click_text("Restore")
    page.until_text("unless it is renewed")
    assert served.claims["agent-gone"][:8] in page.text("main")
    page.until_settled()
    assert page.complaints() == []


def test_a_consumer_and_a_tree_say_when_claims_end(served: Served) -> None:
    page = served.opened.open(f"consumer?id={served.claims['agent-alive']}")
    page.until_text("of 24h, unless it is renewed", "dl")
    page = served.opened.open(f"consumer?id={served.claims['agent-late']}")
    text = page.until_text("active → expired", ".changes")
    assert "the keeper" in text
    assert f"on lease {served.leases['agent-late'][:8]}" in text
    page = served.opened.open(f"tree?id={HOST}")
    page.until_text("of 24h, unless it is renewed", ".holders")
    # What is known of each lease comes by itself.
    page.until_text("agent-late", ".holders")
    page.resize(*NARROW)
    assert page.run("return document.documentElement.scrollWidth") <= NARROW[0]
    page.resize(*WIDE)
    page.until_settled()
    assert page.complaints() == []


def test_a_member_of_a_project_sees_its_own_leases(browser: Driven, tmp_path: Path) -> None:
    """Where every client is trusted, a token USER:PROJECT asks as a member."""
    with served_at(browser, tmp_path) as served:
        served.lease("agent-cloud", "24h")
        served.client.headers = {"X-Auth-Token": "anna:vision", "X-Roles": "member,reader"}
        served.lease("agent-anna", "24h")
        page = served.opened.open("leases")
        page.until_text("2 leases")
        page.run("sessionStorage.setItem('moorage.token', 'anna:vision')")
        page = served.opened.open("leases")
        text = page.until_text("1 lease")
        assert "agent-anna" in text
        assert "agent-cloud" not in text
        page.until_settled()
        page.run("sessionStorage.clear()")
    assert browser.complaints() == []


def test_a_console_that_only_reads_decides_nothing(browser: Driven, tmp_path: Path) -> None:
    with served_at(browser, tmp_path, writes=False) as served:
        served.lease("agent-lost", "1s")
        served.wait("agent-lost", "quarantined")
        page = served.opened.open("leases")
        page.until_text("kept until an operator decides")
        assert page.run("return document.querySelectorAll('main button').length") == 0
        page.press("g", "m")
        page.until(lambda: page.address.endswith("map"), "the map")
        page.press("g", "l")
        page.until_text("1 lease")
        page.until_settled()
