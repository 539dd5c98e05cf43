"""``[moorage]``'s options against abuse: limits of size, number and time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from oslo_config import cfg

from moorage.api.http.settings import MAX_NAMES, MAX_URL_BYTES, Limits
from moorage.model.valueclass import valueclass

_DEFAULTS: Final = Limits()

MAX_HEADER_BYTES: Final = 1024 * 1024
"""Bytes. The highest limit that an operator may set: each open connection may take that much memory."""

MAX_BODY_BYTES: Final = 1024 * 1024 * 1024
"""Bytes. More than a worker could decode."""

LONGEST_IDLE_SECONDS: Final = 60
"""The HTTP server's own maximum."""

BODY_SECONDS: Final = 60
"""Default seconds for a body: as long as clients wait for an answer, and enough for the longest body at 200
kB per second."""

LONGEST_BODY_SECONDS: Final = 24 * 3600


def _count(what: str, default: int, more: str = "") -> cfg.IntOpt:
    return cfg.IntOpt(
        f"max_{what.replace(' ', '_')}",
        default=default,
        min=1,
        max=MAX_NAMES,
        help=f"Most {what} that one request may name{more}; more are refused with 400.",
    )


LIMIT_OPTIONS: Final[list[cfg.Opt]] = [
    cfg.IntOpt(
        "max_body_bytes",
        default=_DEFAULTS.body_bytes,
        min=1024,
        max=MAX_BODY_BYTES,
        help="Longest body of a request; a longer one is refused with 413.",
    ),
    cfg.IntOpt(
        "max_url_bytes",
        default=_DEFAULTS.url_bytes,
        min=256,
        max=MAX_URL_BYTES,
        help="Longest path and query string of a request; a longer one is refused with 414.",
    ),
    cfg.IntOpt(
        "max_header_bytes",
        default=_DEFAULTS.header_bytes,
        min=1024,
        max=MAX_HEADER_BYTES,
        help="Most bytes of all headers of a request; more are refused with 431.",
    ),
    _count("request groups", _DEFAULTS.request_groups),
    _count("subtree groups", _DEFAULTS.subtree_groups, " in all its same_subtree parameters"),
    _count("traits", _DEFAULTS.traits, " in its query string or body"),
    _count("aggregates", _DEFAULTS.aggregates, " in its query string or body"),
    _count("inventories", _DEFAULTS.inventories),
    _count("allocations", _DEFAULTS.allocations, ", one for each consumer, provider and resource class"),
    cfg.IntOpt(
        "max_connections",
        default=1024,
        min=1,
        help="moorage serve: most open connections per worker, idle ones included; further ones wait in "
        "the kernel's queue.",
    ),
    cfg.IntOpt(
        "idle_timeout",
        default=30,
        min=1,
        max=LONGEST_IDLE_SECONDS,
        help="moorage serve: seconds within which all headers of a request must arrive, after the "
        "connection was opened or the last answer sent; else it is closed.",
    ),
    cfg.IntOpt(
        "body_timeout",
        default=BODY_SECONDS,
        min=0,
        max=LONGEST_BODY_SECONDS,
        help="moorage serve: seconds within which a body must arrive; a later one is refused with 408. "
        "0: no limit.",
    ),
    cfg.BoolOpt(
        "one_processor_per_worker",
        default=True,
        help="moorage serve: keep the threads of a worker that answer requests on one processor, and each "
        "worker on another. Only one of them computes at a time, and handing over between processors "
        "takes longer than many a request. No effect with fewer processors than workers, or but one, "
        "and on other systems than Linux.",
    ),
]


@valueclass(frozen=True, slots=True)
class ServerSettings:
    """Settings of the HTTP server of ``moorage serve``.

    ``one_processor``: the threads of a worker share one processor. ``head_bytes`` is the limit of URL and
    headers together. Source: ``[moorage]``.
    """

    max_connections: int = 1024
    idle_seconds: int = 30
    body_seconds: int = BODY_SECONDS
    one_processor: bool = True
    head_bytes: int = _DEFAULTS.url_bytes + _DEFAULTS.header_bytes


def limits_from(moorage: Callable[[str], Any]) -> Limits:
    """Limits of one request; ``moorage`` returns an option of the group by its name."""
    return Limits(
        body_bytes=moorage("max_body_bytes"),
        url_bytes=moorage("max_url_bytes"),
        header_bytes=moorage("max_header_bytes"),
        request_groups=moorage("max_request_groups"),
        subtree_groups=moorage("max_subtree_groups"),
        traits=moorage("max_traits"),
        aggregates=moorage("max_aggregates"),
        inventories=moorage("max_inventories"),
        allocations=moorage("max_allocations"),
    )


def server_from(moorage: Callable[[str], Any]) -> ServerSettings:
    """Settings of the HTTP server; ``moorage`` as for ``limits_from``."""
    return ServerSettings(
        max_connections=moorage("max_connections"),
        idle_seconds=moorage("idle_timeout"),
        body_seconds=moorage("body_timeout"),
        one_processor=moorage("one_processor_per_worker"),
        head_bytes=moorage("max_url_bytes") + moorage("max_header_bytes"),
    )
