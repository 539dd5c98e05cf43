"""Names of other distributions that are not promised: where the package uses them.

A name with a leading underscore that no file of the package defines is somebody else's. So is one that a
class of the package defines or uses, if a class of another distribution that it stands on has it as well.
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib import import_module

from tests.tidy.sources import tree_of

PUBLIC = {"_mapping", "_asdict", "_replace", "_fields", "_make", "_exit"}
"""Documented in spite of their underscore: of rows, of named tuples and of ``os``."""

OWN = "moorage"


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def defined(tree: ast.AST) -> Iterator[str]:
    """Private names that a file makes: functions, classes, variables, attributes, fields, arguments."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield node.name
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            # ``__slots__``, and attributes that are set by name.
            yield node.value


def imported(tree: ast.AST) -> Mapping[str, tuple[str, str]]:
    """Module and name by the name that ``from module import name`` gives."""
    return {
        alias.asname or alias.name: (node.module, alias.name)
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module and not node.level
        for alias in node.names
    }


def private_imports(tree: ast.AST) -> Iterator[str]:
    """Modules and names with an underscore that are imported from elsewhere."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            paths = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            paths = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for path in paths:
            if not path.startswith(f"{OWN}.") and any(map(is_private, path.split("."))):
                yield path


def foreign_bases(tree: ast.AST) -> Iterator[tuple[ast.ClassDef, type]]:
    """Classes of a file with each class of another distribution that they stand on."""
    names = imported(tree)
    for node in ast.walk(tree):
        if not isinstance(node, ast.ClassDef):
            continue
        for base in node.bases:
            target = base.value if isinstance(base, ast.Subscript) else base
            module, name = names.get(target.id, ("", "")) if isinstance(target, ast.Name) else ("", "")
            if module and module.partition(".")[0] not in {OWN, *sys.stdlib_module_names}:
                found = getattr(import_module(module), name)
                if isinstance(found, type):
                    yield node, found


@cache
def names_of(base: type) -> set[str]:
    """Private names that a class has, or that its source uses of itself."""
    found = set(filter(is_private, dir(base)))
    for each in base.__mro__:
        if each.__module__.partition(".")[0] in sys.stdlib_module_names:
            continue
        try:
            source = inspect.getsource(each)
        except (OSError, TypeError):
            continue
        found |= set(re.findall(r"\bself\.(_[a-z]\w*)", source))
    return found


def inherited(tree: ast.AST) -> Iterator[str]:
    """Private names that a class shares with one of another distribution that it stands on."""
    for node, base in foreign_bases(tree):
        used = {each.name for each in node.body if isinstance(each, ast.FunctionDef)} | {
            each.attr for each in ast.walk(node) if isinstance(each, ast.Attribute)
        }
        for name in used & names_of(base):
            yield f"{base.__module__}.{base.__qualname__}.{name}"


def private_uses(sources: Iterable[str]) -> set[str]:
    """All of them in the files of a package, whose texts are ``sources``."""
    trees = [tree_of(source) for source in sources]
    own = {name for tree in trees for name in defined(tree)} | PUBLIC
    found = set()
    for tree in trees:
        found |= set(private_imports(tree)) | set(inherited(tree))
        found |= {
            f".{node.attr}"
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute) and is_private(node.attr) and node.attr not in own
        }
    return found
