"""``moorage why``: the reason why a request finds no room."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import click

from moorage.cli.client import explained, lookup
from moorage.cli.client.call import CommandRun, client_command, complete_provider
from moorage.cli.client.explained import FITS, wrapped
from moorage.cli.client.search_options import SearchWishes, search_options
from moorage.cli.shared import show

INDENT: Final = "  "


@click.command(short_help="Say why a request finds no room.")
@click.option(
    "--query",
    metavar="QUERY",
    help="The request as a query of GET /allocation_candidates. A URL or a line of a log with one will do.",
)
@click.option(
    "--request",
    "request_id",
    metavar="ID",
    help="A search of the past that found nothing, by the id of its request: the service's own, or the one "
    "that the client sent, such as Nova's global request id.",
)
@search_options
@click.option(
    "--at",
    metavar="PROVIDER",
    shell_complete=complete_provider,
    help="Ask of the tree of PROVIDER alone: why not there?",
)
@click.option(
    "--count", type=click.IntRange(min=1), help="How often to place the request: room for all of these."
)
@click.option("--project", metavar="PROJECT", help="The project that asks; a policy may let its members ask.")
@client_command
def why(
    call: CommandRun,
    query: str | None,
    request_id: str | None,
    wishes: SearchWishes,
    at: str | None,
    count: int | None,
    project: str | None,
) -> None:
    """Say why a request finds no room, for example

    moorage why --resources VCPU=4,MEMORY_MB=8192 --required HW_CPU_X86_AVX2

    For each constraint of the request it counts trees of providers. ALONE meet this constraint by itself,
    WITHOUT it meet all others, and EMPTY CLOUD would meet it if nothing were in use. Then come the trees that
    lack least, what to give up so that the request fits, and what must happen until it fits as it is.

    The service must have Moorage's native API. Exit status 0 if the request fits, 3 if not.
    """
    if [query is None, request_id is None, wishes.is_empty].count(False) != 1:
        raise click.UsageError("Use --query or --request, or say what you want by --resources and --group.")
    if request_id is not None:
        if at or count or project:
            raise click.UsageError("--request stands alone: it shows the search as it was made.")
        found = explained.kept_explanation(call.service, request_id)
    elif query is not None:
        found = explained.explanation(call.service, {"query": query}, at=at, count=count, project_id=project)
    else:
        search = wishes.query(call.service)
        with lookup.names_explained(call.service, search.classes, search.traits):
            ask = explained.pasted(search.parameters)
            found = explained.explanation(call.service, ask, at=at, count=count, project_id=project)
    call.show(found, lambda: draw(found))
    if found["verdict"] != FITS:
        call.answer_no()


def draw(found: Mapping[str, Any]) -> None:
    """Print an explanation."""
    if "ask" in found:
        _draw_request(found)
    for line in wrapped(found["summary"]):
        click.echo(line)
    click.echo()
    show.table(
        ("constraint", "alone", "without", "empty cloud"),
        [
            (explained.label(each), each.get("alone"), each.get("without"), each.get("empty_cloud"))
            for each in found["constraints"]
        ],
        numbers=("alone", "without", "empty cloud"),
    )
    if not found["exact"]:
        click.echo("Counts are lower bounds: the search was cut short.")
    _list("Nearest", [_miss(miss, found) for miss in found.get("nearest", ())])
    _list("Would fit", [explained.relaxation_line(each, found) for each in found["relaxations"]])
    events = found.get("unlocked_by", ())
    _list("Fits after", [" and ".join(map(explained.event_line, each)) for each in events])
    if found.get("chosen"):
        _candidates(found)
    for note in found["notes"]:
        click.secho(f"Note: {note}", dim=True)


def _draw_request(found: Mapping[str, Any]) -> None:
    """The search that a kept explanation is of."""
    show.pairs(
        {
            "request": found["request_id"],
            "sent as": found["global_request_id"],
            "at": found["at"],
            "revision": found["revision"],
            "asked for": explained.ask_line(found["ask"]),
            "others": ", ".join(found["others"]),
        }
    )
    click.echo()


def _list(heading: str, lines: list[str]) -> None:
    if not lines:
        return
    click.echo(f"\n{click.style(f'{heading}:', bold=True)}")
    for text in lines:
        for number, line in enumerate(wrapped(text, INDENT * 2)):
            click.echo(f"{'' if number else INDENT}{line}")


def _miss(miss: dict[str, Any], found: Mapping[str, Any]) -> str:
    name = miss.get("name", miss["root"])
    text = explained.miss_line(miss, found)
    return text if text.startswith(f"{name} ") else f"{name}: {text}"


def _candidates(found: Mapping[str, Any]) -> None:
    """The candidate that a claim would take, and the next ones."""
    candidates = [found["chosen"], *found["alternatives"]]
    rows: list[tuple[object, ...]] = []
    for number, each in enumerate(candidates, start=1):
        shown: object = number
        names = each.get("names", {})
        for uuid, amounts in each["allocations"].items():
            for name, amount in sorted(amounts.items()):
                rows.append((shown, names.get(uuid, uuid), name, amount))
                shown = ""
    click.echo()
    show.table(("", "provider", "class", "amount"), rows, numbers=("", "amount"))
