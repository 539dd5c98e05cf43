from __future__ import annotations

import pytest

from moorage.model import mixes
from moorage.model.mixes import Mix, Shape, ShapePart
from moorage.model.orders import Order
from moorage.model.requests import CandidateRequest, RequestGroup

GPU = "CUSTOM_GPU_MILLI"


def group(suffix: str, **resources: int) -> RequestGroup:
    return RequestGroup(suffix, resources)


def test_equal_groups_are_one_part_with_a_count() -> None:
    gpus = [group(f"_{number}", **{GPU: 1000}) for number in range(2)]
    shape = Shape.of(CandidateRequest((group("", VCPU=4), *gpus), group_policy="isolate"))
    assert shape == Shape((ShapePart(GPU, 1000, 2, apart=True), ShapePart("VCPU", 4)))


def test_one_group_alone_cannot_be_apart() -> None:
    shape = Shape.of(CandidateRequest((group("", VCPU=4), group("_A", **{GPU: 500})), "isolate"))
    assert shape == Shape((ShapePart(GPU, 500), ShapePart("VCPU", 4)))


def test_a_tree_has_what_the_unsuffixed_group_requires_and_a_provider_what_another_does() -> None:
    red, blue = frozenset(["RED"]), frozenset(["BLUE", "AZURE"])
    request = CandidateRequest(
        (
            RequestGroup("", {"VCPU": 1}, required=(red,), forbidden=frozenset(["OLD"])),
            RequestGroup("_A", {"VCPU": 1}, required=(blue,)),
        ),
        root_required=frozenset(["BIG"]),
        root_forbidden=frozenset(["SMALL"]),
    )
    assert Shape.of(request) == Shape(
        (ShapePart("VCPU", 1, forbidden=("OLD",)), ShapePart("VCPU", 1, required=(("AZURE", "BLUE"),))),
        (("RED",),),
        ("BIG",),
        ("SMALL",),
    )


def test_shares_sum_to_one_and_equal_shapes_are_added() -> None:
    small, large = CandidateRequest((group("", VCPU=1),)), CandidateRequest((group("", VCPU=8),))
    mix = Mix.of([(small, 1), (large, 2), (small, 5)])
    assert mix.shares == {Shape.of(small): 0.75, Shape.of(large): 0.25}
    assert mix == Mix.of([(large, 1), (small, 3)])
    assert hash(mix) == hash(Mix.of([(large, 1), (small, 3)]))
    assert mix != Mix.of([(large, 1)])
    assert mix != "a mix"
    assert Mix().shares == {}
    with pytest.raises(ValueError, match="above 0"):
        Mix.of([(small, 0)])


def test_only_the_heaviest_shapes_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mixes, "MOST_SHAPES", 2)
    asked = [CandidateRequest((group("", VCPU=amount),)) for amount in (1, 2, 3)]
    mix = Mix.of([(asked[0], 2), (asked[1], 1), (asked[2], 6)])
    assert mix.shares == {Shape.of(asked[2]): 0.75, Shape.of(asked[0]): 0.25}


def test_orders_with_other_mixes_differ() -> None:
    mix = Mix.of([(CandidateRequest((group("", VCPU=1),)), 1)])
    plain, given = Order("slots"), Order("slots", mix=mix)
    assert plain.market == (None, None, "")
    assert given.market == (None, mix.key, "")
    assert plain != given
    assert given == Order("slots", mix=Mix(mix.shares))
    assert given.size > plain.size
    assert Order("slots", scored=GPU) != plain
    assert Order("slots", learned="gpu") != plain


def test_what_was_written_is_read() -> None:
    required = (frozenset({"CUSTOM_A", "CUSTOM_B"}),)
    gpus = [
        RequestGroup(suffix, {GPU: 1}, required=required, forbidden=frozenset({"CUSTOM_C"}))
        for suffix in ("_a", "_b")
    ]
    plain = RequestGroup("", {"VCPU": 2}, required=(frozenset({"HW_NUMA_ROOT"}),))
    isolated = CandidateRequest(
        (plain, *gpus),
        group_policy="isolate",
        root_required=frozenset({"COMPUTE_NODE"}),
        root_forbidden=frozenset({"CUSTOM_OLD"}),
    )
    learnt = {Shape.of(isolated): 2.5, Shape.of(CandidateRequest((group("", VCPU=1),))): 1.0, Shape(): 3.0}
    assert mixes.read(mixes.written(learnt)) == learnt
    for text in ("{", "[7]", "[[7]]", '[[["a"],1]]', '[[[[],[],[],[]],"x"]]', "null"):
        with pytest.raises(ValueError, match=r"form|Expecting|could not|not enough|too many|unpack|values"):
            mixes.read(text)
