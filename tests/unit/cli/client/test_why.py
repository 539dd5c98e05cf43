"""What people read of an explanation, and where commands give one unasked."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import requests

from moorage.api.http.exchange import WsgiApplication
from moorage.cli.client import explained
from moorage.wiring.settings import Chosen, resolve
from tests.unit.applications import built
from tests.unit.cli.client.conftest import Terminal, answering
from tests.unit.cli.client.test_connection import stub

KEEPING_SECONDS = 20

CONSUMER = "5f0f0a44-52a1-4b3e-9a52-3c2d8d1f1a55"

FULL: dict[str, Any] = {
    "revision": 918272,
    "verdict": "no_room",
    "also": [],
    "exact": True,
    "feasible": 0,
    "trees": 1523,
    "empty_cloud": 404,
    "summary": "No tree can serve this now; in an empty cloud 404 could. "
    "Nearest: rack1-h7 lacks 1 CUSTOM_GPU. Without HW_NIC_SRIOV, 3 trees could.",
    "constraints": [
        {
            "id": "c1",
            "kind": "room",
            "group": "",
            "resource_class": "VCPU",
            "amount": 4,
            "alone": 1400,
            "without": 0,
            "empty_cloud": 1523,
        },
        {
            "id": "c2",
            "kind": "room",
            "group": "_gpu",
            "resource_class": "CUSTOM_GPU",
            "amount": 4,
            "alone": 33,
            "without": 61,
            "empty_cloud": 404,
        },
        {
            "id": "c3",
            "kind": "required",
            "group": "",
            "traits": ["HW_NIC_SRIOV"],
            "alone": 900,
            "without": 3,
        },
        {"id": "c4", "kind": "together", "rule": "isolate", "groups": ["_gpu", "_numa"], "without": 0},
    ],
    "funnel": [],
    "nearest": [
        {
            "root": "9a",
            "name": "rack1-h7",
            "distance": 0.25,
            "satisfies": ["c1", "c3"],
            "fails": ["c2", "c4"],
            "missing": [
                {
                    "provider": "b1",
                    "name": "rack1-h7-gpu",
                    "constraint": "c2",
                    "resource_class": "CUSTOM_GPU",
                    "need": 4,
                    "room": 3,
                    "short": 1,
                }
            ],
            "held_by": [
                {
                    "consumer": CONSUMER,
                    "consumer_type": "INSTANCE",
                    "project_id": "p2",
                    "resources": {"CUSTOM_GPU": 5},
                    "since": "2026-11-29T19:00:00Z",
                }
            ],
        }
    ],
    "relaxations": [
        {
            "changes": [{"op": "amount", "constraint": "c2", "from": 4, "to": 3}],
            "feasible": 12,
            "cost": 0.25,
        },
        {
            "changes": [{"op": "drop", "constraint": "c3"}, {"op": "drop", "constraint": "c1"}],
            "feasible": 1,
            "cost": 2.0,
        },
    ],
    "unlocked_by": [
        [
            {
                "event": "freed",
                "provider": "b1",
                "name": "rack1-h7-gpu",
                "resource_class": "CUSTOM_GPU",
                "amount": 1,
            }
        ]
    ],
    "chosen": None,
    "alternatives": [],
    "notes": ["limit in the query was ignored"],
}

Asked = list[dict[str, Any]]


def explaining(application: WsgiApplication, answer: tuple[str, Any], asked: Asked) -> WsgiApplication:
    """The application, with an answer of the test's own in place of each explanation."""

    def wrapped(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ["PATH_INFO"] != explained.EXPLANATIONS:
            return application(environ, start_response)
        asked.append(json.loads(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))))
        status, body = answer
        kind = "application/json" if status.startswith("200") else "application/problem+json"
        start_response(status, [("Content-Type", kind)])
        return [json.dumps(body).encode()]

    return wrapped


@pytest.fixture
def application(service_database: str) -> Iterator[WsgiApplication]:
    with built(resolve(Chosen(database=service_database), {}, serving=True).settings) as application:
        yield application


@contextmanager
def explains(
    application: WsgiApplication, body: Any, status: str = "200 OK"
) -> Iterator[tuple[Terminal, Asked]]:
    asked: Asked = []
    with answering(explaining(application, (status, body), asked)) as url:
        yield Terminal(url), asked


@pytest.fixture
def full(application: WsgiApplication) -> Iterator[tuple[Terminal, Asked]]:
    with explains(application, FULL) as made:
        yield made


def test_the_reason_is_a_sentence_a_table_and_what_would_help(full: tuple[Terminal, Asked]) -> None:
    terminal, asked = full
    text = terminal.does("why", "--query", "resources=VCPU:4&limit=1", status=3)
    assert text == (
        "No tree can serve this now; in an empty cloud 404 could. Nearest: rack1-h7 lacks\n"
        "1 CUSTOM_GPU. Without HW_NIC_SRIOV, 3 trees could.\n"
        "\n"
        "CONSTRAINT            ALONE  WITHOUT  EMPTY CLOUD\n"
        "VCPU=4                 1400        0         1523\n"
        "gpu: CUSTOM_GPU=4        33       61          404\n"
        "HW_NIC_SRIOV            900        3\n"
        "group_policy=isolate               0\n"
        "\n"
        "Nearest:\n"
        "  rack1-h7: rack1-h7-gpu lacks 1 CUSTOM_GPU (room for 3 of 4); fails\n"
        "    group_policy=isolate; held by 5f0f0a44-52a1-4b3e-9a52-3c2d8d1f1a55\n"
        "    (INSTANCE, project p2: 5 CUSTOM_GPU)\n"
        "\n"
        "Would fit:\n"
        "  gpu: CUSTOM_GPU=3 instead of 4: 12 trees\n"
        "  without HW_NIC_SRIOV, and without VCPU=4: 1 tree\n"
        "\n"
        "Fits after:\n"
        "  1 CUSTOM_GPU freed on rack1-h7-gpu\n"
        "Note: limit in the query was ignored\n"
    )
    assert asked == [{"ask": {"query": "resources=VCPU:4&limit=1"}}]


@pytest.mark.parametrize("columns", [40, 60, 80, 120])
def test_no_line_is_wider_than_the_terminal(full: tuple[Terminal, Asked], columns: int) -> None:
    terminal, _ = full
    result = terminal.run("why", "--query", "resources=VCPU:4", COLUMNS=str(columns))
    assert max(map(len, result.stdout.splitlines())) <= columns


def test_programs_get_the_explanation_as_it_came(full: tuple[Terminal, Asked]) -> None:
    terminal, asked = full
    assert (
        terminal.json(
            "why", "--resources", "VCPU=4", "--at", "rack1-h7", "--count", "2", "--project", "p1", status=3
        )
        == FULL
    )
    assert asked == [
        {"ask": {"query": "resources=VCPU%3A4"}, "at": "rack1-h7", "count": 2, "project_id": "p1"},
    ]
    assert "verdict: no_room" in terminal.does("why", "--resources", "VCPU=4", "-f", "yaml", status=3)


def test_the_options_of_a_search_become_its_query(full: tuple[Terminal, Asked]) -> None:
    terminal, asked = full
    words = ["--group", "a:VCPU=1", "--group", "b:PGPU=1", "--same-subtree", "a,b", "--required", "A|B"]
    terminal.does("why", "--resources", "DISK_GB=1", *words, "--group-policy", "isolate", status=3)
    assert asked[0]["ask"]["query"] == (
        "resources=DISK_GB%3A1&required=in%3AA%2CB&resources_a=VCPU%3A1&resources_b=PGPU%3A1"
        "&group_policy=isolate&same_subtree=_a%2C_b"
    )


@pytest.mark.parametrize(
    "words",
    [(), ("--query", "resources=VCPU:1", "--resources", "VCPU=1"), ("--query", "x", "--request", "y")],
)
def test_a_request_is_said_in_one_way(full: tuple[Terminal, Asked], words: tuple[str, ...]) -> None:
    assert "Use --query or --request, or say" in full[0].refused("why", *words, status=2)


def test_a_bound_on_the_steps_is_named(application: WsgiApplication) -> None:
    with explains(application, {**FULL, "verdict": "cut_short", "exact": False}) as (terminal, _):
        assert "Counts are lower bounds" in terminal.does("why", "--resources", "VCPU=4", status=3)


def test_a_token_that_may_not_see_trees_gets_counts_alone(application: WsgiApplication) -> None:
    hidden = ("nearest", "unlocked_by", "chosen", "alternatives")
    redacted = {name: part for name, part in FULL.items() if name not in hidden}
    with explains(application, redacted) as (terminal, _):
        text = terminal.does("why", "--resources", "VCPU=4", status=3)
        terminal.does("provider", "create", "host1")
        terminal.does("inventory", "set", "host1", "VCPU=8")
        assert "lacks" not in claim(terminal, "host1:VCPU=9")
    assert "Would fit:" in text
    assert "\nNearest:\n" not in text


def test_what_fits_is_shown_and_is_no_no(application: WsgiApplication) -> None:
    candidate = {"allocations": {"u1": {"VCPU": 4}}, "mappings": {"": ["u1"]}, "names": {"u1": "host"}}
    fits = {
        **FULL,
        "verdict": "fits",
        "summary": "2 of 2 trees can serve this.",
        "nearest": [],
        "relaxations": [],
        "unlocked_by": [],
        "notes": [],
        "chosen": candidate,
        "alternatives": [{**candidate, "names": {}}],
    }
    with explains(application, fits) as (terminal, _):
        text = terminal.does("why", "--resources", "VCPU=4")
    assert text.startswith("2 of 2 trees can serve this.\n")
    assert text.endswith(
        "   PROVIDER  CLASS  AMOUNT\n1  host      VCPU        4\n2  u1        VCPU        4\n"
    )


# Refusals


def test_a_problem_is_shown_with_the_nearest_names(application: WsgiApplication) -> None:
    body = {
        "type": "/moorage/v1/problems/unknown-name",
        "code": "unknown_name",
        "detail": "No such resource class VCPUS.",
        "names": [{"name": "VCPUS", "nearest": ["VCPU"]}, {"name": "X", "nearest": []}],
    }
    with explains(application, body, "400 Bad Request") as (terminal, _):
        text = terminal.refused("why", "--query", "resources=VCPUS:1")
        assert text == "No such resource class VCPUS.\nVCPUS: did you mean VCPU?\n"
        assert "no resource class 'VCPUS'. Did you mean VCPU" in terminal.refused(
            "why", "--resources", "VCPUS=1"
        )


def test_a_forbidden_explanation_says_which_token_to_use(application: WsgiApplication) -> None:
    body = {"type": "/forbidden", "code": "forbidden", "detail": "moorage:explanations:create needs admin."}
    with explains(application, body, "403 Forbidden") as (terminal, _):
        text = terminal.refused("why", "--resources", "VCPU=1")
        assert "This token does not allow that: moorage:explanations:create needs admin." in text
        text = terminal.does("candidates", "--resources", "VCPU=1", status=3)
        assert text == "No candidates: no providers meet all conditions and have enough free.\n"


def test_a_service_of_placement_explains_nothing_and_says_so() -> None:
    error = {"errors": [{"status": 404, "title": "Not Found", "detail": "The resource could not be found."}]}
    with answering(stub(lambda _: ("404 Not Found", json.dumps(error).encode()))) as url:
        text = Terminal(url).refused("why", "--query", "resources=VCPU:1")
    assert "explains nothing: it has no native API. It is OpenStack Placement" in text


@pytest.mark.parametrize(
    ("features", "told"), [([], "it is an older Moorage"), (["explain"], "There is no rack9.")]
)
def test_what_is_not_found_is_a_feature_or_a_provider(features: list[str], told: str) -> None:
    discovery = stub(lambda _: ("200 OK", json.dumps({"versions": [{"features": features}]}).encode()))
    problem = {"type": "/not-found", "code": "not_found", "detail": "There is no rack9."}
    with explains(discovery, problem, "404 Not Found") as (terminal, _):
        assert told in terminal.refused("why", "--query", "resources=VCPU:1", "--at", "rack9")


# Unasked


def test_candidates_that_find_nothing_say_why(full: tuple[Terminal, Asked]) -> None:
    terminal, asked = full
    text = terminal.does("candidates", "--resources", "VCPU=4", status=3)
    assert text == (
        "No candidates: no providers meet all conditions and have enough free.\n"
        "No tree can serve this now; in an empty cloud 404 could. Nearest: rack1-h7 lacks\n"
        "1 CUSTOM_GPU. Without HW_NIC_SRIOV, 3 trees could.\n"
    )
    assert [each["ask"] for each in asked] == [{"query": "resources=VCPU%3A4"}]
    assert terminal.json("candidates", "--resources", "VCPU=4", status=3)["allocation_requests"] == []
    assert len(asked) == 1


def test_candidates_say_nothing_that_has_become_wrong(application: WsgiApplication) -> None:
    with explains(application, {**FULL, "verdict": "fits"}) as (terminal, _):
        assert terminal.does("candidates", "--resources", "VCPU=4", status=3).count("\n") == 1


def claim(terminal: Terminal, *holdings: str, consumer: str = "vm1") -> str:
    return terminal.refused("allocation", "set", consumer, *holdings, "--project", "p", "--user", "u")


@pytest.fixture
def hosts(application: WsgiApplication) -> Iterator[tuple[Terminal, Asked, list[str]]]:
    """Two hosts of eight cores, and explanations that name the shortage of the first."""
    answer = json.loads(json.dumps(FULL))
    with explains(application, answer) as (terminal, asked):
        uuids = []
        for name in ("host1", "host2"):
            terminal.does("provider", "create", name)
            terminal.does("inventory", "set", name, "VCPU=8")
            uuids.append(terminal.json("provider", "show", name)["uuid"])
        answer["nearest"][0]["missing"][0] |= {"provider": uuids[0], "name": "host1"}
        yield terminal, asked, uuids


def test_a_refused_claim_names_what_is_missing_and_its_holder(
    hosts: tuple[Terminal, Asked, list[str]],
) -> None:
    terminal, asked, uuids = hosts
    text = claim(terminal, "host1:VCPU=9", "host2:VCPU=1")
    assert (
        "host1 lacks 1 CUSTOM_GPU (room for 3 of 4); fails group_policy=isolate; "
        f"held by {CONSUMER} (INSTANCE, project p2: 5 CUSTOM_GPU).\n"
    ) in text
    assert asked == [
        {
            "ask": {"groups": {"_claim": {"resources": {"VCPU": amount}}}},
            "at": uuid,
            "nearest": 1,
            "relaxations": 0,
        }
        for uuid, amount in zip(uuids, (9, 1), strict=True)
    ]


def test_a_refused_claim_names_a_provider_beside_that_has_room(application: WsgiApplication) -> None:
    chosen = {
        "allocations": {"u2": {"VCPU": 9}},
        "mappings": {"_claim": ["u2"]},
        "names": {"u2": "host1-numa1"},
    }
    with explains(application, {**FULL, "verdict": "fits", "nearest": [], "chosen": chosen}) as (terminal, _):
        terminal.does("provider", "create", "host1")
        terminal.does("inventory", "set", "host1", "VCPU=8")
        assert "\nhost1-numa1 has room for it.\n" in claim(terminal, "host1:VCPU=9")


def test_a_refused_claim_for_which_there_is_room_by_now_names_nothing(application: WsgiApplication) -> None:
    with explains(application, {**FULL, "verdict": "fits", "nearest": []}) as (terminal, asked):
        uuid = terminal.json("provider", "create", "host1")["uuid"]
        terminal.does("inventory", "set", "host1", "VCPU=8")
        assert "has room for it" not in claim(terminal, "host1:VCPU=9")
        assert [each["at"] for each in asked] == [uuid]


def test_a_changed_claim_is_not_explained_because_its_own_use_counts(
    hosts: tuple[Terminal, Asked, list[str]],
) -> None:
    terminal, asked, _ = hosts
    terminal.does("allocation", "set", "vm1", "host1:VCPU=1", "--project", "p", "--user", "u")
    claim(terminal, "host1:VCPU=9")
    assert asked == []


def test_a_refused_claim_without_explanation_is_refused_as_before(application: WsgiApplication) -> None:
    with explains(application, {"code": "forbidden", "type": "/f"}, "403 Forbidden") as (terminal, _):
        terminal.does("provider", "create", "host1")
        terminal.does("inventory", "set", "host1", "VCPU=8")
        assert "'moorage usage --provider host1' shows what is left" in claim(terminal, "host1:VCPU=9")


def test_provider_of_in_tree_is_looked_up(hosts: tuple[Terminal, Asked, list[str]]) -> None:
    terminal, asked, uuids = hosts
    terminal.does("why", "--resources", "VCPU=1", "--in-tree", "host2", status=3)
    assert asked == [{"ask": {"query": f"resources=VCPU%3A1&in_tree={uuids[1]}"}}]


# Words


@pytest.mark.parametrize(
    ("constraint", "text"),
    [
        ({"kind": "required", "traits": ["A", "B"]}, "A|B"),
        ({"kind": "forbidden", "group": "_gpu", "traits": ["A"]}, "gpu: !A"),
        ({"kind": "member_of", "aggregates": ["x", "y"]}, "member_of=x|y"),
        ({"kind": "not_member_of", "aggregates": ["x"]}, "member_of=!x"),
        ({"kind": "in_tree", "in_tree": "u"}, "in_tree=u"),
        ({"kind": "root_required", "traits": ["A"]}, "root_required=A"),
        ({"kind": "root_forbidden", "traits": ["A"]}, "root_required=!A"),
        ({"kind": "together", "rule": "same_subtree", "groups": ["_a", "_b"]}, "same_subtree=a,b"),
        (
            {
                "kind": "together",
                "rule": "sum",
                "groups": ["_a", "_b"],
                "resource_class": "VCPU",
                "amount": 3,
            },
            "VCPU=3 of a,b on one provider",
        ),
        (
            {"kind": "together", "rule": "one_provider_per_tree", "groups": ["_a"]},
            "a from one provider of each tree",
        ),
        ({"kind": "limit"}, "limit"),
    ],
)
def test_a_constraint_reads_as_the_options_that_ask_for_it(constraint: dict[str, Any], text: str) -> None:
    assert explained.label(constraint) == text


@pytest.mark.parametrize(
    ("kind", "missing", "text"),
    [
        ("required", {"name": "h", "traits": ["A"]}, "h lacks A"),
        ("forbidden", {"provider": "u", "traits": ["A"]}, "u has A"),
        ("member_of", {"provider": "u", "aggregates": ["x"]}, "u lacks x"),
        ("in_tree", {"name": "h"}, "h is not the right one"),
        (
            "room",
            {"name": "h", "resource_class": "VCPU", "need": 5, "room": 3, "short": 2, "units": ["max_unit"]},
            "h lacks 2 VCPU (room for 3 of 5) and does not take 5 VCPU (max_unit)",
        ),
    ],
)
def test_what_is_missing_reads_as_a_sentence(kind: str, missing: dict[str, Any], text: str) -> None:
    constraint = {
        "id": "c1",
        "kind": kind,
        "traits": [],
        "resource_class": "VCPU",
        "amount": 5,
        "in_tree": "u",
    }
    miss = {"fails": ["c1"], "missing": [{"constraint": "c1", "provider": "u", **missing}]}
    assert explained.miss_line(miss, {"constraints": [constraint]}) == text


def test_further_holders_are_others() -> None:
    holder = {"consumer": "c", "consumer_type": None, "project_id": "p", "resources": {"VCPU": 2}}
    miss: dict[str, Any] = {"fails": [], "missing": [], "held_by": [holder], "held_by_more": True}
    assert explained.miss_line(miss, {"constraints": []}) == "; held by c (project p: 2 VCPU) and others"


@pytest.mark.parametrize(
    ("event", "text"),
    [
        ({"event": "capacity_raised", "resource_class": "VCPU", "amount": 9}, "room for 9 VCPU on h"),
        ({"event": "units_changed", "resource_class": "VCPU"}, "other units of VCPU on h"),
        ({"event": "trait_added", "trait": "A"}, "A on h"),
        ({"event": "trait_removed", "trait": "A"}, "h without A"),
        ({"event": "aggregate_joined", "aggregate": "x"}, "h in aggregate x"),
        ({"event": "aggregate_left", "aggregate": "x"}, "h outside of aggregate x"),
        ({"event": "moved"}, "moved on h"),
    ],
)
def test_an_event_reads_as_what_must_happen(event: dict[str, Any], text: str) -> None:
    assert explained.event_line({"provider": "h", **event}) == text


# The service itself


@pytest.fixture
def busy(host: Terminal) -> Terminal:
    """The host's eight cores are claimed but for two."""
    host.does("allocation", "set", "vm1", "host1:VCPU=6", "--project", "p", "--user", "u")
    return host


def test_the_service_names_the_room_and_its_holder(busy: Terminal) -> None:
    text = busy.does("why", "--resources", "VCPU=4,MEMORY_MB=1", status=3)
    assert text.startswith("No tree can serve this now; in an empty cloud 1 could.")
    assert "VCPU=4           0        1            1\n" in text
    assert "  host1 lacks 2 VCPU (room for 2 of 4); held by\n" in text
    assert "(INSTANCE, project p: 6 VCPU)" in text
    assert "  VCPU=2 instead of 4: 1 tree\n" in text
    assert "  2 VCPU freed on host1\n" in text


def test_the_service_says_why_candidates_and_claims_fail(busy: Terminal) -> None:
    text = busy.does("candidates", "--resources", "VCPU=4", status=3)
    assert "Nearest: host1 lacks 2\nVCPU." in text
    said = claim(busy, "host1:VCPU=4", consumer="vm2").splitlines()
    assert said[1].startswith("host1 lacks 2 VCPU (room for 2 of 4); held by ")
    assert (
        said[2] == "'moorage usage --provider host1' shows what is left, 'moorage candidates' where it fits."
    )


def test_what_fits_names_its_providers(busy: Terminal) -> None:
    text = busy.does("why", "--group", "gpu:PGPU=1,CUSTOM_A100", "--resources", "VCPU=1", "--at", "gpu1")
    assert text.startswith("1 of 1 trees can serve this now.\n")
    assert busy.does("why", "--resources", "VCPU=1", "--count", "3", status=3).startswith("3 do not fit now;")
    assert {line.split()[-3] for line in text.splitlines()[-2:]} == {"gpu1", "host1"}


def test_a_stranger_gets_no_reason(busy: Terminal) -> None:
    text = busy.refused("why", "--resources", "VCPU=4", "--token", "stranger")
    assert "This token does not allow that" in text


# Searches of the past


def kept(terminal: Terminal) -> list[dict[str, Any]]:
    """Searches that found nothing, once the service has explained one."""
    until = time.monotonic() + KEEPING_SECONDS
    while not (found := terminal.json("unmet", "--since", "1h")["unmet"]):
        assert time.monotonic() < until
        time.sleep(0.05)
    listed: list[dict[str, Any]] = found
    return listed


def test_a_search_of_the_past_is_explained_by_its_request(busy: Terminal) -> None:
    busy.json("candidates", "--resources", "VCPU=4", "--required", "!CUSTOM_A100", status=3)
    [row] = kept(busy)
    busy.does("allocation", "delete", "vm1")
    text = busy.does("why", "--request", row["request_id"], status=3)
    assert text.startswith(f"request    {row['request_id']}\n")
    assert "asked for  VCPU=4,!CUSTOM_A100\n" in text
    assert "\n\nNo tree can serve this now; in an empty cloud 1 could." in text
    assert "held by" in text
    assert busy.json("why", "--request", row["request_id"], status=3)["ask"] == row["ask"]
    text = busy.does("unmet", "--limit", "5")
    assert [line.split() for line in text.splitlines()[:2]] == [
        ["COUNT", "VERDICT", "LAST", "ASKED", "FOR"],
        ["1", "no_room", text.split()[7], "VCPU=4,!CUSTOM_A100"],
    ]
    assert text.splitlines()[2].strip() == row["request_id"]


def test_a_request_that_is_not_kept_is_named_so(terminal: Terminal) -> None:
    assert "No search that found nothing is kept" in terminal.refused("why", "--request", "req-1")
    assert terminal.does("unmet") == "None.\n"
    assert "neither a time" in terminal.refused("unmet", "--since", "yesterday")


@pytest.mark.parametrize("words", [("--at", "host1"), ("--count", "2"), ("--project", "p")])
def test_a_request_of_the_past_takes_no_other_option(
    full: tuple[Terminal, Asked], words: tuple[str, ...]
) -> None:
    assert "--request stands alone" in full[0].refused("why", "--request", "req-1", *words, status=2)


def test_a_service_that_keeps_no_searches_says_so() -> None:
    none = json.dumps({"unmet": [], "kept": 0}).encode()
    with answering(stub(lambda _: ("200 OK", none))) as url:
        assert "unmet_kept in [moorage] is 0" in Terminal(url).does("unmet")


def test_an_ask_reads_as_the_options_that_make_it() -> None:
    ask = {
        "groups": {
            "": {
                "resources": {"VCPU": 4, "DISK_GB": 1},
                "required": ["A", {"any": ["B", "C"]}],
                "forbidden": ["D"],
                "member_of": ["x", {"any": ["y", "z"]}],
                "not_member_of": ["w"],
                "in_tree": "t",
            },
            "_gpu": {"resources": {"PGPU": 1}},
        },
        "group_policy": "isolate",
        "root_required": ["E"],
        "root_forbidden": ["F"],
        "same_subtree": [["_gpu", "_numa"]],
    }
    assert explained.ask_line(ask) == (
        "VCPU=4,DISK_GB=1,A,B|C,!D,member_of=x,member_of=y|z,member_of=!w,in_tree=t; gpu:PGPU=1; "
        "group_policy=isolate; root_required=E,!F; same_subtree=gpu,numa"
    )


def test_a_boot_that_failed_is_explained_by_the_id_in_the_log_of_nova(busy: Terminal) -> None:
    global_id = "req-b3a1c7de-5f00-4a43-9d5e-0c0ffee0000a"
    query = "limit=1000&resources=MEMORY_MB%3A512%2CVCPU%3A4&root_required=%21COMPUTE_STATUS_DISABLED"
    answer = requests.get(
        f"{busy.url}/allocation_candidates?{query}",
        headers={
            "X-Auth-Token": "admin",
            "OpenStack-API-Version": "placement 1.36",
            "X-OpenStack-Request-Id": global_id,
        },
        timeout=KEEPING_SECONDS,
    )
    assert answer.json()["allocation_requests"] == []
    kept(busy)
    assert busy.does("unmet").split()[-1] == global_id
    text = busy.does("why", "--request", global_id, status=3)
    assert f"sent as    {global_id}\n" in text
    assert "host1 lacks 2 VCPU (room for 2 of 4); held by" in text
