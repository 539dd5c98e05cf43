"""What watching costs per request: ``python -m benchmarks.watching``.

The same small search goes through the application in this process, in turns without and with each
kind of observer, so that whatever else the machine does strikes all of them.
"""

from __future__ import annotations

import gc
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client import CollectorRegistry

from moorage.api.placement import application
from moorage.cli.loading import load, read_document
from moorage.service.facade import Service
from moorage.store.settings import StoreSettings
from moorage.store.store import Store
from moorage.telemetry.instruments import Instruments
from moorage.telemetry.masking import masked
from moorage.telemetry.records import RequestRecords
from moorage.telemetry.several import Several
from moorage.telemetry.traces import Traces
from tests.peer.exchange import Request, call

TURNS = 40
REQUESTS_PER_TURN = 50
DEMO = Path(__file__).parents[1] / "src" / "moorage" / "cli" / "demo.yaml"
SEARCH = Request(
    "GET",
    "/allocation_candidates",
    "resources=VCPU:1,MEMORY_MB:512&limit=1",
    {"X-Auth-Token": "admin", "OpenStack-API-Version": "placement 1.39"},
)


def applications(folder: Path) -> dict[str, Any]:
    """The application, watched in each way, on one database."""
    store = Store(StoreSettings(f"sqlite:///{folder / 'demo.sqlite'}", sqlite_synchronous_full=False))
    store.migrate()
    store.synchronise_names()
    load(Service(store), read_document(DEMO))
    made = {"nobody watches": application.create(Service(store))}
    made["request ids in the log"] = application.create(
        Service(store), observers=[RequestRecords(lines=False, mask=masked)]
    )
    instruments = Instruments(CollectorRegistry())
    made["metrics"] = application.create(
        Service(store, observer=Several([instruments])), observers=[instruments]
    )
    traces = Traces(BatchSpanProcessor(InMemorySpanExporter()))
    made["traces"] = application.create(Service(store, observer=Several([traces])), observers=[traces])
    return made


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        made = applications(Path(folder))
        seconds: dict[str, list[float]] = {name: [] for name in made}
        for name in made:
            assert call(made[name], SEARCH).status == 200, name
        gc.freeze()
        for _ in range(TURNS):
            for name, each in made.items():
                begun = time.thread_time()
                for _ in range(REQUESTS_PER_TURN):
                    call(each, SEARCH)
                seconds[name].append((time.thread_time() - begun) / REQUESTS_PER_TURN)
        alone = min(seconds["nobody watches"])
        for name, taken in seconds.items():
            print(
                f"{name:24} {1e6 * min(taken):7.1f} us at best, {1e6 * median(taken):7.1f} us in the median, "
                f"{1e6 * (min(taken) - alone):+6.1f} us"
            )


if __name__ == "__main__":
    main()
