"""Refusals of unknown traits and classes, with the known names that look like them."""

from __future__ import annotations

from typing import Final

from moorage.api.http.wire_error import WireError
from moorage.api.native import names, problems
from moorage.model.errors import MoorageError, ResourceClassNotFoundError, TraitNotFoundError
from moorage.service.facade import Service

MOST_UNKNOWN: Final = 5
"""Unknown names of a request that get their nearest known names."""


def refusal_of(error: MoorageError, service: Service) -> WireError | None:
    """The refusal for an unknown name; None for any other error."""
    if isinstance(error, TraitNotFoundError):
        unknown = error.names.split(", ")
    elif isinstance(error, ResourceClassNotFoundError):
        unknown = [error.name]
    else:
        return None
    revision, known = service.known_names()
    among = known.traits if isinstance(error, TraitNotFoundError) else known.resource_classes
    named = [{"name": name, "nearest": names.nearest(name, among)} for name in unknown[:MOST_UNKNOWN]]
    return problems.refusal(problems.UNKNOWN_NAME, str(error), names=named, revision=revision)
