"""A refusal as the wire knows it: status, words, code. How it is shown is for ``render``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

# Codes of errors (from 1.23 on). Source: API reference, "Errors".
UNDEFINED: Final = "placement.undefined_code"
INVENTORY_IN_USE: Final = "placement.inventory.inuse"
CONCURRENT_UPDATE: Final = "placement.concurrent_update"
DUPLICATE_NAME: Final = "placement.duplicate_name"
PROVIDER_IN_USE: Final = "placement.resource_provider.inuse"
CANNOT_DELETE_PARENT: Final = "placement.resource_provider.cannot_delete_parent"
PROVIDER_NOT_FOUND: Final = "placement.resource_provider.not_found"
DUPLICATE_KEY: Final = "placement.query.duplicate_key"
BAD_VALUE: Final = "placement.query.bad_value"
MISSING_VALUE: Final = "placement.query.missing_value"


@dataclass(eq=False)
class WireError(Exception):
    """An answer that says no. ``extra`` goes into the error object beside the usual keys.

    ``body`` is JSON that goes out as it is, in place of the usual object.
    """

    status: int
    message: str = ""
    code: str = UNDEFINED
    headers: Mapping[str, str] = field(default_factory=dict)
    extra: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None

    def __str__(self) -> str:
        return self.message


def bad_request(message: str, code: str = UNDEFINED) -> WireError:
    """400."""
    return WireError(400, message, code)
