"""``[moorage]``'s options about writes: how they are committed together, and what is told of them later."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from oslo_config import cfg

from moorage.service.settings import ChangeLogSettings, CommitSettings

_COMMIT: Final = CommitSettings()
_LOG: Final = ChangeLogSettings()

SECONDS_PER_HOUR: Final = 3600

WRITE_OPTIONS: Final[list[cfg.Opt]] = [
    cfg.IntOpt(
        "commit_group_size",
        default=_COMMIT.group_size,
        min=1,
        max=10_000,
        help="Most writes that are committed in one transaction. A larger group waits for the disk less "
        "often, but holds its locks longer.",
    ),
    cfg.IntOpt(
        "commit_queue_length",
        default=_COMMIT.queue_length,
        min=1,
        help="Most writes that wait in one worker process; further ones are refused with 503 and "
        "Retry-After, rather than answered when their client has long gone.",
    ),
    cfg.IntOpt(
        "commit_deadline_seconds",
        default=int(_COMMIT.deadline_seconds),
        min=0,
        help="Seconds for which conflicts between processes, lost connections and a database that is away "
        "are tried again and settled without the client seeing them. Then it is told 503: that nothing "
        "was changed, or that the outcome is not known. moorage serve gives a worker 30 seconds to end.",
    ),
    cfg.IntOpt(
        "change_log_revisions",
        default=_LOG.kept_revisions,
        min=1,
        help="Writes that the change log remembers. A worker that is further behind, after a pause, builds "
        "its index anew. The oldest are forgotten in the background, a thousand at a time, but never "
        "before they are ten minutes old.",
    ),
    cfg.IntOpt(
        "change_log_hours",
        default=int(_LOG.kept_seconds) // SECONDS_PER_HOUR,
        min=1,
        help="Hours after which the change log forgets a write even if there are fewer of them.",
    ),
]


def commit_settings_from(moorage: Callable[[str], Any]) -> CommitSettings:
    """How writes are committed; ``moorage`` gives an option of the group by its name."""
    return CommitSettings(
        group_size=moorage("commit_group_size"),
        queue_length=moorage("commit_queue_length"),
        deadline_seconds=moorage("commit_deadline_seconds"),
    )


def change_log_settings_from(moorage: Callable[[str], Any]) -> ChangeLogSettings:
    """What the change log keeps; ``moorage`` as for ``commit_settings_from``."""
    return ChangeLogSettings(
        kept_revisions=moorage("change_log_revisions"),
        kept_seconds=moorage("change_log_hours") * SECONDS_PER_HOUR,
    )
