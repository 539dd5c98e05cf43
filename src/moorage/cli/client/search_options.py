"""The options that say what a search wants, as all commands that search take them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import click

from moorage.cli.client import lookup, syntax
from moorage.cli.client.call import complete_provider
from moorage.cli.client.connection import ServiceConnection
from moorage.model.valueclass import valueclass


@valueclass(frozen=True, slots=True)
class SearchQuery:
    """Parameters of GET /allocation_candidates, and the classes and traits that they name."""

    parameters: Mapping[str, str | list[str] | None]
    classes: frozenset[str]
    traits: frozenset[str]


@valueclass(frozen=True, slots=True)
class SearchWishes:
    """The options as the command line has them."""

    resources: str | None
    required: tuple[str, ...]
    member_of: tuple[str, ...]
    in_tree: str | None
    groups: tuple[str, ...]
    group_policy: str
    same_subtree: tuple[str, ...]
    root_required: str | None

    @property
    def is_empty(self) -> bool:
        """Whether no option was given that says what is wanted."""
        return not (self.resources or self.groups)

    def query(self, service: ServiceConnection) -> SearchQuery:
        """The query; names of providers are looked up. Raises BadParameter, UsageError."""
        unnamed = syntax.GroupConditions(
            resources=syntax.amounts(self.resources) if self.resources else {},
            member_of=[syntax.member_of(text) for text in self.member_of],
            in_tree=self.in_tree,
        )
        for text in self.required:
            unnamed.add_traits(text)
        named = syntax.groups(self.groups)
        every_group = (unnamed, *named.values())
        if not any(group.resources for group in every_group):
            raise click.UsageError("Name amounts: --resources, or --group with CLASS=AMOUNT.")
        parameters = _parameters(service, unnamed, named) | {
            "group_policy": self.group_policy if len(named) > 1 else None,
            "same_subtree": [_suffixes(text, named) for text in self.same_subtree] or None,
            "root_required": self.root_required,
        }
        traits = {name for group in every_group for name in group.traits}
        traits |= {name.strip().lstrip("!") for name in (self.root_required or "").split(",") if name.strip()}
        classes = frozenset(name for group in every_group for name in group.resources)
        return SearchQuery(parameters, classes, frozenset(traits))


def _parameters(
    service: ServiceConnection, unnamed: syntax.GroupConditions, named: dict[str, syntax.GroupConditions]
) -> dict[str, str | list[str] | None]:
    parameters: dict[str, str | list[str] | None] = {}
    for suffix, group in (("", unnamed), *((f"_{name}", each) for name, each in named.items())):
        if group.in_tree:
            group.in_tree = lookup.provider_uuid(service, group.in_tree)
        parameters |= group.query(suffix)
    return parameters


def _suffixes(text: str, named: Iterable[str]) -> str:
    """Names of groups as the API writes them. Raises BadParameter for an unknown group."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in named:
            raise click.BadParameter(f"--same-subtree names {name}, but there is no --group {name}:...")
    return ",".join(f"_{name}" for name in names)


_OPTIONS: Final = (
    click.option("--resources", metavar="CLASS=AMOUNT,...", help="Amounts from any providers of one tree."),
    click.option(
        "--required",
        multiple=True,
        metavar="TRAIT,...",
        help="Traits that the providers of --resources must have together; !TRAIT: none may have it; "
        "A|B: one of these.",
    ),
    click.option(
        "--member-of",
        multiple=True,
        metavar="AGGREGATE",
        help="Aggregate of their providers; A|B: any of these; !A: not in it.",
    ),
    click.option(
        "--in-tree", metavar="PROVIDER", shell_complete=complete_provider, help="Only the tree of PROVIDER."
    ),
    click.option(
        "--group",
        "groups",
        multiple=True,
        metavar="NAME:ITEM,...",
        help="What a single provider must give, as in gpu:PGPU=1,CUSTOM_GPU_A100. Items are CLASS=AMOUNT, "
        "TRAIT, !TRAIT, A|B, member_of=AGGREGATE and in_tree=PROVIDER. Repeatable.",
    ),
    click.option(
        "--group-policy",
        type=click.Choice(["none", "isolate"]),
        default="none",
        show_default=True,
        help="Whether one provider may serve several groups (none), or each group needs its own (isolate).",
    ),
    click.option(
        "--same-subtree",
        multiple=True,
        metavar="NAME,...",
        help="Groups whose providers must be in one subtree, as in numa,gpu.",
    ),
    click.option(
        "--root-required", metavar="TRAIT,...", help="Traits that the root must have; !TRAIT: must not."
    ),
)

_NAMES: Final = tuple(SearchWishes.__annotations__)


def search_options(function: Callable[..., None]) -> Callable[..., None]:
    """The options around ``function``, which gets them as ``wishes``."""

    @functools.wraps(function)
    def wrapped(*arguments: Any, **options: Any) -> None:
        wishes = SearchWishes(**{name: options.pop(name) for name in _NAMES})
        function(*arguments, wishes=wishes, **options)

    for option in reversed(_OPTIONS):
        wrapped = option(wrapped)
    return wrapped
