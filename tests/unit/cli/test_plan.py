"""The difference between a file and what is there, as pure functions."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from moorage.cli.document import ConsumerEntry, Document, ProviderEntry
from moorage.cli.plan import Present, PresentDetails, Step, plan, prune_steps, same_inventories, uuids_of
from moorage.cli.shared.names import provider_uuid
from moorage.model.commands import (
    KEEP,
    Batch,
    Claim,
    Command,
    CreateProvider,
    CreateResourceClass,
    CreateTrait,
    DeleteAllocations,
    ReplaceAllocations,
    SetAggregates,
    SetInventories,
    SetTraits,
    UpdateProvider,
)
from moorage.model.values import ConsumerAllocations, HeldOfProvider, Inventory, Provider

AGGREGATE = "99999999-0000-0000-0000-000000000000"


def provider(uuid: str, name: str | None = None, parent: str | None = None) -> Provider:
    return Provider(uuid=uuid, name=name or uuid, generation=3, parent_uuid=parent, root_uuid=parent or uuid)


def details(
    inventories: dict[str, Inventory] | None = None,
    traits: tuple[str, ...] = (),
    aggregates: tuple[str, ...] = (),
) -> PresentDetails:
    return PresentDetails(3, inventories or {}, frozenset(traits), frozenset(aggregates))


def commands(step: Step) -> tuple[Command[object], ...]:
    assert isinstance(step.command, Batch)
    return step.command.commands


def document(*roots: ProviderEntry) -> Document:
    return Document(roots)


def test_new_provider_is_one_batch_with_the_names_it_needs_first() -> None:
    entry = ProviderEntry(
        "host",
        line=2,
        inventories={"VCPU": Inventory(4), "CUSTOM_B": Inventory(1), "CUSTOM_A": Inventory(1)},
        traits=frozenset({"HW_NUMA_ROOT", "CUSTOM_T", "CUSTOM_THERE"}),
        aggregates=(AGGREGATE,),
    )
    uuid = provider_uuid("host")
    [step] = plan(document(entry), Present(traits=frozenset({"CUSTOM_THERE"})))
    assert entry.inventories is not None
    assert entry.traits is not None
    assert commands(step) == (
        CreateProvider(uuid, "host"),
        CreateResourceClass("CUSTOM_A", may_exist=True),
        CreateResourceClass("CUSTOM_B", may_exist=True),
        SetInventories(uuid, None, entry.inventories),
        CreateTrait("CUSTOM_T"),
        SetTraits(uuid, None, entry.traits),
        SetAggregates(uuid, None, (AGGREGATE,)),
    )
    assert (step.action, step.line, str(step)) == ("create", 2, "create host")


def test_child_is_created_after_its_parent_and_needs_it() -> None:
    steps = plan(document(ProviderEntry("a", 1, children=(ProviderEntry("b", 2),))), Present())
    assert [step.label for step in steps] == ["a", "b"]
    assert commands(steps[1]) == (CreateProvider(provider_uuid("b"), "b", provider_uuid("a")),)
    assert steps[1].needs == (provider_uuid("a"),)


def test_provider_without_a_uuid_in_the_file_is_known_by_its_name() -> None:
    present = Present((provider("u1", "host"),), {"u1": details()})
    assert plan(document(ProviderEntry("host", 1)), present) == []


def test_no_two_names_of_a_file_share_a_uuid_whatever_is_there() -> None:
    # One entry means a provider by its uuid and renames it; the name that it has now is another entry's.
    renamed = document(ProviderEntry("new", 1, uuid="u1"), ProviderEntry("host", 2))
    assert uuids_of(renamed, [provider("u1", "host")]) == {"new": "u1", "host": provider_uuid("host")}
    # The uuid that would follow from one name belongs to a provider that has another entry's name.
    followed = provider_uuid("host")
    uuids = uuids_of(
        document(ProviderEntry("host", 1), ProviderEntry("other", 2)), [provider(followed, "other")]
    )
    assert uuids == {"host": provider_uuid("host", 2), "other": followed}
    # Nobody else means it: then it is this one, and gets its name back.
    assert uuids_of(document(ProviderEntry("host", 1)), [provider(followed, "other")]) == {"host": followed}


def test_what_the_file_leaves_out_stays_and_what_it_empties_goes() -> None:
    present = Present(
        (provider("u1", "host"),),
        {"u1": details({"VCPU": Inventory(4)}, ("HW_NUMA_ROOT",), (AGGREGATE,))},
    )
    assert plan(document(ProviderEntry("host", 1)), present) == []
    emptied = ProviderEntry("host", 1, inventories={}, traits=frozenset(), aggregates=())
    [step] = plan(document(emptied), present)
    # The first command checks the generation; those after it would meet the bump of the first.
    assert commands(step) == (
        SetInventories("u1", 3, {}),
        SetTraits("u1", None, frozenset()),
        SetAggregates("u1", None, ()),
    )
    assert str(step) == "update host: inventories, traits, aggregates"


def test_rename_keeps_the_parent_and_a_move_names_the_new_one() -> None:
    present = Present(
        (provider("r"), provider("c", "old", "r"), provider("r2")),
        {"r": details(), "c": details(), "r2": details()},
    )
    renamed = ProviderEntry("r", 1, uuid="r", children=(ProviderEntry("new", 2, uuid="c"),))
    [step] = plan(document(renamed), present)
    assert commands(step) == (UpdateProvider("c", "new", KEEP),)
    assert step.details == ("name",)
    moved = ProviderEntry("r2", 1, children=(ProviderEntry("old", 2),))
    [step] = plan(document(moved), present)
    assert commands(step) == (UpdateProvider("c", "old", "r2"),)
    assert step.details == ("parent",)
    [step] = plan(document(ProviderEntry("old", 1)), present)
    assert commands(step) == (UpdateProvider("c", "old", None),)


def test_ratio_that_a_database_rounded_is_the_same() -> None:
    stored = {"VCPU": Inventory(4, allocation_ratio=1.2000000476837158)}
    assert same_inventories({"VCPU": Inventory(4, allocation_ratio=1.2)}, stored)
    assert not same_inventories({"VCPU": Inventory(4, allocation_ratio=1.21)}, stored)
    assert not same_inventories({"VCPU": Inventory(5, allocation_ratio=1.2)}, stored)
    assert not same_inventories({}, stored)


def test_consumer_claims_what_the_file_says_unless_it_holds_just_that() -> None:
    entry = ConsumerEntry("c", "server", 7, "p", "u", "INSTANCE", {"host": {"VCPU": 2}})
    file = Document((ProviderEntry("host", 1),), (entry,))
    there = Present((provider("u1", "host"),), {"u1": details()})
    claim = Claim("c", {"u1": {"VCPU": 2}}, "p", "u", None, "INSTANCE")
    [step] = plan(file, there)
    assert step.command == ReplaceAllocations((claim,))
    assert (step.action, step.needs, step.line) == ("claim", ("u1",), 7)

    held = ConsumerAllocations({"u1": HeldOfProvider(3, {"VCPU": 2})}, "p", "u", 5, "INSTANCE")
    assert plan(file, replace(there, consumers={"c": held})) == []
    # A service shows a consumer without a type as one of the type "unknown".
    untyped = Present(there.providers, there.details, {"c": replace(held, consumer_type="unknown")})
    assert plan(Document(file.providers, (replace(entry, consumer_type=None),)), untyped) == []
    assert [each.action for each in plan(file, untyped)] == ["claim"]
    others = replace(held, project_id="q")
    [step] = plan(file, replace(there, consumers={"c": others}))
    assert step.command == ReplaceAllocations((replace(claim, generation=5),))

    nothing = Document(file.providers, (replace(entry, allocations={}),))
    assert plan(nothing, there) == []
    [step] = plan(nothing, replace(there, consumers={"c": held}))
    assert (step.action, step.command) == ("release", DeleteAllocations("c"))


def test_prune_deletes_children_before_parents_and_only_what_is_not_named() -> None:
    there = (
        provider("leaf", parent="child"),
        provider("root"),
        provider("child", parent="root"),
        provider("named", parent="root"),
    )
    assert [step.label for step in prune_steps(there, frozenset({"named"}))] == ["leaf", "child", "root"]
    present = Present(there, {"named": details()})
    assert [step.action for step in plan(document(ProviderEntry("named", 1)), present)] == ["update"]
    assert [step.action for step in plan(document(ProviderEntry("named", 1)), present, prune=True)] == [
        "update",
        *["delete"] * 3,
    ]


# A plan that was carried out leaves nothing to do, whatever was there before.

NAMES = [f"p{number}" for number in range(5)]
inventories = st.none() | st.dictionaries(
    st.sampled_from(["VCPU", "CUSTOM_X"]), st.builds(Inventory, total=st.integers(1, 3)), max_size=2
)
traits = st.none() | st.frozensets(st.sampled_from(["HW_NUMA_ROOT", "CUSTOM_T"]))
aggregates = st.none() | st.lists(st.sampled_from(["x", "y"]), unique=True).map(tuple)


@st.composite
def forests(draw: st.DrawFn) -> Document:
    children: dict[str | None, list[str]] = {}
    taken: list[str] = []
    for name in draw(st.lists(st.sampled_from(NAMES), unique=True)):
        children.setdefault(draw(st.sampled_from([None, *taken])), []).append(name)
        taken.append(name)

    def entry(name: str) -> ProviderEntry:
        return ProviderEntry(
            name,
            1,
            inventories=draw(inventories),
            traits=draw(traits),
            aggregates=draw(aggregates),
            children=tuple(entry(child) for child in children.get(name, ())),
        )

    return Document(tuple(entry(name) for name in children.get(None, ())))


def carried_out(present: Present, steps: list[Step]) -> Present:
    """What is there once every command was obeyed, by a small model of the service."""
    providers = {each.uuid: each for each in present.providers}
    parts = {uuid: replace(each) for uuid, each in present.details.items()}
    for step in steps:
        if step.action == "delete":
            assert not any(each.parent_uuid == step.uuid for each in providers.values())
            del providers[step.uuid], parts[step.uuid]
            continue
        for command in commands(step):
            match command:
                case CreateProvider(uuid, name, parent):
                    assert parent is None or parent in providers
                    providers[uuid] = provider(uuid, name, parent)
                    parts[uuid] = details()
                case UpdateProvider(uuid, name, parent):
                    kept = providers[uuid].parent_uuid if parent is KEEP else parent
                    assert kept is None or isinstance(kept, str)
                    providers[uuid] = provider(uuid, name, kept)
                case SetInventories(uuid, _, inventories):
                    parts[uuid] = replace(parts[uuid], inventories=inventories)
                case SetTraits(uuid, _, traits):
                    parts[uuid] = replace(parts[uuid], traits=traits)
                case SetAggregates(uuid, _, aggregates):
                    parts[uuid] = replace(parts[uuid], aggregates=frozenset(aggregates))
                case _:
                    assert isinstance(command, CreateTrait | CreateResourceClass)
    return replace(present, providers=tuple(providers.values()), details=parts)


@given(forests(), forests(), st.booleans())
def test_second_run_of_any_file_has_nothing_to_do(first: Document, second: Document, prune: bool) -> None:
    present = Present()
    for file in (first, second):
        present = carried_out(present, plan(file, present, prune=prune))
        assert plan(file, present, prune=prune) == []
    if prune:
        assert {each.name for each in present.providers} == {entry.name for entry, _ in second.entries()}
