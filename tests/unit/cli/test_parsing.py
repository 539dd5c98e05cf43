"""Files for ``moorage load``: what a good one means, and what is said of a bad one."""

from __future__ import annotations

import json
import re
from importlib import resources

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from moorage.cli.document import Document
from moorage.cli.parsing import BadFileError, parse
from moorage.cli.reading import MAX_PROBLEMS
from moorage.cli.shared.names import aggregate_uuid, consumer_uuid
from moorage.model.values import Inventory
from tests.table import each

UUID = "11111111-2222-3333-4444-555555555555"

GOOD = f"""
providers:
  - name: host
    uuid: {UUID.upper()}
    inventories:
      VCPU: 8
      CUSTOM_THING: {{total: 10, reserved: 1, min_unit: 2, max_unit: 4, step_size: 2, allocation_ratio: 1.5}}
    traits: [HW_CPU_X86_AVX2, CUSTOM_FAST]
    aggregates: [rack, {UUID}]
    children:
      - name: numa0
        inventories: {{}}
        traits: []
consumers:
  - name: server
    project: p
    user: u
    type: INSTANCE
    allocations:
      host: {{VCPU: 2}}
  - name: nobody
    type: null
    allocations: {{}}
"""


def problems(text: str) -> list[str]:
    with pytest.raises(BadFileError) as caught:
        parse(text, "cloud.yaml")
    return str(caught.value).splitlines()


def in_provider(lines: str) -> str:
    return "providers:\n  - name: host\n" + "".join(f"    {line}\n" for line in lines.splitlines())


def test_every_key_of_a_good_file_is_understood() -> None:
    document = parse(GOOD, "cloud.yaml")
    [host] = document.providers
    assert (host.name, host.uuid, host.line) == ("host", UUID, 3)
    assert host.inventories == {
        "VCPU": Inventory(total=8),
        "CUSTOM_THING": Inventory(10, 1, 2, 4, 2, 1.5),
    }
    assert host.traits == frozenset({"HW_CPU_X86_AVX2", "CUSTOM_FAST"})
    assert host.aggregates == (aggregate_uuid("rack"), UUID)
    [numa] = host.children
    assert (numa.inventories, numa.traits, numa.aggregates) == ({}, frozenset(), None)
    assert [(entry.name, parent and parent.name) for entry, parent in document.entries()] == [
        ("host", None),
        ("numa0", "host"),
    ]
    server, nobody = document.consumers
    assert server.uuid == consumer_uuid("server")
    assert (server.project_id, server.user_id, server.consumer_type) == ("p", "u", "INSTANCE")
    assert server.allocations == {"host": {"VCPU": 2}}
    assert (nobody.consumer_type, nobody.allocations) == (None, {})


def test_json_is_read_like_yaml() -> None:
    text = json.dumps(yaml.safe_load(GOOD), indent=1)
    from_json, from_yaml = parse(text, "cloud.json"), parse(GOOD, "cloud.yaml")
    assert without_lines(from_json) == without_lines(from_yaml)


def without_lines(document: Document) -> list[object]:
    return [
        (entry.name, entry.uuid, entry.inventories, entry.traits, entry.aggregates, parent and parent.name)
        for entry, parent in document.entries()
    ] + [(consumer.uuid, consumer.allocations) for consumer in document.consumers]


def test_anchors_and_merge_keys_share_what_is_alike() -> None:
    text = """
providers:
  - name: a
    <<: &numa
      inventories: {VCPU: 4}
      traits: [HW_NUMA_ROOT]
  - {name: b, <<: *numa, traits: []}
  - {name: c, <<: [*numa, {aggregates: [x]}]}
"""
    a, b, c = parse(text, "f").providers
    assert a.inventories == b.inventories == c.inventories == {"VCPU": Inventory(4)}
    assert (a.traits, b.traits) == (frozenset({"HW_NUMA_ROOT"}), frozenset())
    assert c.aggregates == (aggregate_uuid("x"),)


def test_sample_cloud_is_a_good_file() -> None:
    text = (resources.files("moorage.cli") / "demo.yaml").read_text()
    document = parse(text, "demo.yaml")
    entries = list(document.entries())
    assert len([entry for entry, parent in entries if parent is None and entry.children]) == 24
    assert any("MISC_SHARES_VIA_AGGREGATE" in (entry.traits or ()) for entry, _ in entries)
    assert len({consumer.project_id for consumer in document.consumers}) == 2


@each(
    ("text", "expected"),
    [
        ("", "cloud.yaml:1: the file is empty"),
        ("- a\n", "cloud.yaml:1: the document must be a mapping of keys to values, not a list"),
        ("{}", "cloud.yaml:1: the document has no 'providers'"),
        ("providers: [", "cloud.yaml:2: not valid YAML: did not find expected node content"),
        ("providers:\n  - *x\n", "cloud.yaml:2: not valid YAML: found undefined alias"),
        ("providers: []\n---\nproviders: []\n", "not valid YAML: but found another document"),
        ("providers: []\n# \x00\n", "cloud.yaml:2: not valid YAML: "),
        ("providers: []\nprovider: []\n", "cloud.yaml:2: unknown key 'provider' in the document"),
        ("providers: {}\n", "cloud.yaml:1: 'providers' must be a list, not a mapping"),
        ("providers:\n", "cloud.yaml:1: 'providers' must be a list, not nothing"),
        ("providers:\n  - host\n", "cloud.yaml:2: a provider must be a mapping of keys to values"),
        ("providers:\n  - {}\n", "cloud.yaml:2: a provider has no 'name'"),
        ("providers:\n  - name: 12\n", "must be a string, not 12; put it in quotes"),
        ("providers:\n  - name:\n", "cloud.yaml:2: name of a provider must be a string, not nothing"),
        ("providers:\n  - name: [a]\n", "must be a string, not a list"),
        ("providers:\n  - name: '  '\n", "cloud.yaml:2: name of a provider must not be empty"),
        ('providers:\n  - name: "a\\nb"\n', "a character that cannot be printed"),
        (f"providers:\n  - name: {'x' * 201}\n", "has 201 characters; at most 200 are possible"),
        (in_provider("nmae: x"), "cloud.yaml:3: unknown key 'nmae' in a provider; did you mean 'name'?"),
        (in_provider("name: again"), "cloud.yaml:3: the key 'name' is given twice in a provider"),
        (in_provider("12: x"), "cloud.yaml:3: a key of a provider must be a string, not 12"),
        (in_provider("[a]: x"), "cloud.yaml:3: a key of a provider must be a string, not a list"),
        (in_provider("uuid: abc"), "cloud.yaml:3: uuid of provider 'host' must be a uuid, but is 'abc'"),
        (in_provider(f"uuid: {'g' * 32}"), "must be a uuid"),
        (in_provider("uuid: 5"), "uuid of provider 'host' must be a string, not 5"),
        (in_provider("<<: [1]"), "what '<<' names must be a mapping of keys to values, not 1"),
        (
            in_provider("inventories: [VCPU]"),
            "cloud.yaml:3: inventories of provider 'host' must be a mapping",
        ),
        (in_provider("inventories:\n  VCPUS: 1"), "unknown resource class 'VCPUS'"),
        (in_provider("inventories:\n  VCPUS: 1"), "did you mean 'VCPU'?"),
        (
            in_provider("inventories:\n  vcpu: 1"),
            "'vcpu' is no name for a resource class; did you mean 'VCPU'?",
        ),
        (in_provider("inventories:\n  CUSTOM_: 1"), "unknown resource class 'CUSTOM_'"),
        (in_provider(f"inventories:\n  CUSTOM_{'X' * 250}: 1"), "is no name for a resource class"),
        (
            in_provider("inventories:\n\n  VCPU: many"),
            "cloud.yaml:5: total of VCPU of provider 'host' must be",
        ),
        (in_provider("inventories:\n  VCPU: 1.0"), "must be a whole number, not 1.0"),
        (in_provider("inventories:\n  VCPU: 010"), "must be a whole number, not 010"),
        (in_provider("inventories:\n  VCPU: '1'"), "must be a whole number, not the text '1'"),
        (in_provider("inventories:\n  VCPU: true"), "must be a whole number, not true"),
        (in_provider("inventories:\n  VCPU: [1]"), "must be a whole number, not a list"),
        (in_provider("inventories:\n  VCPU: 0"), "is 0; it must be from 1 to 2147483647"),
        (in_provider("inventories:\n  VCPU: 2147483648"), "it must be from 1 to 2147483647"),
        (in_provider(f"inventories:\n  VCPU: {'9' * 5000}"), "it must be from 1 to 2147483647"),
        (in_provider("inventories:\n  VCPU: {reserved: 1}"), "VCPU of provider 'host' has no 'total'"),
        (in_provider("inventories:\n  VCPU: {total: 4, reserved: 5}"), "reserved 5 is more than the total"),
        (in_provider("inventories:\n  VCPU: {total: 4, reserved: -1}"), "is -1; it must be from 0 to"),
        (in_provider("inventories:\n  VCPU: {total: 4, step_size: 0}"), "is 0; it must be from 1 to"),
        (in_provider("inventories:\n  VCPU: {total: 4, min_unit: 3, max_unit: 2}"), "more than max_unit"),
        (in_provider("inventories:\n  VCPU: {total: 4, allocation_ratio: 0}"), "must be above 0"),
        (in_provider("inventories:\n  VCPU: {total: 4, allocation_ratio: -1.5}"), "must be above 0"),
        # A database with single precision would give back another number, or 0.
        (in_provider("inventories:\n  VCPU: {total: 4, allocation_ratio: 1e-40}"), "must be above 0"),
        (
            in_provider("inventories:\n  VCPU: {total: 4, allocation_ratio: 1e999}"),
            "must be above 0, from 1.2e-38 to 3.4",
        ),
        (
            in_provider("inventories:\n  VCPU: {total: 4, allocation_ratio: .inf}"),
            "must be a number, not .inf",
        ),
        (in_provider("inventories:\n  VCPU: {total: 4, allocation_ratio: '2'}"), "must be a number"),
        (in_provider("inventories:\n  VCPU: {total: 4, ratio: 2}"), "unknown key 'ratio' in VCPU"),
        (in_provider("traits: HW_NUMA_ROOT"), "traits of provider 'host' must be a list, not the text"),
        (in_provider("traits:\n  - HW_NUMA_ROOTS"), "cloud.yaml:4: unknown trait 'HW_NUMA_ROOTS'"),
        (in_provider("traits:\n  - hw-numa"), "cloud.yaml:4: 'hw-numa' is no name for a trait"),
        (in_provider("traits:\n  - {a: b}"), "a trait of provider 'host' must be a string, not a mapping"),
        (
            in_provider("traits:\n  - CUSTOM_A\n  - CUSTOM_A"),
            "cloud.yaml:5: the trait 'CUSTOM_A' is given twice",
        ),
        (in_provider("aggregates: [7]"), "an aggregate of provider 'host' must be a string, not 7"),
        (in_provider("aggregates:\n  - a\n  - a"), "cloud.yaml:5: the aggregate 'a' is given twice"),
        (in_provider("children: {}"), "children of provider 'host' must be a list, not a mapping"),
        (
            in_provider("children:\n  - name: host"),
            "cloud.yaml:4: the provider name 'host' was given in line 2",
        ),
        ("providers: []\nconsumers: {}\n", "cloud.yaml:2: 'consumers' must be a list, not a mapping"),
        ("providers: []\nconsumers: [x]\n", "cloud.yaml:2: a consumer must be a mapping"),
        ("providers: []\nconsumers: [{}]\n", "cloud.yaml:2: a consumer has no 'name'"),
        ("providers: []\nconsumers: [{name: c}]\n", "consumer 'c' has no 'allocations'"),
        ("providers: []\nconsumers: [{name: c, allocations: []}]\n", "must be a mapping"),
        ("providers: []\nconsumers: [{name: c, type: low-case, allocations: {}}]\n", "type of consumer 'c'"),
        ("providers: []\nconsumers: [{name: c, projct: p, allocations: {}}]\n", "did you mean 'project'?"),
    ],
)
def test_mistake_is_shown_with_its_line(text: str, expected: str) -> None:
    assert any(expected in problem for problem in problems(text)), problems(text)


@pytest.mark.parametrize(
    ("allocations", "expected"),
    [
        ("hots: {VCPU: 1}", "names the provider 'hots', not in this file; did you mean 'host'?"),
        ("host: {VCPU: 0}", "is 0; it must be from 1"),
        ("host: {}", "consumer 'c' holds nothing of 'host'"),
        ("host: {CPU: 1}", "unknown resource class 'CPU'"),
        ("host: 5", "what consumer 'c' holds of 'host' must be a mapping"),
    ],
)
def test_mistake_in_allocations_is_shown(allocations: str, expected: str) -> None:
    text = f"providers: [{{name: host}}]\nconsumers:\n  - name: c\n    allocations:\n      {allocations}\n"
    [problem] = problems(text)
    assert problem.startswith("cloud.yaml:5: ")
    assert expected in problem


def test_all_mistakes_are_shown_in_the_order_of_their_lines() -> None:
    text = in_provider("inventories:\n  VCPU: x\ntraits: [WHAT]\nuuid: 3\n")
    assert [problem.split(":")[1] for problem in problems(text)] == ["4", "5", "6"]


def test_mistakes_beyond_a_screenful_are_left_out() -> None:
    assert len(problems("providers: [" + "x, " * 500 + "]")) == MAX_PROBLEMS


def test_two_providers_cannot_have_one_uuid() -> None:
    bare = UUID.replace("-", "")
    text = f"providers:\n  - name: a\n    uuid: {UUID}\n  - name: b\n    uuid: '{bare}'\n"
    assert problems(text) == ["cloud.yaml:4: the uuid of provider 'b' was given in line 2 already"]


def test_two_consumers_cannot_have_one_uuid() -> None:
    text = "providers: []\nconsumers: [{name: c, allocations: {}}, {name: c, allocations: {}}]\n"
    assert problems(text) == ["cloud.yaml:2: the uuid of consumer 'c' was given in line 2 already"]


def test_alias_that_contains_itself_is_refused() -> None:
    assert problems("providers: &x\n  - name: a\n    children: *x\n")
    assert problems("providers:\n  - &x\n    name: a\n    <<: *x\n")
    assert problems("providers:\n  - &x\n    name: a\n    <<: [&y {<<: *x}]\n")


def test_nesting_has_an_end() -> None:
    text = "providers: " + "".join(f"[{{name: n{n}, children: " for n in range(70)) + "[]" + "}]" * 70
    assert any("nested more than 64 levels" in problem for problem in problems(text))
    assert problems("\n" + "[" * 900) == ["cloud.yaml:2: lists and mappings are nested too deeply"]
    # The reader of newer versions of PyYAML has an end of its own.
    [problem] = problems("\n" + "[" * 100_000)
    assert re.match("cloud.yaml:2: .*(nested too deeply|nesting depth)", problem)


def test_number_of_providers_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("moorage.cli.parsing.MAX_PROVIDERS", 2)
    text = "providers: [{name: a}, {name: b}, {name: c}, {name: d}]"
    assert problems(text) == ["cloud.yaml:1: more than 2 providers"]


yaml_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                [
                    "providers",
                    "name",
                    "uuid",
                    "inventories",
                    "traits",
                    "children",
                    "VCPU",
                    "total",
                    "consumers",
                ]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=20,
)


@given(yaml_values)
def test_whatever_a_file_says_it_is_a_document_or_a_list_of_problems(value: object) -> None:
    outcome: Document | BadFileError
    try:
        outcome = parse(yaml.safe_dump({"providers": value}), "f")
    except BadFileError as error:
        outcome = error
    assert isinstance(outcome, Document) or str(outcome).startswith("f:")


@given(st.text(max_size=200))
def test_any_text_at_all_ends_in_problems_with_lines(text: str) -> None:
    with pytest.raises(BadFileError) as caught:
        parse(text, "f")
    assert all(problem.line >= 1 for problem in caught.value.problems)
