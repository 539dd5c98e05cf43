"""Options of Placement that are accepted here and have no effect, each with the reason.

A file that sets one of them works unchanged. ``moorage config check``, and a line in the log at start, say
that the option has no effect.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from oslo_config import cfg

DEFAULT_GROUP: Final = "DEFAULT"

REASONS: Final[Mapping[tuple[str, str], str]] = {
    (DEFAULT_GROUP, "tempdir"): "nothing is written to a temporary directory",
    ("placement_database", "slave_connection"): (
        "an answer shows every write that was committed before the request, which a replica that lags "
        "behind cannot promise; searches use memory and need no replica"
    ),
    ("placement_database", "connection_trace"): (
        "statements are not annotated with Python's stack; traces show where time is spent"
    ),
    ("placement", "allocation_conflict_retry_count"): (
        "writes that conflict are repeated until they succeed or a deadline passes, not a number of times"
    ),
    ("workarounds", "optimize_for_wide_provider_trees"): "wide trees need no workaround here",
}
"""Why an option has no effect, by group and name."""


def no_effect(group: str, name: str) -> str:
    """The help text of an option without effect."""
    return f"Accepted, without effect: {REASONS[group, name]}."


PATH_OPTIONS: Final[list[cfg.Opt]] = [
    cfg.StrOpt(
        "pybasedir",
        default="/var/lib/placement",
        help="A directory that other values may refer to as $pybasedir.",
    ),
    cfg.StrOpt(
        "state_path",
        default="$pybasedir",
        help="A directory that other values may refer to as $state_path, for example "
        "connection = sqlite:///$state_path/placement.sqlite.",
    ),
    cfg.StrOpt("tempdir", help=no_effect(DEFAULT_GROUP, "tempdir")),
]
"""Options of [DEFAULT] about the places of files."""
