"""The readable syntax of amounts, inventories and request groups on the command line."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import click

from moorage.cli.client.lookup import aggregate_uuid

INVENTORY_FIELDS: Final[Mapping[str, type[int] | type[float]]] = {
    "total": int,
    "reserved": int,
    "min_unit": int,
    "max_unit": int,
    "step_size": int,
    "allocation_ratio": float,
}
"""Fields of an inventory, with the type of each value."""

CLASS_NAME: Final = re.compile(r"[A-Z][A-Z0-9_]*")

GROUP_NAME: Final = re.compile(r"[a-zA-Z0-9_-]{1,63}")
"""The API accepts 64 characters; this syntax adds an underscore in front."""


def _bad(message: str) -> click.BadParameter:
    return click.BadParameter(message)


def number(text: str, kind: type[int] | type[float] = int) -> int | float:
    """A number of this kind. Raises BadParameter."""
    try:
        return kind(text)
    except ValueError:
        raise _bad(f"'{text}' is not a {'whole ' if kind is int else ''}number.") from None


def amounts(text: str) -> dict[str, int]:
    """``VCPU=4,MEMORY_MB=8192`` as amounts by class. Raises BadParameter."""
    found: dict[str, int] = {}
    for item in _items(text):
        name, sign, value = _pair(item)
        if not sign or not CLASS_NAME.fullmatch(name):
            raise _bad(f"'{item}' is not CLASS=AMOUNT, as in VCPU=4,MEMORY_MB=8192.")
        if name in found:
            raise _bad(f"{name} is named twice.")
        found[name] = int(number(value))
    if not found:
        raise _bad("Name at least one CLASS=AMOUNT.")
    return found


def weighted(text: str) -> tuple[str, float]:
    """``NAME=WEIGHT`` as a name and a weight, which is 1 if it is left out. Raises BadParameter."""
    name, sign, weight = _pair(text)
    if not name:
        raise _bad(f"'{text}' is not NAME=WEIGHT, as in CUSTOM_NVME=2.")
    return name, float(number(weight, float)) if sign else 1.0


def _items(text: str) -> list[str]:
    return [item for part in text.split(",") if (item := part.strip())]


def _pair(item: str) -> tuple[str, str, str]:
    """Split at the first = or, as the API writes it, at the first colon."""
    sign = min("=:", key=lambda each: (item.find(each) < 0, item.find(each)))
    name, sign, value = item.partition(sign)
    return (name.strip(), sign, value.strip()) if sign else (item, "", "")


def inventory(text: str) -> tuple[str, dict[str, int | float]]:
    """``VCPU=16,reserved=2,allocation_ratio=4`` as a class and the fields named. Raises BadParameter."""
    first, *rest = _items(text) or [""]
    name, sign, total = _pair(first)
    if not sign or not CLASS_NAME.fullmatch(name):
        raise _bad(f"'{text}' is not CLASS=TOTAL[,FIELD=VALUE...], as in VCPU=16,allocation_ratio=4.")
    fields: dict[str, int | float] = {"total": number(total)}
    for item in rest:
        field_name, sign, value = _pair(item)
        if field_name not in INVENTORY_FIELDS or not sign:
            raise _bad(f"'{item}' is none of {', '.join(f'{known}=...' for known in INVENTORY_FIELDS)}.")
        fields[field_name] = number(value, INVENTORY_FIELDS[field_name])
    return name, fields


@dataclass(slots=True)
class GroupConditions:
    """The conditions of one request group.

    Each entry of ``required`` is a trait, or several of which one suffices. ``member_of`` is in the API's
    form.
    """

    resources: dict[str, int] = field(default_factory=dict)
    required: list[tuple[str, ...]] = field(default_factory=list)
    forbidden: list[str] = field(default_factory=list)
    member_of: list[str] = field(default_factory=list)
    in_tree: str | None = None

    @property
    def traits(self) -> set[str]:
        """All traits that the group names."""
        return {name for names in self.required for name in names} | set(self.forbidden)

    def add_traits(self, text: str) -> None:
        """``A,!B,C|D``: A, not B, and C or D. Raises BadParameter."""
        for item in _items(text):
            if item.startswith("!"):
                self.forbidden.append(item[1:].strip())
            else:
                self.required.append(tuple(name.strip() for name in item.split("|")))
        if not all(self.traits):
            raise _bad(f"'{text}' is not TRAIT, !TRAIT or TRAIT|TRAIT, with commas between.")

    def query(self, suffix: str) -> dict[str, str | list[str] | None]:
        """The parameters of the API. Source: API reference, "List allocation candidates"."""
        plain = [names[0] for names in self.required if len(names) == 1]
        plain += [f"!{name}" for name in self.forbidden]
        wishes = [",".join(plain)] if plain else []
        wishes += ["in:" + ",".join(names) for names in self.required if len(names) > 1]
        return {
            f"resources{suffix}": ",".join(f"{name}:{amount}" for name, amount in self.resources.items())
            or None,
            f"required{suffix}": wishes or None,
            f"member_of{suffix}": self.member_of or None,
            f"in_tree{suffix}": self.in_tree,
        }


def member_of(text: str) -> str:
    """``A``, ``A|B`` or ``!A``, of names or UUIDs, as the API writes it. Raises BadParameter."""
    sign = "!" if text.startswith("!") else ""
    uuids = [aggregate_uuid(name.strip()) for name in text.removeprefix("!").split("|")]
    return sign + (uuids[0] if len(uuids) == 1 else f"in:{','.join(uuids)}")


def group(text: str) -> tuple[str, GroupConditions]:
    """``gpu:PGPU=1,CUSTOM_A100``: a name, and conditions on one provider. Raises BadParameter.

    Items are CLASS=AMOUNT, TRAIT, !TRAIT, TRAIT|TRAIT, member_of=AGGREGATE[|AGGREGATE] and
    in_tree=PROVIDER.
    """
    name, colon, wanted = text.partition(":")
    if not colon or not GROUP_NAME.fullmatch(name):
        raise _bad(f"'{text}' is not NAME:ITEM[,ITEM...], as in gpu:PGPU=1,CUSTOM_GPU_A100.")
    found = GroupConditions()
    for item in _items(wanted):
        key, sign, value = _pair(item)
        if key == "member_of" and sign:
            found.member_of.append(member_of(value))
        elif key == "in_tree" and sign:
            found.in_tree = value
        elif sign:
            for resource_class, amount in amounts(item).items():
                if resource_class in found.resources:
                    raise _bad(f"{resource_class} is named twice in group {name}.")
                found.resources[resource_class] = amount
        else:
            found.add_traits(item)
    return name, found


def groups(texts: Iterable[str]) -> dict[str, GroupConditions]:
    """Groups by name. Raises BadParameter if a name is repeated."""
    found: dict[str, GroupConditions] = {}
    for text in texts:
        name, wanted = group(text)
        if name in found:
            raise _bad(f"Group {name} is named twice.")
        found[name] = wanted
    return found


def holding(text: str) -> tuple[str, dict[str, int]]:
    """``PROVIDER:VCPU=2,MEMORY_MB=512`` as a provider and amounts. Raises BadParameter.

    The last colon separates: a provider's name may contain colons.
    """
    provider, colon, wanted = text.rpartition(":")
    if not colon or not provider:
        raise _bad(f"'{text}' is not PROVIDER:CLASS=AMOUNT[,CLASS=AMOUNT...].")
    return provider, amounts(wanted)


def holdings(texts: Sequence[str]) -> dict[str, dict[str, int]]:
    """Amounts by provider. Raises BadParameter if a provider is repeated."""
    found: dict[str, dict[str, int]] = {}
    for text in texts:
        provider, wanted = holding(text)
        if provider in found:
            raise _bad(f"Provider {provider} is named twice.")
        found[provider] = wanted
    return found
