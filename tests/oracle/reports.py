"""The slow, obvious twin of ``rules.reports``: it keeps all reports ever made, and looks back over them.

It shares no line with what it checks. Where the rules carry a finding from report to report, the twin asks
for how long the same disagreement was shown by every report that had something to say about it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

Held = frozenset[tuple[str, str, int]]
"""(provider, class, amount) of one consumer."""


def flat(amounts: Mapping[str, Mapping[str, int]] | None) -> Held | None:
    if amounts is None:
        return None
    return frozenset((provider, name, n) for provider, each in amounts.items() for name, n in each.items())


@dataclass(frozen=True)
class Told:
    """One report and the account at its time. ``claims``: version, type and holding of each consumer."""

    at: int
    trees: frozenset[str]
    complete: bool
    types: frozenset[str] | None
    accepts: bool
    consumers: Mapping[str, Held | None]
    claims: Mapping[str, tuple[str, str, Held]]


@dataclass
class Shown:
    """A disagreement of one report."""

    kind: str
    consumer: str
    tree: str
    version: str | None
    reported: Held | None
    gives: bool
    takes: bool
    believed: bool = True


@dataclass
class Twin:
    """Everything that a source has ever told. ``roots`` has the root of each provider."""

    roots: Mapping[str, str]
    settle: int
    history: list[tuple[Told, dict[tuple[str, str], Shown]]] = field(default_factory=list)

    def tell(self, told: Told) -> dict[tuple[str, str], str]:
        """The kinds of all disagreements of a new report, by consumer and tree."""
        doubted = self.doubted(told)
        shown = {}
        for consumer in {*told.consumers, *told.claims}:
            found = self.compare(told, consumer)
            if found is not None:
                touched = {self.roots[item[0]] for item in (found.reported or frozenset())}
                held = told.claims.get(consumer, ("", "", frozenset()))[2]
                touched |= {self.roots[item[0]] for item in held}
                found.believed = not touched & told.trees & doubted
                shown[consumer, found.tree] = found
        self.history.append((told, shown))
        return {key: each.kind for key, each in shown.items()}

    def compare(self, told: Told, consumer: str) -> Shown | None:
        version, kind_of, whole = told.claims.get(consumer, (None, "", frozenset()))
        here = frozenset(item for item in whole if self.roots[item[0]] in told.trees)
        if consumer in told.consumers:
            reported = told.consumers[consumer]
            if here and (reported is None or reported == here):
                return None
        else:
            if not told.complete or not here or (told.types is not None and kind_of not in told.types):
                return None
            reported = None
        here_trees = sorted({self.roots[item[0]] for item in here})
        there_trees = sorted({self.roots[item[0]] for item in reported or ()})
        if consumer not in told.consumers:
            kind = "leaked"
        elif not whole:
            kind = "missing"
        elif not set(here_trees) & set(there_trees):
            kind = "moved"
        else:
            kind = "differs"
        tree = (here_trees or there_trees or sorted(told.trees))[0]
        now = {item[:2]: item[2] for item in here}
        then = {item[:2]: item[2] for item in reported or ()}
        keys = now.keys() | then.keys()
        return Shown(
            kind,
            consumer,
            tree,
            version,
            reported,
            any(now.get(key, 0) > then.get(key, 0) for key in keys),
            any(now.get(key, 0) < then.get(key, 0) for key in keys),
        )

    def doubted(self, last: Told) -> set[str]:
        """The trees of the last report whose numbers are not believed: worked out from the beginning."""
        believed: dict[str, tuple[int, int]] = {}
        doubts: dict[str, tuple[int, int]] = {}
        for told in [*(each for each, _ in self.history), last]:
            if not told.complete:
                continue
            numbers = {tree: self.number(told, tree) for tree in told.trees}
            for tree in told.trees - believed.keys():
                believed[tree] = self.held_in(told, tree), told.at
            most = sum(believed[tree][0] for tree in told.trees)
            few = 10 * sum(numbers.values()) < 8 * most
            for tree, number in numbers.items():
                usual, since = believed[tree]
                if told.accepts:
                    believed[tree] = number, told.at
                    doubts.pop(tree, None)
                elif few or (10 * number < 8 * usual and number <= usual - 5):
                    doubt = doubts.setdefault(tree, (number, told.at))
                    if 10 * number < 8 * doubt[0]:
                        doubts[tree] = number, told.at
                    elif told.at - doubt[1] >= self.settle and (told.consumers or most < 10):
                        believed[tree] = number, told.at
                        del doubts[tree]
                else:
                    doubts.pop(tree, None)
                    if number >= usual or told.at - since >= self.settle:
                        believed[tree] = number, told.at
        return doubts.keys() & last.trees

    def number(self, told: Told, tree: str) -> int:
        """How many consumers a report tells of in a tree."""
        return sum(
            tree in {self.roots[item[0]] for item in (self.whole(told, name) if has is None else has)}
            for name, has in told.consumers.items()
        )

    def held_in(self, told: Told, tree: str) -> int:
        """How many consumers that are the source's business hold something of a tree."""
        return sum(
            tree in {self.roots[item[0]] for item in held} and (told.types is None or kind in told.types)
            for _, kind, held in told.claims.values()
        )

    def whole(self, told: Told, consumer: str) -> Held:
        return told.claims.get(consumer, ("", "", frozenset()))[2]

    def due(self) -> set[tuple[str, str]]:
        """What the last report may have acted on, if all actions are allowed."""
        last, shown = self.history[-1]
        return {
            key
            for key, each in shown.items()
            if last.at - self.first_seen(key, each) >= self.settle
            and each.believed
            and (each.kind == "leaked" or each.reported is not None)
            and not (each.gives and not last.complete)
        }

    def first_seen(self, key: tuple[str, str], now: Shown) -> int:
        """Since when every report that spoke of it has shown the same disagreement, and was believed."""
        since = self.history[-1][0].at
        for told, shown in reversed(self.history[:-1]):
            if key[1] not in told.trees:
                continue
            then = shown.get(key)
            if then is None and not told.complete and key[0] not in told.consumers:
                claim = told.claims.get(key[0])
                if (None if claim is None else claim[0]) == now.version:
                    continue
            if then is None or not then.believed:
                break
            if (then.kind, then.version, then.reported) != (now.kind, now.version, now.reported):
                break
            since = told.at
        return since
