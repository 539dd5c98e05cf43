"""The page of changes, histories and the flashing map, in a real browser, as another client writes."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from moorage.auth.tokens import issue
from moorage.model.commands import CreateTrait
from moorage.service.facade import Service
from moorage.service.settings import ServiceSettings
from moorage.service.tokens import Tokens
from moorage.store.settings import StoreSettings
from moorage.store.store import Store
from moorage.wiring.parts import prepare
from tests.console.browser import Driven
from tests.console.opened import MARKS, NARROW, WIDE, Opened, of_tree, reported
from tests.databases.orders import new_uuid, order
from tests.journeys.client import Client, running_service
from tests.servers.ports import free_port

pytestmark = MARKS

HOST, OTHER = "5b1c9ba2-6a34-4be6-8f27-24d3a4d8f001", "5b1c9ba2-6a34-4be6-8f27-24d3a4d8f002"
OWN, FOREIGN = "genomics", "astronomy"
"""Projects: that of a reader, and another one."""


MINUS = "\N{MINUS SIGN}"

VARIABLES = {
    "OS_PLACEMENT_API__AUTH_STRATEGY": "token",
    # A place is free again only seconds after a page was left, and tests leave pages quickly.
    "OS_PLACEMENT_MOORAGE__CHANGES_WAITERS": "48",
}


@dataclass
class Served:
    """A service with two hosts whose clients need tokens. ``start`` and ``stop``: at the same address."""

    port: int
    database: Path
    admin: str
    reader: str
    client: Client = field(init=False)
    _running: ExitStack = field(init=False, default_factory=ExitStack)

    def __post_init__(self) -> None:
        headers = {"X-Auth-Token": self.admin, "OpenStack-API-Version": "placement 1.39"}
        self.client = Client(self.port, headers)

    def start(self) -> None:
        url = f"sqlite:///{self.database}"
        serving = running_service(url, self.database.parent, variables=VARIABLES, port=self.port)
        self._running.enter_context(serving)

    def stop(self) -> None:
        self.client.close()
        self._running.close()

    def claim(self, consumer: str = "", *, vcpu: int = 1, project: str = OWN, on: str = HOST) -> str:
        """Let a consumer hold so much; a new one without a name."""
        path = f"/allocations/{consumer or (consumer := new_uuid())}"
        found = self.client.get(path)
        allocations = {on: {"resources": {"VCPU": vcpu}}} if vcpu else {}
        body = {
            "allocations": allocations,
            "project_id": project,
            "user_id": "rosalind",
            "consumer_type": "INSTANCE",
            "consumer_generation": found.get("consumer_generation"),
        }
        self.client.must("PUT", path, body)
        return consumer

    @property
    def revision(self) -> int:
        return int(self.client.get("/moorage/v1/changes?after=now")["revision"])

    def sql(self, statement: str, *values: Any) -> None:
        """Change the database behind the service's back."""
        with closing(sqlite3.connect(self.database)) as connection, connection:
            connection.execute(statement, values)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("changes")
    path = folder / "changes.sqlite"
    store = Store(StoreSettings(f"sqlite:///{path}"))
    try:
        prepare(store, migrate=True)
        texts = []
        for role, project in (("admin", None), ("reader", OWN)):
            text, record = issue(role, int(time.time()), name=role, project_id=project)
            Tokens(store).add(record)
            texts.append(text)
    finally:
        store.close()
    made = Served(free_port(), path, *texts)
    made.start()
    try:
        for uuid, name in ((HOST, "rack-host1"), (OTHER, "rack-host2")):
            made.client.add_provider(uuid, name, {"VCPU": {"total": 1000}})
        yield made
    finally:
        made.stop()


@pytest.fixture
def console(browser: Driven, served: Served) -> Iterator[Opened]:
    browser.resize(*WIDE)
    browser.complaints()
    with shown_token(browser, served.admin):
        yield Opened(browser, f"http://127.0.0.1:{served.port}")
        assert browser.complaints() == []


@contextmanager
def shown_token(browser: Driven, token: str) -> Iterator[None]:
    """Let every document send a token."""
    source = f"sessionStorage.setItem('moorage.token', '{token}')"
    made = browser.command("Page.addScriptToEvaluateOnNewDocument", source=source)
    try:
        yield
    finally:
        browser.command("Page.removeScriptToEvaluateOnNewDocument", **made)


def rows(page: Driven) -> list[str]:
    """The lines of the shown changes, the newest first."""
    return list(page.run("return [...document.querySelectorAll('.log tbody tr')].map(one => one.innerText)"))


def revisions(page: Driven) -> list[int]:
    told = page.run("return [...document.querySelectorAll('.log tbody tr')].map(one => one.change.revision)")
    return [int(one) for one in told]


def live(opened: Opened, query: str = "") -> Driven:
    """The page of changes, as soon as it follows."""
    page = opened.open(f"changes{query}")
    page.until_text("live, at revision")
    return page


# Changes


def test_a_change_is_shown_as_it_happens_and_opens_to_its_values(console: Opened, served: Served) -> None:
    page = live(console)
    consumer = served.claim(vcpu=2)
    page.until_text(f"VCPU +2 on rack-host1: consumer {consumer[:8]}")
    served.claim(consumer, vcpu=5)
    page.until_text(f"VCPU +3 on rack-host1: consumer {consumer[:8]}")
    assert "allocations.replace" in rows(page)[0]
    assert "admin" in rows(page)[0]
    page.click(".log tbody tr a")
    text = page.until_text("Provider rack-host1", ".drawer")
    assert "VCPU of rack-host1\t2\t5" in text
    assert "Request id\nreq-" in text
    assert "the API of Placement" in text
    address = page.address
    assert f"change={served.revision}" in address
    page.press("Escape")
    page.until(lambda: "change=" not in page.address, "closing")
    assert page.run("return document.activeElement.textContent") == str(served.revision)
    page.open(address)
    page.until_text("VCPU of rack-host1", ".drawer")


def test_nothing_is_lost_by_a_pause(console: Opened, served: Served) -> None:
    page = live(console)
    before = revisions(page)
    page.click_text("Pause")
    page.until_text("paused at revision")
    first = served.revision
    consumer = served.claim()
    served.claim(consumer, vcpu=0)
    assert revisions(page) == before
    page.press("p")
    page.until_text(f"VCPU {MINUS}1 on rack-host1")
    assert revisions(page) == [first + 2, first + 1, *before]


def test_a_page_goes_on_where_it_was_after_the_service_was_started_again(
    console: Opened, served: Served
) -> None:
    page = live(console)
    served.claim()
    first = served.revision
    page.until(lambda: first in revisions(page), "the change before")
    before = revisions(page)
    served.stop()
    try:
        page.until_text("The next try is in")
        assert revisions(page) == before
        with closing(Store(StoreSettings(f"sqlite:///{served.database}"))) as store:
            # What another host writes meanwhile.
            elsewhere = Service(store, ServiceSettings())
            for name in ("CUSTOM_ONE", "CUSTOM_TWO"):
                order(elsewhere, CreateTrait(name))
            elsewhere.close()
    finally:
        served.start()
    page.until_text("live, at revision")
    page.until_text("trait CUSTOM_TWO created")
    served.claim()
    page.until(lambda: first + 3 in revisions(page), "the change after")
    assert revisions(page) == [first + 3, first + 2, first + 1, *before]
    assert all("ERR_CONNECTION_REFUSED" in line for line in reported(page, 1))


def test_filters_stand_in_the_address_and_hold_for_what_comes(console: Opened, served: Served) -> None:
    served.claim(project=FOREIGN, on=OTHER)
    page = live(console)
    page.type("#by-project", FOREIGN)
    page.press("Enter")
    page.until(lambda: f"project={FOREIGN}" in page.address, "the filter")
    page.until_text("live, at revision")
    page.until(lambda: len(rows(page)) == 1, "one row")
    served.claim()
    consumer = served.claim(project=FOREIGN)
    page.until_text(consumer[:8])
    assert len(rows(page)) == 2
    page.type("#by-tree", "rack-host2")
    page.press("Enter")
    page.until(lambda: f"tree={OTHER}" in page.address, "the tree")
    page.until(lambda: len(rows(page)) == 1, "one row of the tree")
    page.type("#by-tree", "rack-host3")
    page.press("Enter")
    page.until_text("No tree has the name “rack-host3”.")
    page.type("#by-consumer", "123")
    page.press("Enter")
    page.until_text("whole UUID")
    page = live(console, "?kinds=inventory")
    assert all("inventory.set" in one for one in rows(page))
    assert "VCPU 1,000 added" in rows(page)[0]
    page = live(console, f"?consumer={consumer}")
    assert len(rows(page)) == 1


def test_the_past_is_shown_in_pages(console: Opened, served: Served) -> None:
    page = console.open("changes?before=3")
    page.until_text("up to revision 2 of")
    assert revisions(page) == [2, 1]
    page.until_text("where the journal begins")
    page.click_text("The newest, live")
    page.until_text("live, at revision")
    assert revisions(page)[0] == served.revision


def test_changes_are_walked_by_keys(console: Opened, served: Served) -> None:
    served.claim()
    page = live(console)
    page.run("document.querySelector('.log tbody a').focus()")
    page.press("ArrowDown", "ArrowDown", "ArrowUp", "Enter")
    page.until(lambda: f"change={served.revision - 1}" in page.address, "the second change")
    page.press("Escape", "g", "m")
    page.until_address(console.base + "map")
    page.press("g", "h")
    page.until_address(console.base + "changes")
    page.until_text("live, at revision")


def test_old_rows_go_and_can_be_read_again(console: Opened) -> None:
    page = live(console)
    told = page.run(
        """
        const {render} = await import(new URL('pages/changes.js', document.baseURI));
        const box = document.body.appendChild(document.createElement('div'));
        const page = render(box, new URLSearchParams());
        while (!page.follower) await new Promise(done => setTimeout(done, 5));
        page.follower.close();
        const change = revision => ({revision, kind: 'trait.create', at: '2027-01-31T08:00:00Z', by: null});
        page.add(Array.from({length: 700}, (_, at) => change(1000 + at)), true);
        page.ending();
        const rows = box.querySelectorAll('tbody tr'), link = box.querySelector('.log-end a');
        const told = [rows.length, rows[0].change.revision, link.getAttribute('href')];
        page.destroy();
        box.remove();
        return told;
        """
    )
    assert told == [500, 1699, "changes?before=1200"]


def test_a_reader_of_a_project_sees_its_own_consumers(console: Opened, served: Served) -> None:
    own = served.claim()
    served.claim(project=FOREIGN)
    page = console.browser
    with shown_token(page, served.reader):
        console.open("changes")
        page.until_text("enter the project above")
        assert "403" in reported(page, 1)[0]
        page.type("#by-project", OWN)
        page.press("Enter")
        text = page.until_text(f"VCPU +1: consumer {own[:8]}")
        assert "rack-host" not in text
        assert FOREIGN not in text
        page.click(".log tbody tr a")
        text = page.until_text("INSTANCE", ".drawer")
        assert "another project" in text
        assert "Provider" not in text


# Histories


def test_histories_are_paged_and_open_in_their_place(console: Opened, served: Served) -> None:
    consumer = served.claim()
    for vcpu in range(2, 24):
        served.claim(consumer, vcpu=vcpu)
    last = served.revision
    page = console.open(f"consumer?id={consumer}")
    page.until_text("Earlier changes")
    page.until_text(f"rev. {last}", "dd .last")
    items = "return document.querySelectorAll('.changes > li').length"
    assert page.run(items) == 20
    page.click_text("Earlier changes")
    page.until_text("The journal begins with revision 1")
    assert page.run(items) == 23
    page.click("summary")
    assert "VCPU of rack-host1\t22\t23" in page.until_text("Before", "details[open]")
    served.claim(consumer, vcpu=0)
    page = console.open(f"consumer?id={consumer}")
    text = page.until_text(f"VCPU {MINUS}23 on rack-host1")
    assert "It holds nothing" in text
    assert "404" in reported(page, 1)[0]


def test_a_tree_says_when_it_last_changed_and_why(console: Opened, served: Served) -> None:
    consumer = served.claim(on=OTHER)
    last = served.revision
    page = console.open(f"tree?id={OTHER}")
    page.until_text(f"rev. {last}", ".provider .last")
    page.until_text(f"rev. {last}", ".holders")
    page.until_text(f"consumer {consumer[:8]}", ".changes")
    page.click_text("History")
    page.until(lambda: f"history={OTHER}" in page.address, "the history")
    page.until_text("History of rack-host2")
    page.click(".provider .last a")
    page.until_text("Provider rack-host2", ".drawer")
    page.until_text("live, at revision")


# The map


def test_the_cell_of_a_tree_that_changes_flashes(console: Opened, served: Served) -> None:
    page = console.open("map")
    x, y = of_tree(page, "rack-host1")
    page.until(lambda: page.run("return Boolean(document.querySelector('.title .dot:not(.still)'))"), "live")
    boxes = (
        "return [...document.querySelectorAll('.flash')].map(one => [one.getBoundingClientRect().toJSON(), "
        "getComputedStyle(one).animationName])"
    )
    for motion, animation in (("no-preference", "flash"), ("reduce", "none")):
        features = [{"name": "prefers-reduced-motion", "value": motion}]
        page.command("Emulation.setEmulatedMedia", features=features)
        page.until(lambda: not page.run(boxes), "rest")
        served.claim()
        ((box, named),) = page.until(lambda: page.run(boxes), "a flash")
        corner = page.run("return document.querySelector('canvas').getBoundingClientRect().toJSON()")
        assert abs(box["x"] + box["width"] / 2 - corner["x"] - x) < 2
        assert abs(box["y"] + box["height"] / 2 - corner["y"] - y) < 2
        assert named == animation
    page.command("Emulation.setEmulatedMedia", features=[])


@pytest.mark.parametrize("path", ["changes", f"tree?id={HOST}", "consumer"])
def test_no_page_with_changes_is_wider_than_its_window(console: Opened, served: Served, path: str) -> None:
    served.claim()
    page = console.browser
    for width, height in (WIDE, NARROW):
        page.resize(width, height)
        console.open(path)
        page.until_settled()
        page.until(lambda: page.run("return Boolean(document.querySelector('.log tr, .last a'))"), path)
        assert page.run("return document.documentElement.scrollWidth") <= width


# What is missing


def test_a_gap_and_another_history_are_told(console: Opened, served: Served) -> None:
    page = live(console)
    page.click_text("Pause")
    page.until_text("paused at revision")
    for _ in range(3):
        served.claim()
    last = served.revision
    served.sql("DELETE FROM moorage_journal WHERE revision < ?", last)
    page.click_text("Go on")
    text = page.until_text("Changes are missing here")
    assert f"no longer has revisions up to {last - 1}" in text
    assert "410" in reported(page, 1)[0]
    page.click_text("Go on with the newest")
    page.until_text("live, at revision")
    reported(page, 1)
    assert revisions(page) == [last]
    page.click_text("Pause")
    page.until_text("paused at revision")
    served.sql("UPDATE moorage_revision SET epoch = 'f00df00df00df00d'")
    page.click_text("Go on")
    page.until_text("The service has begun a new history")
    assert "410" in reported(page, 1)[0]
    page.click_text("Show the new history")
    page.until_text("live, at revision")
    reported(page, 1)


def test_a_service_without_a_journal_says_how_to_switch_it_on(browser: Driven, tmp_path: Path) -> None:
    variables = {"OS_PLACEMENT_MOORAGE__JOURNAL": "off"}
    with running_service(f"sqlite:///{tmp_path}/off.sqlite", tmp_path, variables=variables) as port:
        with Client(port) as client:
            client.add_provider(HOST, "rack-host1", {"VCPU": {"total": 8}})
            browser.complaints()
            opened = Opened(browser, f"http://127.0.0.1:{port}")
            page = opened.open("changes")
            text = page.until_text("journal = full")
            assert "[moorage] journal is off" in text
            page = opened.open(f"tree?id={HOST}")
            page.until_text("not recorded")
            page.until_text("This service keeps no journal.")
            page = opened.open("map")
            of_tree(page, "rack-host1")
            client.claim(new_uuid(), HOST, {"VCPU": 1})
            page.click_text("Read again")
            page.until(lambda: page.run("return document.querySelectorAll('.flash').length"), "a flash")
        assert all("404" in line for line in page.complaints())


# What pages compute


SCRIPTED = """
const {Follower} = await import(new URL('follow.js', document.baseURI));
const asked = [], states = [], took = [], fetched = window.fetch, later = window.setTimeout;
const answers = arguments[0];
window.setTimeout = (act, milliseconds) => later(act, milliseconds / 100);
window.fetch = async address => {
  const query = new URL(address).searchParams;
  asked.push([query.get('after'), query.get('epoch'), query.get('wait')]);
  const next = answers.shift();
  if (next === null) throw new TypeError('network');
  return new Response(JSON.stringify(next), {status: next.status ?? 200});
};
await new Promise(done => {
  const follower = new Follower({
    position: 7, epoch: 'e', took: changes => took.push(...changes.map(one => one.revision)),
    told: ({state, reason}) => {
      if (states.at(-1) !== state) states.push(state);
      if (state !== 'over') return;
      states.push(reason.code);
      follower.close();
      done();
    },
  });
  follower.start();
});
Object.assign(window, {fetch: fetched, setTimeout: later});
return [asked, states, took];
"""


def told_page(*changes: int, after: int, more: bool = False) -> dict[str, Any]:
    """A page of changes with these revisions."""
    return {
        "changes": [{"revision": one} for one in changes],
        "next_after": after,
        "epoch": "e",
        "more": more,
    }


def test_a_follower_goes_on_where_it_was_and_says_how_it_goes(console: Opened) -> None:
    page = console.open("why")
    page.until_settled()
    busy = {"status": 503, "code": "busy", "title": "Busy"}
    answers = [
        told_page(8, 9, after=10, more=True),
        told_page(after=10),
        told_page(11, after=11),
        # A request asks again by itself once.
        None,
        None,
        told_page(after=12),
        busy,
        busy,
        told_page(13, after=14),
        {"status": 410, "code": "compacted", "title": "Compacted"},
    ]
    asked, states, took = page.run(SCRIPTED, answers)
    at_once, waits = None, "5s"
    assert asked == [
        ["7", "e", at_once],
        ["10", "e", at_once],
        ["10", "e", waits],
        ["11", "e", waits],
        ["11", "e", waits],
        ["11", "e", at_once],
        ["12", "e", waits],
        ["12", "e", waits],
        ["12", "e", at_once],
        ["14", "e", waits],
    ]
    assert states == ["live", "waiting", "live", "paged", "over", "compacted"]
    assert took == [8, 9, 11, 13]


INVENTORY = {"total": 8, "reserved": 0, "min_unit": 1, "max_unit": 8, "step_size": 1, "allocation_ratio": 1.0}


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"providers": {HOST: {"tree": HOST, "name": [None, "h1"], "traits": [None, []]}}}, "h1 created"),
        ({"providers": {HOST: {"tree": HOST, "name": ["h1", None]}}}, "h1 deleted"),
        (
            {"providers": {HOST: {"tree": HOST, "name": ["h1", "h2"], "parent": [None, OTHER]}}},
            "h2 renamed from h1, moved to another place",
        ),
        (
            {
                "providers": {
                    HOST: {
                        "tree": HOST,
                        "name": ["h1", "h1"],
                        "inventories": [
                            {"VCPU": INVENTORY, "PGPU": INVENTORY, "DISK_GB": INVENTORY},
                            {
                                "VCPU": INVENTORY | {"total": 16, "max_unit": 16},
                                "DISK_GB": INVENTORY | {"reserved": 2},
                                "MEMORY_MB": INVENTORY | {"total": 4096},
                            },
                        ],
                        "traits": [["A", "B"], ["B", "C"]],
                        "aggregates": [[], ["x"]],
                    }
                }
            },
            f"reserved 2 GB, MEMORY_MB 4,096 MB added, PGPU removed, VCPU 8 → 16, {MINUS}A, +C, 1 aggregate",
        ),
        (
            {"consumers": {HOST: {"project_id": [None, "p"], "resources": {"VCPU": [None, 2]}}}},
            "VCPU +2: consumer",
        ),
        (
            {
                "consumers": {
                    HOST: {
                        "project_id": ["p", "p"],
                        "held": {HOST: {"VCPU": [2, 0]}, OTHER: {"VCPU": [0, 2]}},
                    }
                }
            },
            f"moved to {OTHER[:8]}: consumer",
        ),
        (
            {"resource_classes": {"CUSTOM_A": [False, True]}, "traits": {"CUSTOM_B": [True, False]}},
            "trait CUSTOM_B deleted",
        ),
        ({"renamed": {"CUSTOM_A": "CUSTOM_B"}}, "class CUSTOM_A renamed to CUSTOM_B"),
        (
            {"adopted": {"providers": 2, "resource_classes": 1}},
            "a new history begins with 2 providers, 1 resource classes",
        ),
        (
            {"leases": {HOST: {"project_id": "p", "owner": "agent-7", "state": ["active", "expired"]}}},
            "lease of agent-7: active → expired",
        ),
        ({"reason": {"kind": "leaked", "source": "lab"}}, "because of a finding: leaked, lab"),
        ({"consumers": {HOST: {"project_id": ["p", "p"]}}}, f"consumer {HOST[:8]}"),
        ({}, "No value that is shown here"),
    ],
)
def test_a_change_is_put_into_a_line(console: Opened, change: dict[str, Any], line: str) -> None:
    page = console.browser
    if not page.address.endswith("/why"):
        console.open("why")
    told = page.run(
        "const {changeLine, learnNames} = await import(new URL('parts/change.js', document.baseURI));"
        "const {h} = await import(new URL('dom.js', document.baseURI));"
        "const real = window.fetch; window.fetch = () => Promise.reject(new DOMException('', 'AbortError'));"
        "await learnNames([arguments[0]]); window.fetch = real;"
        "return h('p', {}, changeLine(arguments[0])).textContent;",
        change,
    )
    assert line in told
