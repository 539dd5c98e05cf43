"""Each page of the console in a real browser, on the sample cloud: what it shows, and that its buttons work.

An error in the browser's console, or something that the content security policy refuses, fails the test in
which it happens.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import pytest

from tests.console.browser import Driven
from tests.console.opened import MARKS, NARROW, WIDE, Opened, moorage, of_tree, reported
from tests.journeys.client import Client, running_service

pytestmark = MARKS

FULL_CARD = "resources=VCPU:1&resources_G=PGPU:2&required_G=CUSTOM_GPU_A100&group_policy=none"
"""Two whole GPUs of one card, which has only one."""


ID_OF_NOVA = "req-0b4f7a31-6d0e-4d3e-9f6c-1a2b3c4d5e6f"
"""The id that a client gives its request."""


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A service with the sample cloud, which trusts every client."""
    folder = tmp_path_factory.mktemp("sample")
    database = f"sqlite:///{folder}/sample.sqlite"
    with running_service(database, folder) as port:
        with resources.as_file(resources.files("moorage.cli") / "demo.yaml") as path:
            moorage("load", str(path), "--database", database)
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
def console(browser: Driven, sample: str) -> Iterator[Opened]:
    browser.complaints()
    browser.resize(*WIDE)
    yield Opened(browser, sample)
    assert browser.complaints() == []


# Map


def test_a_browser_that_opens_the_service_sees_the_map(console: Opened) -> None:
    console.browser.open(console.service)
    text = console.browser.until_text("Trees")
    assert console.browser.address == console.base
    assert "25 105 providers" in text
    assert "VCPU used" in text
    coloured = console.browser.run(
        "const canvas = document.querySelector('canvas');"
        "const all = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;"
        "return new Set(new Uint32Array(all.buffer)).size;"
    )
    assert coloured > 10


def test_the_map_says_what_is_under_the_pointer_and_opens_it(console: Opened) -> None:
    page = console.open("map")
    x, y = of_tree(page, "rack2-host1")
    page.point("canvas", x, y)
    assert "rack2-host1" in page.text(".tip")
    assert "DISK_GB" in page.text(".tip")
    page.point("canvas", x, y, click=True)
    drawer = page.until_text("65,536 of 94,208 MB", ".drawer")
    assert "tree=" in page.address
    assert "numa0" in drawer
    page.until_text("astronomy", ".drawer")
    page.press("Escape")
    page.until(lambda: "tree=" not in page.address, "closing")
    assert page.run("return document.querySelector('.drawer').hidden")


def test_the_map_is_walked_by_keys(console: Opened) -> None:
    page = console.open("map")
    of_tree(page, "rack1-host1")
    page.run("document.querySelector('canvas').focus()")
    assert "rack1-host1" in page.text(".tip")
    page.press("ArrowRight", "ArrowDown", "ArrowUp", "ArrowRight", "ArrowLeft")
    assert "rack1-host2" in page.text(".tip")
    page.until(
        lambda: "rack1-host2" in page.run("return document.getElementById('spoken').textContent"), "speech"
    )
    page.press("Enter")
    page.until_text("rack1-host2", ".drawer h2")


def test_what_the_map_shows_stands_in_its_address(console: Opened) -> None:
    page = console.open("map")
    page.until_text("Colour by")
    for field, value in (("colour", "PGPU"), ("group", "name")):
        page.run(
            "const field = document.getElementById(arguments[0]); field.value = arguments[1];"
            "field.dispatchEvent(new Event('change', {bubbles: true}));",
            field,
            value,
        )
    page.type("#filter", "a100")
    page.until(lambda: "name=a100" in page.address, "the filter")
    page.click(".legend [data-bin='5']")
    page.until_text("1 of 25 trees")
    address = page.address
    assert {"class=PGPU", "group=name", "share=50-60"} <= set(address.partition("?")[2].split("&"))
    page.open(address)
    page.until_text("1 of 25 trees")
    assert page.run("return document.getElementById('colour').value") == "PGPU"
    page.click(".legend .clear")
    page.until_text("4 of 25 trees")
    page.click_text("Read again")


def test_a_group_without_the_chosen_class_says_so(console: Opened) -> None:
    page = console.open("map?class=PGPU")
    of_tree(page, "rack1-host1")
    groups = page.run(
        "return document.querySelector('canvas').heat.data.groups.map(one => one.note.join(', '))"
    )
    assert "no PGPU" in groups[0]
    assert "18 % used" in groups[2]


# Search


def test_a_query_as_typed_finds_candidates(console: Opened) -> None:
    page = console.open("search")
    page.until_text("What shall fit?")
    page.type(
        "#query", "GET /allocation_candidates?limit=1000&resources=VCPU%3A2%2CMEMORY_MB%3A4096 HTTP/1.1"
    )
    page.until_text("candidates")
    page.until_text("VCPU +2")
    assert "q=" in page.address
    page.click_text("3 more ways on the same tree")
    page.click_text("Show more")
    page.until(lambda: "limit=100" in page.address, "more")
    page.until_text("96 candidates")
    page.click(".candidate a")
    page.until_text("generation", ".panel")
    assert "/tree?id=" in page.address


@pytest.fixture
def writing(browser: Driven, tmp_path: Path) -> Iterator[Opened]:
    """As ``console``, of a service whose console may claim."""
    browser.complaints()
    browser.resize(*WIDE)
    database = f"sqlite:///{tmp_path}/writing.sqlite"
    with running_service(
        database, tmp_path, variables={"OS_PLACEMENT_MOORAGE__CONSOLE_WRITES": "true"}
    ) as port:
        with resources.as_file(resources.files("moorage.cli") / "demo.yaml") as path:
            moorage("load", str(path), "--database", database)
        yield Opened(browser, f"http://127.0.0.1:{port}")
    assert browser.complaints() == []


def test_what_a_search_finds_is_claimed(writing: Opened) -> None:
    page = writing.open("search?q=resources%3DVCPU%3A2")
    page.until_text("candidates")
    page.click_text("Claim the best place")
    text = page.until_text("Claimed on", ".granted")
    assert "best of" in text
    assert "pack 0." in text
    for width, height in (WIDE, NARROW):
        page.resize(width, height)
        assert page.run("return document.documentElement.scrollWidth") <= width
    page.click(".granted a[href*=consumer]")
    page.until_text("Generation")
    page.until_settled()


def test_a_console_that_only_reads_offers_no_claim(console: Opened) -> None:
    page = console.open("search?q=resources%3DVCPU%3A2")
    page.until_text("candidates")
    assert "Claim" not in page.text("main")


def test_a_request_is_built_by_the_form(console: Opened) -> None:
    page = console.open("search")
    page.type("[aria-label='Resource class']", "PGPU")
    page.until_text("candidates")
    page.type("[aria-label='Add a trait']", "CUSTOM_GPU_T4")
    page.press("Enter")
    page.until_text("Nearest misses")
    page.click("[aria-label='Remove CUSTOM_GPU_T4']")
    page.until_text("candidates")
    page.click_text("Add a group")
    page.until_text("Group _1")
    assert page.run("return document.getElementById('query').value").startswith("resources=PGPU:1")
    page.click_text("Remove the group")


def test_a_request_that_finds_nothing_is_led_to_one_that_fits(console: Opened) -> None:
    page = console.open(f"search?q={FULL_CARD.replace('&', '%26').replace('=', '%3D')}")
    text = page.until_text("What would fit")
    assert "PGPU" in text
    assert "Nearest misses" in text
    page.click(".apply")
    page.until_text("candidate")
    page.until_text("VCPU +1")


# The other pages


def test_a_tree_shows_what_it_has_and_what_holds_it(console: Opened) -> None:
    page = console.open("map")
    x, y = of_tree(page, "rack3-a100-host1")
    page.point("canvas", x, y, click=True)
    page.click_text("Open the tree")
    text = page.until_text("131,072 of 253,952 MB")
    assert {"8,192 MB reserved", "HW_NUMA_ROOT", "In 2 aggregates"} <= {
        word for word in ("8,192 MB reserved", "HW_NUMA_ROOT", "In 2 aggregates") if word in text
    }
    page.until_text("Held by")
    page.click(".holders a")
    page.until_text("INSTANCE")
    assert "PGPU 2" in page.until_text("Where")
    page.click_text("rack3-a100-host1-numa0-gpu0")
    page.until_text("CUSTOM_GPU_A100")
    page.click_text("CUSTOM_GPU_A100")
    page.until_text("Search with it")


def test_classes_are_summed_up_in_all_and_by_trait(console: Opened) -> None:
    page = console.open("classes")
    text = page.until_text("By trait")
    assert "7,602,176 MB" in text
    assert "262,144 MB" in page.until_text("262,144 MB")
    page.type("#find-trait", "gpu")
    page.until(lambda: "COMPUTE_NODE" not in page.until_text("CUSTOM_GPU_T4"), "the filter")
    page.click_text("CUSTOM_GPU_T4")
    page.until_text("Search with it")
    page.click_text("Close")
    page.click_text("VGPU")
    page.until(lambda: "map?class=VGPU" in page.address, "the map")


def test_consumers_are_listed_by_project(console: Opened) -> None:
    page = console.open("consumer")
    page.until_text("13 consumers")
    page.type("#by-project", "genomics")
    page.until(lambda: "project=genomics" in page.address, "the filter")
    page.until(lambda: "astronomy" not in page.until_text("consumers"), "the answer")
    page.type("#by-type", "MIGRATION")
    page.until_text("1 consumer")
    page.click("tbody a")
    page.until_text("rack2-host6")
    page.click_text("All consumers")
    page.until_text("13 consumers")


def test_the_reason_of_an_earlier_request_is_found_by_its_id(console: Opened) -> None:
    page = console.open("why")
    page.type("#request", "req-12345678")
    page.click_text("Explain")
    page.until(lambda: "request=req-12345678" in page.address, "the id")
    page.until_text("(404)")
    assert "404" in reported(page, 1)[0]
    client = Client(int(console.service.rpartition(":")[2]))
    with client:
        path = f"/allocation_candidates?{FULL_CARD.replace('VCPU:1', 'VCPU:2')}"
        found = client.request("GET", path, headers={"X-OpenStack-Request-Id": ID_OF_NOVA})
        assert found.json["allocation_requests"] == []

        def is_kept() -> bool:
            return client.request("GET", f"/moorage/v1/explanations/{ID_OF_NOVA}").status == 200

        page.until(is_kept, "the explanation")
    page.type("#request", ID_OF_NOVA)
    page.press("Enter")
    text = page.until_text("It can never fit here")
    assert "Nearest misses" in text
    page.click_text("Search with the same query now")
    page.until_text("What would fit")
    page.run("history.back()")
    page.until_text("Search with the same query now")
    page.click(".apply")
    page.until_text("VCPU +2")
    page = console.open("why")
    page.until_text("Unmet asks of the last day")
    page.click("tbody a")
    page.until_text("It can never fit here")
    page = console.open("map")
    page.until_text("Unmet asks in the last hour")


# The frame


def test_keys_lead_to_the_pages_and_to_what_is_found(console: Opened) -> None:
    page = console.open("map")
    page.until_text("Colour by")
    for letter, name in (("s", "search"), ("c", "classes"), ("o", "consumer"), ("w", "why"), ("m", "map")):
        page.press("g", letter)
        page.until_address(console.base + name)
        assert page.run("return document.querySelector('nav [aria-current]').getAttribute('href')") == name
    page.press("/")
    page.type("#find", "rack3-t4")
    page.until_text("rack3-t4-host1", "#found")
    page.press("ArrowDown", "ArrowUp", "Enter")
    page.until_text("HW_CPU_X86_AVX512F")
    assert page.run("return document.querySelector('h1').textContent") == "rack3-t4-host1"
    page.press("/")
    page.type("#find", "nothing of the kind")
    page.press("Escape")
    assert page.run("return document.getElementById('found').hidden")


def test_the_back_button_leads_back(console: Opened) -> None:
    page = console.open("classes")
    page.until_text("By trait")
    page.click_text("Consumers")
    page.until_text("13 consumers")
    page.run("history.back()")
    page.until_text("By trait")


def test_the_theme_is_switched_and_kept(console: Opened) -> None:
    page = console.open("map")
    page.prefer("light")
    before = page.run("return getComputedStyle(document.body).backgroundColor")
    page.click("#theme")
    after = page.run("return getComputedStyle(document.body).backgroundColor")
    assert before != after
    page = console.open("why")
    assert page.run("return getComputedStyle(document.body).backgroundColor") == after
    page.click("#theme")
    assert page.run("return getComputedStyle(document.body).backgroundColor") == before
    page.run("localStorage.clear()")


def test_an_error_says_what_to_do(console: Opened) -> None:
    page = console.open("search?q=resources%3DNOTHING:1")
    text = page.until_text("Try again")
    assert "(400)" in text
    assert "Request id req-" in text
    page.click_text("Try again")
    page.until_text("Request id req-")
    # That of the first attempt and that of the second one.
    assert all("400" in line for line in reported(page, 2))


@pytest.mark.parametrize("path", ["map", "search?q=resources%3DVCPU%3A2", "classes", "consumer", "why"])
def test_no_page_is_wider_than_its_window(console: Opened, path: str) -> None:
    for width, height in (WIDE, NARROW):
        console.browser.resize(width, height)
        page = console.open(path)
        page.until_settled()
        assert page.run("return document.documentElement.scrollWidth") <= width


def test_what_the_policy_refuses_is_noticed(console: Opened) -> None:
    page = console.open("why")
    page.run("document.body.setAttribute('style', 'color: red')")
    assert any("Content Security Policy" in line for line in page.complaints())
    page.run(
        "const image = new Image(); image.src = 'http://elsewhere.example/x'; document.body.append(image)"
    )
    assert any("Content Security Policy" in line for line in page.complaints())


def test_a_service_with_tokens_asks_for_one_and_an_empty_cloud_says_how_to_fill_it(
    browser: Driven, tmp_path: Path
) -> None:
    database = f"sqlite:///{tmp_path}/tokens.sqlite"
    with running_service(database, tmp_path, variables={"OS_PLACEMENT_API__AUTH_STRATEGY": "token"}) as port:
        token = moorage("token", "create", "--role", "service", "--database", database).split()[-1]
        page = Opened(browser, f"http://127.0.0.1:{port}").open("map")
        page.until_text("moorage token create", "#token")
        page.click("#token-cancel")
        assert "(401)" in page.until_text("Try again")
        page.click("#identity")
        page.type("#token-value", token)
        page.press("Enter")
        text = page.until_text("There are no providers yet")
        assert all(word in text for word in ("moorage load", "moorage import", "curl -X POST"))
        assert all("401" in line for line in page.complaints())
        assert page.run("return document.cookie") == ""


# What pages compute


@pytest.mark.parametrize(
    "query",
    [
        "resources=VCPU:2,MEMORY_MB:4096",
        "resources=VCPU:1&required=A,!B&required=in:C,D&member_of=in:x,y&member_of=!z&in_tree=p",
        "resources_G=PGPU:1&required_G=A&resources_N=VCPU:4&group_policy=isolate&same_subtree=_G,_N",
        "resources=VCPU:1&root_required=A,!B",
    ],
)
def test_a_query_survives_the_form(console: Opened, query: str) -> None:
    page = console.open("why")
    script = (
        "const {parse, toQuery} = await import(new URL('ask.js', document.baseURI));"
        "return toQuery(parse(arguments[0]));"
    )
    assert page.run(script, query) == query
    assert page.run(script, f'GET /placement/allocation_candidates?{query} HTTP/1.1" 200') == query


@pytest.mark.parametrize(
    ("term", "left"),
    [
        ({"kind": "room", "group": "", "resource_class": "VCPU"}, "resources=PGPU:1&required=A,!B&in_tree=p"),
        ({"kind": "required", "group": "", "traits": ["A"]}, "resources=VCPU:2,PGPU:1&required=!B&in_tree=p"),
        ({"kind": "forbidden", "group": "", "traits": ["B"]}, "resources=VCPU:2,PGPU:1&required=A&in_tree=p"),
        ({"kind": "in_tree", "group": "", "in_tree": "p"}, "resources=VCPU:2,PGPU:1&required=A,!B"),
    ],
)
def test_a_relaxation_changes_the_query(console: Opened, term: dict[str, object], left: str) -> None:
    page = console.open("why")
    script = (
        "const {relaxed} = await import(new URL('ask.js', document.baseURI));"
        "return relaxed('resources=VCPU:2,PGPU:1&required=A,!B&in_tree=p',"
        " [{op: 'drop', constraint: 'c1'}], [{id: 'c1', ...arguments[0]}]);"
    )
    assert page.run(script, term) == left


@pytest.mark.parametrize(("trees", "per_cell"), [(1, 1), (40, 1), (5_000, 1), (100_000, 1), (300_000, 2)])
def test_every_tree_of_a_large_cloud_has_its_place_on_the_map(
    console: Opened, trees: int, per_cell: int
) -> None:
    page = console.open("why")
    found = page.run(
        """
        const {HeatMap} = await import(new URL('parts/heat.js', document.baseURI));
        const box = document.body.appendChild(document.createElement('div'));
        const size = arguments[0], half = Math.floor(size / 2), all = [...Array(size).keys()];
        const heat = new HeatMap(box, {chosen: () => {}, hovered: () => {}});
        const group = (label, indices) => ({label, note: [], share: 0.5, indices});
        heat.set({
            groups: [group('one', all.slice(0, half)), group('other', all.slice(half))]
                .filter(one => one.indices.length),
            shares: Float32Array.from(all, index => index % 103 / 100 - 0.01),
            names: all.map(String), shown: () => true, classesOf: () => [],
        });
        const lost = [];
        for (let index = 0; index < size; index += Math.ceil(size / 500)) {
            const place = heat.find(index);
            const picked = heat.pick(place.x + place.width / 2, place.y + place.height / 2);
            if (Math.abs(picked - index) >= heat.each || picked > index) lost.push([index, picked]);
        }
        const wide = Math.max(...heat.blocks.map(one => one.x + one.wide));
        const told = [lost, heat.each, wide <= heat.width + heat.cell.gap, heat.canvas.width > 0];
        box.remove();
        return told;
        """,
        trees,
    )
    assert found == [[], per_cell, True, True]


def test_an_ask_of_the_native_api_becomes_a_query(console: Opened) -> None:
    page = console.open("why")
    ask = {
        "groups": {
            "": {"resources": {"VCPU": 4}, "required": ["A", {"any": ["B", "C"]}], "forbidden": ["D"]},
            "_G": {"resources": {"PGPU": 1}, "member_of": [{"any": ["x", "y"]}], "in_tree": "p"},
        },
        "group_policy": "none",
        "same_subtree": [["_G", "_N"]],
        "root_forbidden": ["E"],
    }
    query = page.run(
        "const {queryOfAsk} = await import(new URL('ask.js', document.baseURI));"
        "return queryOfAsk(arguments[0]);",
        ask,
    )
    assert query == (
        "resources=VCPU:4&required=A,!D&required=in:B,C&resources_G=PGPU:1&member_of_G=in:x,y&in_tree_G=p"
        "&group_policy=none&same_subtree=_G,_N&root_required=!E"
    )
