"""The functions that look figures up."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from moorage.model.leases import LeaseCounts
from moorage.model.reports import SourceFigures
from moorage.model.valueclass import valueclass
from moorage.model.values import ClassTotal


@valueclass(frozen=True, slots=True)
class Sources:
    """All raise MoorageError if the database cannot be reached."""

    revision: Callable[[], int]
    totals: Callable[[], Sequence[ClassTotal]]
    reports: Callable[[], Sequence[SourceFigures]]
    leases: Callable[[], LeaseCounts]
