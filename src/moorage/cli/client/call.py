"""What all client commands share: the service, and the form of the answer."""

from __future__ import annotations

import functools
import re
import shlex
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, NoReturn, TypeVar

import click
import requests
from click.shell_completion import CompletionItem

from moorage.cli.client import lookup
from moorage.cli.client.address import Address, address_of, service_options
from moorage.cli.client.connection import RefusedError, ServiceConnection
from moorage.cli.client.words import plain
from moorage.cli.shared import exits, output
from moorage.cli.shared.console import described, hint_of
from moorage.model.errors import MoorageError
from moorage.model.valueclass import valueclass

T = TypeVar("T")

_CLIENT_COMMAND: Final = re.compile(
    r"'(moorage (?:aggregate|allocation|candidates|changes|claim|findings|history|inventory|lease|provider"
    r"|report|unmet|usage|why)\b[^']*)'"
)

COMPLETION_SECONDS: Final = 1.0
"""Longest wait of a completion for names of providers."""

COMPLETIONS: Final = 50
"""Largest number of names that a completion offers."""


@valueclass(frozen=True, slots=True)
class CommandRun:
    """One run of a client command."""

    service: ServiceConnection

    @property
    def as_data(self) -> bool:
        """Whether the answer is data for a program, which is always complete."""
        return output.chosen_format() != output.TABLE

    def show(self, data: Any, draw: Callable[[], object]) -> None:
        """Print ``data`` in the requested form; as a table, ``draw`` prints it."""
        output.show(data, draw)

    def done(self, data: Any, sentence: str) -> None:
        """Say what was done."""
        self.show(data, lambda: click.echo(sentence))

    def each(self, names: Sequence[str], one: Callable[[str], None]) -> None:
        """Call ``one`` for each name. A refusal for one name does not stop the others."""
        refused: list[MoorageError] = []
        for name in dict.fromkeys(names):
            try:
                one(name)
            except MoorageError as error:
                if len(names) == 1:
                    raise
                refused.append(error)
        if refused:
            raise SeveralError(tuple(refused))

    def gather(self, names: Sequence[str], ask: Callable[[str], T], draw: Callable[[T], object]) -> list[T]:
        """Show the results of ``ask``: for one name the object itself, for several names a list."""
        found: list[T] = []
        try:
            self.each(names, lambda name: found.append(ask(name)))
        finally:
            if found:
                self.show(found[0] if len(names) == 1 else found, lambda: _draw_each(found, draw))
        return found

    def answer_no(self) -> NoReturn:
        """Exit with the status for the answer "no"."""
        click.get_current_context().exit(exits.NO)


def _draw_each(found: Sequence[T], draw: Callable[[T], object]) -> None:
    for number, each in enumerate(found):
        if number:
            click.echo()
        draw(each)


@dataclass(eq=False)
class SeveralError(MoorageError):
    """The service refused the request for some of several names."""

    errors: tuple[MoorageError, ...]

    def __str__(self) -> str:
        return "\n".join(described(error) for error in self.errors)

    @property
    def advice(self) -> str:
        """Advice on any of the errors."""
        return "\n".join(dict.fromkeys(filter(None, map(hint_of, self.errors))))


def client_command(function: Callable[..., None]) -> Callable[..., None]:
    """Options --url, --token, --format and --json around ``function``, which gets a ``CommandRun`` first."""

    @service_options
    @output.format_options
    @functools.wraps(function)
    def wrapped(*arguments: Any, **options: Any) -> None:
        address = address_of(click.get_current_context())
        tell(address)
        with ServiceConnection(address.url, address.token) as service:
            try:
                function(CommandRun(service), *arguments, **options)
            except (RefusedError, SeveralError) as error:
                for refusal in error.errors if isinstance(error, SeveralError) else (error,):
                    if isinstance(refusal, RefusedError):
                        _explain(refusal, service, address, options.get("provider"))
                raise

    return wrapped


def _explain(refusal: RefusedError, service: ServiceConnection, address: Address, provider: object) -> None:
    """Reword a refusal, and fill names of the command line into its advice."""
    refusal.told = plain(refusal.detail, lambda uuid: lookup.provider_names(service, [uuid])[uuid])
    if isinstance(provider, str):
        refusal.advice = refusal.advice.replace("PROVIDER", shlex.quote(provider))
    refusal.advice = with_options(refusal.advice, address.options)


def tell(address: Address) -> None:
    """Print on stderr the service that the command uses, unless the answer is for a program."""
    if output.chosen_format() == output.TABLE:
        click.secho(str(address), dim=True, err=True)


def with_options(advice: str, words: Sequence[str]) -> str:
    """``advice`` in which commands name the same service as the present command."""
    if not words:
        return advice
    return _CLIENT_COMMAND.sub(lambda found: f"'{found[1]} {shlex.join(words)}'", advice)


def complete_provider(
    context: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Names of providers that begin with the text, else those that contain it; none if no service answers."""
    try:
        address = address_of(context)
        answer = requests.get(
            f"{address.url}/resource_providers",
            headers={"X-Auth-Token": address.token},
            timeout=COMPLETION_SECONDS,
        )
        names = sorted(provider["name"] for provider in answer.json()["resource_providers"])
    except (requests.RequestException, click.BadParameter, ValueError, LookupError, TypeError):
        return []
    found = [name for name in names if name.startswith(incomplete)]
    return [CompletionItem(name) for name in (found or [n for n in names if incomplete in n])[:COMPLETIONS]]


def provider_argument(name: str = "provider", **options: Any) -> Callable[..., Any]:
    """An argument that names a provider by its name or its UUID."""
    return click.argument(name, metavar=name.upper(), shell_complete=complete_provider, **options)


def provider_arguments(*, required: bool = True) -> Callable[..., Any]:
    """Arguments that name several providers."""
    metavar = "PROVIDER..." if required else "[PROVIDER]..."
    return click.argument(
        "providers", nargs=-1, required=required, metavar=metavar, shell_complete=complete_provider
    )


@contextmanager
def refused_for(provider: str) -> Iterator[None]:
    """Make the advice of refusals in this block name ``provider``."""
    try:
        yield
    except RefusedError as refusal:
        refusal.advice = refusal.advice.replace("PROVIDER", shlex.quote(provider))
        raise
