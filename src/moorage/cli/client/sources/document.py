"""Reports as files have them: with names of providers and consumers, as YAML, or as JSON lines.

::

    covers: {trees: [host1, host2], consumer_types: [INSTANCE]}
    complete: true
    consumers:
      0b9f1c4e-3f5b-4a52-9d38-1f8f6f0c2a11: {host1: {VCPU: 4}}
      job-7: {host2: null}    # it is there, the amounts are not known
    owners:
      job-7: {project_id: p1, user_id: u1}

A JSON line is an object with any of these keys, which add up over all lines. Or it is one consumer, with
``consumer``, and where they are known ``provider``, ``resources``, ``project_id``, ``user_id`` and
``consumer_type``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

from moorage.model.errors import MoorageError

Resources = Mapping[str, int]

MOST_TREES: Final = 500
MOST_AMOUNTS: Final = 10_000
"""Of one request. A larger report is sent in parts, each about other trees."""

_KEYS: Final = frozenset(("covers", "complete", "consumers", "owners"))
_OF_LINE: Final = frozenset(("consumer", "provider", "resources", "project_id", "user_id", "consumer_type"))


@dataclass(eq=False)
class UnreadableReportError(MoorageError):
    """A file has no report that can be understood."""

    file: str
    fault: str
    template = "{file}: {fault}"


@dataclass(slots=True)
class ReportDocument:
    """A report with names. ``consumers``: by provider what a consumer has, None if that is not known.

    A consumer without a provider is there, and it is not known where.
    """

    trees: list[str] = field(default_factory=list)
    consumer_types: list[str] | None = None
    complete: bool = True
    consumers: dict[str, dict[str, Resources | None]] = field(default_factory=dict)
    owners: dict[str, dict[str, str | None]] = field(default_factory=dict)

    def shown(self) -> dict[str, Any]:
        """The report as a file has it."""
        covers: dict[str, Any] = {"trees": self.trees}
        if self.consumer_types is not None:
            covers["consumer_types"] = self.consumer_types
        return {
            "covers": covers,
            "complete": self.complete,
            "consumers": {name: {**each} or None for name, each in self.consumers.items()},
            **({"owners": self.owners} if self.owners else {}),
        }

    def add(self, consumer: str, provider: str | None, resources: Resources | None) -> None:
        """A consumer has something of a provider."""
        has = self.consumers.setdefault(consumer, {})
        if provider is not None:
            known = has.get(provider)
            has[provider] = resources if known is None else {**known, **(resources or {})}


def read(text: str, file: str) -> ReportDocument:
    """The report of a file. Raises UnreadableReportError."""
    document = ReportDocument()

    def wrong(fault: str) -> UnreadableReportError:
        return UnreadableReportError(file, fault)

    lines = _lines(text)
    if lines is None:
        try:
            whole = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise wrong(f"is neither YAML nor JSON lines: {error}") from error
        if not isinstance(whole, dict):
            raise wrong("must be a mapping with covers, complete and consumers")
        _take(document, whole, wrong)
        return document
    for number, line in lines:
        try:
            if "consumer" in line:
                _take_line(document, line, wrong)
            else:
                _take(document, line, wrong)
        except UnreadableReportError as error:
            raise wrong(f"line {number}: {error.fault}") from None
    return document


def _lines(text: str) -> list[tuple[int, dict[str, Any]]] | None:
    """The objects of JSON lines; None if the text is something else."""
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            try:
                value = json.loads(line)
            except ValueError:
                return None
            if not isinstance(value, dict):
                return None
            found.append((number, value))
    return found or None


Wrong = Callable[[str], UnreadableReportError]


def _take(document: ReportDocument, value: Mapping[str, Any], wrong: Wrong) -> None:
    _know(value, _KEYS, wrong)
    covers = value.get("covers", {})
    _is(isinstance(covers, dict), "covers must have trees", wrong)
    _know(covers, frozenset(("trees", "consumer_types")), wrong)
    trees, types = covers.get("trees", []), covers.get("consumer_types")
    _is(_is_texts(trees), "covers.trees must be a list of names", wrong)
    _is(types is None or _is_texts(types), "covers.consumer_types must be a list of types", wrong)
    document.trees += [str(each) for each in trees]
    if types is not None:
        document.consumer_types = [*(document.consumer_types or []), *types]
    complete = value.get("complete", True)
    _is(isinstance(complete, bool), "complete must be true or false", wrong)
    document.complete &= complete
    consumers = value.get("consumers", {})
    _is(isinstance(consumers, dict), "consumers must be a mapping", wrong)
    for consumer, has in consumers.items():
        _is(has is None or isinstance(has, dict), f"consumers.{consumer} must be a mapping or null", wrong)
        document.add(str(consumer), None, None)
        for provider, resources in (has or {}).items():
            document.add(str(consumer), str(provider), _resources(resources, f"consumers.{consumer}", wrong))
    owners = value.get("owners", {})
    _is(isinstance(owners, dict), "owners must be a mapping", wrong)
    for consumer, owner in owners.items():
        _is(isinstance(owner, dict), f"owners.{consumer} must be a mapping", wrong)
        document.owners[str(consumer)] = owner


def _take_line(document: ReportDocument, line: Mapping[str, Any], wrong: Wrong) -> None:
    _know(line, _OF_LINE, wrong)
    consumer, provider = line["consumer"], line.get("provider")
    _is(isinstance(consumer, str), "consumer must be a text", wrong)
    _is(provider is None or isinstance(provider, str), "provider must be a text", wrong)
    resources = line.get("resources")
    _is(resources is None or provider is not None, "resources need a provider", wrong)
    document.add(consumer, provider, _resources(resources, "resources", wrong))
    if "project_id" in line or "user_id" in line:
        document.owners[consumer] = {
            name: line.get(name) for name in ("project_id", "user_id", "consumer_type") if name in line
        }


def _resources(value: Any, place: str, wrong: Wrong) -> Resources | None:
    if value is None:
        return None
    is_right = isinstance(value, dict) and all(
        isinstance(name, str) and isinstance(amount, int) and not isinstance(amount, bool) and amount > 0
        for name, amount in value.items()
    )
    _is(is_right, f"{place} must have amounts by resource class, or be null", wrong)
    found: Resources = value
    return found or None


def _know(value: Mapping[str, Any], keys: frozenset[str], wrong: Wrong) -> None:
    unknown = [str(name) for name in value if name not in keys]
    if unknown:
        raise wrong(f"there is no key {unknown[0]!r} here; known are {', '.join(sorted(keys))}")


def _is(right: bool, fault: str, wrong: Wrong) -> None:
    if not right:
        raise wrong(fault)


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)


Place = tuple[str, str]
"""UUIDs of a provider and of the root of its tree."""


def bodies(
    document: ReportDocument,
    place_of: Callable[[str], Place],
    consumer_of: Callable[[str], str],
    *,
    accept_shrink: bool,
) -> Iterator[dict[str, Any]]:
    """The bodies of the requests that report a document, each about other trees.

    ``place_of`` and ``consumer_of`` find what names stand for.
    """
    roots = list(dict.fromkeys(place_of(name)[1] for name in document.trees))
    found: dict[str, dict[str, dict[str, Resources] | None]] = {root: {} for root in roots}
    anywhere: list[str] = []
    for name, has in document.consumers.items():
        consumer = consumer_of(name)
        if not has:
            anywhere.append(consumer)
        for provider, resources in has.items():
            uuid, root = place_of(provider)
            of_tree = found.setdefault(root, {})
            if resources is None or (consumer in of_tree and of_tree[consumer] is None):
                of_tree[consumer] = None
            else:
                known = of_tree.get(consumer) or {}
                of_tree[consumer] = {**known, uuid: {**known.get(uuid, {}), **resources}}
    owners = {consumer_of(name): owner for name, owner in document.owners.items()}
    covers = {} if document.consumer_types is None else {"consumer_types": document.consumer_types}
    for trees in _parts(found):
        consumers: dict[str, Any] = dict.fromkeys(anywhere)
        for tree in trees:
            for consumer, amounts in found[tree].items():
                known = consumers.get(consumer, {})
                consumers[consumer] = None if amounts is None or known is None else {**known, **amounts}
        yield {
            "covers": {"trees": trees, **covers},
            "complete": document.complete,
            "consumers": consumers,
            "owners": {name: owner for name, owner in owners.items() if name in consumers},
            "accept_shrink": accept_shrink,
        }


def _parts(found: Mapping[str, Mapping[str, Mapping[str, Resources] | None]]) -> Iterable[list[str]]:
    trees: list[str] = []
    amounts = 0
    for tree, consumers in found.items():
        more = sum(max(1, sum(map(len, (each or {}).values()))) for each in consumers.values())
        if trees and (len(trees) >= MOST_TREES or amounts + more > MOST_AMOUNTS):
            yield trees
            trees, amounts = [], 0
        trees.append(tree)
        amounts += more
    if trees:
        yield trees
