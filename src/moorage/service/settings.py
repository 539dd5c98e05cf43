"""Settings of the service that hold for all requests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field

from moorage.model.requests import SearchSettings
from moorage.model.unmet import DEFAULT_UNMET_KEPT
from moorage.model.valueclass import valueclass


@valueclass(frozen=True, slots=True)
class CommitSettings:
    """The committer's limits.

    ``group_size`` bounds the commands of one transaction: larger groups pay the commit's fsync less often
    but hold the revision's lock longer. ``queue_length`` bounds the commands that wait in one process:
    beyond it a command is refused and its client may try again. ``deadline_seconds`` is how long the
    committer retries after conflicts between processes and lost connections before it refuses.
    ``place_step_limit`` are the steps of choosing one place while a group waits, some five milliseconds. A
    search that needs more takes place in the thread of its own request.
    """

    group_size: int = 128
    queue_length: int = 1024
    deadline_seconds: float = 30.0
    place_step_limit: int = 20_000


@valueclass(frozen=True, slots=True)
class ChangeLogSettings:
    """How much the change log keeps: so many revisions, and none older than so many seconds.

    100,000 revisions are some tens of megabytes. A week is as far back as operators usually look for the
    author of a change. ``keys_kept_seconds``: how long idempotency keys are known. ``journal_revisions`` and
    ``journal_seconds``: the same two limits for the journal.
    """

    kept_revisions: int = 100_000
    kept_seconds: float = 7 * 24 * 3600.0
    keys_kept_seconds: float = 24 * 3600.0
    journal_revisions: int = 10_000_000
    journal_seconds: float = 30 * 24 * 3600.0


@valueclass(frozen=True, slots=True)
class AuditSettings:
    """What reports of sources may cause.

    ``settle_seconds``: how long a disagreement must last before anything is done about it. ``most_actions``:
    of all sources within an hour. ``heal``: the actions that are allowed, by source; a name that ends with
    ``*`` stands for all that begin so. ``over_capacity``: missing claims are made even if there is no room.
    """

    settle_seconds: float = 600.0
    most_actions: int = 20
    heal: Mapping[str, frozenset[str]] = field(default_factory=dict)
    over_capacity: bool = False

    def heal_of(self, source: str) -> frozenset[str]:
        """The actions that are allowed for a source: of the longest name that fits."""
        if source in self.heal:
            return self.heal[source]
        fitting = [name for name in self.heal if name.endswith("*") and source.startswith(name[:-1])]
        return self.heal[max(fitting, key=len)] if fitting else frozenset()


@valueclass(frozen=True, slots=True)
class ServiceSettings:
    """All settings of the service room.

    ``candidate_order`` is the profile that orders the candidates of every search; None for no order.
    ``unmet_kept``: records of searches that found nothing. With 0 none is explained, counted or kept.
    ``changes_waiters``: clients of one process that may wait for changes at a time. ``changes_elsewhere``:
    host and port where more of them may, "" if there is none.
    """

    search: SearchSettings = field(default_factory=SearchSettings)
    commit: CommitSettings = field(default_factory=CommitSettings)
    change_log: ChangeLogSettings = field(default_factory=ChangeLogSettings)
    unmet_kept: int = DEFAULT_UNMET_KEPT
    changes_waiters: int = 16
    changes_elsewhere: str = ""
    candidate_order: str | None = None
    audit: AuditSettings = field(default_factory=AuditSettings)
