"""All regular expressions of the package, found in its source and in its JSON schemas."""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from moorage.api.native import openapi as native
from moorage.api.placement import openapi, schemas
from moorage.api.placement.routes import ROUTES
from moorage.api.placement.versions import NEWEST
from tests.tidy.sources import ROOT, label, package_files

FUNCTIONS: Final = frozenset(
    {"compile", "match", "search", "fullmatch", "sub", "subn", "split", "findall", "finditer"}
)

OF_SCHEMAS: Final = {
    ("validation.py", "_pattern"),
    ("validation.py", "_object"),
    ("validation.py", "_string"),
    ("strict.py", "_unknown"),
}
"""Functions whose expressions come from JSON schemas, which are looked through as a whole."""


class UncollectedError(AssertionError):
    """An expression that nobody can tell without running the code."""


@dataclass(frozen=True)
class Pattern:
    """An expression, and where it stands."""

    text: str | bytes
    flags: int
    place: str

    def __str__(self) -> str:
        return f"{self.place} {self.text!r}"


def of_sources(files: list[Path] | None = None) -> Iterator[Pattern]:
    """Expressions that are handed to ``re``. Raises UncollectedError."""
    for path in package_files() if files is None else files:
        tree = ast.parse(path.read_text())
        names = _names_of_module(tree, path)
        for function, call in _calls(tree):
            if call.func.attr not in FUNCTIONS:  # type: ignore[attr-defined]
                continue
            if (path.name, function) not in OF_SCHEMAS:
                yield _evaluated(call, names, label(path, call.lineno))


def _names_of_module(tree: ast.Module, path: Path) -> Mapping[str, Any]:
    """What names stand for at the top of a module that uses ``re``. Raises UncollectedError."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "re":
            raise UncollectedError(f"{label(path, node.lineno)}: import re as a whole")
        if isinstance(node, ast.Import):
            for alias in node.names:
                if (alias.name in {"re", "regex"} and alias.asname) or alias.name == "regex":
                    raise UncollectedError(f"{label(path, node.lineno)}: import re by its name")
    if not any(True for _ in _calls(tree)):
        return {}
    module = ".".join(path.relative_to(ROOT / "src").with_suffix("").parts).removesuffix(".__init__")
    return vars(importlib.import_module(module))


def _calls(tree: ast.AST, function: str = "") -> Iterator[tuple[str, ast.Call]]:
    """Calls of functions of ``re``, with the name of the function that they stand in."""
    for node in ast.iter_child_nodes(tree):
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name(id="re"))):
                yield function, node
        inner = node.name if isinstance(node, ast.FunctionDef) else function
        yield from _calls(node, inner)


def _evaluated(call: ast.Call, names: Mapping[str, Any], place: str) -> Pattern:
    given = {keyword.arg: keyword.value for keyword in call.keywords}
    pattern = call.args[0] if call.args else given.get("pattern")
    is_compiled = call.func.attr == "compile"  # type: ignore[attr-defined]
    flags = call.args[1] if is_compiled and len(call.args) > 1 else given.get("flags")
    try:
        text = None if pattern is None else _value(pattern, names)
        number = 0 if flags is None else int(_value(flags, names))
    except Exception as error:
        raise UncollectedError(f"{place}: {ast.unparse(call)} cannot be told: {error!r}") from error
    if not isinstance(text, str | bytes):
        raise UncollectedError(f"{place}: {ast.unparse(call)} has no text for an expression")
    return Pattern(text, number, place)


def _value(node: ast.expr, names: Mapping[str, Any]) -> Any:
    return eval(compile(ast.Expression(node), "<source>", "eval"), dict(names))


def of_schemas() -> Iterator[Pattern]:
    """Expressions in the schemas of bodies, queries and the OpenAPI document."""
    for schema in (*_schemas(), openapi.document(), native.document()):
        for text in _in_schema(schema):
            yield Pattern(text, 0, "schema")


def _schemas() -> Iterator[Any]:
    for methods in ROUTES.values():
        for operation in methods.values():
            for table in (operation.body, operation.query):
                if table is not None:
                    for minor in range(table.oldest, NEWEST + 1):
                        yield getattr(table.at(minor), "schema", {})
    for endpoint in native.EVERYTHING:
        yield getattr(endpoint.body, "schema", {})
    yield schemas.TRAIT_NAME.schema
    yield schemas.RESOURCE_CLASS_NAME.schema


def _in_schema(schema: Any) -> Iterator[str]:
    if isinstance(schema, list | tuple):
        for item in schema:
            yield from _in_schema(item)
    elif isinstance(schema, Mapping):
        pattern = schema.get("pattern")
        if isinstance(pattern, str):
            yield pattern
        patterns = schema.get("patternProperties")
        if isinstance(patterns, Mapping):
            yield from patterns
        for value in schema.values():
            yield from _in_schema(value)


def of_package() -> list[Pattern]:
    """All, each once."""
    found = {(pattern.text, pattern.flags): pattern for pattern in (*of_sources(), *of_schemas())}
    return sorted(found.values(), key=str)


def compiled(pattern: Pattern) -> re.Pattern[Any]:
    """As ``re`` has it."""
    return re.compile(pattern.text, pattern.flags)
