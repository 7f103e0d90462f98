"""What is counted, for Prometheus. One object per app, handed around in `Resources`; no global registry."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from storage.jobs import Backlog

SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
CONTENT_TYPE: Final = CONTENT_TYPE_LATEST


class Metrics:
    """Every instrument of the server by name. Labels have few values: never an id, a person or a raw path."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self.requests = Counter("xunling_http_requests", "Requests answered", ["method", "route", "status"], registry=registry)
        self.request_seconds = Histogram(
            "xunling_http_request_seconds", "Time to answer", ["method", "route"], buckets=SECONDS, registry=registry
        )
        self.exchange_seconds = Histogram(
            "xunling_exchange_seconds",
            "Time of an exchange: whole, with the wait for a place; push of a county; pull",
            ["part"],
            buckets=SECONDS,
            registry=registry,
        )
        self.exchanges_refused = Counter("xunling_exchanges_refused", "Exchanges told to come again", registry=registry)
        self.exchanges_running = Gauge("xunling_exchanges_running", "Exchanges at work", registry=registry)
        self.exchanges_waiting = Gauge("xunling_exchanges_waiting", "Exchanges waiting for a place", registry=registry)
        self.mutations = Counter("xunling_mutations", "Mutations answered", ["outcome"], registry=registry)
        self.records_sent = Counter("xunling_records_sent", "Records in pages", registry=registry)
        self.stream_lag = Histogram(
            "xunling_stream_lag",
            "How many changes a stream was ahead of the cursor that came",
            buckets=(0, 1, 10, 100, 1_000, 10_000, 100_000),
            registry=registry,
        )
        self.held = Gauge("xunling_held", "Mutations that wait for a human or another try", ["outcome"], registry=registry)
        self.photos_wanted = Gauge("xunling_photos_wanted", "Announced photos whose bytes are not here", registry=registry)
        self.jobs = Gauge("xunling_jobs", "Jobs of the worker, by how they stand", ["job", "state"], registry=registry)
        self.job_wait = Gauge("xunling_job_oldest_seconds", "How long the oldest job has waited", ["job"], registry=registry)
        self.logins = Counter("xunling_logins", "Log-ins by how they ended", ["how"], registry=registry)

    def count_request(self, method: str, route: str, status: int, seconds: float) -> None:
        self.requests.labels(method, route, str(status)).inc()
        self.request_seconds.labels(method, route).observe(seconds)

    def show_backlog(self, backlog: Sequence[Backlog]) -> None:
        """Jobs as they stand now; a job that has none is not shown."""
        self.jobs.clear()
        self.job_wait.clear()
        for each in backlog:
            for state, count in (("queued", each.queued), ("picked", each.picked), ("failed", each.failed)):
                self.jobs.labels(each.job, state).set(count)
            self.job_wait.labels(each.job).set(each.oldest_seconds)

    def exposition(self) -> bytes:
        """All of it in the text format."""
        return generate_latest(self.registry)
