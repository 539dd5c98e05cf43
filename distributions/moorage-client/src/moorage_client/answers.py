"""What the account consists of, as the API shows it. Fields that were not asked for are None."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

ItemT = TypeVar("ItemT")
Json = Mapping[str, Any]


@dataclass(frozen=True)
class Version:
    """A version of the native API, and what it can do."""

    id: str
    status: str
    href: str
    features: frozenset[str]

    @classmethod
    def of(cls, data: Json) -> Version:
        """From JSON."""
        return cls(data["id"], data["status"], data["href"], frozenset(data.get("features", ())))


@dataclass(frozen=True)
class Page(Generic[ItemT]):
    """Part of a list, true at ``revision``. ``next`` is the key after which the next one begins."""

    items: tuple[ItemT, ...]
    revision: int
    next: str | None


@dataclass(frozen=True)
class Inventory:
    """What a provider has of a class."""

    total: int
    reserved: int
    min_unit: int
    max_unit: int
    step_size: int
    allocation_ratio: float

    @property
    def capacity(self) -> int:
        """What consumers may hold together."""
        return int((self.total - self.reserved) * self.allocation_ratio)

    @classmethod
    def of(cls, data: Json) -> Inventory:
        """From JSON."""
        return cls(
            data["total"],
            data["reserved"],
            data["min_unit"],
            data["max_unit"],
            data["step_size"],
            data["allocation_ratio"],
        )


@dataclass(frozen=True)
class Provider:
    """A provider. ``root`` and ``parent`` are UUIDs; ``parent`` is also None for a root."""

    uuid: str
    name: str
    root: str
    inventories: Mapping[str, Inventory] | None = None
    used: Mapping[str, int] | None = None
    traits: Sequence[str] | None = None
    aggregates: Sequence[str] | None = None
    generation: int | None = None
    parent: str | None = None

    @classmethod
    def of(cls, data: Json) -> Provider:
        """From JSON."""
        inventories = data.get("inventories")
        return cls(
            data["uuid"],
            data["name"],
            data["root"],
            None if inventories is None else {name: Inventory.of(each) for name, each in inventories.items()},
            data.get("used"),
            data.get("traits"),
            data.get("aggregates"),
            data.get("generation"),
            data.get("parent"),
        )


@dataclass(frozen=True)
class Claim:
    """A consumer with what it holds: ``resources`` together, and of each of the ``providers`` by UUID.

    ``claim_of`` also has the ``ask`` of a native claim, the ``profile`` and the revision ``decided_at`` that
    its place was chosen by and on, and its ``labels``. ``lease``: the one that it hangs on.
    """

    consumer: str
    project_id: str
    user_id: str
    consumer_type: str | None
    generation: int | None
    since: str | None
    resources: Mapping[str, int]
    providers: Mapping[str, Mapping[str, int]]
    ask: Json | None = None
    profile: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    decided_at: int | None = None
    lease: str | None = None

    @classmethod
    def of(cls, data: Json) -> Claim:
        """From JSON."""
        return cls(
            data["consumer"],
            data["project_id"] or "",
            data["user_id"] or "",
            data.get("consumer_type"),
            data.get("generation"),
            data.get("since"),
            data.get("resources") or {},
            data.get("providers") or {},
            data.get("ask"),
            data.get("profile"),
            data.get("labels") or {},
            data.get("decided_at"),
            data.get("lease"),
        )


@dataclass(frozen=True)
class ClassUse:
    """Capacity and use of a class, with one place for each tree."""

    capacity: Sequence[int]
    used: Sequence[int]


@dataclass(frozen=True)
class Overview:
    """The whole cloud in columns: lists of equal length, with one place for each tree.

    ``aggregate_set`` is a position in ``aggregate_sets``, the aggregates of all providers of the tree.
    """

    revision: int
    roots: Sequence[str]
    names: Sequence[str]
    providers: Sequence[int]
    aggregate_set: Sequence[int]
    aggregate_sets: Sequence[Sequence[str]]
    classes: Mapping[str, ClassUse]

    @classmethod
    def of(cls, data: Json) -> Overview:
        """From JSON."""
        trees = data["trees"]
        return cls(
            data["revision"],
            trees["root"],
            trees["name"],
            trees["providers"],
            trees["aggregate_set"],
            data["aggregate_sets"],
            {name: ClassUse(each["capacity"], each["used"]) for name, each in data["classes"].items()},
        )
