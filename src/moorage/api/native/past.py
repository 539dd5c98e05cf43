"""Questions about a revision of the past: parameters that several endpoints share, and their checks."""

from __future__ import annotations

from typing import Final

from moorage.api.native import problems
from moorage.api.native.endpoint import NativeCall
from moorage.api.native.parameters import Parameter
from moorage.api.native.problems import COMPACTED, DIFFERENT_HISTORY, NOT_FOUND
from moorage.model.journal import JournalMode

EPOCH: Final = Parameter(
    "epoch",
    "The history that the revision belongs to, as an earlier answer named it.",
    {"type": "string", "pattern": "^[0-9a-f]{16}$"},
)

AT: Final = Parameter(
    "at",
    "The state at this revision; the present state if it is missing.",
    {"type": "integer", "minimum": 0},
)

PARAMETERS: Final = (AT, EPOCH)

PROBLEMS: Final = (NOT_FOUND, COMPACTED, DIFFERENT_HISTORY)

ABOUT: Final = (
    "With `at` the answer is true at that revision: what the journal has recorded since is taken back. It "
    "goes back as far as the journal. If it does not go back to `at`, the answer is 410 `compacted`. If the "
    "revision is not one of the present history, it is 410 `different_history`."
)


def asked(call: NativeCall) -> tuple[int | None, str | None]:
    """The revision and the epoch that a request names. Raises WireError (404) if no values are kept."""
    at: int | None = call.query.get(AT.name)
    if at is not None:
        mode = call.service.journal
        if mode is not JournalMode.FULL:
            raise problems.refusal(
                NOT_FOUND,
                f"This service keeps no values of the past: [moorage] journal is {mode.value}.",
            )
    return at, call.query.get(EPOCH.name)
