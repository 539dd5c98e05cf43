"""What in the source remembers: caches, and containers that outlive the function that fills them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

from tests.tidy.sources import PACKAGE, tree_of

CACHE = "Cache"
FUNCTIONS = {"cache", "lru_cache", "cached_property"}
"""Of functools."""

CONTAINERS = {
    CACHE,
    "Counter",
    "LRUCache",
    "OrderedDict",
    "TTLCache",
    "WeakKeyDictionary",
    "WeakValueDictionary",
    "defaultdict",
    "deque",
    "dict",
    "set",
}
"""What can be filled by key, or without end. Lists are left out: they are what is worked on."""

VALUES = {"valueclass", "NamedTuple"}
"""What nobody changes does not grow either."""


def name_of(node: ast.AST) -> str:
    """``cache`` of ``cache``, ``functools.cache``, ``cache(...)`` and ``cache[...]``."""
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
        case ast.Call(func=inner) | ast.Subscript(value=inner):
            return name_of(inner)
    return ""


def makes_container(value: ast.expr | None) -> bool:
    """Whether an expression makes one."""
    match value:
        case ast.Dict(keys=[]) | ast.Set():
            return True
        case ast.Lambda(body=body):
            return makes_container(body)
        case ast.Call(keywords=keywords) if name_of(value) == "field":
            made = [keyword.value for keyword in keywords if keyword.arg == "default_factory"]
            return any(name_of(factory) in CONTAINERS or makes_container(factory) for factory in made)
        case ast.Call():
            return name_of(value) in CONTAINERS | FUNCTIONS
    return False


def _targets(node: ast.AST) -> tuple[list[ast.expr], ast.expr | None]:
    match node:
        case ast.Assign(targets=targets, value=value):
            return targets, value
        case ast.AnnAssign(target=target, value=value):
            return [target], value
    return [], None


def _own(target: ast.expr) -> str | None:
    """``x`` of ``self.x``."""
    match target:
        case ast.Attribute(value=ast.Name(id="self"), attr=name):
            return name
    return None


class Memory(NamedTuple):
    """``Class.attribute``, ``Class.method``, ``NAME`` or ``function``, and what makes it, if that is told."""

    name: str
    made: ast.expr | None


def memories_in(source: str) -> Iterator[Memory]:
    """All in a file."""
    yield from _memories(tree_of(source), "", grows=True, inside=None)


def _memories(node: ast.AST, owner: str, *, grows: bool, inside: ast.FunctionDef | None) -> Iterator[Memory]:
    for child in ast.iter_child_nodes(node):
        match child:
            case ast.ClassDef():
                value = VALUES & {name_of(part) for part in (*child.decorator_list, *child.bases)}
                yield from _memories(child, f"{child.name}.", grows=not value, inside=None)
            case ast.FunctionDef():
                if FUNCTIONS & {name_of(decorator) for decorator in child.decorator_list}:
                    yield Memory(f"{owner}{child.name}", None)
                yield from _memories(child, owner, grows=grows, inside=child)
            case _:
                if grows:
                    yield from _assigned(child, owner, inside)
                yield from _memories(child, owner, grows=grows, inside=inside)


def _assigned(node: ast.AST, owner: str, inside: ast.FunctionDef | None) -> Iterator[Memory]:
    targets, value = _targets(node)
    for target in targets:
        own = _own(target)
        if own is not None and inside is not None and _is_memory(inside, own, value):
            yield Memory(f"{owner}{own}", value)
        elif inside is None and isinstance(target, ast.Name) and makes_container(value):
            yield Memory(f"{owner}{target.id}", value)


def _is_memory(function: ast.FunctionDef, attribute: str, value: ast.expr | None) -> bool:
    if makes_container(value):
        return True
    if function.name == "__init__":
        # There is nothing in it that would grow: it is there to be replaced by what was found.
        return isinstance(value, ast.Tuple) and not value.elts
    return any(_asks_whether_none(part, attribute) for part in ast.walk(function))


def _asks_whether_none(node: ast.AST, attribute: str) -> bool:
    match node:
        case ast.If(test=ast.Compare(left=left, ops=[ast.Is()], comparators=[ast.Constant(value=None)])):
            return _own(left) == attribute
    return False


@cache
def memories() -> dict[str, Memory]:
    """All of the package, by ``room.module:Class.attribute``."""
    found: dict[str, Memory] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        module = ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")
        for memory in memories_in(path.read_text()):
            found.setdefault(f"{module}:{memory.name}", memory)
    return found
