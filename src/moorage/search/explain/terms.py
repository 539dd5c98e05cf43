"""A request as a list of terms, and the request that some of its terms make."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import field, replace

from moorage.model.explanations import (
    FORBIDDEN,
    IN_TREE,
    ISOLATED_RULE,
    LONE_RULE,
    MEMBER_OF,
    NOT_MEMBER_OF,
    REQUIRED,
    ROOM,
    ROOT_FORBIDDEN,
    ROOT_REQUIRED,
    SUBTREE_RULE,
    SUM_RULE,
    TOGETHER,
    AskTerm,
)
from moorage.model.requests import ISOLATE, CandidateRequest, RequestGroup
from moorage.model.valueclass import valueclass

UNSUFFIXED = ""


@valueclass(frozen=True, slots=True)
class Wanted:
    """A request; the amounts of the classes ``apart`` need not fit together on one provider.

    ``terms`` is the number of terms that it was made of.
    """

    request: CandidateRequest
    apart: frozenset[str] = frozenset()
    terms: int = 0


@valueclass(frozen=True, slots=True)
class Terms:
    """All terms of a request."""

    request: CandidateRequest
    all: tuple[AskTerm, ...]
    sums: frozenset[str] = field(default=frozenset())

    @staticmethod
    def of(request: CandidateRequest) -> Terms:
        """The terms of ``request``, group by group, then those of roots and of several groups."""
        found = tuple([replace(term, id=f"c{number}") for number, term in enumerate(_terms_of(request), 1)])
        sums = frozenset([term.resource_class for term in found if term.rule == SUM_RULE])
        return Terms(request, found, sums)

    @property
    def common(self) -> list[AskTerm]:
        """What the providers of the unsuffixed group must meet together, besides room."""
        return [term for term in self.all if term.group == UNSUFFIXED and term.kind not in {ROOM, TOGETHER}]

    def summed(self, name: str) -> int:
        """Sum of all amounts of a class."""
        return sum([term.amount for term in self.all if term.kind == ROOM and term.resource_class == name])

    def asking(self) -> Counter[str]:
        """How many groups ask for each class."""
        return Counter([term.resource_class for term in self.all if term.kind == ROOM])

    def but(self, *left_out: AskTerm) -> list[AskTerm]:
        """All terms but some."""
        ids = {term.id for term in left_out}
        return [term for term in self.all if term.id not in ids]

    def wanted(self, terms: Sequence[AskTerm]) -> Wanted:
        """What ``terms`` ask for together; their amounts may differ from those of the request.

        A group stays as long as a term of it or a rule names it.
        """
        kept = {term.resource_class for term in terms if term.rule == SUM_RULE}
        rules = [term for term in terms if term.kind == TOGETHER and term.rule != SUM_RULE]
        bound = {suffix for rule in rules for suffix in rule.groups}
        by_group: defaultdict[str | None, list[AskTerm]] = defaultdict(list)
        for term in terms:
            if term.kind != TOGETHER:
                by_group[term.group].append(term)
        groups = [
            _group_of(asked.suffix, by_group[asked.suffix])
            for asked in self.request.groups
            if asked.suffix in by_group or asked.suffix in bound
        ]
        return Wanted(
            CandidateRequest(
                tuple(groups),
                group_policy=ISOLATE if any(rule.rule == ISOLATED_RULE for rule in rules) else None,
                root_required=frozenset().union(
                    *[term.traits for term in terms if term.kind == ROOT_REQUIRED]
                ),
                root_forbidden=frozenset().union(
                    *[term.traits for term in terms if term.kind == ROOT_FORBIDDEN]
                ),
                same_subtree=tuple([frozenset(rule.groups) for rule in rules if rule.rule == SUBTREE_RULE]),
                one_provider_per_tree=any(rule.rule == LONE_RULE for rule in rules),
            ),
            self.sums - kept,
            len(terms),
        )


def _group_of(suffix: str, terms: Sequence[AskTerm]) -> RequestGroup:
    def of(kind: str) -> list[AskTerm]:
        return [term for term in terms if term.kind == kind]

    return RequestGroup(
        suffix,
        {term.resource_class: term.amount for term in of(ROOM)},
        required=tuple([term.traits for term in of(REQUIRED)]),
        forbidden=frozenset().union(*[term.traits for term in of(FORBIDDEN)]),
        member_of=tuple([term.aggregates for term in of(MEMBER_OF)]),
        forbidden_aggregates=frozenset().union(*[term.aggregates for term in of(NOT_MEMBER_OF)]),
        in_tree=next((term.in_tree for term in of(IN_TREE)), None),
    )


def _terms_of(request: CandidateRequest) -> Iterator[AskTerm]:
    for group in request.groups:
        yield from _of_group(group)
    for name in sorted(request.root_required):
        yield AskTerm("", ROOT_REQUIRED, traits=frozenset([name]))
    for name in sorted(request.root_forbidden):
        yield AskTerm("", ROOT_FORBIDDEN, traits=frozenset([name]))
    yield from _rules_of(request)


def _of_group(group: RequestGroup) -> Iterator[AskTerm]:
    suffix = group.suffix
    for name, amount in group.resources.items():
        yield AskTerm("", ROOM, suffix, resource_class=name, amount=amount)
    for names in dict.fromkeys(group.required):
        yield AskTerm("", REQUIRED, suffix, traits=names)
    for name in sorted(group.forbidden):
        yield AskTerm("", FORBIDDEN, suffix, traits=frozenset([name]))
    for names in dict.fromkeys(group.member_of):
        yield AskTerm("", MEMBER_OF, suffix, aggregates=names)
    for name in sorted(group.forbidden_aggregates):
        yield AskTerm("", NOT_MEMBER_OF, suffix, aggregates=frozenset([name]))
    if group.in_tree is not None:
        yield AskTerm("", IN_TREE, suffix, in_tree=group.in_tree)


def _rules_of(request: CandidateRequest) -> Iterator[AskTerm]:
    suffixes = tuple([group.suffix for group in request.groups if group.suffix != UNSUFFIXED])
    isolated = request.group_policy == ISOLATE and len(suffixes) > 1
    if isolated:
        yield AskTerm("", TOGETHER, rule=ISOLATED_RULE, groups=suffixes)
    for subtree in dict.fromkeys(request.same_subtree):
        if len(subtree) > 1:
            yield AskTerm("", TOGETHER, rule=SUBTREE_RULE, groups=tuple(sorted(subtree)))
    asking: dict[str, list[str]] = {}
    for group in request.groups:
        for name in group.resources:
            asking.setdefault(name, []).append(group.suffix)
    for name, groups in asking.items():
        if len(groups) > 1 and (UNSUFFIXED in groups or not isolated):
            total = sum([group.resources.get(name, 0) for group in request.groups])
            yield AskTerm(
                "", TOGETHER, rule=SUM_RULE, resource_class=name, amount=total, groups=tuple(groups)
            )
    if request.one_provider_per_tree:
        yield AskTerm("", TOGETHER, rule=LONE_RULE, groups=())
