"""The one table of metrics: what there is, its labels and units, and what it tells."""

from __future__ import annotations

from enum import Enum
from typing import Final

from moorage.model.valueclass import valueclass


class Kind(Enum):
    """What Prometheus takes a metric for, and who knows it.

    ``COUNTER``, ``HISTOGRAM`` and ``GAUGE`` are kept by each worker process and put together when
    they are asked for. ``SAMPLED`` gauges are looked up at that moment, by whoever is asked.
    """

    COUNTER = "counter"
    HISTOGRAM = "histogram"
    GAUGE = "gauge"
    SAMPLED = "gauge, looked up when it is asked for"


@valueclass(frozen=True, slots=True)
class Metric:
    """One metric. ``buckets`` are upper bounds, in the metric's unit.

    ``per_process`` gauges have a label ``pid`` where there are several worker processes; others are
    summed.
    """

    name: str
    kind: Kind
    about: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()
    per_process: bool = False


SECONDS: Final = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
"""From a search in a small cloud to the deadline of a write."""

BUILD_SECONDS: Final = (0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 60.0, 180.0, 600.0)
GROUP_SIZES: Final = (1, 2, 4, 8, 16, 32, 64)

REQUESTS: Final = Metric(
    "moorage_requests_total",
    Kind.COUNTER,
    "Requests answered. The route is that of the API reference, `none` for a path that has none; the "
    "microversion is empty for a request that was refused before its version was known.",
    ("method", "route", "microversion", "status"),
)
REQUEST_SECONDS: Final = Metric(
    "moorage_request_seconds",
    Kind.HISTOGRAM,
    "Time from when a request had come to its answer, without the time on the network.",
    ("method", "route"),
    SECONDS,
)
STAGE_SECONDS: Final = Metric(
    "moorage_search_stage_seconds",
    Kind.HISTOGRAM,
    "Time of the stages of a search: `poll` asks the database for its revision, and at the same "
    "time for what claims have changed while there are any, or waits for a write that learns it; `catch_up` "
    "brings the index up to it if it is still behind; `search` finds candidates or providers.",
    ("stage",),
    SECONDS,
)
INDEX_PROVIDERS: Final = Metric(
    "moorage_index_providers",
    Kind.GAUGE,
    "Resource providers in the index of a process.",
    per_process=True,
)
INDEX_REVISION: Final = Metric(
    "moorage_index_revision",
    Kind.GAUGE,
    "Revision that the index of a process is at. It catches up when it is asked something: one that is "
    "behind had nothing to do. The lag is `scalar(moorage_revision) - moorage_index_revision`.",
    per_process=True,
)
INDEX_BUILD_SECONDS: Final = Metric(
    "moorage_index_build_seconds",
    Kind.HISTOGRAM,
    "Time to read the whole index. After the start of a process this should not happen.",
    buckets=BUILD_SECONDS,
)
GROUP_WRITES: Final = Metric(
    "moorage_commit_group_writes",
    Kind.HISTOGRAM,
    "Writes that were committed together.",
    buckets=GROUP_SIZES,
)
COMMIT_SECONDS: Final = Metric(
    "moorage_commit_seconds",
    Kind.HISTOGRAM,
    "Time of a group of writes from its first read to its answers, with all its repetitions.",
    buckets=SECONDS,
)
COMMIT_WAITING: Final = Metric(
    "moorage_commit_waiting", Kind.GAUGE, "Writes that waited when the last group was done."
)
SETBACKS: Final = Metric(
    "moorage_commit_setbacks_total",
    Kind.COUNTER,
    "Groups that had to be done again, by reason: a `conflict` with another process, a row of another "
    "one in the way (`constraint`), a broken `connection`, a `lost_commit` that had to be looked up.",
    ("reason",),
)
BUILD_INFO: Final = Metric(
    "moorage_build_info", Kind.SAMPLED, "Always 1; the version is in its label.", ("version",)
)
DATABASE_UP: Final = Metric(
    "moorage_database_up",
    Kind.SAMPLED,
    "Whether the database answered (1 or 0). If not, those below are missing.",
)
REVISION: Final = Metric("moorage_revision", Kind.SAMPLED, "Number of the last write in the database.")
CLASS_PROVIDERS: Final = Metric(
    "moorage_class_providers",
    Kind.SAMPLED,
    "Providers that have some of a resource class.",
    ("resource_class",),
)
CLASS_CAPACITY: Final = Metric(
    "moorage_class_capacity",
    Kind.SAMPLED,
    "What of a resource class may be claimed in all: `(total - reserved) * allocation_ratio`, summed.",
    ("resource_class",),
)
CLASS_USED: Final = Metric(
    "moorage_class_used", Kind.SAMPLED, "What of a resource class is claimed.", ("resource_class",)
)
PROCESS_RESIDENT_BYTES: Final = Metric(
    "moorage_process_resident_bytes", Kind.SAMPLED, "Memory of a worker process (Linux).", ("pid",)
)

METRICS: Final[tuple[Metric, ...]] = (
    REQUESTS,
    REQUEST_SECONDS,
    STAGE_SECONDS,
    INDEX_PROVIDERS,
    INDEX_REVISION,
    INDEX_BUILD_SECONDS,
    GROUP_WRITES,
    COMMIT_SECONDS,
    COMMIT_WAITING,
    SETBACKS,
    BUILD_INFO,
    DATABASE_UP,
    REVISION,
    CLASS_PROVIDERS,
    CLASS_CAPACITY,
    CLASS_USED,
    PROCESS_RESIDENT_BYTES,
)
