"""A service that remembers what it was asked and answers from fixed values."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from typing import Any, TypeVar, cast

import falcon.testing

from moorage.api.http.exchange import WsgiApplication
from moorage.api.placement import application
from moorage.api.placement.settings import ApiSettings
from moorage.auth.policy import Policy, default_policy
from moorage.model import commands
from moorage.model.commands import Command, WriteOutcome
from moorage.model.errors import ProviderNotFoundError
from moorage.model.journal import JournalMode
from moorage.model.keys import IdempotencyKey
from moorage.model.requests import (
    Candidate,
    CandidateRequest,
    ProviderFilter,
    ProviderSummary,
    SearchResult,
)
from moorage.model.values import (
    ConsumerAllocations,
    HeldByConsumer,
    HeldOfProvider,
    Inventory,
    NamedItem,
    Provider,
    ProviderAggregates,
    ProviderAllocations,
    ProviderInventories,
    ProviderTraits,
    ProviderUsages,
    Requester,
    UsageGroup,
)
from moorage.service.facade import Service

ResultT = TypeVar("ResultT")

UUID = "11111111-1111-4111-8111-111111111111"
OTHER = "22222222-2222-4222-8222-222222222222"
CONSUMER = "cccccccc-cccc-4ccc-8ccc-cccccccccccc"
MODIFIED = datetime(2024, 2, 29, 12, 30, 1)  # noqa: DTZ001 - times of the model are naive
MODIFIED_HEADER = "Thu, 29 Feb 2024 12:30:01 GMT"
PROVIDER = Provider(UUID, "one", 3, OTHER, OTHER, MODIFIED)
INVENTORIES = ProviderInventories(4, {"VCPU": Inventory(8)}, MODIFIED, {"VCPU": MODIFIED - timedelta(days=1)})


@dataclass
class FakeService(Service):
    """``error`` is raised by all but ``provider``, which knows every provider unless told."""

    error: Exception | None = None
    knows_provider: bool = True
    journal: JournalMode = JournalMode.FULL
    result: object = None
    calls: list[tuple[str, Any]] = field(default_factory=list)
    requesters: list[Requester] = field(default_factory=list)

    @property
    def commands(self) -> list[Any]:
        """Commands that were to be executed."""
        return [asked for name, asked in self.calls if name == "execute"]

    def _note(self, name: str, *asked: object) -> None:
        self.calls.append((name, asked[0] if len(asked) == 1 else asked))
        if self.error is not None:
            raise self.error

    def execute(self, command: Command[ResultT], requester: Requester) -> ResultT:
        self.requesters.append(requester)
        self._note("execute", command)
        return cast(ResultT, self._result(command) if self.result is None else self.result)

    def outcome(
        self, command: Command[ResultT], requester: Requester, key: IdempotencyKey | None = None
    ) -> WriteOutcome[ResultT]:
        return WriteOutcome(1, self.execute(command, requester))

    def _result(self, command: object) -> object:
        match command:
            case commands.CreateProvider() | commands.UpdateProvider():
                return Provider(command.uuid, command.name, 0, None, command.uuid, MODIFIED)
            case commands.AddInventory() | commands.UpdateInventory():
                return ProviderInventories(5, {command.resource_class: command.inventory}, MODIFIED)
            case commands.SetInventories():
                return ProviderInventories(5, command.inventories, MODIFIED)
            case commands.SetTraits():
                return ProviderTraits(6, tuple(sorted(command.traits)), MODIFIED)
            case commands.SetAggregates():
                return ProviderAggregates(7, command.aggregates)
            case commands.CreateTrait() | commands.CreateResourceClass():
                return True
        return None

    def provider(self, uuid: str) -> Provider:
        if not self.knows_provider:
            raise ProviderNotFoundError(uuid)
        self._note("provider", uuid)
        return PROVIDER

    def providers(self, wanted: ProviderFilter) -> list[Provider]:
        self._note("providers", wanted)
        return [PROVIDER]

    def provider_inventories(self, uuid: str) -> ProviderInventories:
        self._note("provider_inventories", uuid)
        return INVENTORIES

    def provider_traits(self, uuid: str) -> ProviderTraits:
        self._note("provider_traits", uuid)
        return ProviderTraits(3, ("HW_NUMA_ROOT", "CUSTOM_A"), MODIFIED)

    def provider_aggregates(self, uuid: str) -> ProviderAggregates:
        self._note("provider_aggregates", uuid)
        return ProviderAggregates(3, (OTHER,))

    def provider_usages(self, uuid: str) -> ProviderUsages:
        self._note("provider_usages", uuid)
        return ProviderUsages(3, {"VCPU": 0, "DISK_GB": 5})

    def provider_allocations(self, uuid: str) -> ProviderAllocations:
        self._note("provider_allocations", uuid)
        return ProviderAllocations(3, {CONSUMER: HeldByConsumer(2, {"VCPU": 1})}, MODIFIED)

    def consumer_allocations(self, consumer: str) -> ConsumerAllocations:
        self._note("consumer_allocations", consumer)
        if consumer != CONSUMER:
            return ConsumerAllocations()
        held = {UUID: HeldOfProvider(3, {"VCPU": 1})}
        return ConsumerAllocations(held, "project", "user", 2, None, MODIFIED)

    def usages(self, project_id: str, user_id: str | None = None) -> dict[str, int]:
        self._note("usages", project_id, user_id)
        return {"VCPU": 7}

    def usages_by_type(
        self, project_id: str, user_id: str | None = None, consumer_type: str | None = None
    ) -> list[UsageGroup]:
        self._note("usages_by_type", project_id, user_id, consumer_type)
        if consumer_type == "NOBODY":
            return []
        return [UsageGroup("INSTANCE", 2, {"VCPU": 7})]

    def traits(
        self,
        names: frozenset[str] | None = None,
        prefix: str | None = None,
        associated: bool | None = None,
    ) -> list[NamedItem]:
        self._note("traits", names, prefix, associated)
        return [NamedItem("CUSTOM_A", MODIFIED)]

    def trait(self, name: str) -> NamedItem:
        self._note("trait", name)
        return NamedItem(name, MODIFIED)

    def resource_classes(self) -> list[NamedItem]:
        self._note("resource_classes")
        return [NamedItem("VCPU"), NamedItem("CUSTOM_A", MODIFIED)]

    def resource_class(self, name: str) -> NamedItem:
        self._note("resource_class", name)
        return NamedItem(name, MODIFIED)

    def candidates(self, request: CandidateRequest, requester: Requester | None = None) -> SearchResult:
        self._note("candidates", request)
        return SearchResult(
            [Candidate({UUID: {"VCPU": 1}}, {"": (UUID,)})],
            [ProviderSummary(UUID, None, UUID, {"VCPU": (8, 1), "DISK_GB": (100, 0)}, ("CUSTOM_A",))],
        )


@dataclass(frozen=True)
class Result:
    """What came back; header names are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body, which has to be JSON."""
        assert self.headers["content-type"] == "application/json"
        return json.loads(self.body)

    @property
    def detail(self) -> str:
        """Words of an error, which has to be in Placement's form."""
        (error,) = self.json["errors"]
        assert error["status"] == self.status
        assert error["request_id"] == self.headers["x-openstack-request-id"]
        return cast(str, error["detail"])


@cache
def usual_policy() -> Policy:
    """The default rules, read once: that takes longer than most tests that ask by them."""
    return default_policy()


class Relay(threading.local):
    """Stands for the service that the thread's present request is for."""

    service: Service

    def __getattr__(self, name: str) -> Any:
        return getattr(self.service, name)


Build = Callable[[Service], WsgiApplication]


class SharedApplication:
    """One application for many services: to find its routes takes longer than most tests that ask it."""

    def __init__(self, build: Build) -> None:
        self._relay = Relay()
        self._application = build(cast(Service, self._relay))

    def on(self, service: Service) -> WsgiApplication:
        """The application as if it stood on ``service``."""

        def answer(environ: dict[str, Any], start_response: Any) -> Any:
            self._relay.service = service
            return self._application(environ, start_response)

        return answer


@cache
def shared_application(settings: ApiSettings | None) -> SharedApplication:
    """The one with these settings and the usual policy."""
    return SharedApplication(lambda service: application.create(service, settings, policy=usual_policy()))


class Client:
    """Asks an application as somebody who may do all, at some microversion.

    Falcon's own client would not do: it holds answers against a validator that wants a content
    type for a 201 without a body, which this wire does not have.
    """

    def __init__(self, service: FakeService, settings: ApiSettings | None = None) -> None:
        self.service = service
        self.app = shared_application(settings).on(service)

    def ask(
        self,
        method: str,
        path: str,
        minor: int | None = None,
        value: object = None,
        *,
        body: bytes | None = None,
        headers: dict[str, str | None] | None = None,
        environ: dict[str, Any] | None = None,
    ) -> Result:
        """One request, with ``value`` as JSON or ``body`` as it is (and a type all the same).

        ``path`` may have a query string. ``headers`` of None take away what is sent otherwise;
        ``environ`` overrides what the server would say.
        """
        sent: dict[str, str | None] = {"x-auth-token": "admin"}
        if "x-auth-token" not in (headers or {}):
            sent["x-roles"] = "admin,service"
        if minor is not None:
            sent["openstack-api-version"] = f"placement 1.{minor}"
        if value is not None:
            body = json.dumps(value).encode()
        if body is not None:
            sent |= {"content-type": "application/json", "content-length": str(len(body))}
        sent |= headers or {}
        bare, _, query = path.partition("?")
        made = falcon.testing.create_environ(
            path=bare or "/",
            query_string=query,
            body=body or b"",
            headers={name: text for name, text in sent.items() if text is not None},
        )
        if body is None or sent.get("content-length") is None:
            made.pop("CONTENT_LENGTH", None)
        made |= {"REQUEST_METHOD": method} | (environ or {})
        started = falcon.testing.StartResponseMock()
        content = b"".join(self.app(made, started))
        return Result(int(str(started.status)[:3]), dict(started.headers_dict), content)
