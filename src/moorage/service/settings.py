"""How the service behaves, whatever it is asked."""

from __future__ import annotations

from dataclasses import field

from moorage.model.requests import SearchSettings
from moorage.model.valueclass import valueclass


@valueclass(frozen=True, slots=True)
class CommitSettings:
    """The committer's limits.

    ``group_size`` bounds the commands of one transaction: larger groups pay the commit's fsync
    less often but hold the revision's lock longer. ``queue_length`` bounds the commands that
    wait in one process; past it a client is told to come back. ``deadline_seconds`` is how long
    conflicts between processes and lost connections are retried before a client is told so.
    """

    group_size: int = 128
    queue_length: int = 1024
    deadline_seconds: float = 30.0


@valueclass(frozen=True, slots=True)
class ChangeLogSettings:
    """What the change log remembers: so many revisions, and none that is older than so many seconds.

    100,000 revisions are some tens of megabytes; a week is what somebody looks back at who asks
    who did what.
    """

    kept_revisions: int = 100_000
    kept_seconds: float = 7 * 24 * 3600.0


@valueclass(frozen=True, slots=True)
class ServiceSettings:
    """All settings of the service room."""

    search: SearchSettings = field(default_factory=SearchSettings)
    commit: CommitSettings = field(default_factory=CommitSettings)
    change_log: ChangeLogSettings = field(default_factory=ChangeLogSettings)
