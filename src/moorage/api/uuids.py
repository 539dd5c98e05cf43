"""What this field takes for a UUID."""

from __future__ import annotations

import re
from typing import Final

from oslo_utils import uuidutils

USUAL: Final = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
"""The form that nearly all have. All of it are UUIDs, but not all UUIDs are of it."""


def is_uuid_like(text: object) -> bool:
    """Whether oslo.utils takes it for one: with or without hyphens, braces and the like."""
    if isinstance(text, str) and USUAL.fullmatch(text) is not None:
        # The library takes some times as long to say so.
        return True
    return bool(uuidutils.is_uuid_like(text))
