"""Two projects that help themselves: with the tokens of one, nothing of the other is read or changed.

Requests for every operation of both APIs name what the other project has: consumers, users, keys, labels, ids
of requests. No answer may have a mark of that project which the request did not have itself. No row of it may
change, nor anything of the cloud. And a refused request gets the same answer with names in it that there are
not: so no answer says whether something of the other project exists.

``MOORAGE_FUZZ_SEED`` and ``MOORAGE_FUZZ_SECONDS`` are as for ``test_fuzz``.
"""

from __future__ import annotations

import json
import os
import random
import re
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa

from moorage.auth.rules import SELF_SERVICE
from moorage.auth.tokens import issue
from moorage.service.tokens import Tokens
from moorage.store import tables
from moorage.store.settings import StoreSettings
from moorage.store.store import Store
from tests.fuzz.from_tables import ROUTES, Made, Maker, Pools
from tests.fuzz.test_fuzz import kinds, seed_of_this_run
from tests.journeys.client import Answer, Client, running_service
from tests.servers.databases import SQLITE, fresh_database

pytestmark = [pytest.mark.journey, pytest.mark.slow]

ROUNDS = 8
"""Requests for each operation in `make test`, where no time is given."""

FEW = 250
"""Requests there on databases other than SQLite."""

VARIABLES = {"OS_PLACEMENT_API__AUTH_STRATEGY": "token", "OS_PLACEMENT_MOORAGE__SELF_SERVICE": "true"}

HELPED = [each for each in ROUTES if each.rule in SELF_SERVICE]
"""What members may ask for at all."""

SELDOM = {
    "GET /moorage/v1/trees/{uuid}",
    "PUT /moorage/v1/leases/{lease}/claims/{consumer}",
    "DELETE /moorage/v1/leases/{lease}/claims/{consumer}",
}
"""What a short run may not do with success: the right names must meet."""

ASKED = [*ROUTES, *HELPED * 5]
"""The order of requests, again and again."""

TAKEN = "cannot be used. Choose another UUID"
"""What a request is answered that wants the UUID of a consumer of another project for a new one."""

CLOUD = (
    (tables.resource_providers, ("uuid", "name", "parent_provider_id", "root_provider_id")),
    (tables.inventories, ("resource_provider_id", "resource_class_id", "total", "reserved")),
    (tables.traits, ("name",)),
    (tables.resource_classes, ("name",)),
    (tables.provider_traits, ("resource_provider_id", "trait_id")),
    (tables.provider_aggregates, ("resource_provider_id", "aggregate_id")),
    (tables.tokens, ("id", "role", "project_id")),
)
"""What no member may change."""


@dataclass
class Project:
    """A project with members, and what of it no other may learn or change."""

    name: str
    tokens: list[str] = field(default_factory=list)
    consumers: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    request_ids: list[str] = field(default_factory=list)
    leases: list[str] = field(default_factory=list)
    host: tuple[str, ...] = ()

    @property
    def marks(self) -> set[str]:
        """Texts that only come from what the project has."""
        return {self.name, *self.consumers, *self.texts, *self.request_ids, *self.leases, *self.host}

    @property
    def names(self) -> set[str]:
        """Marks that can be names of things that there are not. Hosts there are for every project."""
        return {mark for mark in self.marks if mark not in self.host and not mark.startswith("TYPE_")}


class World:
    """A running service, its database, and two projects on its hosts."""

    def __init__(self, port: int, store: Store, dice: random.Random) -> None:
        self.random = dice
        self.store = store
        self.client = Client(port)
        self.admin = self.token("admin", "operations")
        self.hosts = [self.host(f"host-{number}", 40) for number in range(3)]
        self.projects = [self.project(number) for number in range(2)]
        for each in self.projects:
            # No room is left there, so that no other project gets it as a place.
            name = f"private-{self.word()}"
            full = self.host(name, 4)
            each.host = (full, name)
            self.claim(each, {"allocations": {full: {"resources": {"VCPU": 4}}}})
        self.wait_for_reasons()
        self.before = self.fingerprint()

    def wait_for_reasons(self) -> None:
        """Until the refusals of both projects are kept: the background explains them."""
        count = sa.select(sa.func.count()).select_from(tables.unmet)
        until = time.monotonic() + 60
        while self.store.read(lambda connection: connection.execute(count).scalar_one()) < 2:
            assert time.monotonic() < until
            time.sleep(0.1)

    def uuid(self) -> str:
        return str(UUID(int=self.random.getrandbits(128), version=4))

    def word(self) -> str:
        return "".join(self.random.choices("bcdfghjklmnpqrstvwxz", k=10))

    def token(self, role: str, project: str | None = None, name: str | None = None) -> str:
        text, record = issue(role, int(time.time()), name=name, project_id=project)
        Tokens(self.store).add(record)
        return text

    def ask(self, token: str, made: Made) -> Answer:
        headers = {**made.headers, "X-Auth-Token": token}
        if made.body is not None:
            headers["Content-Type"] = "application/json"
        self.client.headers = {}
        return self.client.request(made.method, made.path, made.body, headers)

    def must(self, token: str, method: str, path: str, body: object = None, **headers: str) -> Any:
        content = None if body is None else json.dumps(body).encode()
        sent = {"OpenStack-API-Version": "placement 1.39", **headers}
        told = self.ask(token, Made("", method, path, sent, content))
        assert told.status < 300, (method, path, told)
        return json.loads(told.body) if told.body else None

    def host(self, name: str, cores: int) -> str:
        made = self.must(self.admin, "POST", "/resource_providers", {"name": name})
        uuid: str = made["uuid"]
        inventories = {"VCPU": {"total": cores}, "MEMORY_MB": {"total": 1000}}
        path = f"/resource_providers/{uuid}/inventories"
        self.must(self.admin, "PUT", path, {"resource_provider_generation": 0, "inventories": inventories})
        return uuid

    def project(self, number: int) -> Project:
        """A project with two members, claims of each sort, a refusal and a key."""
        found = Project(f"project-{number}-{self.word()}")
        for _ in range(2):
            user = f"user-{self.word()}"
            found.tokens.append(self.token("member", found.name, user))
            found.texts.append(user)
        label, kind, key = self.word(), f"TYPE_{self.word().upper()}", f"key-{self.word()}"
        found.texts += [label, kind, key]
        ask = {"groups": {"": {"resources": {"VCPU": 2}}}}
        self.claim(found, {"ask": ask, "labels": {"of": label}, "consumer_type": kind})
        self.claim(found, {"ask": ask, "count": 2}, key)
        lease = {"owner": f"agent-{self.word()}", "ttl": "1000h", "on_expiry": "release"}
        found.texts.append(lease["owner"])
        for _ in range(2):
            told = self.must(found.tokens[0], "POST", "/moorage/v1/leases", lease)
            found.leases.append(told["lease"])
        self.claim(found, {"ask": ask, "lease": found.leases[0]})
        # A client of Placement may claim for the project too.
        consumer = self.uuid()
        found.consumers.append(consumer)
        self.must(
            self.admin,
            "PUT",
            f"/allocations/{consumer}",
            {
                "allocations": {self.hosts[0]: {"resources": {"VCPU": 1}}},
                "project_id": found.name,
                "user_id": found.texts[0],
                "consumer_generation": None,
                "consumer_type": kind,
            },
        )
        body = json.dumps({"claims": [{"ask": {"groups": {"": {"resources": {"VCPU": 77}}}}}]}).encode()
        global_id = f"req-{self.uuid()}"
        told = self.ask(
            found.tokens[0],
            Made("", "POST", "/moorage/v1/claims", {"X-OpenStack-Request-Id": global_id}, body),
        )
        assert told.status == 409, told
        found.request_ids += [global_id, told.headers["x-openstack-request-id"]]
        return found

    def claim(self, project: Project, entry: object, key: str = "") -> None:
        headers = {"Idempotency-Key": key} if key else {}
        body = {"claims": [entry]}
        told = self.must(project.tokens[0], "POST", "/moorage/v1/claims", body, **headers)
        project.consumers += [each["consumer"] for each in told["claims"]]

    def fingerprint(self) -> object:
        """All that no request of a member may change: what the projects began with, and the cloud."""
        named = [each for project in self.projects for each in project.consumers]
        leases = [each for project in self.projects for each in project.leases]
        ids = [each for project in self.projects for each in project.request_ids]

        def rows(connection: sa.Connection, query: Any) -> list[tuple[Any, ...]]:
            return sorted(map(tuple, connection.execute(query)), key=repr)

        def read(connection: sa.Connection) -> object:
            consumers, allocations, claims = tables.consumers, tables.allocations, tables.claims
            columns = ("uuid", "generation", "project_id", "user_id", "consumer_type_id")
            return [
                rows(
                    connection,
                    sa.select(*[consumers.c[name] for name in columns]).where(consumers.c.uuid.in_(named)),
                ),
                rows(
                    connection,
                    sa.select(
                        allocations.c.consumer_id,
                        allocations.c.resource_provider_id,
                        allocations.c.resource_class_id,
                        allocations.c.used,
                    ).where(allocations.c.consumer_id.in_(named)),
                ),
                rows(connection, sa.select(claims).where(claims.c.consumer_uuid.in_(named))),
                rows(
                    connection,
                    sa.select(tables.unmet.c.project_id, tables.unmet.c.request_id).where(
                        tables.unmet.c.request_id.in_(ids)
                    ),
                ),
                rows(
                    connection,
                    sa.select(
                        *[
                            tables.leases.c[name]
                            for name in ("uuid", "owner", "state", "due_tick", "revision")
                        ]
                    ).where(tables.leases.c.uuid.in_(leases)),
                ),
                *(
                    rows(connection, sa.select(*[table.c[name] for name in columns]))
                    for table, columns in CLOUD
                ),
            ]

        return self.store.read(read)


def normal(answer: Answer, names: dict[str, str]) -> tuple[int, str]:
    """An answer without what differs between any two requests, with the first of two names for both."""
    text = answer.body.decode()
    text = re.sub(r'"(request_id|at|since|remaining|ends_in)":\s*"[^"]*"', "", text)
    text = re.sub(r'"(revision|begins|next_after|freed_at)":\s*(\d+|null)', "", text)
    text = re.sub(r"at revision \d+", "", text)
    for name, other in names.items():
        text = text.replace(other, name)
    return answer.status, re.sub(r"req-[0-9a-f-]{36}", "", text)


@dataclass
class Siege:
    """Members of one project at a time ask for what the other one has."""

    world: World
    tally: Counter[int] = field(default_factory=Counter)
    answered: Counter[str] = field(default_factory=Counter)
    compared: int = 0
    own: dict[str, list[str]] = field(default_factory=dict)
    keys: set[tuple[str, str | None]] = field(default_factory=set)
    taught: dict[str, set[str]] = field(default_factory=dict)

    def step(self, number: int) -> None:
        world = self.world
        dice = world.random
        attacker, victim = dice.sample(world.projects, 2)
        own = self.own.setdefault(attacker.name, [])
        route = ASKED[number % len(ASKED)]
        texts = [attacker.name, attacker.texts[0], "free"]
        if route.method in {"GET", "DELETE"}:
            # What a claim says of itself is shown to its own project, whatever it says.
            texts += [victim.name, *victim.texts]
        pools = Pools(
            uuids=[
                *victim.consumers * 3,
                *victim.leases * 3,
                *own[-20:] * 2,
                *world.hosts,
                victim.host[0],
                world.uuid(),
            ],
            texts=texts,
            projects=[victim.name, attacker.name, attacker.name],
            keys=[*victim.texts, *[world.word() for _ in range(10)]],
            request_ids=[
                *victim.request_ids,
                *attacker.request_ids * 3,
                *[f"req-{world.uuid()}" for _ in range(4)],
            ],
            classes=("VCPU", "MEMORY_MB", "CUSTOM_X"),
            traits=("HW_CPU_X86_AVX2", "CUSTOM_Y"),
        )
        made = Maker(dice, pools).request(route)
        token = dice.choice(attacker.tokens)
        answer = world.ask(token, made)
        self.tally[answer.status] += 1
        self.answered[made.name] += answer.status < 300
        assert answer.status < 500, (made, answer)
        self.look(attacker, victim, made, answer)
        if made.name == "POST /moorage/v1/claims" and answer.status == 201:
            consumers = [each["consumer"] for each in answer.json["claims"]]
            own += consumers
            # A consumer of its own may have the UUID of another project's lease.
            self.taught[attacker.name] |= victim.marks & set(consumers)
        if made.name == "POST /moorage/v1/leases" and answer.status == 201:
            own.append(answer.json["lease"])
        key = made.headers.get("Idempotency-Key")
        if key is not None and answer.status < 300:
            self.keys.add((attacker.name, key))
        if answer.status == 422 and answer.json["code"] == "key_reused":
            # Only for what the project has used itself.
            assert (attacker.name, key) in self.keys, (made, answer)
            return
        if (answer.status >= 400 or made.method == "GET") and TAKEN not in answer.body.decode():
            names = victim.names - self.taught[attacker.name]
            self.compare(names, token, made, answer)

    def look(self, attacker: Project, victim: Project, made: Made, answer: Answer) -> None:
        """Hold an answer and the database against what may be."""
        told = answer.body.decode() + json.dumps(dict(answer.headers))
        taught = self.taught.setdefault(attacker.name, set())
        # An id of a request that the project gave its own requests.
        taught |= {mark for mark in victim.request_ids if mark in made.headers.values()}
        found = {mark for mark in victim.marks - taught if mark in told and mark not in made.text}
        assert not found, (attacker.name, made, answer, found)
        now = self.world.fingerprint()
        assert now == self.world.before, (attacker.name, made, answer)

    def compare(self, marks: set[str], token: str, made: Made, answer: Answer) -> None:
        """The same request with names that there are not gets the same answer."""
        world = self.world
        names = {
            mark: world.uuid()
            if len(mark) == 36
            else f"req-{world.uuid()}"
            if mark[:4] == "req-"
            else world.word()
            for mark in marks
            if mark in made.text
        }
        if not names or "after=" in made.path:
            # Where a page begins depends on how names are sorted.
            return
        self.compared += 1
        path, headers, body = made.path, json.dumps(dict(made.headers)), (made.body or b"").decode()
        for name, other in names.items():
            path, headers, body = (text.replace(name, other) for text in (path, headers, body))
        twin = replace(
            made, path=path, headers=json.loads(headers), body=None if made.body is None else body.encode()
        )
        again = world.ask(token, twin)
        assert normal(again, names) == normal(answer, {}), (made, answer, again)

    def clear(self) -> None:
        """Release what members have claimed meanwhile, so that there is room again."""
        for project in self.world.projects:
            kept = {*project.consumers, *project.leases}
            claimed = [each for each in self.own.get(project.name, ()) if each not in kept]
            if claimed:
                body = {"consumers": sorted(set(claimed))}
                self.world.must(project.tokens[0], "POST", "/moorage/v1/releases", body)
            self.own[project.name] = []


@contextmanager
def besieged(kind: str, folder: Path, seed: int) -> Iterator[Siege]:
    with fresh_database(kind, folder) as database:
        store = Store(StoreSettings(database))
        try:
            with running_service(database, folder, variables=VARIABLES) as port:
                world = World(port, store, random.Random(seed))
                yield Siege(world)
                world.client.close()
        finally:
            store.close()


@pytest.mark.parametrize("kind", kinds())
def test_no_request_of_a_member_reads_or_changes_anything_of_another_project(
    kind: str, tmp_path: Path
) -> None:
    seed = seed_of_this_run()
    seconds = float(os.environ.get("MOORAGE_FUZZ_SECONDS") or 0)
    until = time.monotonic() + seconds
    usual = ROUNDS * len(ASKED) if kind == SQLITE else FEW
    with besieged(kind, tmp_path, seed) as siege:
        number = 0
        try:
            while time.monotonic() < until if seconds else number < usual:
                siege.step(number)
                number += 1
                if number % 500 == 0:
                    siege.clear()
        finally:
            told = f"{number} requests, {siege.compared} compared, {dict(siege.tally)}"
            sys.stdout.write(f"\nself-service fuzz: {kind}, seed {seed}: {told}\n")
    assert {200, 400, 403, 404} <= siege.tally.keys()
    assert siege.compared > number / 10
    if usual == FEW and not seconds:
        return
    assert {201, 409} <= siege.tally.keys()
    never = {each.name for each in HELPED if not siege.answered[each.name]} - SELDOM
    assert not never, (never, siege.answered)
