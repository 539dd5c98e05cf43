"""``[moorage]``'s options about clients that wait for changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from oslo_config import cfg

from moorage.model.cache import KIB, MIB
from moorage.model.valueclass import valueclass
from moorage.telemetry.listen_address import address_of

LISTEN: Final = "changes_listen"

WATCHER_OPTIONS: Final[list[cfg.Opt]] = [
    cfg.IntOpt(
        "changes_waiters",
        default=16,
        min=0,
        max=48,
        help="Clients that may wait for changes at a time in one worker process. Each takes one of its 64 "
        "threads. A further one gets 503 and asks again later, or without waiting.",
    ),
    cfg.StrOpt(
        LISTEN,
        default="",
        help="moorage serve: HOST:PORT of a separate address for GET /moorage/v1/changes, where thousands of "
        "clients may wait. One process serves it, with the API's identities, policy and TLS. Empty: none.",
    ),
    cfg.IntOpt(
        "changes_listen_watchers",
        default=5000,
        min=1,
        max=100_000,
        help="Clients that may wait for changes at a time at changes_listen. A further one gets 503.",
    ),
    cfg.IntOpt(
        "changes_listen_behind_bytes",
        default=4 * MIB,
        min=KIB,
        help="Bytes of changes that a client of changes_listen may be behind. Then its stream ends, because "
        "it reads too slowly.",
    ),
]


@valueclass(frozen=True, slots=True)
class WatcherSettings:
    """``listen``: host and port of the address for many clients, None for none.

    ``watchers`` may wait there, and each may be ``behind_bytes`` behind. Source: ``[moorage]``.
    """

    listen: tuple[str, int] | None = None
    watchers: int = 5000
    behind_bytes: int = 4 * MIB


def watchers_from(moorage: Callable[[str], Any]) -> WatcherSettings:
    """Settings; ``moorage`` returns an option of the group by its name. Raises ConfigurationError."""
    listen = moorage(LISTEN)
    return WatcherSettings(
        address_of(listen, LISTEN) if listen else None,
        moorage("changes_listen_watchers"),
        moorage("changes_listen_behind_bytes"),
    )
