"""Settings of any API over HTTP."""

from __future__ import annotations

from moorage.model.valueclass import valueclass

DEFAULT_MAX_BODY_BYTES = 10 * 1024 * 1024
"""Bytes. Far above any usual body (a reshape of a large tree has some 100 kB), and far below a size that
harms a worker."""

MAX_URL_BYTES = 65_534
"""Bytes. The HTTP server accepts no longer URL."""

DEFAULT_MAX_URL_BYTES = 65_000
"""Bytes of path and query string: a ``member_of`` of some 1,700 aggregates. Placement behind gunicorn, uWSGI
or Apache accepts 4 to 8 kB by default."""

DEFAULT_MAX_HEADER_BYTES = 32 * 1024
"""Bytes of all names and values. The largest tokens, those with a signed catalogue, have some 10 kB."""

MAX_NAMES = 30_000
"""The largest value of a limit that counts things: SQLite accepts at most 32,766 values in one statement,
PostgreSQL 65,535."""


@valueclass(frozen=True, slots=True)
class Limits:
    """Limits of one request.

    ``url_bytes`` are those of path and query string (414), ``header_bytes`` those of all headers (431),
    ``body_bytes`` those of the body (413). The others count what a query string or a body names (400): groups
    of a search; groups in all its subtrees; traits and aggregates; inventories; and allocations, which are
    amounts of one class that one consumer holds of one provider. Usual requests stay far below: the reshape
    of a compute host of a thousand servers has some thousands of allocations.
    """

    body_bytes: int = DEFAULT_MAX_BODY_BYTES
    url_bytes: int = DEFAULT_MAX_URL_BYTES
    header_bytes: int = DEFAULT_MAX_HEADER_BYTES
    request_groups: int = 500
    subtree_groups: int = 2_000
    traits: int = 5_000
    aggregates: int = 10_000
    inventories: int = 20_000
    allocations: int = 20_000

    @property
    def fewest(self) -> int:
        """The least number of things of one kind that is allowed: a body of so few values may name any."""
        return min(
            self.request_groups,
            self.subtree_groups,
            self.traits,
            self.aggregates,
            self.inventories,
            self.allocations,
        )
