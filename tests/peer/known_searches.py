"""Faults of the reference's search for candidates, taken out of its answers one by one.

An answer of the reference that lacks or has more than Moorage's is corrected by what is known of
its faults; what then is left to differ, nobody has explained.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlencode

from tests.peer import compare
from tests.peer.exchange import Answer, Request
from tests.peer.world import NEWEST_MINOR, request

Ask = Callable[[Request], Answer]
Pairs = list[tuple[str, str]]
Candidates = list[dict[str, Any]]


@dataclass(frozen=True)
class Search:
    """A search that both answered. ``ask`` asks the reference something else."""

    request: Request
    ours: Any
    theirs: Any
    ask: Ask

    @property
    def pairs(self) -> Pairs:
        """Parameters of the query string."""
        return self.request.pairs

    def values(self, kind: str) -> dict[str, list[str]]:
        """All values of ``kind`` by suffix."""
        found: dict[str, list[str]] = {}
        for name, value in self.pairs:
            if name.startswith(kind):
                found.setdefault(name.removeprefix(kind), []).append(value)
        return found

    @property
    def without_resources(self) -> set[str]:
        """Suffixes of groups that only place a constraint."""
        kinds = ("required", "member_of", "in_tree")
        return {suffix for kind in kinds for suffix in self.values(kind)} - self.values("resources").keys()

    def root_of(self, provider: str) -> str | None:
        """Root of a provider's tree, None if there is no such provider.

        Summaries do not have it if the tree only places constraints on what is shared with it.
        """
        asked = request("GET", f"/resource_providers/{provider}", NEWEST_MINOR)
        root: str | None = self.ask(asked).json.get("root_provider_uuid")
        return root

    def asked_with(self, pairs: Pairs) -> Any:
        """What the reference says to another query string."""
        return compare.plain(self.ask(replace(self.request, query=urlencode(pairs))).spelled)


NAMES = ("D1", "D6", "D7", "D17")
"""What ``explain`` can name."""


def explain(asked: Request, ours: Answer, theirs: Answer, ask: Ask) -> list[str]:
    """Names of the faults by which the candidates differ, empty if something else is left."""
    search = Search(asked, compare.plain(ours.spelled), compare.plain(theirs.spelled), ask)
    wanted = search.ours["allocation_requests"]
    shown = search.ours["provider_summaries"], search.theirs["provider_summaries"]
    if any(shown[0][provider] != shown[1][provider] for provider in shown[0].keys() & shown[1].keys()):
        return []
    names = []
    body = search.theirs
    if _has_class_twice(search):
        right = _without_group_policy(search)
        if right is not None:
            names.append("D1")
            body = right
    if _finds_nothing(search):
        return ["D7"] if _are_among_looser_ones(search) else []
    left = _held_to_trees(search, body)
    if left != body["allocation_requests"]:
        names.append("D6")
    if wanted == left:
        return names
    if _lost_to_sharing(search, left):
        return [*names, "D17"]
    return []


def _has_class_twice(search: Search) -> bool:
    """D1: a class in several groups without ``group_policy=none``."""
    classes = [
        item.partition(":")[0].strip()
        for values in search.values("resources").values()
        for item in values[-1].split(",")
    ]
    return len(classes) > len(set(classes)) and ("group_policy", "none") not in search.pairs


def _without_group_policy(search: Search) -> Any:
    """The answer to ``none``, whose amounts are right, less what ``isolate`` forbids.

    None if the version does not say who serves which group: then it cannot be told.
    """
    policy = [value for name, value in search.pairs if name == "group_policy"][:1]
    pairs = [pair for pair in search.pairs if pair[0] != "group_policy"]
    body = search.asked_with([*pairs, ("group_policy", "none")])
    if policy != ["isolate"]:
        return body
    if any("mappings" not in candidate for candidate in body["allocation_requests"]):
        # What is isolated is among what need not be.
        kept = [
            candidate
            for candidate in search.ours["allocation_requests"]
            if candidate in body["allocation_requests"]
        ]
    else:
        kept = [candidate for candidate in body["allocation_requests"] if _is_isolated(candidate["mappings"])]
    return body | {"allocation_requests": kept}


def _is_isolated(mappings: dict[str, list[str]]) -> bool:
    serving = [provider for suffix, providers in mappings.items() if suffix for provider in providers]
    return len(serving) == len(set(serving))


def _held_to_trees(search: Search, body: Any) -> Candidates:
    """D6: ``in_tree`` of a group without resources is ignored."""
    left: Candidates = body["allocation_requests"]
    for suffix, values in search.values("in_tree").items():
        if suffix in search.without_resources:
            wanted = search.root_of(values[-1].strip())
            left = [
                candidate
                for candidate in left
                if all(search.root_of(provider) == wanted for provider in candidate["mappings"][suffix])
            ]
    return left


def _wants_nothing(search: Search) -> list[str]:
    """Suffixes of groups without resources that name no trait or aggregate that is wanted."""
    wanted = [
        suffix
        for kind in ("required", "member_of")
        for suffix, values in search.values(kind).items()
        if not all(item.startswith("!") for value in values for item in _items(kind, value))
    ]
    return sorted(search.without_resources - set(wanted))


def _items(kind: str, value: str) -> list[str]:
    """Traits of a ``required``; a ``member_of`` as it is, since its mark is for all that it names."""
    return value.split(",") if kind == "required" else [value]


def _finds_nothing(search: Search) -> bool:
    """D7: a group without resources that only forbids, or only names a tree."""
    return not search.theirs["allocation_requests"] and bool(_wants_nothing(search))


def _are_among_looser_ones(search: Search) -> bool:
    """Whether each candidate, but for those groups, is one of a search without them."""
    dropped = _wants_nothing(search)
    loosened = {"group_policy", "same_subtree"} | {
        f"{kind}{suffix}" for kind in ("required", "member_of", "in_tree") for suffix in dropped
    }
    pairs = [pair for pair in search.pairs if pair[0] not in loosened]
    pairs.append(("group_policy", "none"))
    # Alone, each is in one subtree; but it has to be named.
    pairs += [("same_subtree", suffix) for suffix in search.without_resources - set(dropped)]
    looser = search.asked_with(pairs)
    served = [_but(candidate, dropped) for candidate in looser["allocation_requests"]]
    more = [
        candidate
        for candidate in search.ours["allocation_requests"]
        if _but(candidate, dropped) not in served
    ]
    return not more or _shared_and_combined(search, more)


def _but(candidate: dict[str, Any], dropped: list[str]) -> dict[str, Any]:
    mappings = {suffix: served for suffix, served in candidate["mappings"].items() if suffix not in dropped}
    return candidate | {"mappings": mappings}


def _lost_to_sharing(search: Search, left: Candidates) -> bool:
    """D17: what the unsuffixed group takes from sharing providers alone is kept for one tree only
    of those that share with them, and combined with the other groups' choices in that tree only.
    """
    ours = search.ours["allocation_requests"]
    more = [candidate for candidate in ours if candidate not in left]
    return all(candidate in ours for candidate in left) and _shared_and_combined(search, more)


def _shared_and_combined(search: Search, candidates: Candidates) -> bool:
    """Whether the unsuffixed group takes all from sharing providers, and there are other groups."""
    resources = search.values("resources")
    if "" not in resources or len(resources.keys() | search.without_resources) < 2:
        return False
    shares = {
        provider
        for provider, summary in search.ours["provider_summaries"].items()
        if "MISC_SHARES_VIA_AGGREGATE" in summary.get("traits", ["MISC_SHARES_VIA_AGGREGATE"])
    }
    return all(
        shares.issuperset(candidate["mappings"][""])
        if "mappings" in candidate
        else shares.intersection(candidate["allocations"])
        for candidate in candidates
    )
