"""``moorage report``: say what is really there."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import quote

import click

from moorage.cli.client import explained, lookup
from moorage.cli.client.call import CommandRun, client_command
from moorage.cli.client.findings import draw_findings
from moorage.cli.client.sources import document as documents
from moorage.cli.client.sources import host as of_host
from moorage.cli.client.sources import nova as of_nova
from moorage.cli.client.sources.document import Place, ReportDocument, UnreadableReportError
from moorage.cli.shared import output, show
from moorage.cli.shared.groups import Commands
from moorage.model.errors import MoorageError
from moorage.model.reports import KINDS

REPORTS: Final = "/moorage/v1/reports"
REPORTS_FEATURE: Final = "reports"
LACKS: Final = "takes no reports"


@click.group(cls=Commands, short_help="Report what is really there.")
def report() -> None:
    """Report what is really there, so that the service finds what is held and not used.

    'moorage findings list' shows what reports and the account disagree about. The service must have Moorage's
    native API.
    """


def _options(command: Callable[..., None]) -> Callable[..., None]:
    command = click.option(
        "--consumer-type",
        "consumer_types",
        multiple=True,
        metavar="TYPE",
        help="Only consumers of this type are the source's business; 'unknown' for those without one. May be "
        "repeated.",
    )(command)
    command = click.option(
        "--incomplete", is_flag=True, help="Something may be missing: do not take the rest for leaked."
    )(command)
    command = click.option(
        "--accept-shrink", is_flag=True, help="Believe the report although it has far fewer consumers."
    )(command)
    return click.option("--dry-run", is_flag=True, help="Print the report, and send nothing.")(command)


@report.command(short_help="Report what a file says.")
@click.argument("source")
@click.argument("file", type=click.Path(dir_okay=False, allow_dash=True))
@_options
@client_command
def apply(call: CommandRun, source: str, file: str, **options: Any) -> None:
    """Report what FILE says is there, in the name of SOURCE. - is standard input.

    FILE is YAML or JSON lines. It names the trees that it covers, the consumers that are there, and what they
    have. Providers may have names.
    """
    try:
        with click.open_file(file, encoding="utf-8") as opened:
            text = opened.read()
    except (OSError, UnicodeError) as error:
        raise UnreadableReportError(file, f"cannot be read: {error}") from error
    _send(call, source, documents.read(text, file), [], **options)


@report.command(short_help="Report what Nova runs.")
@click.option("--source", default="nova", show_default=True, help="The name of the source.")
@click.option(
    "--amounts/--no-amounts",
    default=True,
    help="Report what servers hold, where their flavor says it; or only that they are there.",
)
@_options
@client_command
def nova(call: CommandRun, source: str, amounts: bool, **options: Any) -> None:
    """Report the servers and migrations of Nova on all of its hypervisors.

    OS_AUTH_URL and the other variables of OpenStack's clients name Nova. The user needs to see the servers of
    all projects, and hosts.
    """
    # Imported only when needed: it takes longer than most commands.
    from moorage.cli.client.sources.nova_session import asking

    document, notes = of_nova.report(asking(os.environ), amounts=amounts)
    _send(call, source, document, notes, **options)


@report.command(short_help="Report what runs on this host.")
@click.argument("name", required=False, metavar="[PROVIDER]")
@click.option("--source", help="The name of the source.  [default: host-PROVIDER]")
@_options
@client_command
def host(call: CommandRun, name: str | None, source: str | None, **options: Any) -> None:
    """Report the processes and the libvirt domains of this host.

    Its provider is PROVIDER, or has the name of the host. Processes count that have the variable
    MOORAGE_CLAIM, as 'moorage run' sets it.
    """
    name = name or socket.gethostname()
    document, notes = of_host.report(name)
    _send(call, source or f"host-{name}", document, notes, **options)


@report.command(name="list", short_help="List the sources that have reported.")
@client_command
def list_sources(call: CommandRun) -> None:
    """List the sources that have reported, and their findings by kind."""
    with explained.needed(call.service, REPORTS_FEATURE, LACKS):
        found = call.service.get(REPORTS)
    columns = ("source", "last report", *KINDS, "suspect trees")
    rows = [
        (each["source"], show.age(each["last_at"]), *each["findings"].values(), each["suspect_trees"])
        for each in found["sources"]
    ]
    call.show(found, lambda: show.table(columns, rows, numbers=columns[2:]))


@report.command(short_help="Forget sources that report no longer.")
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE...")
@client_command
def forget(call: CommandRun, sources: tuple[str, ...]) -> None:
    """Forget sources that report no longer, with all of their findings."""

    def one(source: str) -> None:
        with explained.needed(call.service, REPORTS_FEATURE, LACKS):
            call.service.delete(f"{REPORTS}/{quote(source, safe='')}")
        call.done({"source": source}, f"{source} is forgotten.")

    call.each(sources, one)


def _send(
    call: CommandRun,
    source: str,
    document: ReportDocument,
    notes: list[str],
    *,
    consumer_types: tuple[str, ...],
    incomplete: bool,
    accept_shrink: bool,
    dry_run: bool,
) -> None:
    for note in notes:
        click.echo(note, err=True)
    document.complete &= not incomplete
    if consumer_types:
        document.consumer_types = list(consumer_types)
    if not document.trees:
        raise NothingCoveredError
    if dry_run:
        form = output.chosen_format()
        click.echo(output.text_of(document.shown(), output.JSON if form == output.JSON else "yaml"), nl=False)
        return
    places: dict[str, Place] = {}

    def place_of(name: str) -> Place:
        if name not in places:
            found = lookup.provider(call.service, name)
            places[name] = str(found["uuid"]), str(found["root_provider_uuid"])
        return places[name]

    path = f"{REPORTS}/{quote(source, safe='')}"
    with explained.needed(call.service, REPORTS_FEATURE, LACKS):
        bodies = documents.bodies(document, place_of, lookup.consumer_uuid, accept_shrink=accept_shrink)
        answers = [call.service.put(path, body) for body in bodies]
    last = answers[-1]
    told = {
        "source": source,
        "revision": last["revision"],
        "consumers": len(document.consumers),
        "complete": document.complete,
        "suspect": sorted({tree for each in answers for tree in each["suspect"]}),
        "actions": [action for each in answers for action in each["actions"]],
        "held_back": sum(each["held_back"] for each in answers),
        "findings": last["findings"],
        "total": last["total"],
    }
    call.show(told, lambda: _draw(call, told))


class NothingCoveredError(MoorageError):
    """A report says of no tree what is there."""

    def __str__(self) -> str:
        return "The report covers no tree. Name those that it is about in covers: {trees: [...]}."


def _draw(call: CommandRun, told: dict[str, Any]) -> None:
    whole = "" if told["complete"] else ", not all of them"
    click.echo(
        f"{told['source']} reported {told['consumers']} consumers{whole} (revision {told['revision']})."
    )
    if told["suspect"]:
        names = lookup.provider_names(call.service, told["suspect"][:5])
        more = len(told["suspect"]) - len(names)
        click.echo(
            f"Suspect: far fewer consumers than before on {', '.join(sorted(names.values()))}"
            f"{f' and {more} more' if more else ''}. This causes nothing until a later report agrees. "
            "--accept-shrink accepts it."
        )
    for each in told["actions"]:
        done = (
            f"done at revision {each['revision']}"
            if each["trouble"] is None
            else f"refused: {each['trouble']}"
        )
        click.echo(f"{each['kind']} {each['consumer']}: {each['action']} {done}.")
    if told["held_back"]:
        click.echo(f"{told['held_back']} actions wait: there were enough within the last hour.")
    draw_findings(call.service, told)
