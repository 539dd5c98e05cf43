"""Names of consumers and aggregates, which have only a UUID on the wire and in the database.

A name stands for the UUID computed from it (version 5), which is the same in every database. Files for
``moorage load`` and all commands use this. Names are not stored, so answers show UUIDs.
"""

from __future__ import annotations

import re
import uuid
from typing import Final

NAMESPACE: Final = uuid.UUID("6f0d1d26-6a3f-5d0c-9b39-0d6d4f3a7e11")
"""Namespace of the uuids made from names; it must never change, or a second load finds nothing."""

HEX_DIGITS: Final = 32

_AS_THE_API_WRITES_IT: Final = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_MEANT_AS_A_UUID: Final = re.compile(r"[0-9a-fA-F-]{28,40}")


def provider_uuid(name: str, attempt: int = 1) -> str:
    """Uuid of a new provider for which the file has only a name. Each ``attempt`` yields another one."""
    kind = "provider" if attempt == 1 else f"provider#{attempt}"
    return str(uuid.uuid5(NAMESPACE, f"{kind}:{name}"))


def aggregate_uuid(text: str) -> str:
    """Uuid of the aggregate with this uuid or name."""
    return as_uuid(text) or str(uuid.uuid5(NAMESPACE, f"aggregate:{text}"))


def consumer_uuid(text: str) -> str:
    """Uuid of the consumer with this uuid or name."""
    return as_uuid(text) or str(uuid.uuid5(NAMESPACE, f"consumer:{text}"))


def as_uuid(text: str) -> str | None:
    """``text`` as a uuid with dashes in lower case; None if it is not a uuid."""
    if len(text.replace("-", "")) != HEX_DIGITS:
        return None
    try:
        return str(uuid.UUID(text))
    except ValueError:
        return None


def is_written_as_uuid(text: str) -> bool:
    """Whether ``text`` is a uuid in the API's form, in lower or upper case."""
    return _AS_THE_API_WRITES_IT.fullmatch(text) is not None


def is_broken_uuid(text: str) -> bool:
    """Whether ``text`` looks like a uuid with a digit too many or too few."""
    return as_uuid(text) is None and _MEANT_AS_A_UUID.fullmatch(text) is not None
