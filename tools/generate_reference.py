"""Write docs/reference/api from the tables that the service itself runs on.

``generate_reference.py`` writes the pages; with ``--check`` it only says which of them are not what
the tables give, and ends with status 1 if there is one.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from http import HTTPStatus
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from moorage.api import policy_sample
from moorage.api.http.render import title
from moorage.api.http.validation import Schema, Validator
from moorage.api.native.endpoint import Endpoint
from moorage.api.native.openapi import EVERYTHING
from moorage.api.placement import openapi, refusals, versions
from moorage.api.placement.answers import CODES, COMPONENTS, COMPONENTS_PATH
from moorage.api.placement.operation import NEVER, Operation, Refusal
from moorage.api.placement.routes import BY_NAME, OPERATIONS, ROUTES
from moorage.api.placement.versions import NEWEST, OLDEST, Since, spelled
from moorage.auth.permissions import TOKEN_ROLES, permission
from moorage.auth.policy import RuleBook, default_policy

FOLDER: Final = Path(__file__).parents[1] / "docs" / "reference" / "api"

NOTE: Final = "<!-- Written by `make reference` from the tables of the source. Do not edit. -->\n\n"

BROUGHT: Final[Mapping[int, str]] = {
    OLDEST: "Resource providers, inventories, usages and allocations.",
    versions.AGGREGATES: "Aggregates of providers.",
    versions.RESOURCE_CLASSES: "Custom resource classes.",
    versions.FILTER_BY_AGGREGATE: "Providers can be listed by aggregate.",
    versions.FILTER_BY_RESOURCES: "Providers can be listed by free amounts.",
    versions.DELETE_INVENTORIES: "All inventories of a provider can be deleted at once.",
    versions.TRAITS: "Traits, and traits of providers.",
    versions.RESOURCE_CLASS_WITHOUT_BODY: "PUT of a resource class creates it (201, or 204 if it exists); "
    "before, it renamed a class to the name in the body.",
    versions.CONSUMER_OWNER: "Allocations say which project and user a consumer belongs to.",
    versions.TOTAL_USAGES: "Usages of a project.",
    versions.CANDIDATES: "Allocation candidates.",
    versions.ALLOCATIONS_LINK: "A provider has a link to its allocations as well.",
    versions.ALLOCATIONS_BY_PROVIDER: "Allocations are an object by provider, no longer a list, in requests "
    "and candidates; GET shows project and user.",
    versions.POST_ALLOCATIONS: "Allocations of several consumers can be set at once, and emptied.",
    versions.NESTED_PROVIDERS: "Providers form trees: parent and root are shown, and can be filters.",
    versions.CACHE_HEADERS: "Answers have `last-modified` and `cache-control: no-cache`.",
    versions.CANDIDATE_LIMIT: "The number of candidates can be limited.",
    versions.CANDIDATE_TRAITS: "Candidates can be filtered by traits, and summaries show traits.",
    versions.FILTER_BY_TRAITS: "Providers can be listed by traits.",
    versions.AGGREGATE_GENERATION: "Aggregates are shown and set with the provider's generation.",
    versions.CREATED_PROVIDER_SHOWN: "POST of a provider answers 200 with the provider; before, 201 without "
    "a body.",
    versions.CANDIDATE_AGGREGATES: "Candidates can be filtered by aggregate.",
    versions.FORBIDDEN_TRAITS: "Traits can be forbidden (`!TRAIT`).",
    versions.ERROR_CODES: "Errors have a `code`.",
    versions.REPEATED_MEMBER_OF: "`member_of` may be repeated; all of them must hold.",
    versions.NUMBERED_GROUPS: "Request groups with numbers as suffixes, and `group_policy`.",
    versions.RESERVE_ALL: "All of an inventory may be reserved.",
    versions.SUMMARY_OF_ALL_CLASSES: "Summaries of candidates have all classes of a provider, not only the "
    "requested ones.",
    versions.CONSUMER_GENERATION: "Consumers have a generation, and PUT of allocations may empty them.",
    versions.NESTED_CANDIDATES: "Candidates may combine providers of a tree; summaries show whole trees.",
    versions.RESHAPER: "Inventories and allocations can be changed at once.",
    versions.CANDIDATE_IN_TREE: "Candidates can be filtered by tree.",
    versions.FORBIDDEN_AGGREGATES: "Aggregates can be forbidden (`!in:…`).",
    versions.NAMED_GROUPS: "Suffixes of request groups may be names.",
    versions.MAPPINGS: "Candidates say which provider serves which group (`mappings`), and allocations may "
    "repeat this.",
    versions.ROOT_REQUIRED: "Traits of the root can be required.",
    versions.SAME_SUBTREE: "Groups can be required to be in one subtree; such groups need no resources.",
    versions.REPARENTING: "A provider can be moved to another parent, or made a root.",
    versions.CONSUMER_TYPES: "Consumers have a type; usages of a project are shown by type.",
    versions.ANY_TRAITS: "`required=in:A,B` requires one of several traits, and `required` may be repeated.",
}
"""The change of each microversion. Source: Placement's REST API version history."""


def pages() -> dict[str, str]:
    """Text by name of file."""
    return {
        "routes.md": NOTE + _routes(),
        "microversions.md": NOTE + _microversions(),
        "errors.md": NOTE + _errors(),
        "schemas.md": NOTE + _schemas(),
        "permissions.md": NOTE + _permissions(),
        "policy-sample.md": NOTE + _policy_sample(),
    }


def stale(folder: Path) -> list[str]:
    """Names of files in ``folder`` that are missing, superfluous, or different from the tables."""
    wanted = pages()
    present = {path.name: path.read_text() for path in folder.glob("*")}
    return sorted(name for name in wanted.keys() | present.keys() if wanted.get(name) != present.get(name))


def write(folder: Path) -> None:
    """Write the pages into ``folder``, and remove all other files."""
    folder.mkdir(parents=True, exist_ok=True)
    wanted = pages()
    for path in folder.glob("*"):
        if path.name not in wanted:
            path.unlink()
    for name, text in wanted.items():
        (folder / name).write_text(text)


# Markdown


def _code(text: object) -> str:
    return f"`{text}`"


def _table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    lines = [list(heads)]
    lines.append(["---"] * len(lines[0]))
    lines += [[cell.replace("|", "\\|") for cell in row] for row in rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _block(schema: object) -> str:
    return f"```json\n{json.dumps(schema, indent=2, ensure_ascii=False)}\n```\n"


# Routes


def _routes() -> str:
    rows = (
        (
            _code(operation.name),
            operation.summary,
            _first(operation),
            ", ".join(map(str, operation.answers)),
            "open to all" if operation.rule is None else _code(operation.rule),
        )
        for operation in OPERATIONS
    )
    return (
        "# Routes\n\n"
        "Every request names its microversion in the header `OpenStack-API-Version: placement 1.N`; without "
        f"it the service uses the oldest one, {spelled(OLDEST)}. “Answers” is the status of success at "
        f"{spelled(NEWEST)}. Refusals are listed under [errors](errors.md), bodies and query strings under "
        "[schemas](schemas.md).\n\n"
        + _table(("Request", "What it does", "Since", "Answers", "Policy rule"), rows)
        + f"\nIn addition there is `GET {openapi.PATH}`: an OpenAPI {openapi.SPECIFICATION} document of all "
        "of them at the newest microversion, made from the same tables. It needs no token.\n"
    )


def _first(operation: Operation) -> str:
    since = spelled(operation.since)
    return since if operation.since == OLDEST else f"{since} ({operation.status_before} before)"


# Microversions


def steps(table: Since[Any]) -> Iterator[tuple[int, Any]]:
    """(Minor, value) wherever a table by version changes."""
    before: object = None
    for minor in range(table.oldest, NEWEST + 1):
        value = table.at(minor)
        if minor == table.oldest or value is not before:
            yield minor, value
        before = value


def properties(schema: Schema, prefix: str = "") -> Iterator[str]:
    """The properties of a schema, as paths: ``allocations.*.resources``; ``[]`` for the items of a list."""
    named = schema.get("properties", {}).items()
    patterns = schema.get("patternProperties", {})
    free = schema.get("additionalProperties")
    for name, inner in (*named, *((_pattern_name(pattern), inner) for pattern, inner in patterns.items())):
        yield prefix + name
        yield from properties(inner, f"{prefix}{name}.")
    if isinstance(free, dict):
        yield from properties(free, f"{prefix}*.")
    if schema.get("type") == "array":
        yield f"{prefix}[]"
        yield from properties(schema["items"], f"{prefix}[].")


def _pattern_name(pattern: str) -> str:
    """``*`` for names that are free, the pattern for those of query strings."""
    return (
        pattern.strip("^$") if pattern.startswith(("^resources", "^required", "^member", "^in_tree")) else "*"
    )


def _changes(what: str, table: Since[Any]) -> Iterator[tuple[int, str]]:
    """(Minor, line) wherever a body or a query string changes after its first version."""
    found = list(steps(table))
    for (_, before), (minor, after) in pairwise(found):
        old, new = _known(before), _known(after)
        lost, gained = [name for name in old if name not in new], [name for name in new if name not in old]
        parts = [f"with {', '.join(map(_code, gained))}"] if gained else []
        parts += [f"without {', '.join(map(_code, lost))}"] if lost else []
        yield minor, f"{what}: {'; '.join(parts) or 'other limits'}"


def _known(validator: Validator | None) -> list[str]:
    return [] if validator is None else list(dict.fromkeys(properties(validator.schema)))


def _microversions() -> str:
    changes: dict[int, list[str]] = {}
    for operation in OPERATIONS:
        if operation.since > OLDEST:
            changes.setdefault(operation.since, []).append(f"new: {_code(operation.name)}")
        for kind, table in (("body", operation.body), ("query", operation.query)):
            for minor, line in () if table is None else _changes(f"{kind} of {_code(operation.name)}", table):
                changes.setdefault(minor, []).append(line)
    text = "# Microversions\n\nWhat each version brought, and which requests it changed.\n"
    for minor in range(OLDEST, NEWEST + 1):
        text += f"\n## {spelled(minor)}\n\n{BROUGHT[minor]}\n"
        if minor in changes:
            text += "\n" + "".join(f"- {line}\n" for line in changes[minor])
    return text


# Errors


_FORM: Final = (
    "414 or 431: the URL or the headers are too long.",
    "401: the token is missing or not valid.",
    "400 or 406: the microversion is malformed or not supported, or headers contradict each other.",
    "404 or 405: the path or the method does not exist at this microversion.",
    "406: the client does not accept JSON.",
    "415: the content type of the body is not JSON.",
    "403: the policy does not allow the request.",
    "413 or 408: the body is too long, or does not arrive in time.",
    "400: the body or the query string names too many things, or does not match its [schema](schemas.md).",
)
"""Checks of a request's form, in their order."""


def _errors() -> str:
    text = (
        "# Errors\n\n"
        'An error is `{"errors": [{"status", "title", "detail", "code", "request_id"}]}`; `code` is there '
        f"from {spelled(versions.ERROR_CODES)} on. `detail` ends with the message below; names in braces "
        "stand for facts of the request.\n\n"
        "## Codes\n\n"
        + _table(("Code", "Meaning"), ((_code(code), meaning) for code, meaning in CODES.items()))
        + "\n## Any request\n\n"
        "The service checks the form of every request in this order, and refuses it at the first fault:\n\n"
        + "".join(f"{number}. {step}\n" for number, step in enumerate(_FORM, start=1))
        + "\nIf the service cannot answer:\n\n"
    )
    away = [refusal for refusal in refusals.of_model(BY_NAME["GET /usages"]) if refusal.status >= 500]
    text += _table(_HEADS, map(_row, away))
    for operation in OPERATIONS:
        listed = [
            *refusals.of_grammar(operation),
            *(refusal for refusal in refusals.of_model(operation) if refusal not in away),
        ]
        if listed:
            listed.sort(key=lambda refusal: refusal.status)
            text += f"\n## {operation.name}\n\n" + _table(_HEADS, map(_row, listed))
    return text


_HEADS: Final = ("Status", "Code", "Message", "Reason")


def _row(refusal: Refusal) -> tuple[str, str, str, str]:
    reason = _code(refusal.reason) if refusal.reason else "the request itself"
    if refusal.before != NEVER:
        reason += f", before {spelled(refusal.before)} only"
    message = " ".join(refusal.message.split())
    status = HTTPStatus(refusal.status)
    return f"{status.value} {title(status)}", _code(refusal.code), _code(message.replace("`", "'")), reason


# Schemas

_METHODS: Final = ("GET", "POST", "PUT", "DELETE")
_PATHS: Final = tuple(ROUTES)
_RESOURCES: Final = [path.split("/")[1] for path in _PATHS]


def _by_resource(operation: Operation) -> tuple[int, int, int]:
    """The place of an operation where those of one resource stand together."""
    path, method = operation.path, operation.method
    return _RESOURCES.index(path.split("/")[1]), _PATHS.index(path), _METHODS.index(method)


def _schemas() -> str:
    text = (
        "# Schemas\n\n"
        "JSON Schema (2020-12) of bodies and query strings, from the first version that has them on; each "
        "is valid until the next. UUIDs in bodies may lack their dashes. Objects have only the properties "
        "that are listed.\n"
    )
    for operation in OPERATIONS:
        for kind, table in (("body", operation.body), ("query string", operation.query)):
            if table is not None:
                text += f"\n## {operation.name}: {kind}\n"
                text += "".join(_step(minor, validator) for minor, validator in steps(table))
    text += f"\n## Answers at {spelled(NEWEST)}\n\n"
    text += _table(
        ("Request", "Status", "Body"),
        (
            (_code(operation.name), str(status), "none" if schema is None else _link(schema))
            for operation in sorted(OPERATIONS, key=_by_resource)
            for status, schema in operation.answers.items()
        ),
    )
    for name, schema in COMPONENTS.items():
        text += f"\n### {name}\n\n{_block(schema)}"
    return text


def _step(minor: int, validator: Validator | None) -> str:
    shown = "No body from this version on.\n" if validator is None else _block(validator.schema)
    return f"\nFrom {spelled(minor)}:\n\n{shown}"


def _link(schema: Schema) -> str:
    name = schema["$ref"].removeprefix(COMPONENTS_PATH)
    return f"[{name}](#{name.lower()})"


# Permissions


def _permissions() -> str:
    text = (
        "# Permissions\n\n"
        "Which requests are allowed by default, by the role of a token. As Keystone issues them, a token for "
        "`member` also has the role `reader`, and one for `admin` also has `member` and `reader`. “Own "
        "project” means that `project_id` of the query or the body must be the token's project. Where a "
        "request names no project, it means that the token is confined to its project: what belongs to other "
        "projects is not there for it. The answer to a request without a valid token is 401, and the answer "
        f"to one that is refused here is 403. `GET /` and `GET {openapi.PATH}` need no token.\n\n"
        "[Policy rules](../policy.md) describes overrides; `moorage policy list --role ROLE` shows "
        "the same as these tables for your configuration.\n"
    )
    for setting, told, policy in (
        ("enforce_new_defaults = true", "These are the defaults.", default_policy()),
        (
            "enforce_new_defaults = false",
            "The role `admin` may do all, as before the role `service` existed.",
            default_policy(enforce_new_defaults=False),
        ),
        (
            "self_service = true",
            "The defaults where [projects help themselves](../../how-to/let-projects-help-themselves.md).",
            default_policy(self_service=True),
        ),
    ):
        book = policy.book()
        text += f"\n## {setting}\n\n{told}\n\n"
        text += _table(
            ("Request", *(f"project: {role}" for role in TOKEN_ROLES), "system: any role"),
            (
                (_code(operation.name), *_permissions_of(book, operation.rule))
                for operation in _guarded()
                if operation.rule is not None
            ),
        )
    return text


def _guarded() -> tuple[Operation | Endpoint, ...]:
    return (*OPERATIONS, *EVERYTHING)


def _permissions_of(book: RuleBook, rule: str) -> list[str]:
    of_project = [permission(book, rule, roles) for roles in TOKEN_ROLES.values()]
    of_system = {permission(book, rule, roles, of_system=True) for roles in TOKEN_ROLES.values()}
    # No rule distinguishes roles of the system, so one column is for all of them.
    (same,) = of_system
    return [found.value for found in (*of_project, same)]


def _policy_sample() -> str:
    return (
        "# Sample of policy.yaml\n\n"
        "All default rules; `moorage policy sample` prints this text. [Policy rules](../policy.md) describes "
        f"the language.\n\n```text\n{policy_sample.sample()}```\n"
    )


def main(arguments: list[str], folder: Path = FOLDER) -> int:
    """The exit status."""
    if arguments == ["--check"]:
        found = stale(folder)
        for name in found:
            print(
                f"{folder / name} is not what the tables give; run `make reference`",
                file=sys.stderr,
            )
        return 1 if found else 0
    write(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
