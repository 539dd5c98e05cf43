"""``[moorage]``'s options about writes: groups of commits, and length of the change log."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from oslo_config import cfg

from moorage.model.journal import JournalMode
from moorage.service.settings import ChangeLogSettings, CommitSettings

_COMMIT: Final = CommitSettings()
_LOG: Final = ChangeLogSettings()

SECONDS_PER_HOUR: Final = 3600
SECONDS_PER_DAY: Final = 24 * SECONDS_PER_HOUR

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
        "Retry-After, because their clients would not wait for the answer.",
    ),
    cfg.IntOpt(
        "commit_deadline_seconds",
        default=int(_COMMIT.deadline_seconds),
        min=0,
        help="Seconds for which a write is retried after conflicts between processes, lost connections "
        "or while the database is unreachable. Then the client gets 503, which says that nothing was "
        "changed or that the outcome is not known. moorage serve gives a worker 30 seconds to end.",
    ),
    cfg.IntOpt(
        "place_step_limit",
        default=_COMMIT.place_step_limit,
        min=0,
        help="Steps of choosing the place of one claim while a group of writes waits for it, each some "
        "quarter of a microsecond. A search that needs more is done in the thread of its own request. "
        "The group only checks its result, so that a hard request does not hold up others. Listing "
        "the best trees for a new flavor may take twenty times as many. A cloud of more than some 400,000 "
        "hosts needs more.",
    ),
    cfg.IntOpt(
        "change_log_revisions",
        default=_LOG.kept_revisions,
        min=1,
        help="Writes that the change log keeps. A worker that lags further behind, after a pause, builds "
        "its index anew. The oldest are deleted in the background, a thousand at a time, but never "
        "before they are ten minutes old.",
    ),
    cfg.IntOpt(
        "change_log_hours",
        default=int(_LOG.kept_seconds) // SECONDS_PER_HOUR,
        min=1,
        help="Hours after which the change log deletes a write even if there are fewer of them.",
    ),
    cfg.StrOpt(
        "journal",
        default=JournalMode.FULL.value,
        choices=[
            (JournalMode.FULL.value, "Each value that changed, before and after."),
            (JournalMode.REFS.value, "Only which providers and consumers changed."),
            (JournalMode.OFF.value, "Nothing: there is neither a history nor a stream of changes."),
        ],
        help="What the journal keeps of each write, with the request that wrote. All processes on one "
        "database need the same value: a write that is not in the journal ends the history before it.",
    ),
    cfg.IntOpt(
        "journal_revisions",
        default=_LOG.journal_revisions,
        min=1,
        help="Writes that the journal keeps. The oldest are deleted in the background, a thousand at a time.",
    ),
    cfg.IntOpt(
        "journal_days",
        default=int(_LOG.journal_seconds) // SECONDS_PER_DAY,
        min=1,
        help="Days after which the journal deletes a write even if there are fewer of them.",
    ),
    cfg.IntOpt(
        "idempotency_hours",
        default=int(_LOG.keys_kept_seconds) // SECONDS_PER_HOUR,
        min=1,
        help="Hours for which a native write is known by its idempotency key. Later the same request is "
        "carried out again.",
    ),
]


def commit_settings_from(moorage: Callable[[str], Any]) -> CommitSettings:
    """Settings of the committer; ``moorage`` returns an option of the group by its name."""
    return CommitSettings(
        group_size=moorage("commit_group_size"),
        queue_length=moorage("commit_queue_length"),
        deadline_seconds=moorage("commit_deadline_seconds"),
        place_step_limit=moorage("place_step_limit"),
    )


def change_log_settings_from(moorage: Callable[[str], Any]) -> ChangeLogSettings:
    """Settings of the change log; ``moorage`` as for ``commit_settings_from``."""
    return ChangeLogSettings(
        kept_revisions=moorage("change_log_revisions"),
        kept_seconds=moorage("change_log_hours") * SECONDS_PER_HOUR,
        keys_kept_seconds=moorage("idempotency_hours") * SECONDS_PER_HOUR,
        journal_revisions=moorage("journal_revisions"),
        journal_seconds=moorage("journal_days") * SECONDS_PER_DAY,
    )
