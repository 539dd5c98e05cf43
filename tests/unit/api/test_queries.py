"""Query strings: what they ask for, and what they may not say at their version."""

from __future__ import annotations

from functools import cache
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moorage.api.placement.query import IMPOSSIBLE_AMOUNT
from moorage.model.requests import CandidateRequest, ProviderFilter, RequestGroup
from moorage.model.values import MAX_INT
from tests.table import each
from tests.unit.api.fake import CONSUMER as C
from tests.unit.api.fake import UUID as U
from tests.unit.api.fake import Client, FakeService

CANDIDATES = "/allocation_candidates"
PROVIDERS = "/resource_providers"


def asked(path: str, query: str, minor: int) -> Any:
    """What the service was asked."""
    client = Client(FakeService())
    result = client.ask("GET", f"{path}?{query}", minor)
    assert result.status == 200, result.body
    ((_, wanted),) = client.service.calls
    return wanted


def refused(path: str, query: str, minor: int) -> tuple[str, str]:
    """Words and code of a refusal."""
    client = Client(FakeService())
    result = client.ask("GET", f"{path}?{query}", minor)
    assert result.status == 400, result.body
    assert client.service.calls == []
    (error,) = result.json["errors"]
    return result.detail, error.get("code", "")


def anyof(*names: str) -> frozenset[str]:
    return frozenset(names)


GROUPS = [
    ("resources=VCPU:1", 10, [RequestGroup("", {"VCPU": 1})]),
    ("resources=VCPU:1,DISK_GB:%2B2", 10, [RequestGroup("", {"DISK_GB": 2, "VCPU": 1})]),
    ("resources=VCPU:1_0,VCPU:%203%20", 10, [RequestGroup("", {"VCPU": 3})]),
    ("resources=VCPU:1;resources=VCPU:2", 10, [RequestGroup("", {"VCPU": 2})]),
    ("resources=VCPU:1&resources=VCPU:2", 10, [RequestGroup("", {"VCPU": 2})]),
    (f"resources=VCPU:{10**30}", 10, [RequestGroup("", {"VCPU": IMPOSSIBLE_AMOUNT})]),
    ("resources=VCPU:1&required=A, B", 17, [RequestGroup("", {"VCPU": 1}, (anyof("A"), anyof("B")))]),
    ("resources=VCPU:1&required=A&required=B", 38, [RequestGroup("", {"VCPU": 1}, (anyof("B"),))]),
    (
        "resources=VCPU:1&required=A,!!B&required=in:C, D",
        39,
        [RequestGroup("", {"VCPU": 1}, (anyof("A"), anyof("C", "D")), anyof("B"))],
    ),
    (
        f"resources=VCPU:1&member_of={U}",
        21,
        [RequestGroup("", {"VCPU": 1}, member_of=(anyof(U),))],
    ),
    (
        f"resources=VCPU:1&member_of=in:{U},{C}&member_of={C}",
        24,
        [RequestGroup("", {"VCPU": 1}, member_of=(anyof(U, C), anyof(C)))],
    ),
    (
        f"resources=VCPU:1&member_of=!in:{U},{C}&member_of=!{U}&member_of={C}",
        32,
        [RequestGroup("", {"VCPU": 1}, member_of=(anyof(C),), forbidden_aggregates=anyof(U, C))],
    ),
    (
        f"resources=VCPU:1&in_tree= {U} ",
        31,
        [RequestGroup("", {"VCPU": 1}, in_tree=U)],
    ),
    (
        "resources2=VCPU:1&resources=DISK_GB:1&required2=A",
        25,
        [RequestGroup("", {"DISK_GB": 1}), RequestGroup("2", {"VCPU": 1}, (anyof("A"),))],
    ),
    (
        f"resources_A-1=VCPU:1&in_tree_A-1={U}&member_of_A-1={C}",
        33,
        [RequestGroup("_A-1", {"VCPU": 1}, member_of=(anyof(C),), in_tree=U)],
    ),
    (
        "resources_A=VCPU:1&required_B=T&same_subtree=_A,_B&group_policy=none",
        36,
        [RequestGroup("_A", {"VCPU": 1}), RequestGroup("_B", required=(anyof("T"),))],
    ),
]


@each(("query", "minor", "groups"), GROUPS)
def test_groups_are_read(query: str, minor: int, groups: list[RequestGroup]) -> None:
    wanted = asked(CANDIDATES, query, minor)
    assert isinstance(wanted, CandidateRequest)
    assert list(wanted.groups) == groups
    assert wanted.one_provider_per_tree is (minor < 29)


def test_what_binds_groups_is_read() -> None:
    query = (
        "resources1=VCPU:1&resources2=VCPU:1&group_policy=isolate&group_policy=none&limit=3&limit=5"
        "&root_required=A,!B&same_subtree=1,2&same_subtree= 1 "
    )
    wanted = asked(CANDIDATES, query, 36)
    assert wanted.group_policy == "isolate"
    assert wanted.limit == 3
    assert (wanted.root_required, wanted.root_forbidden) == (anyof("A"), anyof("B"))
    assert wanted.same_subtree == (anyof("1"), anyof("1", "2"))


@pytest.mark.parametrize(
    ("query", "policy"),
    [("", None), ("&group_policy=none", None), ("&group_policy=x&group_policy=none", None)],
)
def test_what_does_not_isolate_is_no_policy(query: str, policy: str | None) -> None:
    assert asked(CANDIDATES, f"resources1=VCPU:1{query}", 25).group_policy == policy


@pytest.mark.parametrize("limit", ["9" * 30, "9" * 5000])
def test_a_limit_beyond_all_measure_is_no_limit(limit: str) -> None:
    assert asked(CANDIDATES, f"resources=VCPU:1&limit={limit}", 16).limit == MAX_INT


FORM = "Badly formed resources parameter. Expected resources query string parameter in form: "
BAD_VALUE = "placement.query.bad_value"
NO_CODE = "placement.undefined_code"
REFUSED = [
    ("", 10, "'resources' is a required property", ""),
    ("resources=", 10, FORM + "?resources=VCPU:2,MEMORY_MB:1024. Got: empty string.", ""),
    ("resources=VCPU", 10, FORM, ""),
    ("resources=VCPU:1:1", 10, "Got: VCPU:1:1.", ""),
    ("resources=VCPU:1,", 10, FORM, ""),
    (
        "resources=VCPU:x",
        10,
        "Requested resource VCPU expected positive integer amount. Got: x.",
        "",
    ),
    ("resources=VCPU:0", 10, "Requested resource VCPU requires amount >= 1. Got: 0.", ""),
    ("resources=VCPU:" + "9" * 5000, 10, "expected positive integer amount", ""),
    ("resources=VCPU:x&resources=VCPU:1", 10, "expected positive integer amount", ""),
    ("resources=VCPU:1&limit=1", 15, "Additional properties are not allowed", ""),
    ("resources=VCPU:1&limit=0", 16, "'0' does not match", ""),
    ("resources=VCPU:1&limit=x&limit=1", 16, "Invalid query string parameters: 'x'", ""),
    ("resources=VCPU:1&limit=1&limit=x", 16, "Invalid query string parameters: 'x'", ""),
    ("resources=VCPU:1&limit=1%0A", 16, "does not match", ""),
    ("resources=VCPU:1&required=A", 16, "Additional properties are not allowed", ""),
    ("resources=VCPU:1&required=!A", 21, "HW_CPU_X86_VMX,CUSTOM_MAGIC. Got: !A", ""),
    ("resources=VCPU:1&required=", 17, "HW_CPU_X86_VMX,CUSTOM_MAGIC. Got an empty trait in: ", ""),
    ("resources=VCPU:1&required=A,!", 22, ",!CUSTOM_MAGIC. Got an empty trait in: A,!", ""),
    (
        "resources=VCPU:1&required=in:A,B",
        38,
        "The format 'in:HW_CPU_X86_VMX,CUSTOM_MAGIC' only supported since microversion 1.39.",
        NO_CODE,
    ),
    ("resources=VCPU:1&required=in:A,", 39, "in:HW_CPU_X86_VMX,CUSTOM_MAGIC. Got an empty", NO_CODE),
    ("resources=VCPU:1&required=in:A,!B", 39, "does not support forbidden traits", NO_CODE),
    (
        "resources=VCPU:1&required=A,!A",
        22,
        "Conflicting required and forbidden traits found in the following traits keys: required: (A)",
        "",
    ),
    (
        "resources1=VCPU:1&required1=in:B,A&required1=!A,!B",
        39,
        "traits keys: required1: (A, B)",
        NO_CODE,
    ),
    ("resources=VCPU:1&member_of=x", 21, "to contain valid UUID(s). Got: x", ""),
    (f"resources=VCPU:1&member_of={U},{C}", 21, "Multiple values for 'member_of' must be", ""),
    (
        f"resources=VCPU:1&member_of={U}&member_of={C}",
        23,
        "Multiple member_of parameters are not supported",
        NO_CODE,
    ),
    (
        f"resources1=VCPU:1&member_of1=!{U}",
        31,
        "Forbidden member_of1 parameters are not supported in the specified microversion",
        NO_CODE,
    ),
    (f"resources=VCPU:1&member_of=!!{U}", 32, "to contain valid UUID(s)", NO_CODE),
    ("resources=VCPU:1&in_tree=x", 31, "Expected 'in_tree' parameter to be a format of uuid", NO_CODE),
    (f"resources=VCPU:1&in_tree={U}", 30, "in_tree", NO_CODE),
    ("resources1=VCPU:1", 24, "resources1", NO_CODE),
    ("resources_A=VCPU:1", 32, "resources_A", NO_CODE),
    ("resources" + "x" * 65 + "=VCPU:1", 33, "does not match any of the regexes", NO_CODE),
    (
        "resources1=VCPU:1&resources2=VCPU:1",
        25,
        'The "group_policy" parameter is required when specifying more than one "resources{N}"',
        NO_CODE,
    ),
    ("resources1=VCPU:1&group_policy=x", 25, "'x' is not one of ['none', 'isolate']", NO_CODE),
    ("", 25, "At least one request group (`resources` or `resources{$S}`) is required.", NO_CODE),
    ("required1=A", 25, "following orphaned traits keys: required1", NO_CODE),
    (f"member_of1={U}", 25, "following orphaned member_of keys: member_of1", NO_CODE),
    (f"member_of1=!{U}", 32, "following orphaned member_of keys: member_of1", NO_CODE),
    ("required1=!A", 25, "All request groups must specify resources.", NO_CODE),
    (
        "resources=VCPU:1&root_required=A&root_required=B",
        35,
        "Query parameter 'root_required' may be specified only once.",
        "placement.query.duplicate_key",
    ),
    ("resources=VCPU:1&root_required=A,!A", 35, "found in root_required: A", BAD_VALUE),
    ("resources=VCPU:1&root_required=in:A,B", 39, "only supported since", NO_CODE),
    ("resources=VCPU:1&root_required=A", 34, "root_required", NO_CODE),
    ("resources1=VCPU:1&same_subtree=1,", 36, "Empty string (unsuffixed group) can not", BAD_VALUE),
    ("resources1=VCPU:1&same_subtree=9", 36, "['9'] not found in ['1'].", BAD_VALUE),
    ("resources1=VCPU:1&required2=A", 36, "bad group(s) - ['2'].", BAD_VALUE),
    ("required2=A&same_subtree=2", 36, "at least one resources", "placement.query.missing_value"),
    ("", 36, "at least one resources", "placement.query.missing_value"),
    ("resources=%ff:1", 10, "Invalid query string parameters: 'utf-8' codec can't decode", ""),
    ("resources=VCPU%00:1", 10, "NUL characters are not allowed", ""),
]


@each(("query", "minor", "words", "code"), REFUSED)
def test_a_bad_request_for_candidates_is_refused(query: str, minor: int, words: str, code: str) -> None:
    detail, given_code = refused(CANDIDATES, query, minor)
    assert words in detail
    assert given_code == code


@cache
def one_client() -> Client:
    """For tests by the thousand: an application is made in ten times the time that it takes to ask it."""
    return Client(FakeService())


PARAMETERS = ["resources", "resources1", "required", "required_A", "member_of", "in_tree1", "limit"]
PARAMETERS += ["group_policy", "root_required", "same_subtree", "x"]


@pytest.mark.parametrize("minor", [10, 25, 33, 36, 39])
@given(
    pairs=st.lists(
        st.tuples(
            st.sampled_from(PARAMETERS),
            st.one_of(
                st.sampled_from(["VCPU:1", "in:A,B", "!A", U, f"!in:{U}", "1", "none", ",", ""]),
                st.text(max_size=8),
            ),
        ),
        max_size=5,
    )
)
def test_any_query_is_answered_or_refused_in_form(minor: int, pairs: list[tuple[str, str]]) -> None:
    query = "&".join(f"{name}={quote(value, errors='surrogatepass')}" for name, value in pairs)
    result = one_client().ask("GET", f"{CANDIDATES}?{query}", minor)
    assert result.status == 200 or (result.status == 400 and result.detail)


FILTERS = [
    ("", 0, ProviderFilter()),
    ("name=", 0, ProviderFilter()),
    ("name=a&name=b", 0, ProviderFilter(name="b")),
    ("name=%C3%A9", 0, ProviderFilter(name="é")),
    (f"uuid={U.upper()}&name=a+b", 0, ProviderFilter(U.upper(), "a b")),
    (f"member_of={U}", 3, ProviderFilter(group=RequestGroup(member_of=(anyof(U),)))),
    ("resources=VCPU:1", 4, ProviderFilter(group=RequestGroup(resources={"VCPU": 1}))),
    (f"in_tree={U}", 14, ProviderFilter(group=RequestGroup(in_tree=U))),
    ("required=A", 18, ProviderFilter(group=RequestGroup(required=(anyof("A"),)))),
    ("required=!A", 22, ProviderFilter(group=RequestGroup(forbidden=anyof("A")))),
    (
        f"member_of=!{U}",
        32,
        ProviderFilter(group=RequestGroup(forbidden_aggregates=anyof(U))),
    ),
]


@each(("query", "minor", "wanted"), FILTERS)
def test_filters_of_providers_are_read(query: str, minor: int, wanted: ProviderFilter) -> None:
    assert asked(PROVIDERS, query, minor) == wanted


def test_a_query_may_come_as_bytes_that_are_not_escaped() -> None:
    client = Client(FakeService())
    raw = "name=é".encode().decode("latin-1")
    assert client.ask("GET", PROVIDERS, environ={"QUERY_STRING": raw}).status == 200
    assert client.service.calls == [("providers", ProviderFilter(name="é"))]


@each(
    ("query", "minor"),
    [
        ("foo=1", 39),
        ("uuid=x", 0),
        (f"uuid={U.replace('-', '')}", 0),
        ("uuid=", 0),
        (f"in_tree={U.replace('-', '')}", 14),
        (f"member_of={U}", 2),
        ("resources=VCPU:1", 3),
        (f"in_tree={U}", 13),
        ("required=A", 17),
        ("required=!A", 21),
        ("required=in:A,B", 38),
        (f"member_of={U}&member_of={U}", 23),
        (f"member_of=!{U}", 31),
        ("name=%00", 0),
    ],
)
def test_a_bad_filter_of_providers_is_refused(query: str, minor: int) -> None:
    assert refused(PROVIDERS, query, minor)


def test_of_several_faults_of_a_filter_that_of_the_aggregates_is_told() -> None:
    words, _ = refused(PROVIDERS, f"required=!A&member_of={U}&member_of={U}", 18)
    assert "Multiple member_of" in words


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ("", (None, None, None)),
        ("name=in:A,B", (anyof("A", "B"), None, None)),
        ("name=startswith:CUSTOM_%25", (None, "CUSTOM_%", None)),
        ("name=endswith:X", (None, None, None)),
        ("associated=TRUE", (None, None, True)),
        ("associated=false&name=in:A", (anyof("A"), None, False)),
    ],
)
def test_filters_of_traits_are_read(query: str, wanted: tuple[object, ...]) -> None:
    assert asked("/traits", query, 6) == wanted


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("name=A", 'Got: "A"'),
        ("associated=maybe", 'The query parameter "associated" only accepts "true" or "false"'),
        ("foo=1", "Additional properties are not allowed"),
    ],
)
def test_a_bad_filter_of_traits_is_refused(query: str, words: str) -> None:
    assert words in refused("/traits", query, 6)[0]


@pytest.mark.parametrize(
    ("query", "minor", "call"),
    [
        ("project_id=p", 9, ("usages", ("p", None))),
        ("project_id=p&user_id=u", 37, ("usages", ("p", "u"))),
        ("project_id=p&user_id=u", 38, ("usages_by_type", ("p", "u", None))),
        ("project_id=p&consumer_type=allX", 38, ("usages_by_type", ("p", None, "allX"))),
        ("project_id=p&consumer_type=unknown", 38, ("usages_by_type", ("p", None, "unknown"))),
    ],
)
def test_filters_of_usages_are_read(query: str, minor: int, call: tuple[str, object]) -> None:
    client = Client(FakeService())
    assert client.ask("GET", f"/usages?{query}", minor).status == 200
    assert client.service.calls == [call]


@pytest.mark.parametrize(
    ("query", "minor"),
    [
        ("project_id=", 9),
        ("user_id=u", 9),
        ("project_id=p&user_id=", 9),
        ("project_id=" + "p" * 256, 9),
        ("project_id=p&consumer_type=X", 37),
        ("project_id=p&consumer_type=lower", 38),
        ("project_id=p&consumer_type=unknownX", 38),
    ],
)
def test_a_bad_filter_of_usages_is_refused(query: str, minor: int) -> None:
    assert refused("/usages", query, minor)
