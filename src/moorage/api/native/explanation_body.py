"""The body of an explanation: all of it, or the part that names neither providers nor consumers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from moorage.api.native.claims import moment
from moorage.model.explanations import (
    AMOUNT,
    CUT_SHORT,
    FITS,
    NEVER_FITS,
    NO_ROOM,
    NOBODY_OFFERS,
    ROOM,
    TOGETHER,
    AskTerm,
    CountedTerm,
    Explained,
    Holder,
    Miss,
    Missing,
    Relaxation,
    UnlockingEvent,
)
from moorage.model.requests import Candidate

MOST_NAMED: Final = 5
"""Names of one list in a summary."""

HELD_BY_OTHERS: Final = "what is missing is held by others"
"""Note of an answer to a client that may not see holders."""


def whole(found: Explained, *, with_names: bool) -> dict[str, object]:
    """All of an explanation; providers have names only ``with_names``."""
    explanation = found.explanation
    names = found.names if with_names else {}
    body = _counts(found, names)
    body["nearest"] = [_miss(miss, found, names) for miss in explanation.nearest]
    body["unlocked_by"] = [[_event(event, names) for event in events] for events in explanation.unlocked_by]
    if explanation.chosen is not None:
        body["chosen"] = candidate(explanation.chosen, names)
        body["alternatives"] = [candidate(each, names) for each in explanation.alternatives]
    if found.holders_revision is not None:
        body["holders_revision"] = found.holders_revision
    return body


def redacted(found: Explained) -> dict[str, object]:
    """What says nothing of single providers, consumers or projects."""
    body = _counts(found, {}, nearest=False)
    if found.explanation.verdict == NO_ROOM:
        body["notes"] = [*found.explanation.notes, HELD_BY_OTHERS]
    return body


def _counts(found: Explained, names: Mapping[str, str], *, nearest: bool = True) -> dict[str, object]:
    explanation = found.explanation
    body: dict[str, object] = {
        "verdict": explanation.verdict,
        "also": list(explanation.also),
        "summary": summary(found, names, nearest=nearest),
        "exact": explanation.exact,
        "feasible": explanation.feasible,
        "trees": explanation.trees,
    }
    if explanation.empty_cloud is not None:
        body["empty_cloud"] = explanation.empty_cloud
    body["constraints"] = [_counted(counted) for counted in explanation.constraints]
    body["funnel"] = [{"after": step.after, "left": step.left} for step in explanation.funnel]
    body["relaxations"] = [_relaxation(each) for each in explanation.relaxations]
    body["notes"] = list(explanation.notes)
    return body


def _counted(counted: CountedTerm) -> dict[str, object]:
    counts = {"alone": counted.alone, "without": counted.without, "empty_cloud": counted.empty_cloud}
    return {**_term(counted.term), **{name: count for name, count in counts.items() if count is not None}}


def _term(term: AskTerm) -> dict[str, object]:
    shown: dict[str, object] = {"id": term.id, "kind": term.kind}
    if term.group is not None:
        shown["group"] = term.group
    if term.kind == ROOM:
        shown |= {"resource_class": term.resource_class, "amount": term.amount}
    if term.traits:
        shown["traits"] = sorted(term.traits)
    if term.aggregates:
        shown["aggregates"] = sorted(term.aggregates)
    if term.in_tree:
        shown["in_tree"] = term.in_tree
    if term.kind == TOGETHER:
        shown |= {"rule": term.rule, "groups": list(term.groups)}
        if term.resource_class:
            shown |= {"resource_class": term.resource_class, "amount": term.amount}
    return shown


def _named(key: str, uuid: str, names: Mapping[str, str]) -> dict[str, object]:
    return {key: uuid, "name": names[uuid]} if uuid in names else {key: uuid}


def _miss(miss: Miss, found: Explained, names: Mapping[str, str]) -> dict[str, object]:
    shown: dict[str, object] = {
        **_named("root", miss.root, names),
        "distance": round(miss.distance, 6),
        "satisfies": list(miss.satisfies),
        "fails": list(miss.fails),
        "missing": [_missing(missing, names) for missing in miss.missing],
    }
    holders = found.holders.get(miss.root)
    if holders is not None:
        shown["held_by"] = [_holder(holder) for holder in holders.holders]
        if holders.has_more:
            shown["held_by_more"] = True
    return shown


def _missing(missing: Missing, names: Mapping[str, str]) -> dict[str, object]:
    shown: dict[str, object] = {"constraint": missing.term, **_named("provider", missing.provider, names)}
    if missing.resource_class:
        shown |= {
            "resource_class": missing.resource_class,
            "need": missing.need,
            "room": missing.room,
            "short": missing.short,
        }
    if missing.units:
        shown["units"] = list(missing.units)
    if missing.traits:
        shown["traits"] = sorted(missing.traits)
    if missing.aggregates:
        shown["aggregates"] = sorted(missing.aggregates)
    return shown


def _holder(holder: Holder) -> dict[str, object]:
    return {
        "consumer": holder.consumer,
        "consumer_type": holder.consumer_type,
        "project_id": holder.project_id,
        "resources": dict(holder.resources),
        "since": moment(holder.since),
    }


def _relaxation(relaxation: Relaxation) -> dict[str, object]:
    changes: list[dict[str, Any]] = []
    for change in relaxation.changes:
        shown: dict[str, Any] = {"op": change.op, "constraint": change.term}
        if change.op == AMOUNT:
            shown |= {"from": change.before, "to": change.after}
        changes.append(shown)
    return {"changes": changes, "feasible": relaxation.feasible, "cost": round(relaxation.cost, 6)}


def _event(event: UnlockingEvent, names: Mapping[str, str]) -> dict[str, object]:
    shown: dict[str, object] = {"event": event.event, **_named("provider", event.provider, names)}
    if event.resource_class:
        shown |= {"resource_class": event.resource_class, "amount": event.amount}
    if event.trait:
        shown["trait"] = event.trait
    if event.aggregate:
        shown["aggregate"] = event.aggregate
    return shown


def candidate(candidate: Candidate, names: Mapping[str, str]) -> dict[str, object]:
    """A candidate, with the names of its providers that are known."""
    shown: dict[str, object] = {
        "allocations": {uuid: dict(amounts) for uuid, amounts in candidate.allocations.items()},
        "mappings": {suffix: list(uuids) for suffix, uuids in candidate.mappings.items()},
    }
    known = {uuid: names[uuid] for uuid in candidate.allocations if uuid in names}
    return {**shown, "names": known} if known else shown


# Words

_VERDICTS: Final[Mapping[str, str]] = {
    FITS: "{feasible} of {trees} trees can serve this now.",
    NO_ROOM: "No tree can serve this now; in an empty cloud {empty_cloud} could.",
    NEVER_FITS: "No tree could serve this even if nothing were used.",
    NOBODY_OFFERS: "No provider has {unoffered}.",
    CUT_SHORT: "The search ended early, before anything was decided.",
}


_VERDICTS_OF_COPIES: Final[Mapping[str, str]] = {
    FITS: "{count} fit now. {feasible} of {trees} trees can serve one.",
    NO_ROOM: "{count} do not fit now; in an empty cloud they would. "
    "{feasible} of {trees} trees can serve one.",
    NEVER_FITS: "{count} would not fit even if nothing were used.",
    CUT_SHORT: "It was not decided whether {count} fit. {feasible} of {trees} trees can serve one.",
}


def summary(found: Explained, names: Mapping[str, str], *, nearest: bool = True) -> str:
    """An explanation in a few sentences."""
    explanation = found.explanation
    by_id = {counted.term.id: counted.term for counted in explanation.constraints}
    unoffered = [
        words_of(counted.term)
        for counted in explanation.constraints
        if counted.term.kind != TOGETHER and counted.alone == 0 and not counted.empty_cloud
    ]
    texts = _VERDICTS if explanation.count == 1 else {**_VERDICTS, **_VERDICTS_OF_COPIES}
    said = [
        texts[explanation.verdict].format(
            count=explanation.count,
            feasible=explanation.feasible,
            trees=explanation.trees,
            empty_cloud=explanation.empty_cloud,
            unoffered=_first(unoffered) or "what is asked for",
        )
    ]
    if nearest and explanation.nearest:
        miss = explanation.nearest[0]
        lacks = list(dict.fromkeys([_lack(missing, by_id) for missing in miss.missing]))
        if lacks:
            name = names.get(miss.root, miss.root)
            said.append(f"Nearest: {name} lacks {_first(lacks, ' and ')}.")
    if explanation.relaxations:
        said.append(_would_fit(explanation.relaxations[0], by_id))
    return " ".join(said)


def _lack(missing: Missing, by_id: Mapping[str, AskTerm]) -> str:
    if missing.short:
        return f"{missing.short} {missing.resource_class}"
    return words_of(by_id[missing.term])


def _would_fit(relaxation: Relaxation, by_id: Mapping[str, AskTerm]) -> str:
    parts = [
        f"with {by_id[change.term].resource_class}:{change.after}"
        if change.op == AMOUNT
        else f"without {words_of(by_id[change.term])}"
        for change in relaxation.changes
    ]
    trees = "1 tree" if relaxation.feasible == 1 else f"{relaxation.feasible} trees"
    return f"{_beginning(' and '.join(parts))}, {trees} could."


def _beginning(text: str) -> str:
    return text[:1].upper() + text[1:]


def words_of(term: AskTerm) -> str:
    """A term in words, for summaries."""
    if term.kind == ROOM:
        return f"{term.resource_class}:{term.amount}"
    if term.kind == TOGETHER:
        return f"the rule {term.rule}"
    for some in (term.traits, term.aggregates):
        if some:
            return f"{term.kind.replace('_', ' ')} {_any(some)}"
    return f"{term.kind.replace('_', ' ')} {term.in_tree}".strip()


def _any(names: Iterable[str]) -> str:
    return _first(sorted(names))


def _first(words: Sequence[str], between: str = " or ") -> str:
    """The first of ``words``, and how many more there are: a request may name thousands."""
    more = len(words) - MOST_NAMED
    return between.join([*words[:MOST_NAMED], *([f"{more:,} more"] if more > 0 else [])])
