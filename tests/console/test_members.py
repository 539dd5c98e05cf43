"""The console with the token of a project's member: what it shows, and what it says where it may not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.console.browser import Driven
from tests.console.opened import MARKS, NARROW, WIDE, Opened, moorage
from tests.journeys.client import Client, running_service

pytestmark = MARKS

HOST = "aaaa0000-0000-4000-8000-000000000001"
CARD = "aaaa0000-0000-4000-8000-000000000002"
QUERY = "resources%3DVCPU%3A2"

VARIABLES = {
    "OS_PLACEMENT_API__AUTH_STRATEGY": "token",
    "OS_PLACEMENT_MOORAGE__SELF_SERVICE": "true",
    "OS_PLACEMENT_MOORAGE__CONSOLE_WRITES": "true",
}


@dataclass
class Lab:
    """A console, and the tokens of two projects' members."""

    opened: Opened
    tokens: dict[str, str]

    def sign_in(self, project: str) -> Driven:
        page = self.opened.open("consumer")
        page.run("sessionStorage.setItem('moorage.token', arguments[0])", self.tokens[project])
        return self.opened.open("consumer")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, dict[str, str]]]:
    folder = tmp_path_factory.mktemp("members")
    database = f"sqlite:///{folder}/members.sqlite"
    with running_service(database, folder, variables=VARIABLES) as port:

        def token(role: str, project: str) -> str:
            words = ("token", "create", "--role", role, "--project", project, "--database", database)
            return moorage(*words).split()[-1]

        headers = {"X-Auth-Token": token("service", "cloud"), "OpenStack-API-Version": "placement 1.39"}
        with Client(port, headers) as client:
            client.add_provider(HOST, "lab-host", {"VCPU": {"total": 8}})
            client.must(
                "POST",
                "/resource_providers",
                {"uuid": CARD, "name": "lab-card", "parent_provider_uuid": HOST},
            )
        yield (
            f"http://127.0.0.1:{port}",
            {project: token("member", project) for project in ("vision", "speech")},
        )


@pytest.fixture
def lab(browser: Driven, served: tuple[str, dict[str, str]]) -> Iterator[Lab]:
    browser.resize(*WIDE)
    url, tokens = served
    yield Lab(Opened(browser, url), tokens)
    browser.run("sessionStorage.clear()")
    # Each request that may not be is one for the browser. Nothing else may go wrong; the page that was open
    # before may have lost its service.
    own = [line for line in browser.complaints() if line.startswith(url) or "://" not in line]
    assert [line for line in own if not any(code in line for code in ("401", "403", "404"))] == []


def test_a_member_searches_claims_and_sees_its_own_claim_and_tree(lab: Lab) -> None:
    lab.sign_in("vision")
    page = lab.opened.open(f"search?q={QUERY}")
    text = page.until_text("1 candidate")
    assert "used" not in text
    page.click_text("Claim the best place")
    text = page.until_text("Claimed on lab-host", ".granted")
    assert "best of" not in text
    page.click(".granted a[href*=consumer]")
    text = page.until_text("VCPU 2")
    assert "vision" in text
    page.until_text("allocations.replace")
    page.click("table a[href*=tree]")
    text = page.until_text("lab-card")
    assert "8" in text
    assert "generation" not in text
    assert "vision" in page.until_text("Held by", ".holders")
    for width, height in (WIDE, NARROW):
        page.resize(width, height)
        assert page.run("return document.documentElement.scrollWidth") <= width
    consumer = page.run(
        "const {request} = await import(new URL('api.js', document.baseURI));"
        "return (await request('moorage/v1/claims')).data.claims[0].consumer"
    )
    lab.sign_in("speech")
    assert "No consumer holds anything yet." in page.until_text("No consumer")
    lab.opened.open(f"consumer?id={consumer}")
    page.until_text("It holds nothing")


def test_a_page_of_the_whole_cloud_says_what_a_member_may_see(lab: Lab) -> None:
    lab.sign_in("speech")
    for path in ("map", "classes", "why"):
        page = lab.opened.open(path)
        text = page.until_text("With a token of one project")
        assert "(403)" in text


def test_a_member_is_told_why_nothing_fits(lab: Lab) -> None:
    lab.sign_in("speech")
    page = lab.opened.open("search?q=resources%3DVCPU%3A9")
    text = page.until_text("It can never fit here")
    assert "lab-host" not in text
