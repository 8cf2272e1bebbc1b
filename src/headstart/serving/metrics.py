"""What a server counts, for Prometheus; of several processes the sums, by the folder that `SHARED` names."""

from __future__ import annotations

import os
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.process_collector import ProcessCollector

SHARED = "PROMETHEUS_MULTIPROC_DIR"
CONTENT_TYPE = CONTENT_TYPE_LATEST
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Metrics:
    """The counters of one process; a server of several has them added up."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        own: dict[str, Any] = {"registry": self._registry}
        self.requests = Counter("headstart_requests", "Requests answered.", ["path", "status"], **own)
        self.seconds = Histogram(
            "headstart_request_seconds", "Seconds from the header to the answer.", ["path"], buckets=SECONDS, **own
        )
        self.items = Counter("headstart_items", "Examples classified.", ["model"], **own)
        self.batches = Histogram("headstart_batch_items", "Examples run together.", ["model"], buckets=SIZES, **own)
        self.busy = Counter("headstart_run_seconds", "Seconds in which the network ran.", ["model"], **own)
        self.waiting = Gauge(
            "headstart_waiting_items",
            "Examples accepted and not answered.",
            ["model"],
            multiprocess_mode="livesum",
            **own,
        )

    def on_group(self, model: str, items: int, seconds: float) -> None:
        """Count a group of examples that was run."""
        self.items.labels(model).inc(items)
        self.batches.labels(model).observe(items)
        self.busy.labels(model).inc(seconds)

    def page(self) -> bytes:
        """Return all of it in the text format of Prometheus."""
        if not os.environ.get(SHARED):
            return generate_latest(self._registry)
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return generate_latest(registry)
