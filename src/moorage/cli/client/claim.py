"""``moorage claim``: find a place and claim it in one step; show, move and release what consumers hold."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import quote

import click

from moorage.cli.client import explained, lookup, syntax, why
from moorage.cli.client.allocation import draw_held
from moorage.cli.client.call import CommandRun, client_command
from moorage.cli.client.connection import RefusedError, ServiceConnection
from moorage.cli.client.explained import Json
from moorage.cli.client.order_options import OrderWishes, order_options
from moorage.cli.client.search_options import SearchWishes, search_options
from moorage.cli.shared import show
from moorage.cli.shared.groups import Commands
from moorage.model.valueclass import valueclass

CLAIMS: Final = "/moorage/v1/claims"

RELEASES: Final = "/moorage/v1/releases"

CLAIMS_FEATURE: Final = "claims"
"""Feature of a version of the native API: it finds and claims in one step."""

NO_PLACE: Final = frozenset({"no_room", "never_fits"})
"""Codes of a refusal that says there is no place."""

ALL: Final = "all"
EACH: Final = "each"

LACKS: Final = "finds and claims nothing in one step"


@click.group(cls=Commands, short_help="Find a place and claim it, in one step.")
def claim() -> None:
    """Find a place and claim it, in one step. Show, move and release what consumers hold.

    A consumer is named by its UUID, or by the name that it has in a file for moorage load. The service must
    have Moorage's native API.
    """


def _mode(_context: click.Context, _parameter: click.Parameter, value: str) -> str | Json:
    """The mode as the API reads it. Raises BadParameter."""
    if value in (ALL, EACH):
        return value
    if not (value.isascii() and value.isdecimal() and int(value)):
        raise click.BadParameter(f"'{value}' is neither {ALL} nor {EACH}, nor a number of claims.")
    return {"at_least": int(value)}


@valueclass(frozen=True, slots=True)
class _Wanted:
    """What an entry asks for, with the classes and traits that it names."""

    entry: Json
    classes: frozenset[str]
    traits: frozenset[str]


def _key(_context: click.Context, _parameter: click.Parameter, value: str | None) -> str | None:
    """Raises BadParameter."""
    if value is not None and re.fullmatch("[!#-~]{1,255}", value) is None:
        raise click.BadParameter("A key is 1 to 255 visible characters of ASCII, without spaces and quotes.")
    return value


def labels(
    _context: click.Context, _parameter: click.Parameter, values: tuple[str, ...]
) -> dict[str, str] | None:
    """Labels by name; None without any. Raises BadParameter."""
    found: dict[str, str] = {}
    for text in values:
        name, equals, value = text.partition("=")
        if not (name and equals):
            raise click.BadParameter(f"'{text}' is not NAME=VALUE.")
        if name in found:
            raise click.BadParameter(f"The label {name} is there twice.")
        found[name] = value
    return found or None


def _place_options(function: Callable[..., None]) -> Callable[..., None]:
    """The options that say what a claim needs, which place is better, what to note, and what to explain."""
    for option in (
        click.option(
            "--explain/--no-explain",
            default=None,
            help="Say also why the place was chosen, or say nothing. Default: say why there is no place.",
        ),
        click.option(
            "--label",
            "labels",
            multiple=True,
            metavar="NAME=VALUE",
            callback=labels,
            help="Keep this with the claim; 'moorage claim show' shows it. Repeatable.",
        ),
        click.option(
            "--allocation",
            "allocations",
            multiple=True,
            metavar="PROVIDER:CLASS=AMOUNT[,...]",
            help="Claim exactly this of a provider, without a search. Repeatable.",
        ),
        order_options,
        search_options,
        click.option(
            "--query",
            metavar="QUERY",
            help="What is needed, as a query of GET /allocation_candidates. "
            "A URL or a line of a log with one will do.",
        ),
    ):
        function = option(function)
    return function


def _exactly(service: ServiceConnection, texts: tuple[str, ...]) -> _Wanted:
    """An entry with exact allocations. Raises BadParameter."""
    wanted = syntax.holdings(texts)
    uuids = {name: lookup.provider_uuid(service, name) for name in wanted}
    if len(set(uuids.values())) < len(uuids):
        raise click.BadParameter("A provider is named twice.")
    entry = {"allocations": {uuids[name]: {"resources": amounts} for name, amounts in wanted.items()}}
    classes = frozenset(name for amounts in wanted.values() for name in amounts)
    return _Wanted(entry, classes, frozenset())


def _wanted(
    service: ServiceConnection,
    query: str | None,
    wishes: SearchWishes,
    order: OrderWishes,
    allocations: tuple[str, ...],
) -> _Wanted:
    """Raises UsageError, BadParameter."""
    if allocations:
        if query is not None or not (wishes.is_empty and order.is_empty):
            raise click.UsageError(
                "--allocation says what is claimed, so nothing is searched for or ordered."
            )
        return _exactly(service, allocations)
    if (query is None) == wishes.is_empty:
        raise click.UsageError(
            "Use --query, or say what is needed by --resources and --group, or claim exactly --allocation."
        )
    entry: dict[str, Any] = {"ask": {"query": query}}
    classes, traits = order.classes, order.traits
    if query is None:
        search = wishes.query(service)
        entry["ask"] = explained.pasted(search.parameters)
        classes, traits = classes | search.classes, traits | search.traits
    if not order.is_empty:
        entry["order"] = order.body(service)
    return _Wanted(entry, classes, traits)


def _given(parts: Mapping[str, Any]) -> dict[str, Any]:
    return {name: part for name, part in parts.items() if part not in (None, [])}


def _carry_out(
    call: CommandRun,
    wanted: _Wanted,
    more: Mapping[str, Any],
    draw: Callable[[Json], object],
    *,
    mode: str | Json = ALL,
    explain: bool | None,
    key: str | None = None,
) -> None:
    """Claim, and show what came of it. Exits with the status of a no if there is no place."""
    entry = {**wanted.entry, **_given(more)}
    how = {None: "auto", True: "always", False: "never"}[explain]
    body = {"claims": [entry], "mode": mode, "explain": how}
    try:
        with (
            lookup.names_explained(call.service, wanted.classes, wanted.traits),
            explained.needed(call.service, CLAIMS_FEATURE, LACKS),
        ):
            found = call.service.post_once(CLAIMS, body, key=key)
    except RefusedError as refusal:
        problem = refusal.problem
        if problem is None or refusal.code not in NO_PLACE:
            raise
        call.show(problem, lambda: _draw_refused(problem, entry.get("count", 1)))
        call.answer_no()

    def shown() -> None:
        draw(found)
        for each in found["claims"]:
            if "explanation" in each:
                why.draw(each["explanation"])

    call.show(found, shown)


@claim.command(name="create", short_help="Find a place and claim it.")
@_place_options
@click.option("--count", type=click.IntRange(min=1), help="How many equal claims to make.  [default: 1]")
@click.option(
    "--mode",
    metavar="all|each|NUMBER",
    callback=_mode,
    default=ALL,
    show_default=True,
    help="All claims or none (all), those that find a place (each), or so many at least.",
)
@click.option(
    "--consumer",
    "consumers",
    multiple=True,
    metavar="CONSUMER",
    help="The new consumer; the service makes one if there is none. Repeatable: one for each claim.",
)
@click.option("--project", metavar="PROJECT", help="Project of the consumers. Default: that of the token.")
@click.option("--user", metavar="USER", help="User of the consumers. Default: that of the token.")
@click.option("--type", "consumer_type", metavar="TYPE", help="Type of the consumers, for example INSTANCE.")
@click.option("--lease", metavar="LEASE", help="An active lease, with which the claims end.")
@click.option(
    "--key",
    metavar="KEY",
    callback=_key,
    help="Idempotency key: a command that is repeated with it takes effect once. Default: a new one.",
)
@client_command
def create(
    call: CommandRun,
    query: str | None,
    wishes: SearchWishes,
    order: OrderWishes,
    explain: bool | None,
    key: str | None,
    labels: dict[str, str] | None,
    allocations: tuple[str, ...],
    count: int | None,
    mode: str | Json,
    consumers: tuple[str, ...],
    project: str | None,
    user: str | None,
    consumer_type: str | None,
    lease: str | None,
) -> None:
    """Find a place and claim it, for example

    moorage claim create --resources VCPU=4,MEMORY_MB=8192 --order pack

    No other client can take the place between search and claim. With --order or another option that says
    what is better, it is the best one, and its score is shown. If the answer gets lost, the request is sent
    again with the same idempotency key, and takes effect once.

    Exit status 3 if there is no place; then 'moorage why' with the same options says more.
    """
    wanted = _wanted(call.service, query, wishes, order, allocations)
    called = {lookup.consumer_uuid(name): name for name in consumers}
    number = count or len(called) or 1
    if called and len(called) != number:
        raise click.UsageError(f"Name {number} different consumers, or none.")
    entry = {
        "count": None if number == 1 else number,
        "consumers": list(called),
        "project_id": project,
        "user_id": user,
        "consumer_type": consumer_type,
        "labels": labels,
        "lease": lease,
    }

    def draw(found: Json) -> None:
        names = _provider_names(call.service, found)
        for each in found["claims"]:
            uuid = each["consumer"]
            consumer = lookup.called(called.get(uuid, uuid), uuid)
            click.echo(f"Claimed on {_places(each, names)} as {consumer} ({_facts(found, each)}).")
        if found["unplaced"]:
            click.echo(f"{len(found['unplaced'])} of {number} claims find no place.")
            _draw_reason(found["unplaced"][0])

    _carry_out(call, wanted, entry, draw, mode=mode, explain=explain, key=key)


@claim.command(name="move", short_help="Move or resize what a consumer holds.")
@click.argument("consumer")
@_place_options
@click.option(
    "--keep-old-as",
    metavar="CONSUMER",
    help="A new consumer that takes over what CONSUMER held. Otherwise that is freed, and counts as free.",
)
@client_command
def move(
    call: CommandRun,
    consumer: str,
    query: str | None,
    wishes: SearchWishes,
    order: OrderWishes,
    explain: bool | None,
    labels: dict[str, str] | None,
    allocations: tuple[str, ...],
    keep_old_as: str | None,
) -> None:
    """Find a place for what CONSUMER needs from now on, and let it hold that instead.

    Owner and type stay. If there is no place, or another client changes CONSUMER at the same time, nothing is
    done. Exit status 3 if there is no place.
    """
    wanted = _wanted(call.service, query, wishes, order, allocations)
    uuid = lookup.consumer_uuid(consumer)
    kept = None if keep_old_as is None else lookup.consumer_uuid(keep_old_as)
    held = _held(call.service, uuid)
    entry = {
        "consumer": uuid,
        "generation": held["generation"],
        "keep_old_as": kept,
        "project_id": held["project_id"],
        "labels": labels,
    }

    def draw(found: Json) -> None:
        [moved] = found["claims"]
        names = _provider_names(call.service, found)
        told = f"{lookup.called(consumer, uuid)} now holds {_places(moved, names, amounts=True)}"
        click.echo(f"{told} ({_facts(found, moved)}).")
        if keep_old_as is not None and kept is not None:
            click.echo(f"{lookup.called(keep_old_as, kept)} has what it held.")

    _carry_out(call, wanted, entry, draw, explain=explain)


def _held(service: ServiceConnection, consumer: str) -> Any:
    with explained.needed(service, CLAIMS_FEATURE, LACKS):
        return service.get(f"{CLAIMS}/{quote(consumer, safe='')}")


@claim.command(name="show", short_help="Show what consumers hold.")
@click.argument("consumers", nargs=-1, required=True, metavar="CONSUMER...")
@client_command
def show_claims(call: CommandRun, consumers: tuple[str, ...]) -> None:
    """Show what each CONSUMER holds, of which providers, and since when it does. Exit status 3 if one holds
    nothing."""

    def ask(name: str) -> dict[str, Any]:
        uuid = lookup.consumer_uuid(name)
        called = {"called": lookup.called(name, uuid)}
        try:
            return {**_held(call.service, uuid), **called}
        except RefusedError as refusal:
            if refusal.code != explained.NOT_FOUND_CODE:
                raise
        return {"consumer": uuid, "providers": {}, **called}

    found = call.gather(consumers, ask, lambda each: draw_claim(call.service, each))
    if not all(each["providers"] for each in found):
        call.answer_no()


def draw_claim(service: ServiceConnection, found: Json) -> None:
    """Print what a consumer holds; ``called`` names it."""
    if not found["providers"]:
        click.echo(f"{found['called']} holds nothing.")
        return
    show.pairs(
        {
            "consumer": found["called"],
            "type": found["consumer_type"],
            "project": found["project_id"],
            "user": found["user_id"],
            "generation": found["generation"],
            "since": found["since"],
            "lease": found.get("lease"),
            "labels": ", ".join(f"{name}={text}" for name, text in sorted(found.get("labels", {}).items())),
            "asked for": _asked(found),
        }
    )
    draw_held(service, found["providers"])


def _asked(found: Json) -> str | None:
    """What the claim asked for, if that is known."""
    ask = found.get("ask")
    if ask is None:
        return None
    return str(ask["query"]) if "query" in ask else json.dumps(ask)


@claim.command(name="release", short_help="Release what consumers hold.")
@click.argument("consumers", nargs=-1, required=True, metavar="CONSUMER...")
@client_command
def release(call: CommandRun, consumers: tuple[str, ...]) -> None:
    """Release all that each CONSUMER holds, in one commit. Exit status 3 if one holds nothing."""
    called = {lookup.consumer_uuid(name): name for name in consumers}
    with explained.needed(call.service, CLAIMS_FEATURE, LACKS):
        found = call.service.post_once(RELEASES, {"consumers": list(called)})

    def draw() -> None:
        for uuid, name in called.items():
            told = "holds nothing any more" if uuid in found["released"] else "holds nothing"
            click.echo(f"{lookup.called(name, uuid)} {told}.")

    call.show(found, draw)
    if found["absent"]:
        call.answer_no()


# In words


def _provider_names(service: ServiceConnection, found: Json) -> Mapping[str, str]:
    return lookup.provider_names(service, {uuid for each in found["claims"] for uuid in each["allocations"]})


def _places(each: Json, names: Mapping[str, str], *, amounts: bool = False) -> str:
    """The providers of a claim by name, if wanted with what it holds of them."""
    told = []
    for uuid, held in sorted(each["allocations"].items(), key=lambda item: show.natural(names[item[0]])):
        parts = ", ".join([f"{amount} {name}" for name, amount in sorted(held["resources"].items())])
        told.append(f"{parts} of {names[uuid]}" if amounts else names[uuid])
    return " and ".join(told)


def _facts(found: Json, each: Json) -> str:
    """Revision and rank of a claim."""
    facts = [f"revision {found['revision']}", *(["as answered before"] if found.get("replayed") else [])]
    if "score" in each:
        facts += [f"score {each['score']:.4f}", f"best of {explained.trees(each['ranked_of'])}"]
    return ", ".join(facts)


def _draw_refused(problem: Json, count: int) -> None:
    which = "" if count == 1 else f" for claim {problem['index'] + 1} of {count}"
    click.echo(f"Refused at revision {problem['revision']}: there is no place{which}.")
    _draw_reason(problem)


def _draw_reason(refused: Json) -> None:
    """Why a claim finds no place, if the service says it."""
    explanation = refused.get("explanation", {})
    later = explanation.get("later")
    if later:
        click.echo(f"'moorage why --request {later.rpartition('/')[2]}' says why.")
    elif explanation:
        why.draw(explanation)
    else:
        for line in explained.wrapped(refused["detail"]):
            click.echo(line)
