"""From what people type to what the API wants: providers by name or UUID, and names that exist."""

from __future__ import annotations

import difflib
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import requests

from moorage.cli.client.connection import RefusedError, Service
from moorage.model.errors import MoorageError

MATCHES: Final = 3
"""Names that are offered instead of one that does not exist."""


@dataclass(eq=False)
class UnknownNameError(MoorageError):
    """Something was named that is not there. ``instead``: what may have been meant."""

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


def is_uuid(text: str) -> bool:
    """Whether ``text`` is a UUID in the form in which the API writes them."""
    try:
        return str(uuid.UUID(text)) == text.lower()
    except ValueError:
        return False


def provider(service: Service, name: str) -> dict[str, Any]:
    """The provider with this UUID or name, as the API shows it.

    Raises UnknownNameError, ServiceError, RefusedError.
    """
    if is_uuid(name):
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
    everyone = (each["name"] for each in service.get("/resource_providers")["resource_providers"])
    raise UnknownNameError("resource provider", name, close_to(name, everyone))


def provider_uuid(service: Service, name: str) -> str:
    """UUID of the provider with this UUID or name. Raises as ``provider`` does."""
    return str(provider(service, name)["uuid"])


def provider_names(service: Service, uuids: Iterable[str]) -> dict[str, str]:
    """Names of some providers by UUID; one that is gone meanwhile keeps its UUID."""
    found: dict[str, str] = {}
    for each in sorted(set(uuids)):
        try:
            found[each] = service.get(f"/resource_providers/{each}")["name"]
        except RefusedError:
            found[each] = each
    return found


@contextmanager
def names_explained(
    service: Service, resource_classes: Iterable[str] = (), traits: Iterable[str] = ()
) -> Iterator[None]:
    """If what is done here is refused, say so if it is for a class or a trait that does not exist."""
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
    service: Service,
    path: str,
    refusal: RefusedError,
    key: tuple[str],
) -> None:
    wanted = sorted(set(named))
    if not wanted:
        return
    entries = service.get(path)[key[0]]
    known = [entry["name"] if isinstance(entry, dict) else entry for entry in entries]
    for name in wanted:
        if name not in known:
            raise UnknownNameError(kind, name, close_to(name, known)) from refusal
