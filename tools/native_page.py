"""The page docs/reference/native.md, from the tables of the native API."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from moorage.api.http.validation import Schema
from moorage.api.native import ask
from moorage.api.native.endpoint import REVISION_HEADER, Endpoint
from moorage.api.native.openapi import EVERYTHING, PATH
from moorage.api.native.problems import PROBLEMS

INTRODUCTION: Final = f"""\
# The native API

Paths below `/moorage/v1` say what Placement's wire cannot. They have the same port, tokens, prefix and limits
as the Placement paths, which stay as they are. [Why there is a second API](../explanation/native.md) explains
the choices.

- `GET /moorage` lists the versions and their `features`. It needs no token. Within a version there are only
  additions. Ignore fields of an answer that you do not know.
- There are no microversions: `OpenStack-API-Version` is ignored, and no answer has it.
- Every answer from the account has a header `{REVISION_HEADER.title()}` and a field `revision`: the number of
  the last write that the answer shows.
- A request field or parameter that does not exist is refused with its place and the nearest known names.
- A list ends with `next`. Its value is `after` of the next page, null for the last page.
- `GET {PATH}` is an OpenAPI document, made from the same tables as this page.
"""

PROBLEM_INTRODUCTION: Final = """
## Problems

A refusal has the media type `application/problem+json` (RFC 9457). Its `type` is a path on the service
itself, and `GET` of it shows a page with the texts below. `outcome` says whether anything has changed, and
`retry.when` when the same request may succeed.

```json
{"type": "/moorage/v1/problems/invalid-request", "title": "Invalid request", "status": 400,
 "code": "invalid_request", "detail": "There is no field 'resource' here. Did you mean 'resources'?",
 "pointer": "/ask/groups//resource", "nearest": ["resources", "required"], "request_id": "req-…",
 "outcome": "nothing_changed", "retry": {"when": "never"}}
```

"""

Table = Callable[[Sequence[str], Iterable[Sequence[str]]], str]


def page(table: Table, in_cell: Callable[[str], str]) -> str:
    """The text. ``table`` and ``in_cell`` write Markdown."""
    parts = [INTRODUCTION, "\n## Endpoints\n\n"]
    rows = [
        (f"`{each.name}`", each.summary, "open to all" if each.rule is None else f"`{each.rule}`")
        for each in EVERYTHING
    ]
    parts.append(table(("Request", "What it does", "Policy rule"), rows))
    parts += [_endpoint(each, table, in_cell) for each in EVERYTHING if each.parameters or each.body]
    parts.append(_ask(table))
    parts.append(PROBLEM_INTRODUCTION)
    parts.append(
        table(
            ("Code", "Status", "Meaning", "What to do", "Retry"),
            (
                (
                    f"`{problem.code}`",
                    str(problem.status),
                    in_cell(problem.means),
                    in_cell(problem.remedy),
                    problem.again.value,
                )
                for problem in PROBLEMS
            ),
        )
    )
    return "".join(parts)


def _fields(schema: Schema) -> list[tuple[str, str]]:
    """Rows of the properties of an object, with their descriptions; patterns of Markdown in these stay."""
    return [(f"`{name}`", inner["description"]) for name, inner in schema["properties"].items()]


def _ask(table: Table) -> str:
    groups = ask.SCHEMA["properties"]["groups"]["patternProperties"]
    (group,) = groups.values()
    return (
        "\n## The Ask\n\nOne question for room. It has groups, or a query.\n\n"
        + table(("Field", "Meaning"), _fields(ask.SCHEMA))
        + "\nFields of a group:\n\n"
        + table(("Field", "Meaning"), _fields(group))
        + "\nA group needs `resources`, unless `same_subtree` names it. Classes and traits that do not exist "
        "are refused with the nearest known names.\n"
    )


def _endpoint(endpoint: Endpoint, table: Table, in_cell: Callable[[str], str]) -> str:
    text = f"\n### {endpoint.name}\n\n{endpoint.summary}. {endpoint.about}\n\n"
    if endpoint.parameters:
        rows = [(f"`{each.name}`", in_cell(each.about)) for each in endpoint.parameters]
        text += table(("Parameter", "Meaning"), rows)
    if endpoint.body is not None:
        text += table(("Field", "Meaning"), _fields(endpoint.body.schema))
    for example in endpoint.examples:
        if isinstance(example, str):
            text += f"\n`GET {endpoint.path}{'?' if example else ''}{example}`\n"
        else:
            text += f"\n```json\n{json.dumps(example, indent=2, ensure_ascii=False)}\n```\n"
    return text
