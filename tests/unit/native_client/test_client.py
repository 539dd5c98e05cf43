"""What the client says to a service, and what it makes of the answers."""

from __future__ import annotations

import ast
import dataclasses
import pickle
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import moorage_client
import pytest
from hypothesis import given
from hypothesis import strategies as st
from moorage_client import (
    AnswerTimeoutError,
    AnyOf,
    Ask,
    DifferentHistoryError,
    ForbiddenError,
    Group,
    InvalidRequestError,
    Moorage,
    NoAuth,
    NoNativeApiError,
    NoRoomError,
    NotFoundError,
    ProblemError,
    Token,
    TooHardError,
    UnauthenticatedError,
    UnavailableError,
    UnknownNameError,
    UnreachableError,
    UnusableAnswerError,
    errors,
)
from moorage_client.transport import LONGEST_PAUSE_SECONDS, PROBLEM_TYPE, Place

import moorage
from moorage.api.http.exchange import WsgiApplication
from moorage.api.http.validation import BODY_FORMATS, Validator
from moorage.api.native import ask
from moorage.api.native.discovery import FEATURES
from moorage.api.native.problems import PROBLEMS
from moorage.api.native.shapes import COMPONENTS
from tests.certificates import issued
from tests.packaging.test_pythons import candidates, runs
from tests.tidy.sources import ROOT
from tests.unit.cli.client.conftest import Terminal, answering
from tests.unit.native_client.conftest import Said, saying

SOURCES = sorted((ROOT / "distributions" / "moorage-client" / "src").rglob("*.py"))

OLDEST_MINOR = 9

KEEPING_SECONDS = 20

AGGREGATE = "7d3c0a52-52b5-4a0c-9f6f-0c0ffee00009"

BUSY = Said(503, {"code": "unavailable", "retry": {"when": "later"}}, {"Retry-After": "3"}, PROBLEM_TYPE)
VERSIONS = Said(200, {"versions": [{"id": "v1", "status": "CURRENT", "href": "/", "features": ["explain"]}]})


# The service itself


def test_discovery_names_version_and_features(moorage: Moorage) -> None:
    assert [version.id for version in moorage.versions()] == ["v1"]
    assert moorage.version().features == set(FEATURES)
    assert not moorage.supports("telepathy")
    assert moorage.openapi()["openapi"].startswith("3.1")


def test_version_is_asked_for_once() -> None:
    with saying(lambda _: VERSIONS) as heard, Moorage(heard.url) as moorage:
        assert moorage.supports("explain")
        assert not moorage.supports("leases")
        assert len(heard.requests) == 1


def test_a_service_without_v1_is_named() -> None:
    other = Said(200, {"versions": [{"id": "v2", "status": "CURRENT", "href": "/"}]})
    with (
        saying(lambda _: other) as heard,
        Moorage(heard.url) as moorage,
        pytest.raises(NoNativeApiError, match="has no v1, but v2"),
    ):
        moorage.version()


def test_a_page_of_changes_says_when_room_was_made() -> None:
    told = {"epoch": "e", "revision": 9, "next_after": 9, "more": False, "changes": []}
    answers = [Said(200, {**told, "freed_at": 8}), Said(200, told)]
    with saying(lambda number: answers[number - 1]) as heard, Moorage(heard.url) as moorage:
        assert moorage.change_page(after=3, frees="PGPU").freed_at == 8
        assert heard.requests[0][1] == "/moorage/v1/changes?after=3&frees=PGPU"
        # As a service says it that does not know the parameter.
        assert moorage.change_page(after=3).freed_at is None


def test_a_service_below_a_path_is_found(application: WsgiApplication) -> None:
    def mounted(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        assert environ["PATH_INFO"].startswith("/placement/")
        environ["SCRIPT_NAME"] = "/placement"
        environ["PATH_INFO"] = environ["PATH_INFO"].removeprefix("/placement")
        return application(environ, start_response)

    with answering(mounted) as url, Moorage(f"{url}/placement/") as moorage:
        assert moorage.version().href == "/placement/moorage/v1"
        with pytest.raises(NotFoundError) as refused:
            moorage.explanation("req-1")
        assert refused.value.type == "/placement/moorage/v1/problems/not-found"


# Refusals


@pytest.mark.parametrize("problem", PROBLEMS, ids=lambda problem: problem.code)
def test_each_problem_has_a_class_of_its_own(problem: Any) -> None:
    kind = errors.BY_CODE[problem.code]
    assert kind is not ProblemError
    assert getattr(moorage_client, kind.__name__) is kind
    assert kind.__name__ in moorage_client.__all__


def test_no_class_stands_for_a_code_that_does_not_exist() -> None:
    assert errors.BY_CODE.keys() == {problem.code for problem in PROBLEMS}


def test_a_refusal_says_all_that_the_service_said() -> None:
    body = {
        "type": "/moorage/v1/problems/no-room",
        "title": "No room",
        "status": 409,
        "code": "no_room",
        "detail": "No tree can serve this now.",
        "request_id": "req-1",
        "revision": 918272,
        "outcome": "nothing_changed",
        "retry": {"when": "state_changes"},
        "explanation": {"verdict": "no_room", "summary": "Full.", "trees": 3},
    }
    with (
        saying(lambda _: Said(409, body, media_type=PROBLEM_TYPE)) as heard,
        Moorage(heard.url) as moorage,
        pytest.raises(NoRoomError, match="No tree can serve this now") as refused,
    ):
        moorage.overview()
    error = refused.value
    assert (error.status, error.code, error.title, error.type) == (409, "no_room", "No room", body["type"])
    assert (error.request_id, error.revision, error.outcome) == ("req-1", 918272, "nothing_changed")
    assert (error.retry.when, error.retry.after_seconds) == ("state_changes", None)
    assert error.explanation is not None
    assert (error.explanation.summary, error.explanation.fits) == ("Full.", False)
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), again.body) == (NoRoomError, body)


def test_a_code_of_a_newer_service_is_a_problem_too() -> None:
    body = {"code": "too_early", "title": "Too early"}
    with (
        saying(lambda _: Said(409, body, media_type=PROBLEM_TYPE)) as heard,
        Moorage(heard.url) as moorage,
        pytest.raises(ProblemError, match="Too early") as refused,
    ):
        moorage.overview()
    assert (type(refused.value), refused.value.code) == (ProblemError, "too_early")


def test_a_search_that_is_too_hard_names_the_limit() -> None:
    body = {"code": "too_hard", "steps": 7}
    with (
        saying(lambda _: Said(422, body, media_type=PROBLEM_TYPE)) as heard,
        Moorage(heard.url) as moorage,
        pytest.raises(TooHardError) as refused,
    ):
        moorage.explain("resources=VCPU:1")
    assert refused.value.steps == 7


def test_the_place_of_a_fault_and_the_nearest_names_are_there() -> None:
    body = {
        "code": "invalid_request",
        "pointer": "/ask/querry",
        "nearest": ["query"],
        "names": [{"name": "VCPUS", "nearest": ["VCPU"]}],
    }
    with (
        saying(lambda _: Said(400, body, media_type=PROBLEM_TYPE)) as heard,
        Moorage(heard.url) as moorage,
        pytest.raises(InvalidRequestError) as refused,
    ):
        moorage.explain({"querry": ""})
    assert (refused.value.pointer, refused.value.parameter) == ("/ask/querry", None)
    assert refused.value.nearest == ("query",)
    assert [(name.name, name.nearest) for name in refused.value.names] == [("VCPUS", ("VCPU",))]


# What is no Moorage


def test_a_service_of_placement_is_recognised() -> None:
    body = {"errors": [{"status": 404, "title": "Not Found", "detail": "The resource could not be found."}]}
    with (
        saying(lambda _: Said(404, body)) as heard,
        Moorage(heard.url) as moorage,
        pytest.raises(NoNativeApiError, match="has no native API"),
    ):
        moorage.version()


@pytest.mark.parametrize(
    "said", [Said(502, b"<html>", media_type="text/html"), Said(200, b"[]"), Said(404, b"?")]
)
def test_anything_else_is_recognised(said: Said) -> None:
    with (
        saying(lambda _: said) as heard,
        Moorage(heard.url) as moorage,
        pytest.raises(UnusableAnswerError, match="is no Moorage") as refused,
    ):
        moorage.version()
    assert refused.value.status == said.status


@pytest.mark.parametrize(
    "url", ["", "host:8778", "ftp://host", "http://", "http://a:b@host", "http://host?x=1", "http://host/#a"]
)
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="URL"):
        Moorage(url)


def test_an_address_is_taken_apart() -> None:
    assert Place.of("https://[::1]:8778/placement/") == Place(True, "::1", 8778, "/placement")


def test_nothing_there_is_an_error_after_all_attempts() -> None:
    pauses: list[float] = []
    moorage = Moorage("http://127.0.0.1:9", attempts=3, sleep=pauses.append)
    with pytest.raises(UnreachableError, match=r"Nothing answers at http://127\.0\.0\.1:9"):
        moorage.version()
    assert len(pauses) == 2
    assert 0.1 <= pauses[0] <= 0.2 <= pauses[1] <= 0.4


def test_no_attempt_is_no_client() -> None:
    with pytest.raises(ValueError, match="at least once"):
        Moorage("http://host", attempts=0)


# Attempts


def test_a_busy_service_is_asked_again_after_the_pause_that_it_names() -> None:
    pauses: list[float] = []
    with (
        saying(lambda number: BUSY if number < 3 else VERSIONS) as heard,
        Moorage(heard.url, sleep=pauses.append) as moorage,
    ):
        assert moorage.supports("explain")
    assert pauses == [3.0, 3.0]


def test_a_service_that_stays_busy_is_an_error() -> None:
    with saying(lambda _: BUSY) as heard, Moorage(heard.url, attempts=2, sleep=lambda _: None) as moorage:
        with pytest.raises(UnavailableError):
            moorage.version()
        assert len(heard.requests) == 2


@pytest.mark.parametrize(
    ("said", "least", "most"),
    [
        ("", 0.1, 0.2),
        ("soon", 0.1, 0.2),
        ("900", LONGEST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0, 0.0),
        ("Thu, 01 Jan 1970 00:00:00 -0000", 0.0, 0.0),
    ],
)
def test_any_retry_after_gives_a_pause(said: str, least: float, most: float) -> None:
    busy = Said(503, b"", {"Retry-After": said} if said else {})
    pauses: list[float] = []
    with (
        saying(lambda number: busy if number == 1 else VERSIONS) as heard,
        Moorage(heard.url, sleep=pauses.append) as moorage,
    ):
        moorage.version()
    assert least <= pauses[0] <= most


def test_a_connection_serves_many_requests_and_close_ends_it() -> None:
    with saying(lambda _: VERSIONS) as heard, Moorage(heard.url) as moorage:
        for _ in range(3):
            moorage.versions()
        assert heard.connections == 1
        moorage.close()
        moorage.versions()
        assert heard.connections == 2


def test_a_kept_connection_that_the_service_has_closed_costs_no_attempt() -> None:
    with (
        saying(lambda number: None if number == 2 else VERSIONS) as heard,
        Moorage(heard.url, attempts=1) as moorage,
    ):
        moorage.versions()
        moorage.versions()
        assert heard.connections == 2


def test_threads_have_a_connection_each() -> None:
    both = threading.Barrier(2)

    def together(_: int) -> Said:
        both.wait(10)
        return VERSIONS

    with saying(together) as heard, Moorage(heard.url) as moorage:
        threads = [threading.Thread(target=moorage.versions) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert heard.connections == 2


@pytest.mark.parametrize("kept", [False, True])
def test_a_slow_service_is_not_asked_again(kept: bool) -> None:
    patience = threading.Event()

    def slow(number: int) -> Said:
        if number > kept:
            patience.wait(10)
        return VERSIONS

    with saying(slow) as heard, Moorage(heard.url, timeout=0.1) as moorage:
        if kept:
            moorage.versions()
        with pytest.raises(AnswerTimeoutError, match=r"within 0\.1 seconds"):
            moorage.versions()
        patience.set()
        assert len(heard.requests) == 1 + kept


# Who asks


def test_without_a_token_a_refusal_says_so(url: str) -> None:
    with Moorage(url, Token(lambda: None)) as moorage, pytest.raises(UnauthenticatedError):
        moorage.explanation("req-1")


def test_noauth_names_user_project_and_roles() -> None:
    assert NoAuth().headers() == {"X-Auth-Token": "admin"}
    assert NoAuth("u", "p", ("reader", "member")).headers() == {
        "X-Auth-Token": "u:p",
        "X-Roles": "reader,member",
    }


def test_a_refused_token_is_replaced_once() -> None:
    tokens = iter(["old", "new"])
    body = {"code": "unauthenticated"}
    with (
        saying(lambda number: Said(401, body, media_type=PROBLEM_TYPE) if number == 1 else VERSIONS) as heard,
        Moorage(heard.url, Token(lambda: next(tokens))) as moorage,
    ):
        moorage.version()
        assert heard.tokens == ["old", "new"]


@pytest.mark.parametrize("auth", [Token("fixed"), Token(lambda: "same"), NoAuth()])
def test_a_token_that_stays_the_same_is_not_sent_twice(auth: Any) -> None:
    refused = Said(401, {"code": "unauthenticated"}, media_type=PROBLEM_TYPE)
    with saying(lambda _: refused) as heard, Moorage(heard.url, auth) as moorage:
        with pytest.raises(UnauthenticatedError):
            moorage.version()
        assert len(heard.requests) == 1


def test_tls_trusts_the_authority_that_is_named_and_no_other(tmp_path: Path) -> None:
    authority = issued(tmp_path, "authority")
    pair = issued(tmp_path, "service", authority)
    with saying(lambda _: VERSIONS, pair) as heard:
        with Moorage(heard.url, ca_file=str(authority[0])) as moorage:
            assert moorage.supports("explain")
        with Moorage(heard.url) as moorage, pytest.raises(UnusableAnswerError, match="is not trusted"):
            moorage.version()


# The account


def test_pages_follow_each_other_until_the_last() -> None:
    def page(number: int) -> Said:
        shown = {"uuid": f"u{number}", "name": f"n{number}", "root": "u1"}
        return Said(
            200, {"revision": number, "providers": [shown], "next": f"u{number}" if number < 3 else None}
        )

    with saying(page) as heard, Moorage(heard.url, NoAuth()) as moorage:
        assert [each.uuid for each in moorage.providers(fields=("used", "traits"), page_size=1)] == [
            "u1",
            "u2",
            "u3",
        ]
        assert [path.partition("?")[2] for _, path, _ in heard.requests] == [
            "limit=1&fields=used%2Ctraits",
            "limit=1&after=u1&fields=used%2Ctraits",
            "limit=1&after=u2&fields=used%2Ctraits",
        ]


def test_many_ids_are_several_requests() -> None:
    empty = Said(200, {"revision": 1, "providers": [], "next": None})
    with saying(lambda _: empty) as heard, Moorage(heard.url) as moorage:
        assert list(moorage.providers(ids=map(str, range(150)))) == []
        assert [path.count("%2C") for _, path, _ in heard.requests] == [99, 49]
        assert list(moorage.providers()) == []
        assert heard.requests[-1][1] == "/moorage/v1/providers"


# The Ask


def test_an_ask_is_sent_as_the_api_reads_it() -> None:
    ask = Ask(
        {
            "": Group({"VCPU": 4}, required=("A", AnyOf("B", "C")), forbidden=("D",), in_tree="t"),
            "_GPU": Group({"PGPU": 1}, member_of=("g",), not_member_of=("h",)),
        },
        group_policy="isolate",
        root_required=("E",),
        root_forbidden=("F",),
        same_subtree=(("_GPU",),),
    )
    assert ask.to_json() == {
        "groups": {
            "": {
                "resources": {"VCPU": 4},
                "required": ["A", {"any": ["B", "C"]}],
                "forbidden": ["D"],
                "in_tree": "t",
            },
            "_GPU": {"resources": {"PGPU": 1}, "member_of": ["g"], "not_member_of": ["h"]},
        },
        "group_policy": "isolate",
        "root_required": ["E"],
        "root_forbidden": ["F"],
        "same_subtree": [["_GPU"]],
    }
    assert Ask.of({"VCPU": 1}, required=("A",)).to_json() == {
        "groups": {"": {"resources": {"VCPU": 1}, "required": ["A"]}}
    }


# The explanation


EXPLANATION = {
    "revision": 918272,
    "verdict": "no_room",
    "also": ["never_fits"],
    "exact": True,
    "feasible": 0,
    "trees": 1523,
    "empty_cloud": 404,
    "summary": "No tree can serve this now.",
    "constraints": [
        {
            "id": "c1",
            "kind": "room",
            "group": "",
            "resource_class": "PGPU",
            "amount": 4,
            "alone": 33,
            "without": 61,
        },
        {"id": "c2", "kind": "required", "group": "", "traits": ["HW_NIC_SRIOV"], "alone": 900, "without": 3},
    ],
    "funnel": [{"after": "c1", "left": 33}],
    "nearest": [
        {
            "root": "9a",
            "name": "rack1-h7",
            "distance": 0.25,
            "satisfies": ["c2"],
            "fails": ["c1"],
            "missing": [
                {"provider": "b1", "name": "gpu", "resource_class": "PGPU", "need": 4, "room": 3, "short": 1}
            ],
            "held_by": [
                {"consumer": "5f", "consumer_type": "INSTANCE", "project_id": "p2", "resources": {"PGPU": 5}}
            ],
        }
    ],
    "relaxations": [
        {"changes": [{"op": "amount", "constraint": "c1", "from": 4, "to": 3}], "feasible": 12, "cost": 0.25}
    ],
    "unlocked_by": [[{"event": "freed", "provider": "b1", "resource_class": "PGPU", "amount": 1}]],
    "notes": ["limit in the query was ignored"],
    "request_id": "req-1",
    "a_field_of_tomorrow": 1,
}


def test_an_explanation_is_objects() -> None:
    with saying(lambda _: Said(200, EXPLANATION)) as heard, Moorage(heard.url) as moorage:
        found = moorage.explain("resources=PGPU:4", at="rack1-h7", count=2, project_id="p", nearest=1)
        assert heard.requests == [
            (
                "POST",
                "/moorage/v1/explanations",
                {
                    "ask": {"query": "resources=PGPU:4"},
                    "at": "rack1-h7",
                    "count": 2,
                    "project_id": "p",
                    "nearest": 1,
                },
            )
        ]
        moorage.explain(Ask.of({"PGPU": 4}))
        assert heard.requests[-1][2] == {"ask": {"groups": {"": {"resources": {"PGPU": 4}}}}}
        assert moorage.explanation("req-1/2") == found
        assert heard.requests[-1][1] == "/moorage/v1/explanations/req-1%2F2"
    assert not found.fits
    assert (found.constraints[0].alone, found.constraints[0].empty_cloud) == (33, None)
    assert found.constraints[1].traits == ("HW_NIC_SRIOV",)
    assert found.funnel[0].left == 33
    [miss] = found.nearest
    assert (miss.name, miss.missing[0].short, miss.held_by[0].resources) == ("rack1-h7", 1, {"PGPU": 5})
    [change] = found.relaxations[0].changes
    assert (change.op, change.before, change.after) == ("amount", 4, 3)
    assert found.unlocked_by[0][0].amount == 1
    assert found.raw["a_field_of_tomorrow"] == 1
    assert (found.chosen, found.alternatives) == (None, ())


# Old Pythons


def test_the_sources_are_python_3_9() -> None:
    for path in SOURCES:
        ast.parse(path.read_text(), feature_version=(3, OLDEST_MINOR))


def test_the_client_needs_the_standard_library_alone() -> None:
    imported = set()
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                imported |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                imported.add((node.module or "").partition(".")[0])
    assert not {name for name in imported if name not in sys.stdlib_module_names} - {"moorage_client"}


def test_the_client_runs_on_the_oldest_python(url: str) -> None:
    python = next((each for each in candidates(OLDEST_MINOR) if runs(each, OLDEST_MINOR)), None)
    if python is None:
        pytest.skip("Python 3.9 is not on this machine")
    script = "import sys, moorage_client; print(moorage_client.Moorage(sys.argv[1]).version().id)"
    folder = str(SOURCES[0].parents[1])
    done = subprocess.run(
        [python, "-c", script, url], env={"PYTHONPATH": folder}, capture_output=True, text=True, check=False
    )
    assert done.stdout == "v1\n", done.stderr


# The documents


def test_the_reference_has_all_methods_and_names() -> None:
    page = (ROOT / "docs" / "reference" / "client-library.md").read_text()
    methods = [name for name in vars(Moorage) if not name.startswith("_") and name != "url"]
    assert [name for name in methods if f"| `{name}(" not in page] == []
    rest = {"Auth"}
    assert [name for name in {*moorage_client.__all__} - rest if f"`{name}" not in page] == []
    for code, kind in errors.BY_CODE.items():
        assert f"| `{code}` | `{kind.__name__}` |" in page


@pytest.mark.parametrize("name", ["use-the-client-library", "keep-a-copy"])
def test_the_examples_of_the_guides_work(name: str, url: str) -> None:
    page = (ROOT / "docs" / "how-to" / f"{name}.md").read_text()
    examples = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert len(examples) > 2
    done: dict[str, Any] = {}
    for example in examples:
        exec(example.replace("http://127.0.0.1:8778", url), done)
    done["moorage"].close()


def test_client_and_service_have_one_version() -> None:
    assert moorage_client.__version__ == moorage.__version__


# Against the service itself


def test_what_is_gone_is_read_at_the_revision_at_which_it_was_there(moorage: Moorage, url: str) -> None:
    terminal = Terminal(url)
    terminal.does("provider", "create", "host1")
    terminal.does("provider", "create", "gpu1", "--parent", "host1")
    terminal.does("inventory", "set", "gpu1", "PGPU=1")
    terminal.does("allocation", "set", "vm1", "gpu1:PGPU=1", "--project", "p", "--user", "u")
    fields = "inventories,used,traits,aggregates,generation,parent"
    page = moorage.provider_page(fields=fields)
    [claim] = moorage.claims()
    terminal.does("allocation", "delete", "vm1")
    terminal.does("provider", "delete", "gpu1")
    [gone] = [each for each in page.items if each.name == "gpu1"]
    assert moorage.tree(gone.root, at=page.revision) == page
    assert moorage.provider(gone.uuid, at=page.revision, tree=gone.root) == gone
    assert moorage.claim_of(claim.consumer, at=page.revision) == claim
    nothing = moorage.claim_of(claim.consumer, at=page.revision - 1)
    assert (nothing.providers, nothing.project_id, nothing.generation) == ({}, "", None)
    with pytest.raises(DifferentHistoryError):
        moorage.provider(gone.root, at=page.revision, epoch="0123456789abcdef")


def test_providers_claims_and_overview_are_read_in_bulk(moorage: Moorage, url: str) -> None:
    terminal = Terminal(url)
    terminal.does("provider", "create", "host1")
    terminal.does("inventory", "set", "host1", "VCPU=8,reserved=1,allocation_ratio=2")
    terminal.does("aggregate", "set", "host1", AGGREGATE)
    terminal.does("provider", "create", "gpu1", "--parent", "host1")
    terminal.does("inventory", "set", "gpu1", "PGPU=1")
    terminal.does("trait", "set", "gpu1", "HW_NUMA_ROOT")
    terminal.does("allocation", "set", "vm1", "host1:VCPU=2", "gpu1:PGPU=1", "--project", "p", "--user", "u")

    fields = ("inventories", "used", "traits", "aggregates", "generation", "parent")
    gpu, host = sorted(moorage.providers(fields=fields, page_size=1), key=lambda each: each.name)
    assert host.inventories is not None
    assert host.inventories["VCPU"].capacity == 14
    assert (host.used, host.traits, host.aggregates, host.parent) == ({"VCPU": 2}, [], [AGGREGATE], None)
    assert (gpu.used, gpu.traits, gpu.root, gpu.parent) == (
        {"PGPU": 1},
        ["HW_NUMA_ROOT"],
        host.uuid,
        host.uuid,
    )
    assert host.generation is not None
    assert [each.used for each in moorage.providers(name="gpu1")] == [None]
    assert [each.name for each in moorage.providers(ids=[host.uuid, AGGREGATE])] == ["host1"]
    assert len(list(moorage.providers(in_tree=gpu.uuid))) == 2

    [claim] = moorage.claims(project_id="p", provider=gpu.uuid, consumer_type="INSTANCE")
    assert (claim.resources, claim.user_id) == ({"PGPU": 1, "VCPU": 2}, "u")
    assert claim.providers == {host.uuid: {"VCPU": 2}, gpu.uuid: {"PGPU": 1}}
    assert list(moorage.claims(project_id="other", page_size=10)) == []

    overview = moorage.overview()
    assert (overview.names, overview.roots, overview.providers) == (["host1"], [host.uuid], [2])
    assert overview.aggregate_sets[overview.aggregate_set[0]] == [AGGREGATE]
    assert (overview.classes["VCPU"].capacity, overview.classes["VCPU"].used) == ([14], [2])
    assert overview.revision == moorage.claim_page(limit=1).revision


def test_a_misspelt_parameter_is_an_error_with_the_nearest_name(moorage: Moorage) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        moorage.provider_page(field="used")
    assert (refused.value.parameter, refused.value.nearest) == ("field", ("fields",))


def test_a_user_without_rights_is_refused(url: str) -> None:
    with Moorage(url, NoAuth("somebody")) as moorage, pytest.raises(ForbiddenError, match="moorage:overview"):
        moorage.overview()


@pytest.fixture
def busy(url: str) -> Terminal:
    """A host of eight cores of which six are claimed."""
    terminal = Terminal(url)
    terminal.does("provider", "create", "host1")
    terminal.does("inventory", "set", "host1", "VCPU=8")
    terminal.does("allocation", "set", "vm1", "host1:VCPU=6", "--project", "p", "--user", "u")
    return terminal


def test_the_service_explains_what_it_has_no_room_for(moorage: Moorage, busy: Terminal) -> None:
    assert moorage.supports("explain")
    found = moorage.explain(Ask.of({"VCPU": 4}))
    assert (found.verdict, found.feasible, found.trees, found.empty_cloud) == ("no_room", 0, 1, 1)
    [constraint] = found.constraints
    assert (constraint.resource_class, constraint.amount, constraint.alone) == ("VCPU", 4, 0)
    [miss] = found.nearest
    [missing] = miss.missing
    assert (miss.name, missing.name, missing.short, missing.constraint) == (
        "host1",
        "host1",
        2,
        constraint.id,
    )
    [holder] = miss.held_by
    assert (holder.project_id, holder.resources, holder.consumer_type) == ("p", {"VCPU": 6}, "INSTANCE")
    [relaxation] = found.relaxations
    assert [(change.op, change.before, change.after) for change in relaxation.changes] == [("amount", 4, 2)]
    [[event]] = found.unlocked_by
    assert (event.event, event.amount) == ("freed", 2)
    assert found.revision == found.holders_revision
    assert moorage.explain(Ask.of({"VCPU": 2})).verdict == "fits"
    assert moorage.explain(Ask.of({"VCPU": 2}), count=2).verdict == "no_room"


def test_the_service_says_what_a_claim_would_take(moorage: Moorage, busy: Terminal) -> None:
    found = moorage.explain("GET /allocation_candidates?resources=VCPU:2&limit=5", at="host1", alternatives=0)
    assert found.fits
    assert found.chosen is not None
    assert list(found.chosen.allocations.values()) == [{"VCPU": 2}]
    assert list(found.chosen.names.values()) == ["host1"]
    assert "limit in the query was ignored" in found.notes


def test_the_best_candidates_come_first(moorage: Moorage, busy: Terminal) -> None:
    busy.does("provider", "create", "host2")
    busy.does("inventory", "set", "host2", "VCPU=8")
    assert moorage.supports("order")
    found = moorage.candidates(Ask.of({"VCPU": 2}), order={"strategy": "spread"}, limit=1, summaries=True)
    assert found.best is not None
    assert (found.best.score, found.best.parts) == (0.75, {"spread": 0.75})
    assert list(found.best.allocations.values()) == [{"VCPU": 2}]
    assert (found.feasible_trees, found.exact, found.per_tree) == (2, True, "best")
    assert found.summaries.keys() == {found.best.root}
    assert moorage.candidates("resources=VCPU:2", order=found.order).candidates[0] == found.best
    assert moorage.candidates("resources=VCPU:9").best is None


def test_an_unknown_class_and_an_unknown_provider_are_errors(moorage: Moorage, busy: Terminal) -> None:
    with pytest.raises(UnknownNameError) as refused:
        moorage.explain("resources=VCPUS:1")
    assert "VCPU" in refused.value.names[0].nearest
    with pytest.raises(NotFoundError, match="rack9"):
        moorage.explain("resources=VCPU:1", at="rack9")


@pytest.mark.parametrize(
    ("component", "kind", "left_out"),
    [
        (COMPONENTS["Version"], moorage_client.Version, {"openapi", "problems"}),
        (COMPONENTS["Provider"], moorage_client.Provider, set()),
        (COMPONENTS["Claim"], moorage_client.Claim, set()),
        (COMPONENTS["Explanation"], moorage_client.Explanation, set()),
        (COMPONENTS["Constraint"], moorage_client.Constraint, set()),
        (COMPONENTS["NearMiss"], moorage_client.Miss, set()),
        (COMPONENTS["NearMiss"]["properties"]["missing"]["items"], moorage_client.Missing, set()),
        (COMPONENTS["NearMiss"]["properties"]["held_by"]["items"], moorage_client.Holder, set()),
        (COMPONENTS["Candidate"], moorage_client.Candidate, set()),
        (COMPONENTS["RankedCandidate"], moorage_client.RankedCandidate, set()),
        (
            COMPONENTS["Explanation"]["properties"]["unlocked_by"]["items"]["items"],
            moorage_client.Event,
            set(),
        ),
    ],
)
def test_an_answer_has_all_that_the_service_documents(component: Any, kind: Any, left_out: set[str]) -> None:
    known = {field.name for field in dataclasses.fields(kind)}
    assert component["properties"].keys() - known == left_out


def test_a_problem_has_all_that_the_service_documents() -> None:
    body = dict.fromkeys(COMPONENTS["Problem"]["properties"]) | {"names": [], "nearest": []}
    body["code"] = "too_hard"
    assert body.keys() <= {*dir(errors.problem(422, body))}


def test_the_service_explains_searches_of_the_past(moorage: Moorage, busy: Terminal) -> None:
    busy.json("candidates", "--resources", "VCPU=4", status=3)
    until = time.monotonic() + KEEPING_SECONDS
    while not (listed := moorage.unmet(since="1h", limit=5)):
        assert time.monotonic() < until
        time.sleep(0.05)
    [unmet] = listed
    assert (unmet.verdict, unmet.count, unmet.global_request_id) == ("no_room", 1, None)
    assert unmet.ask == Ask.of({"VCPU": 4}).to_json()
    found = moorage.explanation(unmet.request_id)
    assert (found.verdict, found.request_id, found.ask) == ("no_room", unmet.request_id, unmet.ask)
    assert (found.at, found.others) == (unmet.last_at, ())
    assert found.nearest[0].missing[0].short == 2
    assert moorage.explain(found.ask or {}).verdict == "no_room"
    assert moorage.unmet(since="2999-01-01T00:00:00Z") == ()


NAMES = st.text("ABCXYZ019_", min_size=1, max_size=8)
UUIDS = st.uuids().map(str)


def choices(names: st.SearchStrategy[str]) -> st.SearchStrategy[list[Any]]:
    several = st.lists(names, min_size=1, max_size=3).map(lambda each: AnyOf(*each))
    return st.lists(st.one_of(names, several), max_size=3)


GROUPS = st.builds(
    Group,
    resources=st.dictionaries(NAMES, st.integers(1, 10**9), max_size=3),
    required=choices(NAMES),
    forbidden=st.lists(NAMES, max_size=3),
    member_of=choices(UUIDS),
    not_member_of=st.lists(UUIDS, max_size=2),
    in_tree=st.none() | UUIDS,
)
SUFFIXES = st.text("abc_-9", max_size=6)


@given(
    st.builds(
        Ask,
        groups=st.dictionaries(SUFFIXES, GROUPS, min_size=1, max_size=3),
        group_policy=st.sampled_from(["none", "isolate"]),
        root_required=st.lists(NAMES, max_size=2),
        root_forbidden=st.lists(NAMES, max_size=2),
        same_subtree=st.lists(st.lists(SUFFIXES, min_size=1, max_size=3), max_size=2),
    )
)
def test_whatever_an_ask_says_has_the_form_that_the_service_reads(asked: Ask) -> None:
    assert Validator(ask.SCHEMA, BODY_FORMATS).error(asked.to_json()) is None
