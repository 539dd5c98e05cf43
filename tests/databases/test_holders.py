"""Who holds what trees lack, on each kind of database."""

from __future__ import annotations

from moorage.model.explanations import Lack
from moorage.service.facade import Service
from moorage.store.holders import MOST_LACKS
from tests.databases.orders import add_provider, claim, new_uuid, order


def test_holders_are_those_of_the_class_of_the_provider_the_largest_first(service: Service) -> None:
    root = add_provider(service, VCPU=50)
    child = add_provider(service, parent=root, PGPU=9, VCPU=9)
    small, large, other = new_uuid(), new_uuid(), new_uuid()
    order(service, claim(small, {child: {"PGPU": 1, "VCPU": 2}}, None, "INSTANCE", "p1"))
    order(service, claim(large, {child: {"PGPU": 5}, root: {"VCPU": 3}}, None, None, "p2"))
    order(service, claim(other, {root: {"VCPU": 4}}))
    found = service._store.holders_at(service.revision(), {root: {Lack(child, "PGPU")}})
    assert found.revision == service.revision()
    holders = found.by_root[root]
    assert not holders.has_more
    assert [(each.consumer, dict(each.resources)) for each in holders.holders] == [
        (large, {"PGPU": 5}),
        (small, {"PGPU": 1}),
    ]
    assert [(each.consumer_type, each.project_id) for each in holders.holders] == [
        (None, "p2"),
        ("INSTANCE", "p1"),
    ]
    assert all(each.since is not None for each in holders.holders)
    both = service._store.holders_at(service.revision(), {root: {Lack(child, "PGPU"), Lack(root, "VCPU")}})
    assert {each.consumer: dict(each.resources) for each in both.by_root[root].holders} == {
        small: {"PGPU": 1},
        large: {"PGPU": 5, "VCPU": 3},
        other: {"VCPU": 4},
    }


def test_holders_of_many_lacks_are_those_of_the_first_ones(service: Service) -> None:
    root = add_provider(service)
    devices = sorted(add_provider(service, parent=root, PGPU=1) for _ in range(MOST_LACKS + 1))
    for device in devices:
        order(service, claim(new_uuid(), {device: {"PGPU": 1}}))
    few = {Lack(device, "PGPU") for device in devices[1:]}
    found = service._store.holders_at(service.revision(), {root: few}).by_root[root]
    assert (len(found.holders), found.has_more) == (MOST_LACKS, False)
    many = service._store.holders_at(service.revision(), {root: {*few, Lack(devices[0], "PGPU")}})
    assert (len(many.by_root[root].holders), many.by_root[root].has_more) == (MOST_LACKS, True)


def test_trees_that_have_changed_since_are_left_out(service: Service) -> None:
    one, two = add_provider(service, VCPU=5), add_provider(service, VCPU=5)
    known = service.revision()
    order(service, claim(new_uuid(), {one: {"VCPU": 1}}))
    wanted = {uuid: {Lack(uuid, "VCPU")} for uuid in (one, two)}
    assert service._store.holders_at(known, wanted).by_root.keys() == {two}
    assert service._store.holders_at(service.revision(), wanted).by_root.keys() == {one, two}
    assert service._store.holders_at(service.revision() + 1, wanted).by_root == {}
    assert service._store.holders_at(known, {"none": {Lack("none", "VCPU")}}).by_root == {}
