"""A Prometheus exporter: capacity and use of each resource class, per trait, without a query per provider.

Usage: ``capacity_exporter.py URL [PORT]``, with a token in ``MOORAGE_TOKEN``. It needs ``moorage-client`` and
``prometheus-client``. A class counts under a trait if its provider or the root of its tree has the trait.
"""

from __future__ import annotations

import os
import sys
import threading
from collections import Counter
from collections.abc import Iterator

from moorage_client import Mirror, Moorage, NoAuth, Token
from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

PORT = 9178


class CapacityCollector(Collector):
    """Adds a mirror's providers up when Prometheus asks. All figures of one answer are of one revision."""

    def __init__(self, mirror: Mirror) -> None:
        self._mirror = mirror

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """See ``Collector``. Raises MirrorError, so that a mirror that has ended exports nothing."""
        capacity: Counter[tuple[str, str]] = Counter()
        used: Counter[tuple[str, str]] = Counter()
        with self._mirror.still() as revision:
            providers = {provider.uuid: provider for provider in self._mirror.providers()}
        for provider in providers.values():
            root = providers[provider.root]
            for trait in ("", *{*(provider.traits or ()), *(root.traits or ())}):
                for name, inventory in (provider.inventories or {}).items():
                    capacity[name, trait] += inventory.capacity
                    used[name, trait] += (provider.used or {}).get(name, 0)
        for metric, text, amounts in (
            ("placement_capacity", "What consumers may hold together; trait is empty for all.", capacity),
            ("placement_used", "What consumers hold; trait is empty for all.", used),
        ):
            family = GaugeMetricFamily(metric, text, labels=("resource_class", "trait"))
            for labels, amount in sorted(amounts.items()):
                family.add_metric(labels, amount)
            yield family
        yield GaugeMetricFamily("placement_revision", "What the figures are true at.", revision)
        yield GaugeMetricFamily("placement_age_seconds", "Since the service was heard.", self._mirror.age)


def main(url: str, port: int = PORT) -> None:
    """Serve the figures until the process ends."""
    token = os.environ.get("MOORAGE_TOKEN")
    with (
        Moorage(url, Token(token) if token else NoAuth()) as moorage,
        Mirror(moorage, claims=False) as mirror,
    ):
        registry = CollectorRegistry()
        registry.register(CapacityCollector(mirror))
        start_http_server(port, registry=registry)
        threading.Event().wait()


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:3]))
