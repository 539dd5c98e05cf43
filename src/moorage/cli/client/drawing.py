"""Provider trees as a drawing, each provider with its inventories and how much of them is used."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from rich.text import Text
from rich.tree import Tree

from moorage.cli.client.show import bar, capacity, screen


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
    """Print the trees that these providers make up, roots and children by name."""
    children: dict[str | None, list[Node]] = defaultdict(list)
    everyone = sorted(nodes, key=lambda node: node.name)
    known = {node.uuid for node in everyone}
    for node in everyone:
        children[node.parent if node.parent in known else None].append(node)
    width = max((len(name) for node in everyone for name in node.inventories), default=0)
    for root in children[None]:
        drawing = Tree(_label(root, width, with_uuids=with_uuids))
        waiting = [(root, drawing)]
        while waiting:
            node, branch = waiting.pop(0)
            waiting += [
                (child, branch.add(_label(child, width, with_uuids=with_uuids)))
                for child in children[node.uuid]
            ]
        screen().print(drawing)


def _label(node: Node, width: int, *, with_uuids: bool) -> Text:
    label = Text(node.name, style="bold")
    if with_uuids:
        label.append(f"  {node.uuid}", style="dim not bold")
    if node.traits:
        label.append(f"  {' '.join(node.traits)}", style="dim not bold")
    for name, inventory in sorted(node.inventories.items()):
        used, most = node.usages.get(name, 0), capacity(inventory)
        label.append(f"\n{name:<{width}}  {bar(used, most)}  {used} of {most}", style="not bold")
    return label
