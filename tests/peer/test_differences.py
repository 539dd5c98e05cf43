"""Each fault of the reference that the comparison knows, with the request that shows it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.peer import compare, known, known_searches, sequence, state
from tests.peer.exchange import Answer, Request
from tests.peer.peers import REPOSITORY, Peers, running
from tests.peer.world import NEWEST_MINOR, SHARING, request

DOCUMENT = REPOSITORY / "docs" / "reference" / "differences.md"

NOT_ON_SQLITE = {"D3", "D4", "D28"}
NEEDS_AN_OPTION = {"D2"}

ROOT, CHILD, OTHER, SHARED = (f"{digit * 8}-1111-4111-8111-111111111111" for digit in "abcd")
CONSUMER = "eeeeeeee-1111-4111-8111-111111111111"
AGGREGATE = "ffffffff-1111-4111-8111-111111111111"
NOWHERE = "99999999-1111-4111-8111-111111111111"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def running_peers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Peers]:
    with running(tmp_path_factory.mktemp("peers")) as peers:
        yield peers


@pytest.fixture
def peers(running_peers: Peers) -> Peers:
    """Both, empty."""
    running_peers.reset()
    return running_peers


def both(
    peers: Peers, method: str, path: str, body: Any = None, query: str = "", *, raw: bytes | None = None
) -> tuple[Answer, Answer]:
    """Answers at the newest version; how they differ has to be known."""
    sent = request(method, path, NEWEST_MINOR, body, query, raw=raw)
    answers = peers.send(sent)
    assert_known(peers, sent, *answers)
    return answers


def assert_known(peers: Peers, sent: Request, ours: Answer, theirs: Answer) -> None:
    """The comparison explains why these answers differ."""
    lines = compare.differences(sent, ours, theirs)
    assert not lines or known.names_of(known.Case(sent, ours, theirs, lines, peers.reference.send)), lines


def must(peers: Peers, method: str, path: str, body: Any = None) -> None:
    """Something that both take."""
    for answer in peers.send(request(method, path, NEWEST_MINOR, body)):
        assert answer.status < 300, answer


def add(
    peers: Peers,
    uuid: str,
    total: dict[str, int],
    *,
    parent: str | None = None,
    traits: tuple[str, ...] = (),
    shares: bool = False,
) -> None:
    """A provider with inventory and traits; one that ``shares`` is in the aggregate with its trait."""
    path = f"/resource_providers/{uuid}"
    must(peers, "POST", "/resource_providers", {"uuid": uuid, "name": uuid, "parent_provider_uuid": parent})
    inventories = {name: {"total": amount} for name, amount in total.items()}
    generation = 0
    if inventories:
        body = {"resource_provider_generation": generation, "inventories": inventories}
        must(peers, "PUT", f"{path}/inventories", body)
        generation += 1
    if traits:
        body = {"resource_provider_generation": generation, "traits": traits}
        must(peers, "PUT", f"{path}/traits", body)
        generation += 1
    if shares:
        body = {"resource_provider_generation": generation, "aggregates": [AGGREGATE]}
        must(peers, "PUT", f"{path}/aggregates", body)


def search(peers: Peers, query: str) -> tuple[list[Any], list[Any]]:
    """Candidates of both."""
    ours, theirs = both(peers, "GET", "/allocation_candidates", query=query)
    assert (ours.status, theirs.status) == (200, 200)
    return ours.json["allocation_requests"], theirs.json["allocation_requests"]


def taken(candidates: list[Any]) -> list[int]:
    """How much each candidate takes in all."""
    return [
        sum(amount for share in candidate["allocations"].values() for amount in share["resources"].values())
        for candidate in candidates
    ]


def test_d1_amounts_of_one_candidate_stay_out_of_others(peers: Peers) -> None:
    add(peers, ROOT, {"VCPU": 8})
    add(peers, CHILD, {"VCPU": 8}, parent=ROOT)
    ours, theirs = search(peers, "resources=VCPU:1&resources1=VCPU:2")
    assert taken(ours) == [3, 3, 3, 3]
    assert any(amount != 3 for amount in taken(theirs)) or len(theirs) < 4


@pytest.mark.parametrize("allocations", [{NOWHERE: {"resources": {"VCPU": 1}}}, {}])
def test_d5_a_refused_or_empty_claim_leaves_no_consumer_behind(
    peers: Peers, allocations: dict[str, Any]
) -> None:
    add(peers, ROOT, {"VCPU": 8})
    claim = {
        "project_id": "project",
        "user_id": "user",
        "consumer_generation": None,
        "consumer_type": "INSTANCE",
        "allocations": allocations,
    }
    both(peers, "PUT", f"/allocations/{CONSUMER}", claim)
    claim["allocations"] = {ROOT: {"resources": {"VCPU": 1}}}
    ours, theirs = peers.send(request("PUT", f"/allocations/{CONSUMER}", NEWEST_MINOR, claim))
    assert (ours.status, theirs.status) == (204, 409)


def test_d6_in_tree_holds_for_a_group_without_resources(peers: Peers) -> None:
    add(peers, ROOT, {"VCPU": 8}, traits=("COMPUTE_NODE",))
    add(peers, OTHER, {"VCPU": 8})
    query = f"resources1=VCPU:1&required_A=COMPUTE_NODE&in_tree_A={OTHER}&same_subtree=1,_A&group_policy=none"
    ours, theirs = search(peers, query)
    assert (len(ours), len(theirs)) == (0, 1)


def test_d6_in_tree_is_told_from_a_tree_that_is_in_no_summary(peers: Peers) -> None:
    add(peers, ROOT, {}, traits=("COMPUTE_NODE",), shares=True)
    add(peers, SHARED, {"DISK_GB": 8}, traits=(SHARING,), shares=True)
    add(peers, OTHER, {"VCPU": 8})
    group = "resources1=DISK_GB:1&required_A=COMPUTE_NODE&same_subtree=_A&group_policy=none"
    ours, theirs = search(peers, f"{group}&in_tree_A={OTHER}")
    assert (len(ours), len(theirs)) == (0, 1)
    ours, theirs = search(peers, f"{group}&in_tree_A={ROOT}")
    assert ours == theirs
    assert len(ours) == 1


@pytest.mark.parametrize("group", ["required_A=!COMPUTE_NODE", f"in_tree_A={ROOT}"])
def test_d7_a_group_without_resources_may_only_forbid_or_only_name_a_tree(peers: Peers, group: str) -> None:
    add(peers, ROOT, {"VCPU": 8})
    ours, theirs = search(peers, f"resources1=VCPU:1&{group}&same_subtree=1,_A&group_policy=none")
    assert (len(ours), len(theirs)) == (1, 0)


def test_d8_names_of_classes_are_held_to_their_form(peers: Peers) -> None:
    add(peers, ROOT, {})
    body = {"resource_provider_generation": 0, "inventories": {"vcpu": {}}}
    ours, theirs = both(peers, "PUT", f"/resource_providers/{ROOT}/inventories", body)
    assert (ours.status, theirs.status) == (400, 500)


def test_d9_no_sql_is_shown(peers: Peers) -> None:
    add(peers, ROOT, {"VCPU": 8})
    body = {"resource_class": "VCPU", "total": 1}
    ours, theirs = both(peers, "POST", f"/resource_providers/{ROOT}/inventories", body)
    assert (ours.status, theirs.status) == (409, 409)
    assert "INSERT" in theirs.detail
    assert "INSERT" not in ours.detail


def test_d10_both_of_two_limits_are_judged(peers: Peers) -> None:
    add(peers, ROOT, {"VCPU": 8})
    ours, theirs = both(peers, "GET", "/allocation_candidates", query="resources=VCPU:1&limit=x&limit=1")
    assert (ours.status, theirs.status) == (400, 500)


def test_d11_an_unknown_name_is_refused_whatever_else_is_found(peers: Peers) -> None:
    add(peers, ROOT, {"VCPU": 8})
    query = "resources=VCPU:99&resources1=CUSTOM_NEVER:1"
    ours, theirs = both(peers, "GET", "/allocation_candidates", query=query)
    assert (ours.status, theirs.status) == (400, 200)


def test_d12_an_empty_inventory_is_dated(peers: Peers) -> None:
    add(peers, ROOT, {})
    ours, theirs = both(peers, "GET", f"/resource_providers/{ROOT}/inventories")
    assert "last-modified" in ours.headers
    assert "last-modified" not in theirs.headers


def test_d12_a_provider_is_dated_by_the_change_that_is_answered(peers: Peers) -> None:
    add(peers, ROOT, {})
    add(peers, CHILD, {}, parent=ROOT)
    ours, theirs = both(peers, "PUT", f"/resource_providers/{CHILD}", {"name": "another"})
    assert "last-modified" in ours.headers
    assert "last-modified" not in theirs.headers


def test_d13_a_provider_that_shares_need_not_be_a_root(peers: Peers) -> None:
    add(peers, OTHER, {})
    add(peers, SHARED, {"DISK_GB": 8}, parent=OTHER, traits=(SHARING,), shares=True)
    add(peers, ROOT, {"VCPU": 8}, shares=True)
    ours, theirs = both(peers, "GET", "/allocation_candidates", query="resources=VCPU:1,DISK_GB:1")
    assert (ours.status, theirs.status) == (200, 500)
    assert len(ours.json["allocation_requests"]) == 1


def test_d14_the_error_that_answers_head_has_the_type_that_get_would_have(peers: Peers) -> None:
    ours, theirs = both(peers, "HEAD", "/resource_providers")
    assert ours.headers["content-type"] == "application/json"
    assert theirs.headers["content-type"].startswith("text/html")


def test_d15_more_than_a_database_can_count_is_just_not_to_be_had(peers: Peers) -> None:
    add(peers, ROOT, {"VCPU": 8})
    ours, theirs = both(peers, "GET", "/allocation_candidates", query=f"resources=VCPU:{10**20}")
    assert (ours.status, theirs.status) == (200, 500)


def test_d16_a_query_string_that_is_no_text_is_refused(peers: Peers) -> None:
    sent = request("GET", "/usages", NEWEST_MINOR, query="project_id=%ff")
    ours, theirs = peers.send(sent)
    assert_known(peers, sent, ours, theirs)
    assert (ours.status, theirs.status) == (400, 500)


def test_d17_what_is_shared_goes_with_every_tree_that_it_is_shared_with(peers: Peers) -> None:
    add(peers, SHARED, {"DISK_GB": 8}, traits=(SHARING,), shares=True)
    add(peers, ROOT, {"VCPU": 8}, shares=True)
    add(peers, OTHER, {"VCPU": 8}, shares=True)
    ours, theirs = search(peers, "resources=DISK_GB:1&resources1=VCPU:1")
    assert len(ours) == 2
    assert len(theirs) < 2


def test_d18_names_in_a_path_are_shown_as_they_were_meant(peers: Peers) -> None:
    ours, theirs = both(peers, "GET", "/traits/\u2603")
    assert "\u2603" in ours.detail
    assert "\u2603" not in theirs.detail


def test_d19_an_aggregate_fits_its_column(peers: Peers) -> None:
    add(peers, ROOT, {})
    body = {"resource_provider_generation": 0, "aggregates": [f"urn:uuid:{AGGREGATE}"]}
    ours, theirs = both(peers, "PUT", f"/resource_providers/{ROOT}/aggregates", body)
    assert (ours.status, theirs.status) == (400, 200)


def test_d20_a_ratio_fits_its_column(peers: Peers) -> None:
    add(peers, ROOT, {})
    inventories = {"VCPU": {"total": 1, "allocation_ratio": -1e39}}
    body = {
        "inventories": {ROOT: {"resource_provider_generation": 0, "inventories": inventories}},
        "allocations": {},
    }
    ours, theirs = both(peers, "POST", "/reshaper", body)
    assert (ours.status, theirs.status) == (400, 204)


def test_d15_a_limit_of_thousands_of_digits_is_none(peers: Peers) -> None:
    add(peers, ROOT, {"VCPU": 8})
    query = f"resources=VCPU:1&limit={'9' * 4400}"
    ours, theirs = both(peers, "GET", "/allocation_candidates", query=query)
    assert (ours.status, theirs.status) == (200, 500)
    assert len(ours.json["allocation_requests"]) == 1


def test_d16_a_path_that_is_no_text_leads_nowhere(peers: Peers) -> None:
    ours, theirs = both(peers, "GET", "/allocations/\udcff")
    assert (ours.status, theirs.status) == (404, 200)


def test_d20_a_ratio_is_not_infinite(peers: Peers) -> None:
    add(peers, ROOT, {})
    raw = b'{"resource_class": "VCPU", "total": 1, "allocation_ratio": -1e999}'
    ours, theirs = both(peers, "POST", f"/resource_providers/{ROOT}/inventories", raw=raw)
    assert (ours.status, theirs.status) == (400, 500)


def test_d21_a_newline_is_part_of_a_name(peers: Peers) -> None:
    must(peers, "PUT", "/traits/CUSTOM_A")
    ours, theirs = both(peers, "DELETE", "/traits/CUSTOM_A\n")
    assert (ours.status, theirs.status) == (404, 204)


def test_d21_a_newline_is_part_of_a_number(peers: Peers) -> None:
    add(peers, ROOT, {"VCPU": 8})
    ours, theirs = both(peers, "GET", "/allocation_candidates", query="resources=VCPU:1&limit=1%0A")
    assert (ours.status, theirs.status) == (400, 200)


def test_d22_no_text_has_nul(peers: Peers) -> None:
    body = {"name": "a\0b", "uuid": ROOT}
    assert [answer.status for answer in both(peers, "POST", "/resource_providers", body)] == [400, 200]
    assert [answer.status for answer in both(peers, "GET", "/resource_providers", query="name=%00")] == [
        400,
        200,
    ]
    assert [answer.status for answer in both(peers, "GET", "/allocations/\0")] == [404, 200]


@pytest.mark.parametrize("ratio", ["NaN", "-1e999"])
def test_d23_what_is_no_number_is_no_ratio(peers: Peers, ratio: str) -> None:
    add(peers, ROOT, {})
    raw = f'{{"resource_class": "VCPU", "total": 1, "allocation_ratio": {ratio}}}'.encode()
    ours, theirs = both(peers, "POST", f"/resource_providers/{ROOT}/inventories", raw=raw)
    assert ours.status == 400
    assert theirs.status != 400


def test_d23_half_of_a_surrogate_pair_is_no_text(peers: Peers) -> None:
    ours, theirs = both(peers, "POST", "/resource_providers", {"name": "\ud800", "uuid": ROOT})
    assert (ours.status, theirs.status) == (400, 500)


def test_d24_what_is_nested_too_deeply_is_refused(peers: Peers) -> None:
    ours, theirs = both(peers, "POST", "/resource_providers", raw=b"[" * 5000 + b"]" * 5000)
    assert (ours.status, theirs.status) == (400, 500)


def test_d25_a_body_that_breaks_off_is_refused(peers: Peers) -> None:
    sent = request("POST", "/resource_providers", NEWEST_MINOR, {"name": "a", "uuid": ROOT})
    sent = replace(sent, headers=sent.headers | {"Content-Length": "999"})
    ours, theirs = peers.send(sent)
    assert_known(peers, sent, ours, theirs)
    assert (ours.status, theirs.status) == (400, 500)


def test_d26_a_host_is_a_name_or_an_address(peers: Peers) -> None:
    sent = request("PUT", "/traits/CUSTOM_A", NEWEST_MINOR)
    sent = replace(sent, headers=sent.headers | {"Host": "a/b"})
    ours, theirs = peers.send(sent)
    assert_known(peers, sent, ours, theirs)
    assert (ours.status, theirs.status) == (400, 201)


DEEP: Any = json.loads("[" * 20 + "]" * 20)


@pytest.mark.parametrize(
    "body",
    [
        {"name": "a", "uuid": DEEP},
        {"name": {"a": {"b": DEEP}}},
        {"name": 5, "uuid": ROOT, "unknown": DEEP},
        {"name": ["x" * 2000, DEEP]},
        DEEP,
    ],
)
def test_d27_of_a_deep_body_eight_levels_are_quoted(peers: Peers, body: Any) -> None:
    ours, theirs = both(peers, "POST", "/resource_providers", body)
    assert (ours.status, theirs.status) == (400, 400)
    assert "Failed validating" in theirs.detail
    assert "Failed validating" not in ours.detail


@pytest.mark.parametrize("depth", [8, 9])
def test_d27_eight_levels_are_not_deep(peers: Peers, depth: int) -> None:
    inner = json.loads("[" * (depth - 1) + "]" * (depth - 1))
    sent = request("POST", "/resource_providers", NEWEST_MINOR, {"name": inner})
    ours, theirs = peers.send(sent)
    assert bool(compare.differences(sent, ours, theirs)) is (depth > 8)


@pytest.mark.parametrize(
    ("said", "instead"),
    [
        ("not of type", "no"),
        ("…", "[…]"),
        ("[[…]]", "[[[[]]]]"),
        ("  ", "  Failed validating 'type'"),
        ("placement.undefined_code", "placement.other"),
    ],
)
def test_d27_nothing_else_about_the_text_may_differ(peers: Peers, said: str, instead: str) -> None:
    sent = request("POST", "/resource_providers", NEWEST_MINOR, {"name": "a", "uuid": DEEP})
    ours, theirs = peers.send(sent)
    changed = replace(ours, body=ours.body.decode().replace("\\u2026", "…").replace(said, instead).encode())
    assert changed.detail != ours.detail or changed.code != ours.code
    for answer, names in ((ours, ["D27"]), (changed, [])):
        lines = compare.differences(sent, answer, theirs)
        assert lines
        assert known.names_of(known.Case(sent, answer, theirs, lines, peers.reference.send)) == names


def test_d29_of_aggregates_that_are_no_uuids_the_first_in_order_is_named(peers: Peers) -> None:
    names = [f"no{number}" for number in range(40)]
    query = "resources=VCPU:1&member_of=in:" + ",".join(names)
    ours, theirs = both(peers, "GET", "/allocation_candidates", query=query)
    assert ours.detail.rstrip().endswith("Got: no0")
    assert "Got: no" in theirs.detail
    sent = request("GET", "/allocation_candidates", NEWEST_MINOR, None, query)
    for said, instead in (("no0", "no00"), ("Expected", "Wanted")):
        changed = replace(ours, body=ours.body.replace(said.encode(), instead.encode()))
        lines = compare.differences(sent, changed, theirs)
        assert known.names_of(known.Case(sent, changed, theirs, lines, peers.reference.send)) == []


@pytest.mark.parametrize("aggregates", [[f"urn:uuid:{AGGREGATE}"], [AGGREGATE]])
def test_after_a_write_that_only_the_reference_takes_both_go_on_from_one_state(
    peers: Peers, aggregates: list[str]
) -> None:
    add(peers, ROOT, {}, shares=True)
    body = {"resource_provider_generation": 1, "aggregates": aggregates}
    refused = request("PUT", f"/resource_providers/{ROOT}/aggregates", NEWEST_MINOR, body)
    before = peers.moorage.state()
    tally = sequence.Tally()
    assert sequence.step(peers, refused, tally) == []
    after = state.read(peers.reference.database)
    assert tally.explained["D19"] == (before == after) == (len(aggregates[0]) > 36)
    assert after == peers.moorage.state()
    shown = request("GET", f"/resource_providers/{ROOT}/aggregates", NEWEST_MINOR)
    assert sequence.step(peers, shown, tally) == []


def test_a_write_that_only_the_reference_takes_must_not_change_moorage(
    peers: Peers, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(peers, ROOT, {})
    body = {"resource_provider_generation": 0, "aggregates": [f"urn:uuid:{AGGREGATE}"]}
    refused = request("PUT", f"/resource_providers/{ROOT}/aggregates", NEWEST_MINOR, body)
    send = peers.moorage.send

    def send_and_write(asked: Request) -> Answer:
        answer = send(asked)
        send(request("PUT", "/traits/CUSTOM_NEW", NEWEST_MINOR))
        return answer

    monkeypatch.setattr(peers.moorage, "send", send_and_write)
    lines = sequence.step(peers, refused, sequence.Tally())
    assert lines == ["traits: only Moorage has ('CUSTOM_NEW',)"]


def test_the_same_rows_are_read_through_either_library(peers: Peers) -> None:
    add(peers, ROOT, {"VCPU": 8}, traits=("COMPUTE_NODE",), shares=True)
    rows = state.read(peers.reference.database)
    assert len(rows["inventories"]) == 1
    assert state.read_url(f"sqlite:///{peers.reference.database}") == rows


def test_every_known_difference_is_documented() -> None:
    documented = set(re.findall(r"^\| (D\d+) \|", Path(DOCUMENT).read_text(), re.MULTILINE))
    compared = {*known.KNOWN, known.CONSUMER_LEFT_BEHIND, *known_searches.NAMES}
    assert documented == compared | NOT_ON_SQLITE | NEEDS_AN_OPTION
