"""Terms as filters over the columns of a block."""

from __future__ import annotations

from collections.abc import Mapping

from moorage.model.explanations import IN_TREE, MEMBER_OF, NOT_MEMBER_OF, REQUIRED, ROOT_REQUIRED, AskTerm
from moorage.search.explain.terms import Terms
from moorage.search.index.index import Snapshot
from moorage.search.match.filters import Filter, HasAny, HasNone, InAll, InNone, InTree


def named_trees(snapshot: Snapshot, terms: Terms) -> dict[str, InTree]:
    """Filters for the trees that terms name."""
    return {term.in_tree: InTree.of(snapshot, term.in_tree) for term in terms.all if term.in_tree}


def filter_of(term: AskTerm, trees: Mapping[str, InTree]) -> Filter:
    """The condition of a term on traits, aggregates or trees."""
    if term.kind in {REQUIRED, ROOT_REQUIRED}:
        return HasAny(term.traits)
    if term.kind == MEMBER_OF:
        return InAll((term.aggregates,))
    if term.kind == NOT_MEMBER_OF:
        return InNone(term.aggregates)
    if term.kind == IN_TREE:
        return trees[term.in_tree]
    return HasNone(term.traits)
