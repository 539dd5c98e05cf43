"""Parses the text of a file into a ``Document``, or into a list of its errors."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final

import os_resource_classes
import os_traits
import yaml

from moorage.cli.document import ConsumerEntry, Document, ProviderEntry
from moorage.cli.reading import Problem, Reader, TooManyProblemsError, did_you_mean, is_null
from moorage.cli.shared.names import aggregate_uuid, consumer_uuid, provider_uuid
from moorage.model.errors import MoorageError
from moorage.model.values import CUSTOM_PREFIX, MAX_INT, Inventory
from moorage.wiring.options import NO_INDIVIDUAL

MAX_DEPTH: Final = 64
"""Levels of providers under one root; deeper is a mistake, or an alias that contains itself."""

MAX_NESTING: Final = 2 * MAX_DEPTH + 32
"""Levels of lists and mappings: two for each level of providers, and some for their content."""

MAX_PROVIDERS: Final = 1_000_000
"""Providers of one file: ten times the largest intended cloud. The limit stops aliases that multiply."""

MAX_NAME: Final = 200
"""Characters of a provider's name. Source: API reference, "Create resource provider"."""

MAX_IDENTIFIER: Final = 255
"""Characters of traits, classes, projects and users. Source: API reference."""

MIN_RATIO: Final = 1.2e-38
MAX_RATIO: Final = 3.40282e38
"""Smallest and largest allocation ratio that the databases' single-precision column keeps in full."""

_NAME: Final = re.compile("[A-Z0-9_]+")

_DOCUMENT_KEYS: Final = ("providers", "consumers")
_PROVIDER_KEYS: Final = ("name", "uuid", "inventories", "traits", "aggregates", "children")
_INVENTORY_KEYS: Final = ("total", "reserved", "min_unit", "max_unit", "step_size", "allocation_ratio")
_CONSUMER_KEYS: Final = ("name", "uuid", "project", "user", "type", "allocations")


@dataclass(eq=False)
class BadFileError(MoorageError):
    """A file with errors; nothing of it was carried out."""

    path: str
    problems: tuple[Problem, ...]

    def __str__(self) -> str:
        return "\n".join(f"{self.path}:{problem.line}: {problem.text}" for problem in self.problems)


@cache
def standard_traits() -> frozenset[str]:
    """Names of the standard traits, from os-traits."""
    return frozenset(os_traits.get_traits())


@cache
def standard_resource_classes() -> frozenset[str]:
    """Names of the standard resource classes, from os-resource-classes."""
    return frozenset(os_resource_classes.STANDARDS)


def parse(text: str, path: str) -> Document:
    """The document in ``text`` (YAML, and so JSON too). Raises BadFileError with all problems."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        # ``compose`` recurses for every level, without a limit in C, so the levels are counted first.
        too_deep = _line_that_is_too_deep(text, loader)
        if too_deep is not None:
            raise BadFileError(path, (Problem(too_deep, "lists and mappings are nested too deeply"),))
        # Builds nodes only: no tag in the file can create an object of a class.
        root = yaml.compose(text, Loader=loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        raise BadFileError(path, (Problem(line, f"not valid YAML: {error.problem}"),)) from error
    except yaml.reader.ReaderError as error:
        # The position counts bytes or characters, depending on the loader. They are equal in an ASCII file;
        # in other files the line may be slightly off.
        line = text.count("\n", 0, error.position) + 1
        raise BadFileError(path, (Problem(line, f"not valid YAML: {error.reason}"),)) from error
    if root is None:
        raise BadFileError(path, (Problem(1, "the file is empty"),))
    parser = _Parser()
    document = Document(())
    try:
        document = parser.document(root)
    except TooManyProblemsError:
        pass
    except RecursionError:
        parser.reader.problems.append(Problem(1, "an alias contains itself"))
    if parser.reader.problems:
        raise BadFileError(path, tuple(sorted(parser.reader.problems, key=lambda each: each.line)))
    return document


def _line_that_is_too_deep(text: str, loader: Any) -> int | None:
    depth = 0
    for event in yaml.parse(text, Loader=loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_NESTING:
                return int(event.start_mark.line) + 1 if event.start_mark else 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
    return None


@dataclass(slots=True)
class _Parser:
    reader: Reader = field(default_factory=Reader)
    names: dict[str, int] = field(default_factory=dict)
    uuids: dict[str, int] = field(default_factory=dict)
    consumers: dict[str, int] = field(default_factory=dict)

    def document(self, node: yaml.Node) -> Document:
        pairs = self.reader.mapping(node, "the document")
        if pairs is None:
            return Document(())
        self.reader.known_keys(pairs, _DOCUMENT_KEYS, "the document")
        if "providers" not in pairs:
            self.reader.wrong(node, "the document has no 'providers'")
            return Document(())
        providers = self.providers(pairs["providers"][1], "'providers'", depth=1)
        consumers: list[ConsumerEntry] = []
        if "consumers" in pairs:
            for item in self.reader.sequence(pairs["consumers"][1], "'consumers'") or ():
                consumer = self.consumer(item)
                if consumer is not None:
                    consumers.append(consumer)
        return Document(tuple(providers), tuple(consumers))

    def providers(self, node: yaml.Node, what: str, depth: int) -> list[ProviderEntry]:
        if depth > MAX_DEPTH:
            self.reader.wrong(node, f"providers are nested more than {MAX_DEPTH} levels deep")
            return []
        found = []
        for item in self.reader.sequence(node, what) or ():
            provider = self.provider(item, depth)
            if provider is not None:
                found.append(provider)
        return found

    def provider(self, node: yaml.Node, depth: int) -> ProviderEntry | None:
        pairs = self.reader.mapping(node, "a provider")
        if pairs is None:
            return None
        self.reader.known_keys(pairs, _PROVIDER_KEYS, "a provider")
        name = self.name(node, pairs, "a provider", MAX_NAME)
        what = "the provider" if name is None else f"provider {name!r}"
        uuid = self.reader.uuid(pairs["uuid"][1], f"uuid of {what}") if "uuid" in pairs else None
        if name is not None:
            self.once(self.names, name, node, f"the provider name {name!r}")
            self.once(self.uuids, uuid or provider_uuid(name), node, f"the uuid of {what}")
        inventories = traits = aggregates = None
        if "inventories" in pairs:
            inventories = self.inventories(pairs["inventories"][1], what)
        if "traits" in pairs:
            traits = self.traits(pairs["traits"][1], what)
        if "aggregates" in pairs:
            aggregates = self.aggregates(pairs["aggregates"][1], what)
        children: list[ProviderEntry] = []
        if "children" in pairs:
            children = self.providers(pairs["children"][1], f"children of {what}", depth + 1)
        if len(self.names) > MAX_PROVIDERS:
            self.reader.wrong(node, f"more than {MAX_PROVIDERS} providers")
            raise TooManyProblemsError
        return ProviderEntry(
            name=name or "",
            line=node.start_mark.line + 1,
            uuid=uuid,
            inventories=inventories,
            traits=traits,
            aggregates=aggregates,
            children=tuple(children),
        )

    def name(
        self, node: yaml.Node, pairs: Mapping[str, tuple[yaml.Node, yaml.Node]], what: str, longest: int
    ) -> str | None:
        if "name" not in pairs:
            self.reader.wrong(node, f"{what} has no 'name'")
            return None
        return self.reader.string(pairs["name"][1], f"name of {what}", longest)

    def once(self, seen: dict[str, int], key: str, node: yaml.Node, what: str) -> None:
        if key in seen:
            self.reader.wrong(node, f"{what} was given in line {seen[key]} already")
        else:
            seen[key] = node.start_mark.line + 1

    def inventories(self, node: yaml.Node, what: str) -> dict[str, Inventory] | None:
        pairs = self.reader.mapping(node, f"inventories of {what}")
        if pairs is None:
            return None
        found: dict[str, Inventory] = {}
        for name, (key_node, value_node) in pairs.items():
            self.resource_class(key_node, name)
            inventory = self.inventory(value_node, f"{name} of {what}")
            if inventory is not None:
                found[name] = inventory
        return found

    def inventory(self, node: yaml.Node, what: str) -> Inventory | None:
        if not isinstance(node, yaml.MappingNode):
            total = self.reader.integer(node, f"total of {what}", 1, MAX_INT)
            return None if total is None else Inventory(total=total)
        pairs = self.reader.mapping(node, what) or {}
        self.reader.known_keys(pairs, _INVENTORY_KEYS, what)
        if "total" not in pairs:
            self.reader.wrong(node, f"{what} has no 'total'")
            return None
        values: dict[str, int] = {}
        ratio: float | None = 1.0
        for key, (_, value_node) in pairs.items():
            if key == "allocation_ratio":
                ratio = self.reader.number(value_node, f"allocation_ratio of {what}", MIN_RATIO, MAX_RATIO)
            elif key in _INVENTORY_KEYS:
                least = 0 if key == "reserved" else 1
                value = self.reader.integer(value_node, f"{key} of {what}", least, MAX_INT)
                if value is not None:
                    values[key] = value
        if "total" not in values or ratio is None:
            return None
        inventory = Inventory(**values, allocation_ratio=ratio)
        if inventory.reserved > inventory.total:
            self.reader.wrong(node, f"{what}: reserved {inventory.reserved} is more than the total")
        if inventory.min_unit > inventory.max_unit:
            self.reader.wrong(node, f"{what}: min_unit {inventory.min_unit} is more than max_unit")
        return inventory

    def resource_class(self, node: yaml.Node, name: str) -> None:
        self.identifier(node, name, "resource class", standard_resource_classes())

    def identifier(self, node: yaml.Node, name: str, what: str, standard: frozenset[str]) -> None:
        if name in standard:
            return
        if not _NAME.fullmatch(name) or len(name) > MAX_IDENTIFIER:
            hint = did_you_mean(name.upper(), standard)
            self.reader.wrong(node, f"{name[:MAX_IDENTIFIER]!r} is no name for a {what}{hint}")
        elif not name.startswith(CUSTOM_PREFIX) or name == CUSTOM_PREFIX:
            hint = did_you_mean(name, standard)
            self.reader.wrong(
                node, f"unknown {what} {name!r} (one of your own starts with {CUSTOM_PREFIX}){hint}"
            )

    def traits(self, node: yaml.Node, what: str) -> frozenset[str]:
        found: set[str] = set()
        for item in self.reader.sequence(node, f"traits of {what}") or ():
            name = self.reader.string(item, f"a trait of {what}", MAX_IDENTIFIER)
            if name is None:
                continue
            self.identifier(item, name, "trait", standard_traits())
            if name in found:
                self.reader.wrong(item, f"the trait {name!r} is given twice for {what}")
            found.add(name)
        return frozenset(found)

    def aggregates(self, node: yaml.Node, what: str) -> tuple[str, ...]:
        found: list[str] = []
        for item in self.reader.sequence(node, f"aggregates of {what}") or ():
            name = self.reader.string(item, f"an aggregate of {what}", MAX_IDENTIFIER)
            if name is None:
                continue
            uuid = aggregate_uuid(name)
            if uuid in found:
                self.reader.wrong(item, f"the aggregate {name!r} is given twice for {what}")
                continue
            found.append(uuid)
        return tuple(found)

    def consumer(self, node: yaml.Node) -> ConsumerEntry | None:
        pairs = self.reader.mapping(node, "a consumer")
        if pairs is None:
            return None
        self.reader.known_keys(pairs, _CONSUMER_KEYS, "a consumer")
        name = self.name(node, pairs, "a consumer", MAX_NAME)
        if name is None:
            return None
        what = f"consumer {name!r}"
        uuid = self.reader.uuid(pairs["uuid"][1], f"uuid of {what}") if "uuid" in pairs else None
        uuid = uuid or consumer_uuid(name)
        self.once(self.consumers, uuid, node, f"the uuid of {what}")
        people = {
            key: self.reader.string(pairs[key][1], f"{key} of {what}", MAX_IDENTIFIER)
            for key in ("project", "user")
            if key in pairs
        }
        consumer_type = None
        if "type" in pairs and not is_null(pairs["type"][1]):
            consumer_type = self.reader.string(pairs["type"][1], f"type of {what}", MAX_IDENTIFIER)
            if consumer_type is not None and not _NAME.fullmatch(consumer_type):
                self.reader.wrong(
                    pairs["type"][1], f"type of {what} must be of A to Z, 0 to 9 and _: {consumer_type!r}"
                )
        if "allocations" not in pairs:
            self.reader.wrong(node, f"{what} has no 'allocations'")
            return None
        return ConsumerEntry(
            uuid=uuid,
            label=name,
            line=node.start_mark.line + 1,
            project_id=people.get("project") or NO_INDIVIDUAL,
            user_id=people.get("user") or NO_INDIVIDUAL,
            consumer_type=consumer_type,
            allocations=self.allocations(pairs["allocations"][1], what),
        )

    def allocations(self, node: yaml.Node, what: str) -> dict[str, dict[str, int]]:
        found: dict[str, dict[str, int]] = {}
        for name, (key_node, value_node) in (
            self.reader.mapping(node, f"allocations of {what}") or {}
        ).items():
            if name not in self.names:
                hint = did_you_mean(name, self.names) if len(self.names) <= 10_000 else ""
                self.reader.wrong(key_node, f"{what} names the provider {name!r}, not in this file{hint}")
            resources: dict[str, int] = {}
            held = self.reader.mapping(value_node, f"what {what} holds of {name!r}")
            for resource_class, (class_node, amount_node) in (held or {}).items():
                self.resource_class(class_node, resource_class)
                amount = self.reader.integer(
                    amount_node, f"{resource_class} that {what} holds of {name!r}", 1, MAX_INT
                )
                if amount is not None:
                    resources[resource_class] = amount
            if held is not None and not held:
                self.reader.wrong(value_node, f"{what} holds nothing of {name!r}")
            if resources:
                found[name] = resources
        return found
