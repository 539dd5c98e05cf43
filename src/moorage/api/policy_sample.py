"""A sample policy.yaml: every default rule, commented out, with a description."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from moorage.api.native.openapi import EVERYTHING
from moorage.api.placement.routes import OPERATIONS
from moorage.auth import rules

_HEAD: Final = """\
# Policy overrides. To override a rule, remove the "#" in front of it and change its expression.
#
# The language is oslo.policy's: "role:NAME", "rule:NAME", "and", "or", "not", "@" (always),
# "!" (never). Rules that are not overridden keep their defaults. A change takes effect at once.
"""


def operations_by_rule() -> dict[str, list[tuple[str, str]]]:
    """The operations that a rule guards, each as (method, path)."""
    found: dict[str, list[tuple[str, str]]] = {}
    asked = [(each.rule, each.method, each.path) for each in (*OPERATIONS, *EVERYTHING)]
    asked += [(rule, each.method, each.path) for each in EVERYTHING for rule in each.asks_also]
    for rule, method, path in asked:
        if rule is not None:
            found.setdefault(rule, []).append((method, path))
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
    for name, description in rules.ALL_DESCRIPTIONS.items():
        asked = [f"{method} {path}" for method, path in operations[name]]
        check = rules.default_check(name)
        also = rules.default_check(name, self_service=True)
        if also != check:
            asked.append(f'With self_service = true the default is "{also}".')
        yield _section([description, *asked], name, check)


def _section(comments: list[str], name: str, check: str) -> str:
    told = "".join(f"# {line}\n" for line in comments)
    return f'{told}#"{name}": "{check}"\n'
