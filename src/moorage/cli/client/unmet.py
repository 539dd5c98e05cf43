"""``moorage unmet``: what searches did not find."""

from __future__ import annotations

from typing import Any

import click

from moorage.cli.client import explained
from moorage.cli.client.call import CommandRun, client_command
from moorage.cli.shared import show


@click.command(short_help="List what searches did not find.")
@click.option(
    "--since",
    metavar="TIME",
    help="Only searches from then on: a span such as 30m, 24h or 7d, or a time in ISO 8601.  [default: 24h]",
)
@click.option("--limit", type=click.IntRange(min=1), help="Most rows to show.  [default: 100]")
@client_command
def unmet(call: CommandRun, since: str | None, limit: int | None) -> None:
    """List what searches of the last day did not find, the most frequent first.

    Equal searches with the same reason are one row. LAST is how long ago the newest one was. Below it stands
    the id of its request: 'moorage why --request ID' says why it found nothing.

    The service must have Moorage's native API.
    """
    found = explained.unmet(call.service, since, limit)
    call.show(found, lambda: _draw(found))


def _draw(found: dict[str, Any]) -> None:
    if not found["kept"]:
        click.echo("This service keeps no searches: unmet_kept in [moorage] is 0.")
        return
    rows: list[tuple[object, ...]] = []
    for each in found["unmet"]:
        asked = explained.ask_line(each["ask"])
        rows.append((each["count"], each["verdict"], show.age(each["last_at"]), asked))
        rows.append(("", "", "", each["global_request_id"] or each["request_id"]))
    show.table(("count", "verdict", "last", "asked for"), rows, numbers=("count",))
