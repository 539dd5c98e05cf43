"""A policy.yaml with every rule as it is by default, commented out, and what it is for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from moorage.api.routes import ROUTES
from moorage.auth import rules

_HEAD: Final = """\
# Policy overrides. Take away the "#" in front of a rule, and write what it shall demand.
#
# The language is oslo.policy's: "role:NAME", "rule:NAME", "and", "or", "not", "@" (everybody),
# "!" (nobody). What is not overridden stays as it is by default. A change counts at once.
"""


def operations_by_rule() -> dict[str, list[tuple[str, str]]]:
    """The operations that ask a rule, each as (method, path)."""
    found: dict[str, list[tuple[str, str]]] = {}
    for path, methods in ROUTES.items():
        for method, operation in methods.items():
            if operation.rule is not None:
                found.setdefault(operation.rule, []).append((method, path))
    return found


def sample() -> str:
    """The text of the file."""
    return "\n".join([_HEAD, *_sections()])


def _sections() -> Iterator[str]:
    for base in rules.BASE_RULES:
        lines = [base.description]
        if base.replaces_admin:
            lines.append('With enforce_new_defaults = false "role:admin" suffices, too.')
        yield _section(lines, base.name, base.check)
    operations = operations_by_rule()
    for name, description in rules.DESCRIPTIONS.items():
        asked = [f"{method} {path}" for method, path in operations[name]]
        yield _section([description, *asked], name, rules.default_check(name))


def _section(comments: list[str], name: str, check: str) -> str:
    told = "".join(f"# {line}\n" for line in comments)
    return f'{told}#"{name}": "{check}"\n'
