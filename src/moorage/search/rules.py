"""The constraints that a request needs within a tree."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from moorage.model.requests import ISOLATE
from moorage.model.valueclass import valueclass
from moorage.search.constraints import (
    Constraint,
    Cover,
    Isolation,
    OneProviderPerTree,
    RoomForAll,
    SameSubtree,
    Situation,
    contested_classes,
)
from moorage.search.groups import UNSUFFIXED
from moorage.search.plan import Plan
from moorage.search.scene import Need


@valueclass(frozen=True, slots=True)
class Rules:
    """Constraints, each made anew for every tree: none that cannot object.

    ``bind_one`` says whether they can object where a single provider serves everything,
    ``isolation_only`` that there is no other than ``Isolation``. ``need`` is what they look at.
    """

    makers: tuple[Callable[[Situation], Constraint], ...]
    bind_one: bool
    isolation_only: bool
    need: Need

    @staticmethod
    def of(plan: Plan) -> Rules:
        """Constraints of the request of ``plan``."""
        request = plan.request
        makers: list[Callable[[Situation], Constraint]] = []
        suffixes = [variable.suffix for variable in plan.variables if variable.suffix != UNSUFFIXED]
        isolated = request.group_policy == ISOLATE and len(suffixes) > 1
        contested = contested_classes(plan.variables, isolated=isolated)
        if plan.cover:
            makers.append(partial(Cover, sets=len(plan.cover)))
        if contested:
            makers.append(partial(RoomForAll, contested=contested))
        if isolated:
            makers.append(Isolation)
        makers.extend(partial(SameSubtree, suffixes=subtree) for subtree in request.same_subtree)
        if request.one_provider_per_tree:
            makers.append(OneProviderPerTree)
        return Rules(
            tuple(makers),
            bind_one=bool(contested) or isolated,
            isolation_only=isolated and len(makers) == 1,
            need=Need(contested, family=bool(request.same_subtree)),
        )
