"""Resolves names of the command line: providers by name or UUID, and names that exist."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import click
import requests

from moorage.cli.client.connection import NotAllowedError, RefusedError, ServiceConnection
from moorage.cli.shared import names
from moorage.model.errors import MoorageError

MATCHES: Final = 3
"""Number of similar names suggested for an unknown name."""


@dataclass(eq=False)
class UnknownNameError(MoorageError):
    """A name does not exist. ``instead`` are similar names."""

    kind: str
    name: str
    instead: tuple[str, ...] = ()

    def __str__(self) -> str:
        question = f" Did you mean {', '.join(self.instead)}?" if self.instead else ""
        return f"There is no {self.kind} '{self.name}'.{question}"


def close_to(name: str, names: Iterable[str]) -> tuple[str, ...]:
    """Names that look like ``name``, the closest first; case does not count."""
    by_key = {known.casefold(): known for known in names}
    found = difflib.get_close_matches(name.casefold(), by_key, MATCHES)
    return tuple(by_key[key] for key in found)


def consumer_uuid(text: str) -> str:
    """UUID of the consumer with this UUID or name. Raises BadParameter for a UUID with a mistake."""
    return _named(text, "consumer", names.consumer_uuid)


def aggregate_uuid(text: str) -> str:
    """UUID of the aggregate with this UUID or name. Raises BadParameter for a UUID with a mistake."""
    return _named(text, "aggregate", names.aggregate_uuid)


def _named(text: str, kind: str, uuid_of: Callable[[str], str]) -> str:
    if names.is_written_as_uuid(text):
        # Kept as written: other clients may have stored capitals, and some databases are case-sensitive.
        return text
    if names.is_broken_uuid(text):
        raise click.BadParameter(
            f"'{text}' looks like a UUID and has {len(text.replace('-', ''))} digits; a UUID has "
            f"{names.HEX_DIGITS}."
        )
    if not text.strip():
        raise click.BadParameter(f"The name of {'an' if kind == 'aggregate' else 'a'} {kind} is empty.")
    return uuid_of(text)


def called(text: str, uuid: str) -> str:
    """How an answer names a consumer or an aggregate: by its name, if given, and its UUID."""
    return text if names.as_uuid(text) else f"{text} ({uuid})"


def provider(service: ServiceConnection, name: str) -> dict[str, Any]:
    """The provider with this UUID or name, as the API shows it.

    Raises UnknownNameError, ServiceError, RefusedError.
    """
    if names.is_written_as_uuid(name):
        try:
            found: dict[str, Any] = service.get(f"/resource_providers/{name}")
        except RefusedError as refusal:
            if refusal.status != requests.codes.not_found:
                raise
        else:
            return found
    listed = service.get("/resource_providers", {"name": name})["resource_providers"] if name else []
    if listed:
        only: dict[str, Any] = listed[0]
        return only
    existing = (each["name"] for each in service.get("/resource_providers")["resource_providers"])
    raise UnknownNameError("resource provider", name, close_to(name, existing))


def provider_uuid(service: ServiceConnection, name: str) -> str:
    """UUID of the provider with this UUID or name. Raises as ``provider`` does."""
    return str(provider(service, name)["uuid"])


def provider_names(service: ServiceConnection, uuids: Iterable[str]) -> dict[str, str]:
    """Names of some providers by UUID; one that was deleted or may not be seen is shown by its UUID."""
    found: dict[str, str] = {}
    for each in sorted(set(uuids)):
        if each not in found:
            try:
                found[each] = service.get(f"/resource_providers/{each}")["name"]
            except RefusedError:
                found[each] = each
            except NotAllowedError:
                found |= {each: each, **_names_in_tree(service, each)}
    return found


def _names_in_tree(service: ServiceConnection, uuid: str) -> dict[str, str]:
    """Names of the tree of a provider, which a member of a project that holds something of it may see."""
    try:
        told = service.get(f"/moorage/v1/trees/{uuid}")
    except (RefusedError, NotAllowedError):
        return {}
    return {each["uuid"]: each["name"] for each in told["providers"]}


@contextmanager
def names_explained(
    service: ServiceConnection, resource_classes: Iterable[str] = (), traits: Iterable[str] = ()
) -> Iterator[None]:
    """If the service refuses this block because a class or trait is unknown, explain that."""
    try:
        yield
    except RefusedError as refusal:
        if refusal.status in (requests.codes.bad_request, requests.codes.not_found):
            _explain(
                "resource class",
                resource_classes,
                service,
                "/resource_classes",
                refusal,
                ("resource_classes",),
            )
            _explain("trait", traits, service, "/traits", refusal, ("traits",))
        raise


def _explain(
    kind: str,
    named: Iterable[str],
    service: ServiceConnection,
    path: str,
    refusal: RefusedError,
    key: tuple[str],
) -> None:
    wanted = sorted(set(named))
    if not wanted:
        return
    try:
        entries = service.get(path)[key[0]]
    except NotAllowedError:
        # The first refusal says more to a client that may not list names.
        return
    known = [entry["name"] if isinstance(entry, dict) else entry for entry in entries]
    for name in wanted:
        if name not in known:
            raise UnknownNameError(kind, name, close_to(name, known)) from refusal
