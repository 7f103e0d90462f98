"""What is measured, in which sizes: the same phases for Xunling and the bare limit, interleaved."""

from __future__ import annotations

import gc
import os
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import workload
from harness import Adapter, Spec, busy_cores, cpu_probe, fsync_probe, log, run_phase

from bench.ours import Bare, Ours

DELTA: Final = 200
BATCH: Final = 25
DEVICES: Final = 16


@dataclass(frozen=True)
class Size:
    """Seconds, records and phones."""

    repeats: int
    push_s: float
    pull_s: float
    warm_s: float
    pushers: int
    per_pusher: int
    small: int
    large: int
    boot: int
    phones: int
    inside: int  # exchanges of the look inside


FULL: Final = Size(3, 5.0, 3.0, 1.0, 600, 300, 20_000, 2_000_000, 5_000, 1_000, 400)
QUICK: Final = Size(2, 2.0, 1.0, 0.5, 320, 200, 5_000, 100_000, 2_000, 200, 150)
TINY: Final = Size(1, 0.6, 0.4, 0.0, 32, 50, 400, 1_000, 300, 16, 10)  # what the tests run


def seed(ours: Ours, bare: Bare, size: Size) -> None:
    for name, count in (("boot", size.boot), ("small", size.small)):
        records = workload.dataset_records(name, count)
        for system in (ours, bare):
            system.seed(name, records)
    started = time.monotonic()
    ours.generate("large", "small", size.large)
    log(f"{size.large:,} records are stored in {time.monotonic() - started:.0f} s")


def specs(ours: Ours, bare: Bare, size: Size) -> Iterator[tuple[str, dict[Adapter, Any]]]:
    """(phase, {system: function of the run's name -> Spec})."""
    queues: list[list[tuple[int, list[workload.Record]]]] = [[] for _ in range(DEVICES)]
    for d in range(size.pushers):
        queues[d % DEVICES].append((d, workload.device_records(d, size.per_pusher)))
    gc.freeze()

    def push(system: Adapter) -> Any:
        return lambda run: Spec(
            "push", run, DEVICES, procs=system.client_procs, seconds=size.push_s, warm=size.warm_s, batch=BATCH, device_queues=queues
        )

    def pull(system: Adapter, name: str) -> Any:
        cursor = system.delta_cursor(name, min(DELTA, size.small))
        return lambda _run: Spec("pull", name, DEVICES, seconds=size.pull_s, warm=size.warm_s / 2, cursor=cursor, expect=DELTA)

    def boot(_run: str) -> Spec:
        return Spec("bootstrap", "boot", 4, rounds=1, expect=size.boot)

    yield "push", {ours: push(ours), bare: push(bare)}
    yield "pull-small", {ours: pull(ours, "small"), bare: pull(bare, "small")}
    yield "pull-large", {ours: pull(ours, "large")}
    yield "bootstrap", {ours: boot, bare: boot}


def measure(ours: Ours, bare: Bare, size: Size, patience_s: float) -> dict[tuple[str, str], list[dict[str, Any]]]:
    """(phase, system) -> one result of the harness per repeat. RuntimeError when anything acknowledged is not there."""
    results: dict[tuple[str, str], list[dict[str, Any]]] = {}
    phases = list(specs(ours, bare, size))
    for repeat in range(size.repeats):
        for phase, of in phases:
            for system, spec in of.items():
                patience_s -= wait_for_quiet(patience_s)
                run = f"r{repeat}_{system.name}"
                if phase == "push":
                    system.begin_push(run)
                got = run_phase(system, spec(run))
                if phase == "push" and (held := system.count_pushed(run)) != got["acked_total"]:
                    raise RuntimeError(f"{system.name} acknowledged {got['acked_total']} records and holds {held}")
                results.setdefault((phase, system.name), []).append(got)
                log(f"{phase:11} {system.name:8} {got['records_per_s']:9,.0f} records/s, {got['foreign_cores']:.2f} cores used by others")
    return results


def wait_for_quiet(patience_s: float) -> float:
    """Wait while others work on this machine; returns the seconds spent, at most the patience given."""
    started = time.monotonic()
    while time.monotonic() - started < patience_s and busy_cores(0.2) > 0.15:
        time.sleep(1)
    return time.monotonic() - started


def machine(folder: Path) -> dict[str, Any]:
    """What the numbers depend on, taken now."""
    model = next((x.split(":")[1].strip() for x in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in x), "?")
    return {
        "cores": os.cpu_count(),
        "cpu": model,
        "fsync_us": fsync_probe(folder)["p50_us"],
        "cpu_probe_ms": cpu_probe(),
        "busy_cores": round(busy_cores(1.0), 2),
        "date": time.strftime("%Y-%m-%d %H:%M"),
    }


def median(runs: list[dict[str, Any]], *path: str) -> float:
    def of(run: Any) -> float:
        for step in path:
            run = run[step]
        return float("nan") if run is None else float(run)  # nothing ended within the time that counts

    return statistics.median(of(run) for run in runs)
