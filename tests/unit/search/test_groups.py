from __future__ import annotations

import pytest

from moorage.model.errors import ResourceClassNotFoundError, TraitNotFoundError
from moorage.model.requests import CandidateRequest, RequestGroup
from moorage.model.values import SHARING_TRAIT, Inventory
from moorage.search.index.index import MOST_ENTRIES
from moorage.search.match.candidates import providers_matching
from moorage.search.match.filters import InTree
from tests.table import each
from tests.unit.search.builders import ask, group, index_of, provider, search

A_VCPU = {"VCPU": 1}


@each(
    ("inventory", "used", "amount", "served"),
    [
        (Inventory(4), 0, 4, True),
        (Inventory(4), 0, 5, False),
        (Inventory(4), 3, 1, True),
        (Inventory(4), 3, 2, False),
        (Inventory(4, reserved=1), 0, 4, False),
        (Inventory(4, allocation_ratio=1.5), 0, 6, True),
        (Inventory(3, allocation_ratio=1.5), 0, 5, False),
        (Inventory(8, min_unit=2), 0, 1, False),
        (Inventory(8, max_unit=2), 0, 3, False),
        (Inventory(8, step_size=3), 0, 4, False),
        (Inventory(8, step_size=3), 0, 6, True),
        (Inventory(4), 5, 1, False),
    ],
)
def test_room_and_units_decide_who_serves_an_amount(
    inventory: Inventory, used: int, amount: int, served: bool
) -> None:
    index = index_of(provider(1, {"VCPU": inventory}, used={"VCPU": used}))
    assert bool(ask(index, group("", {"VCPU": amount}))) is served
    assert bool(ask(index, group("1", {"VCPU": amount}))) is served
    assert bool(providers_matching(index.snapshot(), group("", {"VCPU": amount}))) is served


def test_providers_matching_satisfy_every_part_of_a_group_by_themselves() -> None:
    root = provider(1, {"VCPU": 4, "VF": 1}, traits=["RED"], aggregates=["a"])
    child = provider(2, {"VCPU": 4}, below=root, traits=["RED", "BLUE"], aggregates=["b"])
    other = provider(3, {"VCPU": 1}, traits=["BLUE"], aggregates=["a", "b"])
    index = index_of(root, child, other)

    def matching(wanted: RequestGroup) -> list[int]:
        return providers_matching(index.snapshot(), wanted)

    assert matching(group()) == [1, 2, 3]
    assert matching(group("", {"VCPU": 2})) == [1, 2]
    assert matching(group("", {"VCPU": 1, "VF": 1})) == [1]
    assert matching(group("", required=[["RED", "FAST"], ["BLUE"]])) == [2]
    assert matching(group("", forbidden=["RED"])) == [3]
    assert matching(group("", member_of=[["a"], ["b"]])) == [3]
    assert matching(group("", member_of=[["a", "b"]])) == [1, 2, 3]
    assert matching(group("", forbidden_aggregates=["a"])) == [2]
    assert matching(group("", in_tree="p2")) == [1, 2]
    assert matching(group("", in_tree="nobody")) == []
    assert matching(group("", member_of=[["unknown"]])) == []
    assert matching(group("", forbidden_aggregates=["unknown"])) == [1, 2, 3]


def test_a_class_that_exists_but_nobody_has_matches_nobody() -> None:
    assert providers_matching(index_of(provider(1)).snapshot(), group("", {"VF": 1})) == []


def test_an_unknown_class_is_refused_by_name() -> None:
    index = index_of(provider(1))
    for wanted in (group("", {"NONE": 1}), group("1", {"VCPU": 1, "NONE": 1})):
        with pytest.raises(ResourceClassNotFoundError) as refused:
            search(index, CandidateRequest((group("2", A_VCPU, in_tree="nobody"), wanted)))
        assert refused.value.name == "NONE"
        with pytest.raises(ResourceClassNotFoundError):
            providers_matching(index.snapshot(), wanted)


@pytest.mark.parametrize(
    "wanted",
    [
        CandidateRequest((group("1", A_VCPU), group("2", A_VCPU, required=[["RED", "X"], ["Y"]]))),
        CandidateRequest((group("1", A_VCPU, forbidden=["X", "Y"]),)),
        CandidateRequest((group("1", A_VCPU, required=[["X"]]), group("2", A_VCPU, forbidden=["Y"]))),
        CandidateRequest((group("", A_VCPU),), root_required=frozenset(["X"]), root_forbidden=frozenset("Y")),
    ],
)
def test_unknown_traits_are_refused_even_where_nothing_could_be_found(wanted: CandidateRequest) -> None:
    with pytest.raises(TraitNotFoundError) as refused:
        search(index_of(), wanted)
    assert refused.value.names == "X, Y"


def test_providers_matching_refuses_unknown_traits() -> None:
    with pytest.raises(TraitNotFoundError):
        providers_matching(index_of().snapshot(), group("", required=[["X"]]))


def test_a_suffixed_group_is_served_by_one_provider() -> None:
    root = provider(1, {"VCPU": 4})
    child = provider(2, {"VF": 4}, below=root)
    both = provider(3, {"VCPU": 4, "VF": 4})
    wanted = {"VCPU": 1, "VF": 1}
    assert ask(index_of(root, child, both), group("1", wanted)) == [{"p3": wanted}]


def test_the_unsuffixed_group_takes_each_class_from_another_provider_of_the_tree() -> None:
    root = provider(1, {"VCPU": 4})
    index = index_of(
        root,
        provider(2, {"VF": 4}, below=root),
        provider(3, {"VF": 4}, below=root),
        provider(4, {"VF": 4}),
    )
    assert ask(index, group("", {"VCPU": 1, "VF": 1})) == [
        {"p1": {"VCPU": 1}, "p2": {"VF": 1}},
        {"p1": {"VCPU": 1}, "p3": {"VF": 1}},
    ]


def test_required_traits_of_the_unsuffixed_group_are_found_on_the_providing_ones_together() -> None:
    root = provider(1, {"VCPU": 4, "VF": 1}, traits=["RED"])
    index = index_of(
        root,
        provider(2, {"VF": 4}, below=root, traits=["BLUE"]),
        provider(3, {"VF": 4}, below=root),
    )
    wanted = {"VCPU": 1, "VF": 1}
    both = [["RED"], ["BLUE"]]
    assert ask(index, group("", wanted, required=both)) == [{"p1": {"VCPU": 1}, "p2": {"VF": 1}}]
    assert ask(index, group("1", wanted, required=both)) == []


def test_a_trait_of_a_root_that_provides_nothing_does_not_count() -> None:
    root = provider(1, traits=["RED"])
    index = index_of(root, provider(2, {"VF": 4}, below=root))
    assert ask(index, group("", {"VF": 1}, required=[["RED"]])) == []


def test_a_forbidden_trait_is_on_no_providing_provider() -> None:
    root = provider(1, {"VCPU": 4}, traits=["BLUE"])
    index = index_of(
        root,
        provider(2, {"VF": 4}, below=root, traits=["RED"]),
        provider(3, {"VF": 4}, below=root),
    )
    assert ask(index, group("", {"VF": 1}, forbidden=["RED", "BLUE"])) == [{"p3": {"VF": 1}}]
    assert ask(index, group("", {"VF": 1, "VCPU": 1}, forbidden=["RED", "BLUE"])) == []
    assert ask(index, group("1", {"VF": 1}, forbidden=["RED"])) == [{"p3": {"VF": 1}}]


def test_a_group_without_resources_and_with_forbidden_traits_only_finds_providers() -> None:
    index = index_of(provider(1, {"VCPU": 1}, traits=["RED"]), provider(2, {"VCPU": 1}))
    request = CandidateRequest((group("1", A_VCPU), group("2", forbidden=["RED"])))
    result = search(index, request)
    assert [dict(candidate.mappings) for candidate in result.candidates] == [{"1": ("p2",), "2": ("p2",)}]


def test_in_tree_of_a_group_without_resources_counts() -> None:
    index = index_of(provider(1, {"VCPU": 1}), provider(2, {"VCPU": 1}))
    assert ask(index, group("1", A_VCPU), group("2", in_tree="p2")) == [{"p2": A_VCPU}]


def test_membership_of_a_root_counts_for_its_tree_in_the_unsuffixed_group_only() -> None:
    root = provider(1, {"VCPU": 4}, aggregates=["a"])
    index = index_of(root, provider(2, {"VF": 4}, below=root), provider(3, {"VF": 4}))
    assert ask(index, group("", {"VF": 1}, member_of=[["a"]])) == [{"p2": {"VF": 1}}]
    assert ask(index, group("1", {"VF": 1}, member_of=[["a"]])) == []


def test_a_member_in_the_middle_of_a_tree_is_a_member_itself() -> None:
    root = provider(1)
    index = index_of(
        root, provider(2, {"VF": 4}, below=root, aggregates=["a"]), provider(3, {"VF": 1}, below=root)
    )
    for suffix in ("", "1"):
        assert ask(index, group(suffix, {"VF": 1}, member_of=[["a"]])) == [{"p2": {"VF": 1}}]


def test_all_sets_of_member_of_are_wanted_of_one_and_the_same() -> None:
    root = provider(1, aggregates=["a"])
    index = index_of(root, provider(2, {"VF": 4}, below=root, aggregates=["b"]))
    assert ask(index, group("", {"VF": 1}, member_of=[["a"], ["b"]])) == []
    assert ask(index, group("", {"VF": 1}, member_of=[["a", "c"], ["a", "b"]])) == [{"p2": {"VF": 1}}]


def test_a_forbidden_aggregate_of_a_root_bans_its_tree_in_the_unsuffixed_group_only() -> None:
    root = provider(1, aggregates=["a"])
    index = index_of(root, provider(2, {"VF": 4}, below=root), provider(3, {"VF": 4}, aggregates=["b"]))
    assert ask(index, group("", {"VF": 1}, forbidden_aggregates=["a"])) == [{"p3": {"VF": 1}}]
    assert ask(index, group("1", {"VF": 1}, forbidden_aggregates=["a"])) == [
        {"p2": {"VF": 1}},
        {"p3": {"VF": 1}},
    ]
    assert ask(index, group("", {"VF": 1}, forbidden_aggregates=["a", "b"])) == []
    assert len(ask(index, group("", {"VF": 1}, forbidden_aggregates=["unknown"]))) == 2


@pytest.mark.parametrize("suffix", ["", "1"])
def test_in_tree_is_named_by_any_provider_of_the_tree(suffix: str) -> None:
    root = provider(1, {"VF": 1})
    index = index_of(root, provider(2, {"VF": 1}, below=root), provider(3, {"VF": 1}))
    for name in ("p1", "p2"):
        assert ask(index, group(suffix, {"VF": 1}, in_tree=name)) == [{"p1": {"VF": 1}}, {"p2": {"VF": 1}}]
    assert ask(index, group(suffix, {"VF": 1}, in_tree="nobody")) == []


def test_traits_are_asked_of_the_root_by_root_required_and_root_forbidden() -> None:
    red = provider(1, traits=["RED"])
    plain = provider(3, traits=["BLUE"])
    index = index_of(
        red,
        provider(2, {"VF": 1}, below=red),
        plain,
        provider(4, {"VF": 1}, below=plain, traits=["RED"]),
    )

    def anchored(required: list[str], forbidden: list[str]) -> int:
        request = CandidateRequest(
            (group("", {"VF": 1}),), root_required=frozenset(required), root_forbidden=frozenset(forbidden)
        )
        return len(search(index, request).candidates)

    assert anchored(["RED"], []) == 1
    assert anchored([], ["RED"]) == 1
    assert anchored(["RED"], ["BLUE"]) == 1
    assert anchored(["RED", "BLUE"], []) == 0


def test_a_sharing_provider_serves_the_trees_in_its_aggregates() -> None:
    index = index_of(
        provider(1, {"VCPU": 4}, aggregates=["a"]),
        provider(2, {"VCPU": 4}, aggregates=["b"]),
        provider(3, {"DISK_GB": 100}, traits=[SHARING_TRAIT], aggregates=["a"]),
        provider(4, {"DISK_GB": 100}, aggregates=["b"]),
    )
    expected = [{"p1": {"VCPU": 1}, "p3": {"DISK_GB": 5}}]
    assert ask(index, group("", {"VCPU": 1, "DISK_GB": 5})) == expected
    assert ask(index, group("", {"VCPU": 1}), group("1", {"DISK_GB": 5})) == expected


def test_a_nested_provider_in_the_aggregate_opens_the_whole_tree_to_sharing() -> None:
    root = provider(1, {"VCPU": 4})
    index = index_of(
        root,
        provider(2, below=root, aggregates=["a"]),
        provider(3, {"DISK_GB": 100}, traits=[SHARING_TRAIT], aggregates=["a"]),
    )
    assert len(ask(index, group("", {"VCPU": 1, "DISK_GB": 5}))) == 1


def test_in_tree_keeps_sharing_providers_out_of_its_own_group_only() -> None:
    index = index_of(
        provider(1, {"VCPU": 4}, aggregates=["a"]),
        provider(2, {"DISK_GB": 100}, traits=[SHARING_TRAIT], aggregates=["a"]),
    )
    wanted = {"VCPU": 1, "DISK_GB": 5}
    assert ask(index, group("", wanted, in_tree="p1")) == []
    assert len(ask(index, group("", A_VCPU, in_tree="p1"), group("1", {"DISK_GB": 5}))) == 1
    assert len(ask(index, group("", A_VCPU), group("1", {"DISK_GB": 5}, in_tree="p2"))) == 1


def test_a_sharing_provider_must_itself_be_a_member() -> None:
    index = index_of(
        provider(1, {"VCPU": 4}, aggregates=["a", "m"]),
        provider(2, {"DISK_GB": 100}, traits=[SHARING_TRAIT], aggregates=["a"]),
        provider(3, {"DISK_GB": 100}, traits=[SHARING_TRAIT], aggregates=["a", "m"]),
    )
    wanted = group("", {"VCPU": 1, "DISK_GB": 5}, member_of=[["m"]])
    assert ask(index, wanted) == [{"p1": {"VCPU": 1}, "p3": {"DISK_GB": 5}}]


def test_forbidden_aggregates_ban_sharing_providers_and_the_trees_they_would_serve() -> None:
    index = index_of(
        provider(1, {"VCPU": 4}, aggregates=["a"]),
        provider(2, {"VCPU": 4}, aggregates=["a", "x"]),
        provider(3, {"DISK_GB": 100}, traits=[SHARING_TRAIT], aggregates=["a"]),
        provider(4, {"DISK_GB": 100}, traits=[SHARING_TRAIT], aggregates=["a", "x"]),
    )
    wanted = group("", {"VCPU": 1, "DISK_GB": 5}, forbidden_aggregates=["x"])
    assert ask(index, wanted) == [{"p1": {"VCPU": 1}, "p3": {"DISK_GB": 5}}]


def test_a_banned_tree_is_served_by_nobody_who_shares_either() -> None:
    index = index_of(
        provider(1, {"VCPU": 4}, aggregates=["a", "x"]),
        provider(2, {"DISK_GB": 100}, traits=[SHARING_TRAIT], aggregates=["a"]),
    )
    disk = {"DISK_GB": 5}
    assert len(ask(index, group("1", A_VCPU), group("", disk))) == 1
    assert ask(index, group("1", A_VCPU), group("", disk, forbidden_aggregates=["x"])) == []


def test_a_sharing_provider_named_by_in_tree_serves_its_own_tree_only_unless_suffixed() -> None:
    index = index_of(
        provider(1, {"VCPU": 4}, aggregates=["a"]),
        provider(2, {"DISK_GB": 100}, traits=[SHARING_TRAIT], aggregates=["a"]),
    )
    disk = {"DISK_GB": 5}
    assert ask(index, group("1", A_VCPU), group("", disk, in_tree="p2")) == []
    assert len(ask(index, group("", A_VCPU), group("1", disk, in_tree="p2"))) == 1


def test_traits_of_a_sharing_provider_count_where_it_provides() -> None:
    index = index_of(
        provider(1, {"VCPU": 4, "DISK_GB": 100}, aggregates=["a"]),
        provider(2, {"DISK_GB": 100}, traits=[SHARING_TRAIT, "RED"], aggregates=["a"]),
    )
    wanted = {"VCPU": 1, "DISK_GB": 5}
    shared = {"p1": {"VCPU": 1}, "p2": {"DISK_GB": 5}}
    assert ask(index, group("", wanted, required=[["RED"]])) == [shared]
    assert ask(index, group("", wanted, forbidden=["RED"])) == [{"p1": {"DISK_GB": 5, "VCPU": 1}}]


def test_every_step_says_how_many_it_left() -> None:
    root = provider(1, {"VCPU": 4}, traits=["RED"], aggregates=["a"])
    index = index_of(root, provider(2, {"VCPU": 1}, below=root), provider(3, {"VCPU": 8}, aggregates=["x"]))
    request = CandidateRequest(
        (
            group("1", {"VCPU": 2}, member_of=[["a", "b"], ["a"]], forbidden_aggregates=["x", "y"]),
            group(
                "",
                {"VCPU": 1},
                required=[["RED", "BLUE"]],
                forbidden=["FAST", "BLUE"],
                member_of=[["a"]],
                forbidden_aggregates=["x"],
                in_tree="p1",
            ),
        ),
        root_required=frozenset(["RED"]),
        root_forbidden=frozenset(["FAST"]),
    )
    assert [(stage.group, stage.step, stage.left) for stage in search(index, request).stages] == [
        (None, "root_required RED", 1),
        (None, "root_forbidden FAST", 1),
        ("1", "VCPU:2", 2),
        ("1", "member_of a or b and a", 1),
        ("1", "not member_of x, y", 1),
        (None, "group 1", 1),
        ("", "in_tree p1", 2),
        ("", "forbidden BLUE, FAST", 2),
        ("", "member_of a", 2),
        ("", "not member_of x", 2),
        ("", "VCPU:1", 2),
        ("", "required BLUE or RED", 1),
        (None, "unsuffixed group", 1),
        (None, "all groups together", 1),
    ]


def test_the_steps_end_where_nothing_is_left() -> None:
    index = index_of(provider(1, {"VCPU": 4}, traits=["RED"]))
    request = CandidateRequest(
        (group("1", {"VCPU": 2}, required=[["RED"]], forbidden=["RED"], in_tree="p1"), group("2", A_VCPU))
    )
    result = search(index, request)
    assert [(stage.step, stage.left) for stage in result.stages] == [
        ("VCPU:2", 1),
        ("required RED", 1),
        ("forbidden RED", 0),
        ("in_tree p1", 0),
        ("group 1", 0),
    ]
    assert not result.candidates
    assert not result.summaries


def test_in_tree_lets_in_nobody_of_other_blocks_and_of_none_if_the_name_is_unknown() -> None:
    snapshot = index_of(*(provider(number, {"VCPU": 4}) for number in range(1, 2 * MOST_ENTRIES))).snapshot()
    last = snapshot.blocks[-1]
    known = InTree.of(snapshot, last.uuids[-1].decode())
    assert known.mask(last).nonzero()[0].tolist() == [len(last) - 1]
    assert not known.mask(snapshot.blocks[0]).any()
    assert not any(InTree.of(snapshot, "nobody").mask(block).any() for block in snapshot.blocks)
