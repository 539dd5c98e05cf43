"""The repository's files, and what stands in a Python file beside its comments and docstrings."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "moorage"

UNTRACKED_FOLDERS = {
    ".git",
    ".hypothesis",
    ".import_linter_cache",
    ".mypy_cache",
    ".pytest_cache",
    ".ruff_cache",
    ".venv",
    "__pycache__",
    "moorage-data",
    "site",
}
"""Left out where there is no git to ask (an unpacked archive)."""


@dataclass(frozen=True, slots=True)
class Found:
    """Something that stands in a source, with its line (from 1)."""

    text: str
    line: int


def package_files(*rooms: str) -> list[Path]:
    """Python files of the package, of the rooms named or of all."""
    folders = [PACKAGE / room for room in rooms] or [PACKAGE]
    return sorted(path for folder in folders for path in folder.rglob("*.py"))


def repository_files() -> list[Path]:
    """All files that are or would be tracked."""
    if (ROOT / ".git").exists():
        command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
        listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
        paths = [ROOT / name for name in listed.split("\0") if name]
    else:
        paths = [
            path for path in ROOT.rglob("*") if not UNTRACKED_FOLDERS & set(path.relative_to(ROOT).parts)
        ]
    return sorted(path for path in paths if path.is_file())


def label(path: Path, line: int) -> str:
    """How a place is shown in a failure."""
    return f"{path.relative_to(ROOT)}:{line}"


@cache
def tree_of(source: str) -> ast.Module:
    """The syntax tree of a source, which nothing may change: all tests of a process share it."""
    return ast.parse(source)


@cache
def nodes(source: str) -> tuple[ast.AST, ...]:
    """All nodes of a source's syntax tree, in the order of ``ast.walk``."""
    return tuple(ast.walk(tree_of(source)))


def strings(source: str) -> Iterator[Found]:
    """String literals without docstrings; the fixed parts of an f-string are joined by ``{}``."""
    left_out = {id(node) for node in _docstrings(source)}
    for node in nodes(source):
        if isinstance(node, ast.JoinedStr):
            parts = [part.value if isinstance(part, ast.Constant) else "{}" for part in node.values]
            left_out.update(id(part) for part in node.values)
            yield Found("".join(map(str, parts)), node.lineno)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in left_out:
            yield Found(node.value, node.lineno)


def integers(source: str) -> Iterator[Found]:
    """Integer literals."""
    for node in nodes(source):
        if isinstance(node, ast.Constant) and type(node.value) is int:
            yield Found(str(node.value), node.lineno)


def identifiers(source: str) -> Iterator[Found]:
    """All names that the source gives or uses, attributes, arguments and imports included."""
    for node in nodes(source):
        line = getattr(node, "lineno", 0)
        match node:
            case ast.Name(id=name) | ast.Attribute(attr=name) | ast.arg(arg=name):
                yield Found(name, line)
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield Found(name, line)
            case ast.keyword(arg=str(name)):
                yield Found(name, line)
            case ast.alias(name=name, asname=other):
                yield from (Found(part, line) for part in (*name.split("."), other) if part)
            case ast.ImportFrom(module=str(name)):
                yield from (Found(part, line) for part in name.split("."))
            case _:
                pass


@cache
def words(identifier: str) -> frozenset[str]:
    """``max_HTTPStatus`` holds the words max, http and status."""
    return frozenset(word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+", identifier))


def imported_modules(source: str) -> Iterator[Found]:
    """Top-level modules that the source imports, wherever the import stands."""
    for node in nodes(source):
        if isinstance(node, ast.Import):
            yield from (Found(alias.name.partition(".")[0], node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield Found(node.module.partition(".")[0], node.lineno)


def imported_names(source: str) -> Iterator[Found]:
    """Full names of what the source imports, modules and what is in them, wherever the import stands."""
    for node in nodes(source):
        if isinstance(node, ast.Import):
            yield from (Found(alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield from (Found(f"{node.module}.{alias.name}", node.lineno) for alias in node.names)


def _docstrings(source: str) -> Iterator[ast.Constant]:
    """Strings that stand alone as statements: docstrings, also those below a constant or a field."""
    for node in nodes(source):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            yield node.value
