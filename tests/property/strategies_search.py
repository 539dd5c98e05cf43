"""Random forests of providers and random requests for the search, small enough for its twin."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st

from moorage.model.requests import CandidateRequest, RequestGroup
from moorage.model.values import SHARING_TRAIT, Inventory, ProviderRecord

CLASSES = ("CUSTOM_A", "DISK_GB", "VCPU")
TRAITS = ("CUSTOM_RED", "CUSTOM_BLUE", "HW_FAST", SHARING_TRAIT)
AGGREGATES = ("agg-1", "agg-2", "agg-3")
UNKNOWN_AGGREGATE = "agg-unknown"
OFFERED = (CLASSES, CLASSES, CLASSES, ("DISK_GB", "VCPU"), ("VCPU",), ("DISK_GB",), ())
"""Classes that a provider may have: mostly all, so that most requests find something."""

MOST_PROVIDERS = 9
"""Providers of a forest: the twin multiplies all options, so more would take seconds."""


def examples(factor: float) -> settings:
    """``factor`` times the examples of the profile in use."""
    profile = settings.default
    assert profile is not None
    return settings(max_examples=int(factor * profile.max_examples))


inventories = st.builds(
    Inventory,
    total=st.integers(3, 9),
    reserved=st.sampled_from([0, 0, 0, 2]),
    min_unit=st.sampled_from([1, 1, 1, 1, 1, 2]),
    max_unit=st.sampled_from([8, 8, 8, 4, 3, 1]),
    step_size=st.sampled_from([1, 1, 1, 1, 1, 2]),
    allocation_ratio=st.sampled_from([1.0, 1.0, 1.0, 1.5, 0.5, 3.4e38]),
)


def names_of(values: tuple[str, ...], most: int) -> st.SearchStrategy[tuple[str, ...]]:
    """A few of ``values``, in their order."""
    chosen = st.lists(st.sampled_from(values), unique=True, max_size=most)
    return chosen.map(lambda found: tuple(value for value in values if value in found))


def chance(tenths: int) -> st.SearchStrategy[bool]:
    """True in so many of ten."""
    return st.sampled_from(range(10)).map(lambda drawn: drawn >= 10 - tenths)


@st.composite
def forests(draw: st.DrawFn, least: int = 1) -> list[ProviderRecord]:
    """Trees up to three providers deep, with holes between the ids."""
    count = draw(st.sampled_from(range(least, MOST_PROVIDERS + 1)))
    records: list[ProviderRecord] = []
    depths: dict[int, int] = {}
    for number in range(count):
        identifier = 3 * number + 1
        parents = [record for record in records if depths[record.id] < 2]
        parent: ProviderRecord | None = draw(st.sampled_from([None, *parents]))
        depths[identifier] = 0 if parent is None else depths[parent.id] + 1
        records.append(
            ProviderRecord(
                id=identifier,
                uuid=f"provider-{identifier:02}",
                parent_id=None if parent is None else parent.id,
                root_id=identifier if parent is None else parent.root_id,
                inventories=tuple(
                    (name, draw(inventories), draw(st.sampled_from([0, 0, 1, 3])))
                    for name in draw(st.sampled_from(OFFERED))
                ),
                traits=draw(names_of(TRAITS, 3)),
                aggregates=draw(names_of(AGGREGATES, 2)),
            )
        )
    return records


subsets_of_traits = st.frozensets(st.sampled_from(TRAITS), min_size=1, max_size=2)
subsets_of_aggregates = st.frozensets(
    st.sampled_from((*AGGREGATES, UNKNOWN_AGGREGATE)), min_size=1, max_size=2
)


@st.composite
def groups(draw: st.DrawFn, suffix: str, least_classes: int = 0) -> RequestGroup:
    """A group that mostly asks for little, so that something is found often."""
    classes = draw(st.lists(st.sampled_from(CLASSES), unique=True, min_size=least_classes, max_size=2))
    return RequestGroup(
        suffix=suffix,
        resources={name: draw(st.sampled_from([1, 1, 1, 2, 2, 3])) for name in classes},
        required=tuple(draw(st.lists(subsets_of_traits, max_size=2))) if draw(chance(3)) else (),
        forbidden=draw(subsets_of_traits) if draw(chance(2)) else frozenset(),
        member_of=tuple(draw(st.lists(subsets_of_aggregates, max_size=2))) if draw(chance(2)) else (),
        forbidden_aggregates=draw(subsets_of_aggregates) if draw(chance(2)) else frozenset(),
        in_tree=draw(st.sampled_from(["provider-01", "provider-04", "provider-07", "nobody"]))
        if draw(chance(1))
        else None,
    )


@st.composite
def requests(draw: st.DrawFn) -> CandidateRequest:
    """A request with the whole grammar: up to three suffixed groups beside the unsuffixed one."""
    suffixes = [f"_{number}" for number in range(draw(st.sampled_from([0, 0, 1, 2, 2, 3])))]
    found = [draw(groups(suffix)) for suffix in suffixes]
    if not suffixes or draw(st.booleans()):
        found.insert(draw(st.integers(0, len(found))), draw(groups("", least_classes=1)))
    subtrees: list[frozenset[str]] = []
    if draw(chance(4)) and suffixes:
        related = st.frozensets(st.sampled_from(suffixes), min_size=1)
        subtrees = draw(st.lists(related, min_size=1, max_size=2))
    return CandidateRequest(
        groups=tuple(found),
        group_policy=draw(st.sampled_from([None, "none", "isolate", "isolate"])),
        root_required=draw(subsets_of_traits) if draw(chance(1)) else frozenset(),
        root_forbidden=draw(subsets_of_traits) if draw(chance(1)) else frozenset(),
        same_subtree=tuple(subtrees),
        one_provider_per_tree=draw(chance(1)),
    )


@st.composite
def crowded(draw: st.DrawFn) -> tuple[list[ProviderRecord], CandidateRequest]:
    """A wide tree of much alike providers, and groups that together hardly fit into it."""
    root = ProviderRecord(1, "root", None, 1, (("VCPU", Inventory(4), 0),))
    children = [
        ProviderRecord(
            number,
            f"child-{number}",
            1,
            1,
            inventories=tuple(
                (name, Inventory(draw(st.sampled_from([2, 2, 3, 4]))), 0)
                for name in draw(st.sampled_from([("CUSTOM_A", "VCPU"), ("VCPU",), ("CUSTOM_A",)]))
            ),
            traits=draw(st.sampled_from([(), (), ("CUSTOM_RED",), ("CUSTOM_BLUE",)])),
        )
        for number in range(2, draw(st.sampled_from([4, 5, 6])) + 1)
    ]
    wanted = draw(st.sampled_from([("VCPU",), ("CUSTOM_A",), ("CUSTOM_A", "VCPU")]))
    suffixes = [f"_{number}" for number in range(draw(st.sampled_from([2, 3, 4])))]
    found = [
        RequestGroup(suffix, {name: draw(st.sampled_from([1, 2, 2, 3])) for name in wanted})
        for suffix in suffixes
    ]
    if draw(chance(6)):
        required = (frozenset(["CUSTOM_RED"]), frozenset(["CUSTOM_BLUE"])) if draw(chance(5)) else ()
        found.append(RequestGroup("", {"VCPU": 2, "CUSTOM_A": 1}, required))
    return [root, *children], CandidateRequest(
        tuple(found),
        group_policy=draw(st.sampled_from(["isolate", "none"])),
        same_subtree=(frozenset(suffixes[:2]),) if draw(chance(2)) else (),
        one_provider_per_tree=draw(chance(1)),
    )
