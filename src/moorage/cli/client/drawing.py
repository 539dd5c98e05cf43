"""Drawings of provider trees, each provider with its inventories and their use."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import click
from rich.cells import cell_len

from moorage.cli.shared.show import GAP, LEAST_CELL, bar, broken, capacity, natural, width

BRANCH: Final = "├── "
LAST_BRANCH: Final = "└── "
STEM: Final = "│   "
NO_STEM: Final = "    "


@dataclass(slots=True)
class Node:
    """A provider of a drawing."""

    name: str
    uuid: str
    parent: str | None
    traits: list[str] = field(default_factory=list)
    inventories: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    usages: Mapping[str, int] = field(default_factory=dict)

    def data(self) -> dict[str, Any]:
        """The provider as JSON data."""
        return {
            "name": self.name,
            "uuid": self.uuid,
            "parent": self.parent,
            "traits": self.traits,
            "inventories": {
                name: {**inventory, "capacity": capacity(inventory), "used": self.usages.get(name, 0)}
                for name, inventory in self.inventories.items()
            },
        }


def draw(nodes: Iterable[Node], *, with_uuids: bool = False) -> None:
    """Print the trees of these providers, with roots and children sorted by name."""
    children: dict[str | None, list[Node]] = defaultdict(list)
    in_order = sorted(nodes, key=lambda node: natural(node.name))
    known = {node.uuid for node in in_order}
    for node in in_order:
        children[node.parent if node.parent in known else None].append(node)
    longest = max((len(name) for node in in_order for name in node.inventories), default=0)
    # A node with the prefix of its first line, and the prefix of all others.
    waiting = [(root, "", "") for root in reversed(children[None])]
    while waiting:
        node, before, beside = waiting.pop()
        for number, line in enumerate(
            _label(node, longest, max(LEAST_CELL, width() - len(beside)), with_uuids=with_uuids)
        ):
            click.echo(f"{beside if number else before}{line}")
        below = children[node.uuid]
        waiting += [
            (
                child,
                f"{beside}{BRANCH if further else LAST_BRANCH}",
                f"{beside}{STEM if further else NO_STEM}",
            )
            for further, child in enumerate(reversed(below))
        ]


def _label(node: Node, longest: int, room: int, *, with_uuids: bool) -> Iterator[str]:
    """The lines of a provider: its name with additions, and its inventories."""
    name = click.style(node.name, bold=True)
    beside = " ".join([*([node.uuid] if with_uuids else []), *node.traits])
    if not beside or cell_len(node.name) + len(GAP) + cell_len(beside) <= room:
        yield f"{name}{GAP}{click.style(beside, dim=True)}" if beside else name
    else:
        yield name
        for line in broken(beside, room - len(GAP)):
            yield f"{GAP}{click.style(line, dim=True)}"
    for resource_class, inventory in sorted(node.inventories.items()):
        used, most = node.usages.get(resource_class, 0), capacity(inventory)
        line = f"{resource_class:<{longest}}  {bar(used, most)}  {used} of {most}"
        yield line if cell_len(line) <= room else f"{resource_class} {used} of {most}"
