"""What is counted, for Prometheus. One object per app, handed around in `Resources`; no global registry.

Several server processes count into files of one folder (prometheus_client's multiprocess mode, turned on by `FOLDER_VARIABLE` before
the processes start), and whichever is asked tells the sum of all. What the database knows is read when somebody asks, and is the
same whoever answers: it never goes through those files.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector

from storage.gauges import Gauges
from storage.jobs import Backlog

FOLDER_VARIABLE: Final = "PROMETHEUS_MULTIPROC_DIR"

SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
CONTENT_TYPE: Final = CONTENT_TYPE_LATEST


class Metrics:
    """Every instrument of the server by name. Labels have few values: never an id, a person or a raw path."""

    def __init__(self, folder: Path | None = None) -> None:
        """`folder`: where the server processes count together; None: this one counts alone."""
        self.folder = folder
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
        self.exchanges_running = Gauge("xunling_exchanges_running", "Exchanges at work", registry=registry, multiprocess_mode="livesum")
        self.exchanges_waiting = Gauge(
            "xunling_exchanges_waiting", "Exchanges waiting for a place", registry=registry, multiprocess_mode="livesum"
        )
        self.mutations = Counter("xunling_mutations", "Mutations answered", ["outcome"], registry=registry)
        self.records_sent = Counter("xunling_records_sent", "Records in pages", registry=registry)
        self.stream_lag = Histogram(
            "xunling_stream_lag",
            "How many changes a stream was ahead of the cursor that came",
            buckets=(0, 1, 10, 100, 1_000, 10_000, 100_000),
            registry=registry,
        )
        self.logins = Counter("xunling_logins", "Log-ins by how they ended", ["how"], registry=registry)

    def count_request(self, method: str, route: str, status: int, seconds: float) -> None:
        self.requests.labels(method, route, str(status)).inc()
        self.request_seconds.labels(method, route).observe(seconds)

    def show_exchanges(self, running: int, waiting: int) -> None:
        """How many this process has now."""
        self.exchanges_running.set(running)
        self.exchanges_waiting.set(waiting)

    def exposition(self, gauges: Gauges, backlog: Sequence[Backlog]) -> bytes:
        """All of it in the text format: what was counted, by all processes, and what the database says now."""
        counted = self.registry
        if self.folder is not None:
            forget_dead_processes(self.folder)
            counted = CollectorRegistry()
            MultiProcessCollector(counted, path=str(self.folder))
        stands = CollectorRegistry()
        stands.register(Standing(gauges, backlog))
        return generate_latest(counted) + generate_latest(stands)


class Standing(Collector):
    """What the database says now; a job that has none waiting is not shown."""

    def __init__(self, gauges: Gauges, backlog: Sequence[Backlog]) -> None:
        self._gauges, self._backlog = gauges, backlog

    def collect(self) -> Iterator[GaugeMetricFamily]:
        held = GaugeMetricFamily("xunling_held", "Mutations that wait for a human or another try", labels=["outcome"])
        for outcome in ("quarantined", "deferred"):
            held.add_metric([outcome], self._gauges.held.get(outcome, 0))
        jobs = GaugeMetricFamily("xunling_jobs", "Jobs of the worker, by how they stand", labels=["job", "state"])
        wait = GaugeMetricFamily("xunling_job_oldest_seconds", "How long the oldest job has waited", labels=["job"])
        for each in self._backlog:
            for state, count in (("queued", each.queued), ("picked", each.picked), ("failed", each.failed)):
                jobs.add_metric([each.job, state], count)
            wait.add_metric([each.job], each.oldest_seconds)
        yield held
        yield GaugeMetricFamily("xunling_photos_wanted", "Announced photos whose bytes are not here", value=self._gauges.photos_wanted)
        yield jobs
        yield wait
        yield GaugeMetricFamily(
            "xunling_timers_behind_seconds",
            "Since when the colours, reminders and look-backs of some county were not all done",
            value=self._gauges.timers_behind_seconds,
        )


def forget_dead_processes(folder: Path) -> None:
    """What a killed process had under way is not under way any more; what it counted still counts."""
    for file in folder.glob("gauge_live*_*.db"):
        pid = int(file.stem.rpartition("_")[2])
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            mark_process_dead(pid, str(folder))
        except PermissionError:
            continue  # it lives, as somebody else
