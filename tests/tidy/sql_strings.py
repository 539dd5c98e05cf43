"""Finds SQL that is put together from strings: where a value could become part of a statement.

Two rules, on the syntax tree of a source:

1. What takes SQL as text (``text``, ``exec_driver_sql``, ``literal_column``, ``DDL``, ``op.execute``)
   is given literals, or names of constants that are literals, and nothing else.
2. What also takes statements as objects (``execute``, ``executemany``, ``scalar``, …) is not given a
   string that was put together: an f-string, ``%``, ``+``, ``format``, ``join``, ``replace``, or a name
   that holds one.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator, Mapping

from tests.tidy.sources import Found, nodes, tree_of

TEXT_ONLY = frozenset({"text", "exec_driver_sql", "literal_column", "DDL", "executescript"})
STATEMENTS = frozenset({"execute", "executemany", "scalar", "scalars", "stream", "mogrify", "copy", "query"})
PUTTING_TOGETHER = frozenset({"format", "format_map", "join", "replace", "substitute", "safe_substitute"})

Values = Mapping[str, list[ast.expr]]
"""By name, all that is ever assigned to it, in any scope."""


def sql_from_strings(source: str) -> Iterator[Found]:
    """Calls in ``source`` that break one of the rules."""
    tree = tree_of(source)
    values = _assigned(tree)
    for node in nodes(source):
        if not isinstance(node, ast.Call):
            continue
        name = _called(node.func)
        given = _statement(node)
        if given is None:
            continue
        if (name in TEXT_ONLY and not _is_literal(given, values, frozenset())) or (
            name in STATEMENTS and _is_put_together(given, values, frozenset())
        ):
            yield Found(f"{name}({ast.unparse(given)})", node.lineno)


def _called(function: ast.expr) -> str:
    match function:
        case ast.Attribute(attr=name) | ast.Name(id=name):
            return name
        case _:
            return ""


def _statement(call: ast.Call) -> ast.expr | None:
    """The first argument, whatever it is called by."""
    if call.args:
        first = call.args[0]
        return first.value if isinstance(first, ast.Starred) else first
    named = (
        item.value for item in call.keywords if item.arg in {"text", "statement", "sql", "query", "sqltext"}
    )
    return next(named, None)


def _assigned(tree: ast.AST) -> Values:
    found: dict[str, list[ast.expr]] = defaultdict(list)
    for node in ast.walk(tree):
        match node:
            case ast.Assign(targets=targets, value=value):
                for target in targets:
                    _note(found, target, value)
            case (
                ast.AnnAssign(target=target, value=ast.expr() as value)
                | ast.NamedExpr(target=target, value=value)
            ):
                _note(found, target, value)
            case ast.AugAssign(target=ast.Name(id=name) as target, op=op, value=value):
                # What was there, and more: the same as putting both together.
                found[name].append(ast.BinOp(ast.Constant(""), op, value))
            case ast.For(target=target, iter=iterable) | ast.comprehension(target=target, iter=iterable):
                _note(found, target, iterable)
            case _:
                pass
    return found


def _note(found: dict[str, list[ast.expr]], target: ast.expr, value: ast.expr) -> None:
    if isinstance(target, ast.Name):
        found[target.id].append(value)
    elif isinstance(target, ast.Tuple | ast.List) and isinstance(value, ast.Tuple | ast.List):
        for part, given in zip(target.elts, value.elts, strict=False):
            _note(found, part, given)


def _is_literal(node: ast.expr, values: Values, seen: frozenset[str]) -> bool:
    match node:
        case ast.Constant(value=str()):
            return True
        case ast.IfExp(body=body, orelse=other):
            return _is_literal(body, values, seen) and _is_literal(other, values, seen)
        case ast.Dict(values=items) | ast.Tuple(elts=items) | ast.List(elts=items):
            return all(_is_literal(item, values, seen) for item in items)
        case ast.Subscript(value=container):
            return _is_literal(container, values, seen)
        case ast.Name(id=name) if name not in seen and name.isupper():
            known = values.get(name, [])
            return bool(known) and all(_is_literal(value, values, seen | {name}) for value in known)
        case _:
            return False


def _is_put_together(node: ast.expr, values: Values, seen: frozenset[str]) -> bool:
    def built(part: ast.expr) -> bool:
        return _is_put_together(part, values, seen)

    match node:
        case ast.JoinedStr(values=parts):
            return any(isinstance(part, ast.FormattedValue) for part in parts)
        case ast.BinOp(left=left, op=ast.Add() | ast.Mod(), right=right):
            return _is_text(left, values, seen) or _is_text(right, values, seen)
        case ast.Call(func=ast.Attribute(value=owner, attr=name)) if name in PUTTING_TOGETHER:
            return name in {"format", "format_map"} or _is_text(owner, values, seen)
        case ast.Call(func=function) if _called(function) in {"text", "cast", "str"}:
            given = _statement(node)
            return given is not None and built(given)
        case ast.IfExp(body=body, orelse=other):
            return built(body) or built(other)
        case ast.Name(id=name) if name not in seen:
            return any(_is_put_together(value, values, seen | {name}) for value in values.get(name, []))
        case _:
            return False


def _is_text(node: ast.expr, values: Values, seen: frozenset[str]) -> bool:
    """Whether this is surely a string, a fixed one or not."""
    match node:
        case ast.Constant(value=value):
            return isinstance(value, str)
        case ast.JoinedStr():
            return True
        case ast.Name(id=name) if name not in seen:
            return any(_is_text(value, values, seen | {name}) for value in values.get(name, []))
        case _:
            return _is_put_together(node, values, seen)
