"""What all client commands share: which service, and in which form the answer is shown."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from typing import Any, Final

import click
import requests
from click.shell_completion import CompletionItem

from moorage.cli.client.connection import Service
from moorage.cli.console import stdout
from moorage.model.errors import MoorageError
from moorage.model.valueclass import valueclass

DEFAULT_URL: Final = "http://127.0.0.1:8778"
"""Where ``moorage serve`` answers unless it is told otherwise."""

DEFAULT_TOKEN: Final = "admin"  # noqa: S105 - noauth2 takes any word; this one stands for an administrator.

URL_VARIABLE: Final = "MOORAGE_URL"
TOKEN_VARIABLE: Final = "MOORAGE_TOKEN"  # noqa: S105 - the name of a variable

COMPLETION_SECONDS: Final = 1.0
"""How long somebody who pressed the tabulator waits for names of providers."""

COMPLETIONS: Final = 50
"""Names offered at the most."""


@valueclass(frozen=True, slots=True)
class Call:
    """One use of a command."""

    service: Service
    as_json: bool

    def show(self, data: Any, draw: Callable[[], object]) -> None:
        """``data`` as JSON if that was asked for, else what ``draw`` prints."""
        if self.as_json:
            click.echo(json.dumps(data, indent=2))
        else:
            draw()

    def done(self, data: Any, sentence: str) -> None:
        """Say what was done."""
        self.show(data, lambda: stdout().print(sentence, markup=False))


def client_command(function: Callable[..., None]) -> Callable[..., None]:
    """Options --url, --token and --json around ``function``, which gets a ``Call`` first."""

    @click.option(
        "--url",
        envvar=URL_VARIABLE,
        default=DEFAULT_URL,
        show_default=True,
        show_envvar=True,
        help="The service to talk to: any that speaks the Placement API.",
    )
    @click.option(
        "--token",
        envvar=TOKEN_VARIABLE,
        default=DEFAULT_TOKEN,
        show_default=True,
        show_envvar=True,
        help="The token to send.",
    )
    @click.option("--json", "as_json", is_flag=True, help="The answer as JSON instead of a table.")
    @functools.wraps(function)
    def wrapped(*arguments: Any, url: str, token: str, as_json: bool, **options: Any) -> None:
        with Service(url, token) as service:
            function(Call(service, as_json), *arguments, **options)

    return wrapped


def complete_provider(
    context: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Names of providers that begin so, or that contain it if none does; none if nothing answers."""
    url = context.params.get("url") or DEFAULT_URL
    token = context.params.get("token") or DEFAULT_TOKEN
    try:
        answer = requests.get(
            f"{url.rstrip('/')}/resource_providers",
            headers={"X-Auth-Token": token},
            timeout=COMPLETION_SECONDS,
        )
        names = sorted(provider["name"] for provider in answer.json()["resource_providers"])
    except (requests.RequestException, MoorageError, ValueError, LookupError, TypeError):
        return []
    found = [name for name in names if name.startswith(incomplete)]
    return [CompletionItem(name) for name in (found or [n for n in names if incomplete in n])[:COMPLETIONS]]


def provider_argument(name: str = "provider", **options: Any) -> Callable[..., Any]:
    """An argument that names a provider: by its name or its UUID."""
    return click.argument(name, metavar=name.upper(), shell_complete=complete_provider, **options)
