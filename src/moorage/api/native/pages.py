"""Lists by keyset: each page names the last key of the one before it, so no page is kept anywhere."""

from __future__ import annotations

from typing import Final

from moorage.api.http.validation import Schema
from moorage.api.native.parameters import Parameter

USUAL: Final = 500
"""Items of a page, if the request does not say."""

MOST: Final = 5_000
"""Items of a page at most."""

UUID: Final[Schema] = {"type": "string", "minLength": 1, "maxLength": 36}
"""A UUID as it is kept: a database of Placement may have some without dashes."""

LIMIT: Final = Parameter(
    "limit",
    f"The most items of the page; {USUAL} if it is missing.",
    {"type": "integer", "minimum": 1, "maximum": MOST},
)
AFTER: Final = Parameter("after", "Begin after this key: `next` of the page before.", UUID)

NEXT: Final = "next"
"""Field of a page: ``after`` of the next one, null for the last page."""

NEXT_SCHEMA: Final[Schema] = {"anyOf": [{"type": "string"}, {"type": "null"}]}
