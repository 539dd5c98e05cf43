"""What an operator can set of the wire."""

from __future__ import annotations

from dataclasses import field

from moorage.model.valueclass import valueclass

INCOMPLETE_CONSUMER_ID = "00000000-0000-0000-0000-000000000000"
"""Project and user of consumers whose client could not name them (before 1.8)."""

DEFAULT_MAX_BODY_BYTES = 10 * 1024 * 1024
"""Bytes. Far above any honest body (a reshape of a large tree is some 100 kB), far below what
would hurt a worker."""

MAX_URL_BYTES = 65_534
"""Bytes. No longer URL gets through the HTTP server."""

DEFAULT_MAX_URL_BYTES = 65_000
"""Bytes of path and query string: a ``member_of`` of some 1,700 aggregates. Placement behind
gunicorn, uWSGI or Apache takes 4 to 8 kB unless it is told otherwise."""

DEFAULT_MAX_HEADER_BYTES = 32 * 1024
"""Bytes of all names and values. The largest tokens, those with a signed catalogue, have some 10 kB."""

MAX_NAMES = 30_000
"""What an operator may allow of anything that is counted: SQLite takes no more than 32,766 values in
one statement, PostgreSQL 65,535."""


@valueclass(frozen=True, slots=True)
class Limits:
    """How much one request may be, and ask for, before it is refused.

    ``url_bytes`` are those of path and query string (414), ``header_bytes`` those of all headers
    (431), ``body_bytes`` those of the body (413). The others count what a query string or a body
    names (400): groups of a search; traits and aggregates; inventories; and allocations, which are
    amounts of one class that one consumer holds of one provider. No client that means well comes near:
    a compute host of a thousand servers is reshaped with some thousands of allocations.
    """

    body_bytes: int = DEFAULT_MAX_BODY_BYTES
    url_bytes: int = DEFAULT_MAX_URL_BYTES
    header_bytes: int = DEFAULT_MAX_HEADER_BYTES
    request_groups: int = 500
    traits: int = 5_000
    aggregates: int = 10_000
    inventories: int = 20_000
    allocations: int = 20_000


@valueclass(frozen=True, slots=True)
class ApiSettings:
    """Settings of the wire.

    Source: placement.conf ``[placement] incomplete_consumer_project_id`` and
    ``incomplete_consumer_user_id``. ``limits`` are our own: ``[moorage] max_…``.
    """

    incomplete_consumer_project_id: str = INCOMPLETE_CONSUMER_ID
    incomplete_consumer_user_id: str = INCOMPLETE_CONSUMER_ID
    limits: Limits = field(default_factory=Limits)
