"""What is asked of a tree's providers together where no resources are asked for."""

from __future__ import annotations

from collections.abc import Mapping

from moorage.model.requests import RequestGroup
from moorage.search.index.block import Block
from moorage.search.index.columns import Mask
from moorage.search.match.filters import HasAny, InAll, InTree, Note, every_entry
from moorage.search.match.plan import Group, Look, UnsuffixedGroup, group_of, with_reached
from moorage.search.match.variables import UNSUFFIXED, Sharing, Variable


class BareGroup(UnsuffixedGroup):
    """An unsuffixed group without resources: what is asked of a tree's providers together.

    Some providers of the tree, or that share with it, must together have what is required, and each of them
    meets all other conditions.
    """

    def __init__(self, asked: RequestGroup, trees: Mapping[str, InTree]) -> None:
        super().__init__(asked, trees)
        self._asked_traits = [HasAny(names) for names in asked.required]
        self._tree = None if asked.in_tree is None else trees[asked.in_tree]
        self._members = InAll(asked.member_of) if asked.member_of else None
        self.variables = [Variable(asked.suffix, ()) for _ in self._asked_traits] or [
            Variable(asked.suffix, ())
        ]

    def may_be_served(self, block: Block) -> bool:
        if any(variable.shared for variable in self.variables):
            return True
        needed = [*self._asked_traits, self._tree, self._members]
        return all(step is None or step.may_hold(block) for step in needed)

    def look(self, block: Block, note: Note | None = None) -> Look:
        trees, allowed = self.allowed(block, note)
        own = self._having(block)
        if allowed is not None:
            own = [mask & allowed for mask in own]
        needed = [
            with_reached(block, mask, variable.shared)
            for variable, mask in zip(self.variables, own, strict=True)
        ]
        found = block.trees.with_each(needed)
        return Look(found if trees is None else found & trees, own, [])

    def learn_sharing(self, sharing: Sharing) -> None:
        if self._tree is not None:
            return
        members = self.sharing_members(sharing)
        having = [self._having(block) for _, block in sharing.blocks]
        for number, variable in enumerate(self.variables):
            found = [mask & masks[number] for mask, masks in zip(members, having, strict=True)]
            variable.shared = sharing.among(found)

    def _having(self, block: Block) -> list[Mask]:
        """For each variable the entries that have what is required of it."""
        return [step.mask(block) for step in self._asked_traits] or [every_entry(block)]


def prepared(asked: RequestGroup, trees: Mapping[str, InTree]) -> Group:
    """As ``group_of``, but an unsuffixed group without resources asks for something."""
    bare = asked.suffix == UNSUFFIXED and not asked.resources
    return BareGroup(asked, trees) if bare else group_of(asked, trees)
