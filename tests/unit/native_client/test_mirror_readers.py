"""A mirror of a reader whom a policy lets see a part: it is exact, or it is refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from moorage_client import ForbiddenError, Mirror, MirrorError, Moorage, NoAuth

from moorage.service.facade import Service
from moorage.store.store import Store
from tests.databases.orders import VCPU, add_provider, claim, new_uuid, order
from tests.oracle.mirrored import comparable_claims, comparable_providers
from tests.table import each
from tests.unit.api.native.client import policy_of
from tests.unit.native_client.conftest import sharing
from tests.unit.native_client.test_mirror import SECONDS, Gated, following, read

PROVIDERS, CHANGES, WHOLE, CLAIMS = (
    "moorage:providers:list",
    "moorage:changes:list",
    "moorage:changes:show_providers",
    "moorage:claims:list",
)

MAY = {
    "providers": (PROVIDERS,),
    "parts": (PROVIDERS, CHANGES),
    "changes": (CHANGES, WHOLE),
    "all-but-claims": (PROVIDERS, CHANGES, WHOLE),
    "all-and-own-claims": (PROVIDERS, CHANGES, WHOLE),
    "all": (PROVIDERS, CHANGES, WHOLE, CLAIMS),
}
"""Rules by the role that they are opened to."""

POLICY = {
    rule: " or ".join(("role:admin", *(f"role:{role}" for role, rules in MAY.items() if rule in rules)))
    for rule in (PROVIDERS, CHANGES, WHOLE, CLAIMS)
}
POLICY[CLAIMS] += " or (role:all-and-own-claims and project_id:%(project_id)s)"


@pytest.fixture
def url(sqlite_service: Service, tmp_path: Path) -> Iterator[str]:
    """The address of a native API with this policy, which shares its service with the test."""
    with sharing(sqlite_service, policy_of(tmp_path, POLICY)) as address:
        yield address


def reader(role: str) -> NoAuth:
    """A user of one project with a role in it."""
    return NoAuth("ann", "red", roles=(role,))


def write(service: Service) -> None:
    """A provider, and claims of two projects on it."""
    uuid = add_provider(service, VCPU=8)
    for project in ("red", "blue"):
        order(service, claim(new_uuid(), {uuid: {VCPU: 1}}, project_id=project))


@each(
    ("role", "error", "rule"),
    [
        ("reader", ForbiddenError, CHANGES),
        ("providers", ForbiddenError, CHANGES),
        ("parts", MirrorError, WHOLE),
        ("changes", ForbiddenError, PROVIDERS),
    ],
)
def test_a_reader_who_does_not_see_all_is_refused_at_the_start(
    role: str, error: type[Exception], rule: str, url: str, sqlite_service: Service
) -> None:
    write(sqlite_service)
    with Moorage(url, reader(role)) as moorage, pytest.raises(error, match=rule):
        Mirror(moorage).start()


@each(
    ("role", "has_claims"),
    [("all-but-claims", False), ("all-and-own-claims", False), ("all", True)],
)
def test_what_a_reader_may_copy_is_exact(
    role: str, has_claims: bool, url: str, sqlite_service: Service
) -> None:
    write(sqlite_service)
    with Moorage(url) as admin, Moorage(url, reader(role)) as moorage:
        with Mirror(moorage) as mirror:
            write(sqlite_service)
            assert mirror.wait_for(sqlite_service.revision(), SECONDS)
            assert comparable_providers(mirror.providers()) == read(admin)
            assert (mirror.has_claims, mirror.rebuilds) == (has_claims, {})
            if has_claims:
                assert comparable_claims(mirror.claims()) == comparable_claims(admin.claims())
        if not has_claims:
            with pytest.raises(ForbiddenError, match=CLAIMS):
                Mirror(moorage, claims=True).start()


@pytest.mark.parametrize("saw_all", [True, False])
def test_the_first_change_that_a_reader_sees_in_part_ends_the_mirror(
    saw_all: bool, url: str, sqlite_service: Service, sqlite_store: Store
) -> None:
    """It may see less than before. Or the journal had no change to look at when the copy was made."""
    write(sqlite_service)
    if not saw_all:
        with sqlite_store.engines.single.begin() as connection:
            connection.exec_driver_sql("DELETE FROM moorage_journal")
    moorage = Gated(url, reader("all" if saw_all else "parts"))
    with moorage, following(moorage, claims=False) as mirror:
        seen = mirror.revision
        moorage.cut()
        moorage._transport._auth = reader("parts")
        write(sqlite_service)
        moorage.gate.set()
        with pytest.raises(MirrorError, match=WHOLE):
            mirror.wait_for(seen + 1, SECONDS)
