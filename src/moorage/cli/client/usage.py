"""``moorage usage``: how much is used, of a provider or by a project."""

from __future__ import annotations

from typing import Any

import click

from moorage.cli.client import lookup
from moorage.cli.client.allocation import CONSUMER_TYPE_MINOR
from moorage.cli.client.call import CommandRun, client_command, complete_provider
from moorage.cli.shared import show


@click.command(short_help="Show how much is used, of a provider or by a project.")
@click.option("--provider", shell_complete=complete_provider, help="Use of this provider's inventories.")
@click.option("--project", help="Use by this project.")
@click.option("--user", help="Use by this user of the project only.")
@client_command
def usage(call: CommandRun, provider: str | None, project: str | None, user: str | None) -> None:
    """Show how much is used: of a provider (--provider), or by a project (--project, --user)."""
    if bool(provider) == bool(project):
        raise click.UsageError("Use --provider or --project, and not both.")
    if user and not project:
        raise click.UsageError("--user needs --project.")
    if provider:
        _of_provider(call, provider)
    else:
        _of_project(call, str(project), user)


def _of_provider(call: CommandRun, provider: str) -> None:
    path = f"/resource_providers/{lookup.provider_uuid(call.service, provider)}"
    inventories = call.service.get(f"{path}/inventories")["inventories"]
    usages = call.service.get(f"{path}/usages")["usages"]
    data = {
        name: {"used": used, "capacity": show.capacity(inventories[name])}
        for name, used in sorted(usages.items())
        if name in inventories
    }
    call.show(
        data,
        lambda: show.table(
            ("class", "used", "capacity", "left", "use"),
            [
                (
                    name,
                    each["used"],
                    each["capacity"],
                    each["capacity"] - each["used"],
                    show.table_bar(each["used"], each["capacity"]),
                )
                for name, each in data.items()
            ],
            numbers=("used", "capacity", "left"),
        ),
    )


def _of_project(call: CommandRun, project: str, user: str | None) -> None:
    found = call.service.get("/usages", {"project_id": project, "user_id": user})["usages"]
    if not found:
        call.show(found, lambda: click.echo(f"Project {project} uses nothing."))
        return
    call.show(found, lambda: _draw(found, by_type=call.service.minor >= CONSUMER_TYPE_MINOR))


def _draw(found: dict[str, Any], *, by_type: bool) -> None:
    if not by_type:
        show.table(("class", "used"), sorted(found.items()), numbers=("used",))
        return
    show.table(
        ("type", "consumers", "class", "used"),
        [
            (kind, group["consumer_count"], name, used)
            for kind, group in sorted(found.items())
            for name, used in sorted(group.items())
            if name != "consumer_count"
        ],
        numbers=("consumers", "used"),
    )
