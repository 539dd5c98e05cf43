"""States of the past: records of the journal are taken back, from the present on, the newest first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Any, Final

from moorage.model.values import Inventory, ListedClaim, ListedProvider
from moorage.rules.journal import Body

Parts = dict[str, Any]
"""A provider or a consumer, with the parts that ``rules.journal.Body`` names, each at one revision.

``generation`` None: it is not there. ``used`` by class and ``held`` by provider and class lack what is 0.
"""

VALUES: Final = '"generation"'
"""Part of the JSON of each claim's record that has values."""

GENERATION: Final = "generation"
"""Stands among names of resource classes, which are upper-case."""

_SUBJECT: Final = frozenset(("tree", "root", "project_id", "owner"))
"""Parts that a record without values has too."""


@dataclass(slots=True)
class Past:
    """Providers and consumers by uuid, whether they exist or not. Records about others have no effect."""

    providers: dict[str, Parts] = field(default_factory=dict)
    consumers: dict[str, Parts] = field(default_factory=dict)

    def follow(self, uuids: Iterable[str]) -> None:
        """Follow further providers that are not there now."""
        for uuid in uuids:
            self.providers.setdefault(uuid, {"generation": None, "used": {}})

    def take_back(self, body: Body) -> None:
        """Go back to the state before a write, which is the newest one that was not taken back."""
        for old, new in body.get("renamed", {}).items():
            self._rename(new, old)
        for uuid, parts in body.get("providers", {}).items():
            provider = self.providers.get(uuid)
            if provider is not None:
                for name, pair in parts.items():
                    if name == "used":
                        _put_back(provider["used"], pair)
                    elif name != "tree":
                        provider[name] = pair[0]
        for uuid, parts in body.get("consumers", {}).items():
            consumer = self.consumers.get(uuid)
            if consumer is not None:
                for name, pair in parts.items():
                    if name == "held":
                        for provider_uuid, amounts in pair.items():
                            _put_back(consumer["held"].setdefault(provider_uuid, {}), amounts)
                    else:
                        consumer[name] = pair[0]

    def _rename(self, present: str, earlier: str) -> None:
        amounts = [each["used"] for each in self.providers.values()]
        amounts += [each["inventories"] for each in self.providers.values() if each.get("inventories")]
        amounts += [held for each in self.consumers.values() for held in each["held"].values()]
        for each in amounts:
            if present in each:
                each[earlier] = each.pop(present)


def _put_back(amounts: dict[str, int], pairs: Mapping[str, list[int]]) -> None:
    for name, (before, _) in pairs.items():
        if before:
            amounts[name] = before
        else:
            amounts.pop(name, None)


class Unresolved:
    """What providers had in use, and their generations, as far as no record has told it, the oldest first.

    All that a claim changes of a provider are these. Of many claims only the oldest that changes a value
    matters: taking back all records, the newest first, ends with it.
    """

    def __init__(self, past: Past, others: Iterable[Body]) -> None:
        """``others``: all records that are not of claims. They tell which inventories there were."""
        self._wanted: dict[str, set[str]] = {}
        for uuid, parts in past.providers.items():
            self._wanted[uuid] = {GENERATION, *(parts.get("inventories") or ())}
        for body in others:
            for uuid, parts in body.get("providers", {}).items():
                if uuid in self._wanted:
                    for inventories in parts.get("inventories", ()):
                        self._wanted[uuid] |= (inventories or {}).keys()

    @property
    def names(self) -> Mapping[str, AbstractSet[str]]:
        """What is still missing, by provider: names of classes, and ``GENERATION``."""
        return self._wanted

    def may_be_in(self, text: str) -> bool:
        """Whether the JSON of a claim's record may tell something, or has no values."""
        if VALUES not in text:
            return True
        for uuid, names in self._wanted.items():
            if uuid in text:
                for name in names:
                    if f'"{name}"' in text:
                        return True
        return False

    def resolve(self, body: Body) -> None:
        """Take what a claim's record tells."""
        for uuid, parts in body.get("providers", {}).items():
            names = self._wanted.get(uuid)
            if names is not None:
                names.difference_update(parts.get("used", ()))
                if GENERATION in parts:
                    names.discard(GENERATION)
                if not names:
                    del self._wanted[uuid]


class Leading:
    """Finds the records of a tree that lead back as all of them do, of records in order, the oldest first.

    No class gets another name in them. Then a record of a claim that only tells what an earlier one has told
    makes no difference: the earlier one is taken back after it.
    """

    def __init__(self) -> None:
        self._told: set[tuple[str, str]] = set()

    def leads(self, body: Body, *, is_claim: bool) -> bool:
        """Whether the next record is needed. Records that are not of claims always are."""
        told = {
            (uuid, name)
            for uuid, parts in body.get("providers", {}).items()
            for name in (*parts.get("used", ()), *parts.keys() & {GENERATION})
        }
        leads = not is_claim or not has_values(body) or not told <= self._told
        self._told |= told
        return leads


def has_values(body: Body) -> bool:
    """Whether a record says how things were before it, and not only what it is about."""
    subjects = [part for name in ("providers", "consumers", "leases") for part in body.get(name, {}).values()]
    return not subjects or any(parts.keys() - _SUBJECT for parts in subjects)


def roots_of_moves(body: Body) -> set[str]:
    """Roots of all trees that providers of a record come from or go to."""
    return {
        root
        for parts in body.get("providers", {}).values()
        for root in parts.get("root", ())
        if root is not None
    }


def members_of(body: Body, root: str) -> set[str]:
    """Providers of a record that are in the tree with this root, before or after it."""
    return {
        uuid
        for uuid, parts in body.get("providers", {}).items()
        if parts["tree"] == root or root in parts.get("root", ())
    }


def provider_in(past: Past, uuid: str) -> tuple[int, ListedProvider] | None:
    """A provider with its generation; None if it is not there. Its ``id`` is 0."""
    parts = past.providers.get(uuid)
    if parts is None or parts["generation"] is None:
        return None
    inventories = {name: Inventory(**told) for name, told in parts["inventories"].items()}
    return parts["generation"], ListedProvider(
        id=0,
        uuid=uuid,
        name=parts["name"],
        parent_uuid=parts["parent"],
        root_uuid=parts["root"],
        inventories=inventories,
        used={name: parts["used"].get(name, 0) for name in inventories},
        traits=tuple(parts["traits"]),
        aggregates=tuple(parts["aggregates"]),
    )


def consumer_parts(claim: ListedClaim | None) -> Parts:
    """A consumer's parts; None: it holds nothing."""
    if claim is None:
        return {"generation": None, "held": {}}
    return {
        "generation": claim.generation,
        "project_id": claim.project_id,
        "user_id": claim.user_id,
        "consumer_type": claim.consumer_type,
        "held": {provider: dict(amounts) for provider, amounts in claim.held.items()},
        "lease": claim.lease,
    }


def claim_in(past: Past, consumer: str) -> ListedClaim | None:
    """What a consumer holds, without ``since`` and ``origin``; None if it holds nothing."""
    parts = past.consumers[consumer]
    if parts["generation"] is None:
        return None
    return ListedClaim(
        consumer=consumer,
        consumer_type=parts["consumer_type"],
        project_id=parts["project_id"],
        user_id=parts["user_id"],
        generation=parts["generation"],
        since=None,
        held={provider: amounts for provider, amounts in parts["held"].items() if amounts},
        lease=parts.get("lease"),
    )


def begins(body: Body, consumer: str) -> bool:
    """Whether a consumer is there after a write, and not before it."""
    pair = body.get("consumers", {}).get(consumer, {}).get("generation")
    return pair is not None and pair[0] is None
