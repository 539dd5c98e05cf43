"""The one table of metrics: names, kinds, labels, units and meanings."""

from __future__ import annotations

from enum import Enum
from typing import Final

from moorage.model.valueclass import valueclass


class MetricKind(Enum):
    """What Prometheus takes a metric for, and where its value comes from.

    Each worker process keeps its own ``COUNTER``, ``HISTOGRAM`` and ``GAUGE`` values, and a scrape puts
    them together. ``SAMPLED`` gauges are looked up at that moment, by the process that answers the scrape.
    """

    COUNTER = "counter"
    HISTOGRAM = "histogram"
    GAUGE = "gauge"
    SAMPLED = "gauge, looked up at each scrape"


@valueclass(frozen=True, slots=True)
class Metric:
    """One metric. ``buckets`` are upper bounds, in the metric's unit.

    ``per_process`` gauges have a label ``pid`` where there are several worker processes. The values of all
    other gauges are summed.
    """

    name: str
    kind: MetricKind
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
    MetricKind.COUNTER,
    "Requests answered. The route is that of the API reference, `none` for a path that has none; the "
    "microversion is empty for a request that was refused before its version was known.",
    ("method", "route", "microversion", "status"),
)
REQUEST_SECONDS: Final = Metric(
    "moorage_request_seconds",
    MetricKind.HISTOGRAM,
    "Time from the arrival of a request to its answer, without the time on the network.",
    ("method", "route"),
    SECONDS,
)
STAGE_SECONDS: Final = Metric(
    "moorage_search_stage_seconds",
    MetricKind.HISTOGRAM,
    "Time of each stage of a search. `poll` learns the database's revision. It asks the database, also for "
    "the use that claims of other processes have changed, or it waits for a write of its own process that "
    "learns the revision. `catch_up` brings an index that is still behind up to that "
    "revision. `search` finds candidates or providers.",
    ("stage",),
    SECONDS,
)
INDEX_PROVIDERS: Final = Metric(
    "moorage_index_providers",
    MetricKind.GAUGE,
    "Resource providers in the index of a process.",
    per_process=True,
)
INDEX_REVISION: Final = Metric(
    "moorage_index_revision",
    MetricKind.GAUGE,
    "Revision of the index of a process. The index catches up at each search: the index of a process "
    "without searches falls behind. The lag is `scalar(moorage_revision) - moorage_index_revision`.",
    per_process=True,
)
INDEX_BUILD_SECONDS: Final = Metric(
    "moorage_index_build_seconds",
    MetricKind.HISTOGRAM,
    "Time to read the whole index. Normally a process does this only when it starts.",
    buckets=BUILD_SECONDS,
)
GROUP_WRITES: Final = Metric(
    "moorage_commit_group_writes",
    MetricKind.HISTOGRAM,
    "Writes that were committed together.",
    buckets=GROUP_SIZES,
)
COMMIT_SECONDS: Final = Metric(
    "moorage_commit_seconds",
    MetricKind.HISTOGRAM,
    "Time of a group of writes from its first read to its answers, with all attempts.",
    buckets=SECONDS,
)
COMMIT_WAITING: Final = Metric(
    "moorage_commit_waiting", MetricKind.GAUGE, "Writes that were waiting when the last group ended."
)
SETBACKS: Final = Metric(
    "moorage_commit_setbacks_total",
    MetricKind.COUNTER,
    "Groups of writes that had to be repeated, by reason: a `conflict` with another process, another "
    "process's row in the way (`constraint`), a broken `connection`, or a `lost_commit`, whose outcome had "
    "to be read from the change log.",
    ("reason",),
)
UNMET: Final = Metric(
    "moorage_unmet_total",
    MetricKind.COUNTER,
    "Searches for allocation candidates that found nothing, by the verdict of their explanation. `no_room` "
    "would fit in an empty cloud, `never_fits` would not. `nobody_offers`: no provider has a class, trait, "
    "aggregate or tree of the request. `cut_short`: the explanation needed too many steps. "
    "`not_explained`: more came than are explained. With `unmet_kept = 0` none is counted.",
    ("verdict",),
)
REPORTS: Final = Metric(
    "moorage_reports_total",
    MetricKind.COUNTER,
    "Reports of sources. `suspect`: far fewer consumers than the last one, so that it causes nothing until a "
    "later one agrees. `believed`: all others.",
    ("source", "trust"),
)
FINDING_ACTIONS: Final = Metric(
    "moorage_finding_actions_total",
    MetricKind.COUNTER,
    "Actions on findings that the service has taken of itself, by the kind of the finding, the action, and "
    "whether it was `done` or `refused`.",
    ("kind", "action", "outcome"),
)
FINDINGS: Final = Metric(
    "moorage_findings",
    MetricKind.SAMPLED,
    "Findings: consumers that a source and the account disagree about, by kind. `leaked` is held and not "
    "reported, `missing` is reported and not held, `differs` has other amounts, `moved` is held of another "
    "tree.",
    ("source", "kind"),
)
REPORT_AGE_SECONDS: Final = Metric(
    "moorage_report_age_seconds",
    MetricKind.SAMPLED,
    "Time since the last report of a source.",
    ("source",),
)
SUSPECT_TREES: Final = Metric(
    "moorage_report_suspect_trees",
    MetricKind.SAMPLED,
    "Trees of which a source has last reported far fewer consumers than before.",
    ("source",),
)
CHANGES_WATCHERS: Final = Metric(
    "moorage_changes_watchers",
    MetricKind.GAUGE,
    "Clients that wait for changes, in all processes.",
)
CHANGES_DROPPED: Final = Metric(
    "moorage_changes_dropped_total",
    MetricKind.COUNTER,
    "Streams of changes that ended because the client read too slowly.",
)
LEASE_RENEWALS: Final = Metric(
    "moorage_lease_renewals_total", MetricKind.COUNTER, "Leases that were renewed."
)
LEASE_EXPIRIES: Final = Metric(
    "moorage_lease_expiries_total",
    MetricKind.COUNTER,
    "Leases whose time has come: their ttl has passed without a renewal, or their grace after it, or they "
    "have reached their end.",
)
BUILD_INFO: Final = Metric(
    "moorage_build_info", MetricKind.SAMPLED, "Always 1; the version is in its label.", ("version",)
)
DATABASE_UP: Final = Metric(
    "moorage_database_up",
    MetricKind.SAMPLED,
    "Whether the database answered (1 or 0). After 0, `moorage_revision`, `moorage_class_*`, "
    "`moorage_findings` and `moorage_report_*` are missing.",
)
REVISION: Final = Metric("moorage_revision", MetricKind.SAMPLED, "Number of the last write in the database.")
CLASS_PROVIDERS: Final = Metric(
    "moorage_class_providers",
    MetricKind.SAMPLED,
    "Providers that have inventory of a resource class.",
    ("resource_class",),
)
CLASS_CAPACITY: Final = Metric(
    "moorage_class_capacity",
    MetricKind.SAMPLED,
    "Amount of a resource class that claims may hold: `(total - reserved) * allocation_ratio`, summed.",
    ("resource_class",),
)
CLASS_USED: Final = Metric(
    "moorage_class_used",
    MetricKind.SAMPLED,
    "Amount of a resource class that claims hold.",
    ("resource_class",),
)
LEASES: Final = Metric(
    "moorage_leases",
    MetricKind.SAMPLED,
    "Leases by state: `active`, `expired` (nothing is taken away yet), `quarantined` (an operator decides), "
    "`releasing` (claims are being taken away), `released` (known for a day of service time).",
    ("state",),
)
LEASES_WAITING: Final = Metric(
    "moorage_leases_waiting",
    MetricKind.SAMPLED,
    "Leases that wait for service time: those that are active or expired.",
)
SERVICE_TIME: Final = Metric(
    "moorage_service_time_seconds",
    MetricKind.SAMPLED,
    "Service time. It grows by a second each second while a lease is active or expired, and stands still "
    "otherwise, and while no process counts it.",
)
SERVICE_TIME_TERM: Final = Metric(
    "moorage_service_time_term",
    MetricKind.SAMPLED,
    "How often a process has begun to count service time in place of another one.",
)
LEASE_LAG: Final = Metric(
    "moorage_lease_expiry_lag_seconds",
    MetricKind.SAMPLED,
    "Service time by which the oldest lease is late that should have left its state; 0 if none is late.",
)
PROCESS_RESIDENT_BYTES: Final = Metric(
    "moorage_process_resident_bytes", MetricKind.SAMPLED, "Memory of a worker process (Linux).", ("pid",)
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
    UNMET,
    REPORTS,
    FINDING_ACTIONS,
    CHANGES_WATCHERS,
    CHANGES_DROPPED,
    LEASE_RENEWALS,
    LEASE_EXPIRIES,
    BUILD_INFO,
    DATABASE_UP,
    REVISION,
    CLASS_PROVIDERS,
    CLASS_CAPACITY,
    CLASS_USED,
    FINDINGS,
    REPORT_AGE_SECONDS,
    SUSPECT_TREES,
    LEASES,
    LEASES_WAITING,
    SERVICE_TIME,
    SERVICE_TIME_TERM,
    LEASE_LAG,
    PROCESS_RESIDENT_BYTES,
)
