"""What a request for room asks for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Union


@dataclass(frozen=True)
class AnyOf:
    """One of several traits, or of several aggregates."""

    names: tuple[str, ...]

    def __init__(self, *names: str) -> None:
        object.__setattr__(self, "names", names)


Choice = Union[str, AnyOf]


@dataclass(frozen=True)
class Group:
    """One group of a request. All parts must hold."""

    resources: Mapping[str, int] = field(default_factory=dict)
    required: Sequence[Choice] = ()
    forbidden: Sequence[str] = ()
    member_of: Sequence[Choice] = ()
    not_member_of: Sequence[str] = ()
    in_tree: str | None = None

    def to_json(self) -> dict[str, Any]:
        """The group as the API reads it."""
        parts: dict[str, Any] = {
            "resources": dict(self.resources),
            "required": [_choice(each) for each in self.required],
            "forbidden": list(self.forbidden),
            "member_of": [_choice(each) for each in self.member_of],
            "not_member_of": list(self.not_member_of),
            "in_tree": self.in_tree,
        }
        return {name: part for name, part in parts.items() if part}


@dataclass(frozen=True)
class Ask:
    """A request for room. The group "" may be served by several providers of a tree, each other one by one.

    ``Ask.of({"VCPU": 4})`` is short for one with a single group "".
    """

    groups: Mapping[str, Group]
    group_policy: str = "none"
    root_required: Sequence[str] = ()
    root_forbidden: Sequence[str] = ()
    same_subtree: Sequence[Sequence[str]] = ()

    @classmethod
    def of(cls, resources: Mapping[str, int], **parts: Any) -> Ask:
        """An Ask with one group "", whose other ``parts`` are those of ``Group``."""
        return cls({"": Group(resources, **parts)})

    def to_json(self) -> dict[str, Any]:
        """The Ask as the API reads it."""
        others: dict[str, Any] = {
            "group_policy": "" if self.group_policy == "none" else self.group_policy,
            "root_required": list(self.root_required),
            "root_forbidden": list(self.root_forbidden),
            "same_subtree": [list(each) for each in self.same_subtree],
        }
        return {
            "groups": {suffix: group.to_json() for suffix, group in self.groups.items()},
            **{name: part for name, part in others.items() if part},
        }


Question = Union[Ask, str, Mapping[str, Any]]
"""An Ask; a query of Placement, a whole URL or a line of a log with one; or the JSON of an Ask."""


def as_json(question: Question) -> Mapping[str, Any]:
    """The Ask as the API reads it."""
    if isinstance(question, str):
        return {"query": question}
    return question.to_json() if isinstance(question, Ask) else question


def _choice(choice: Choice) -> str | dict[str, Any]:
    return choice if isinstance(choice, str) else {"any": list(choice.names)}
