"""What this field takes for a UUID."""

from __future__ import annotations

import re
from typing import Final
from uuid import UUID

from oslo_utils import uuidutils

USUAL: Final = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
"""The form that nearly all have. All of it are UUIDs, but not all UUIDs are of it."""


CANONICAL: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
"""The form that Python's own UUID writes."""


def canonical(text: str) -> str:
    """What is a UUID (see ``is_uuid_like``) in the one form that all others can be brought into."""
    if CANONICAL.fullmatch(text) is not None:
        return text
    return str(UUID(text))


def is_uuid_like(text: object) -> bool:
    """Whether oslo.utils takes it for one: with or without hyphens, braces and the like."""
    if isinstance(text, str) and USUAL.fullmatch(text) is not None:
        # The library takes some times as long to say so.
        return True
    return bool(uuidutils.is_uuid_like(text))
