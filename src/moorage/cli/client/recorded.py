"""The journal of the native API, asked for and put into words."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final
from urllib.parse import quote

import click
import requests

from moorage.cli.client import explained, lookup
from moorage.cli.client.connection import NoAnswerError, Query, RefusedError, ServiceConnection
from moorage.cli.shared import output, show
from moorage.cli.shared.differences import differences
from moorage.cli.shared.names import is_written_as_uuid

CHANGES: Final = "/moorage/v1/changes"

CHANGES_FEATURE: Final = "changes"
"""Feature of a version of the native API: it lists changes."""

AT_FEATURE: Final = "at"
"""Feature of a version of the native API: it shows earlier states."""

NOW: Final = "now"
"""The ``after`` for changes from now on."""

WAIT: Final = "25s"
"""How long a service holds a page without changes: less than ``TIMEOUT_SECONDS`` and usual proxies allow."""

FIRST_PAUSE_SECONDS: Final = 1.0
MOST_PAUSE_SECONDS: Final = 15.0
"""Wait after a page that did not come; it doubles up to the second."""

WINDOW: Final = 5_000
"""Revisions that one step back through the journal looks at."""

INDENT: Final = "  "

Json = Mapping[str, Any]
Record = dict[str, Any]

_OWNER: Final = ("project_id", "user_id", "consumer_type")
_ROW: Final = ("name", "parent", "root", "inventories", "traits", "aggregates")


def page(service: ServiceConnection, query: Query) -> Any:
    """One page of changes. Raises ServiceError, RefusedError."""
    with explained.needed(service, CHANGES_FEATURE, "lists no changes"):
        return service.get(CHANGES, query)


def history(service: ServiceConnection, kind: str, uuid: str, query: Query) -> Any:
    """The history of one ``kind`` of the API's paths. Raises as ``page`` does."""
    with explained.needed(service, CHANGES_FEATURE, "lists no changes"):
        return service.get(f"/moorage/v1/{kind}/{quote(uuid, safe='')}/history", query)


def state(service: ServiceConnection, kind: str, uuid: str, at: int, query: Query) -> Any:
    """One ``kind`` of the API's paths at a revision. Raises as ``page`` does."""
    with explained.needed(service, AT_FEATURE, "knows no earlier state"):
        return service.get(f"/moorage/v1/{kind}/{quote(uuid, safe='')}", {**query, "at": str(at)})


def project_at(service: ServiceConnection, project: str, at: int) -> Json:
    """What consumers of a project held at a revision. Raises as ``page`` does."""
    owned = {"project_id": project}
    present: dict[str, Json] = {}
    after: str | None = ""
    while after is not None:
        with explained.needed(service, AT_FEATURE, "knows no earlier state"):
            found = service.get("/moorage/v1/claims", {**owned, "after": after or None})
        present |= {each["consumer"]: each for each in found["claims"]}
        after = found["next"]
    # The pages are of several revisions. What has not changed since the one that is wanted is in all of them.
    changed: set[str] = set()
    last, is_last = at, False
    while not is_last:
        changes = page(service, {**owned, "after": str(last)})
        changed |= {consumer for each in changes["changes"] for consumer in each.get("consumers", {})}
        last, is_last = changes["next_after"], not changes["more"]
    claims = [present[consumer] for consumer in present.keys() - changed]
    claims += [state(service, "claims", each, at, {}) for each in show.progress("Consumers", sorted(changed))]
    held = [each for each in claims if each["project_id"] == project]
    return {"revision": at, "claims": sorted(held, key=lambda each: str(each["consumer"]))}


def root_of(service: ServiceConnection, provider: str) -> str:
    """UUID of the root of a provider's tree; a UUID that no provider has is that of a tree of the past.

    Raises UnknownNameError, ServiceError, RefusedError.
    """
    return _present(service, provider, "root_provider_uuid")


def uuid_of(service: ServiceConnection, provider: str) -> str:
    """UUID of a provider of the present, or of the past. Raises as ``root_of`` does."""
    return _present(service, provider, "uuid")


def _present(service: ServiceConnection, provider: str, part: str) -> str:
    try:
        return str(lookup.provider(service, provider)[part])
    except lookup.UnknownNameError:
        if not is_written_as_uuid(provider):
            raise
        return provider


def newest(service: ServiceConnection, query: Query, count: int) -> Any:
    """A page with the changes of the last ``count`` revisions, fewer where the journal begins later."""
    revision = page(service, {**query, "after": NOW, "limit": "1"})["revision"]
    try:
        return page(service, {**query, "after": str(max(0, revision - count))})
    except RefusedError as refusal:
        return page(service, {**query, "after": str(_beginning(refusal))})


def newest_of_project(service: ServiceConnection, project: str, before: int | None, limit: int) -> Json:
    """The newest changes of a project's consumers before a revision: as the histories of the API."""
    query = {"project_id": project}
    state = page(service, {**query, "after": NOW, "limit": "1"})
    upper = state["revision"] if before is None else min(before - 1, state["revision"])
    found: list[Record] = []
    begins = 0
    while upper > begins and len(found) <= limit:
        after = max(begins, upper - WINDOW)
        try:
            found = [*found, *reversed(list(_between(service, query, after, upper)))]
        except RefusedError as refusal:
            begins = _beginning(refusal)
        else:
            upper = after
    more = len(found) > limit
    shown = found[:limit]
    return {
        "revision": state["revision"],
        "begins": begins + 1,
        "next_before": shown[-1]["revision"] if more else None,
        "changes": shown,
    }


def _between(service: ServiceConnection, query: Query, after: int, upper: int) -> Iterator[Record]:
    while after < upper:
        found = page(service, {**query, "after": str(after)})
        yield from (each for each in found["changes"] if each["revision"] <= upper)
        after = found["next_after"]


def _beginning(refusal: RefusedError) -> int:
    """The first ``after`` that the journal serves. Raises the refusal if it has another reason."""
    compacted: int | None = (refusal.problem or {}).get("compacted")
    if compacted is None:
        raise refusal
    return compacted


def followed(
    service: ServiceConnection,
    query: Query,
    first: Json,
    wait: Callable[[float], None] = time.sleep,
) -> Iterator[Json]:
    """``first`` and all pages after it, without end; a page that did not come is asked for again.

    Raises RefusedError if the changes that follow are not there any more.
    """
    found = first
    pause = FIRST_PAUSE_SECONDS
    while True:
        yield found
        position = {"after": str(found["next_after"]), "epoch": found["epoch"], "wait": WAIT}
        while True:
            try:
                found = page(service, {**query, **position})
            except NoAnswerError:
                told = f"No answer. The next try after revision {position['after']} is in {pause:.0f} s."
            except RefusedError as refusal:
                if refusal.status != requests.codes.unavailable:
                    raise
                told = f"{refusal} The next try is in {pause:.0f} s."
            else:
                pause = FIRST_PAUSE_SECONDS
                break
            click.secho(told, dim=True, err=True)
            wait(pause)
            pause = min(2 * pause, MOST_PAUSE_SECONDS)


# In words


def names_in(service: ServiceConnection, records: Iterable[Json]) -> Mapping[str, str]:
    """Names of all providers in these records, by UUID."""
    known: dict[str, str] = {}
    uuids: set[str] = set()
    for record in records:
        for uuid, parts in record.get("providers", {}).items():
            # The record of a provider that came or went has its name.
            named = next(filter(None, reversed(parts.get("name", ()))), None)
            if named:
                known[uuid] = named
            else:
                uuids.add(uuid)
        for parts in record.get("consumers", {}).values():
            uuids |= parts.get("held", {}).keys()
    return {**known, **lookup.provider_names(service, uuids - known.keys())}


def print_records(service: ServiceConnection, records: Iterable[Json]) -> None:
    """Print records as text, each with a line for every value that changed."""
    several = list(records)
    names = names_in(service, several)
    for record in several:
        click.secho(heading(record), bold=True)
        for line in lines(record, names):
            click.echo(f"{INDENT}{line}")


def print_line(record: Json) -> None:
    """Print one record as data: a line of JSON, or a YAML document."""
    if output.chosen_format() == output.JSON:
        click.echo(json.dumps(record))
    else:
        click.echo(f"---\n{output.text_of(record, output.YAML)}", nl=False)


def heading(record: Json) -> str:
    """When, what and by which request."""
    by = record["by"] or {}
    owner = " of ".join(filter(None, (by.get("user_id"), by.get("project_id"))))
    request = by.get("global_request_id") or by.get("request_id") or ""
    # No client asks for what the service does of itself. What it does to leases, its keeper does.
    itself = "by the keeper" if _concerns_leases(record) else "by the service"
    made_by = f"by {owner}" if owner else itself if record.get("path") == "service" else ""
    words = (str(record["revision"]), record["at"], record["kind"], made_by, request)
    return INDENT.join(filter(None, words))


def _concerns_leases(record: Json) -> bool:
    return "leases" in record or any("lease" in parts for parts in record.get("consumers", {}).values())


def lines(record: Json, names: Mapping[str, str]) -> Iterator[str]:
    """A line for each value that a record changes, without generations."""
    claims = any("held" in parts for parts in record.get("consumers", {}).values())
    for uuid, parts in record.get("consumers", {}).items():
        yield from _consumer(uuid, parts, names)
    for uuid, parts in record.get("providers", {}).items():
        # What consumers hold more or less is what providers have in use more or less.
        yield from _provider(names[uuid], parts, without_use=claims)
    for uuid, parts in record.get("leases", {}).items():
        was, now = parts.get("state", (None, None))
        yield f"lease {uuid} of {parts['owner']}" + (f": {was or 'none'} -> {now}" if now else "")
    for kind, told in (("resource_classes", "resource class"), ("traits", "trait")):
        for name, (_, exists) in record.get(kind, {}).items():
            yield f"{told} {name}: {'created' if exists else 'deleted'}"
    for old, new in record.get("renamed", {}).items():
        yield f"resource class {old}: renamed to {new}"
    if "adopted" in record:
        counts = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in record["adopted"].items())
        yield f"A new history begins with {counts}."
    if "reason" in record:
        reason = record["reason"]
        finding = f"{reason['finding']} of {reason['source']}"
        yield f"because of finding {finding}: {reason['kind']}, {reason['action']}"


def _consumer(uuid: str, parts: Json, names: Mapping[str, str]) -> Iterator[str]:
    was, now = _sides(parts, (*_OWNER, "lease"))
    for side, place in ((was, 0), (now, 1)):
        for provider, amounts in parts.get("held", {}).items():
            side[names[provider]] = {name: pair[place] for name, pair in amounts.items()}
        if "resources" in parts:
            side["resources"] = {name: pair[place] for name, pair in parts["resources"].items()}
    told = list(differences(was, now, f"consumer {uuid} "))
    yield from told or [f"consumer {uuid}"]


def _provider(name: str, parts: Json, *, without_use: bool) -> Iterator[str]:
    was, now = _sides(parts, _ROW)
    for side, place in ((was, 0), (now, 1)):
        if "used" in parts:
            side["in use"] = {each: pair[place] for each, pair in parts["used"].items()}
    if without_use:
        was.pop("in use", None)
        now.pop("in use", None)
        if not was:
            return
    told = list(differences(was, now, f"{name} "))
    yield from told or [name]


def _sides(parts: Json, wanted: Iterable[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The pairs of these parts as two mappings: before, after."""
    pairs = {name: parts[name] for name in wanted if name in parts}
    return {name: pair[0] for name, pair in pairs.items()}, {name: pair[1] for name, pair in pairs.items()}
