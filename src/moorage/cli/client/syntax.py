"""The readable syntax of amounts, inventories and request groups on the command line."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import click

INVENTORY_FIELDS: Final[Mapping[str, type[int] | type[float]]] = {
    "total": int,
    "reserved": int,
    "min_unit": int,
    "max_unit": int,
    "step_size": int,
    "allocation_ratio": float,
}
"""What an inventory may say, with the type of each value."""

CLASS_NAME: Final = re.compile(r"[A-Z][A-Z0-9_]*")

GROUP_NAME: Final = re.compile(r"[a-zA-Z0-9_-]{1,63}")
"""The API takes 64 characters; the underscore in front is ours."""


def _bad(message: str) -> click.BadParameter:
    return click.BadParameter(message)


def number(text: str, kind: type[int] | type[float] = int) -> int | float:
    """A number of this kind. Raises BadParameter."""
    try:
        return kind(text)
    except ValueError:
        raise _bad(f"'{text}' is no {'whole ' if kind is int else ''}number.") from None


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


def _items(text: str) -> list[str]:
    return [item for part in text.split(",") if (item := part.strip())]


def _pair(item: str) -> tuple[str, str, str]:
    """Around the first = or, as the API writes it, the first colon."""
    found = re.match(r"([^=:]*)([=:])(.*)", item)
    return (found[1].strip(), found[2], found[3].strip()) if found else (item, "", "")


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
class Group:
    """What one request group asks for. ``required`` has one entry per wish: a trait, or any of some."""

    resources: dict[str, int] = field(default_factory=dict)
    required: list[tuple[str, ...]] = field(default_factory=list)
    forbidden: list[str] = field(default_factory=list)
    member_of: list[tuple[str, ...]] = field(default_factory=list)
    in_tree: str | None = None

    @property
    def traits(self) -> set[str]:
        """All traits that it names."""
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
            f"member_of{suffix}": [
                names[0] if len(names) == 1 else "in:" + ",".join(names) for names in self.member_of
            ]
            or None,
            f"in_tree{suffix}": self.in_tree,
        }


def group(text: str) -> tuple[str, Group]:
    """``gpu:PGPU=1,CUSTOM_A100``: a name and what is wanted of one provider. Raises BadParameter.

    Items are CLASS=AMOUNT, TRAIT, !TRAIT, TRAIT|TRAIT, member_of=AGGREGATE[|AGGREGATE] and
    in_tree=PROVIDER.
    """
    name, colon, wanted = text.partition(":")
    if not colon or not GROUP_NAME.fullmatch(name):
        raise _bad(f"'{text}' is not NAME:ITEM[,ITEM...], as in gpu:PGPU=1,CUSTOM_GPU_A100.")
    found = Group()
    for item in _items(wanted):
        key, sign, value = _pair(item)
        if key == "member_of" and sign:
            found.member_of.append(tuple(value.split("|")))
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


def groups(texts: Iterable[str]) -> dict[str, Group]:
    """Groups by name. Raises BadParameter if a name comes twice."""
    found: dict[str, Group] = {}
    for text in texts:
        name, wanted = group(text)
        if name in found:
            raise _bad(f"Group {name} is named twice.")
        found[name] = wanted
    return found


def holding(text: str) -> tuple[str, dict[str, int]]:
    """``PROVIDER:VCPU=2,MEMORY_MB=512`` as a provider and amounts. Raises BadParameter.

    The last colon counts: a provider's name may have some of its own.
    """
    provider, colon, wanted = text.rpartition(":")
    if not colon or not provider:
        raise _bad(f"'{text}' is not PROVIDER:CLASS=AMOUNT[,CLASS=AMOUNT...].")
    return provider, amounts(wanted)


def holdings(texts: Sequence[str]) -> dict[str, dict[str, int]]:
    """Amounts by provider. Raises BadParameter if one comes twice."""
    found: dict[str, dict[str, int]] = {}
    for text in texts:
        provider, wanted = holding(text)
        if provider in found:
            raise _bad(f"Provider {provider} is named twice.")
        found[provider] = wanted
    return found
