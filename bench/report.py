"""The results in words: ratios first, because this machine's absolute numbers are nobody else's."""

from __future__ import annotations

from typing import Any, Final

from bench.homecoming import Homecoming
from bench.runs import DELTA, median

Results = dict[tuple[str, str], list[dict[str, Any]]]
OURS: Final = "xunling"
TEN_THOUSAND: Final = 10_000


def aims(results: Results, home: Homecoming) -> list[tuple[str, str, bool]]:
    """(aim of design.md section 9, what was reached, whether that is it)."""
    push, bare = results["push", OURS], results["push", "bare"]
    rate, limit = median(push, "records_per_s"), median(bare, "records_per_s")
    up, down = median(push, "up_b_per_record"), median(push, "down_b_per_record")
    small, large = results["pull-small", OURS], results["pull-large", OURS]
    per_s, per_s_large = median(small, "requests_per_s"), median(large, "requests_per_s")
    pulled = median(small, "down_b_per_record")
    first = median(results["bootstrap", OURS], "records_per_s")
    minutes = home.seconds * TEN_THOUSAND / home.phones / 60
    return [
        ("push: at least half of the bare limit", f"{rate / limit:.2f} ({rate:,.0f} of {limit:,.0f} records/s)", rate * 2 >= limit),
        ("push: at most 500 bytes up a record", f"{up:.0f}", up <= 500),
        ("push: at most 60 bytes down a record", f"{down:.1f}", down <= 60),
        ("delta pulls of 200: at least 300 a second", f"{per_s:.0f}", per_s >= 300),
        ("delta pulls do not depend on history", f"{per_s_large / per_s:.2f} of that at the large size", per_s_large >= 0.85 * per_s),
        ("delta pulls: at most 200 bytes a record", f"{pulled:.0f}", pulled <= 200),
        ("first sync: at least 40,000 records/s", f"{first:,.0f}", first >= 40_000),
        (
            "10,000 phones home within 10 minutes",
            f"{minutes:.1f} (from {home.phones:,} in {home.seconds:.1f} s)",
            minutes <= 10 and home.lost == 0,
        ),
        ("homecoming: p99 of an exchange under 5 s", f"{home.at(0.99):.2f} s", home.at(0.99) < 5),
        ("homecoming: nothing lost", f"{home.tally.acknowledged:,} acknowledged, {home.held:,} held", home.lost == 0),
    ]


def phase_lines(results: Results) -> list[str]:
    lines = [
        (
            f"{'phase':11} {'system':8} {'records/s':>10} {'req/s':>7} {'p50 ms':>7} {'p99 ms':>7} {'of bare':>8}"
            f" {'CPU us a record: client':>24} {'app':>6} {'db':>6} {'others':>7}"
        )
    ]
    for (phase, system), runs in results.items():
        bare = results.get((phase.replace("large", "small"), "bare"))
        rate = median(runs, "records_per_s")
        share = f"{rate / median(bare, 'records_per_s'):.2f}" if bare else "-"
        cpu = [
            median(runs, "server_cpu_ms_per_record", group) * 1000 if group in runs[0]["server_cpu_s"] else 0.0
            for group in ("server", "db")
        ]
        client = client_us(runs)
        lines.append(
            f"{phase:11} {system:8} {rate:10,.0f} {median(runs, 'requests_per_s'):7.0f} {median(runs, 'p50_ms'):7.1f}"
            f" {median(runs, 'p99_ms'):7.1f} {share:>8} {client:24.1f} {cpu[0]:6.1f} {cpu[1]:6.1f} {median(runs, 'foreign_cores'):7.2f}"
        )
    return lines


def client_us(runs: list[dict[str, Any]]) -> float:
    """Of the load generator, by the servers' processor time per record, which counts the same requests."""
    shares = []
    for run in runs:
        used = sum(run["server_cpu_s"].values())
        per_record = sum(run["server_cpu_ms_per_record"].values()) * 1000
        shares.append({"us": per_record * run["client_cpu_s"] / used if used else 0.0})
    return median(shares, "us")


def home_lines(home: Homecoming) -> list[str]:
    t = home.tally
    cpu = f"CPU ms a phone: app {home.server_cpu_s / home.phones * 1000:.1f}, db {home.database_cpu_s / home.phones * 1000:.1f}, "
    return [
        f"{home.phones:,} phones, 20 mutations each, at once: {home.seconds:.1f} s until the last was done",
        f"  exchange p50 {home.at(0.5):.2f} s, p99 {home.at(0.99):.2f} s; phone home p50 {home.home_at(0.5):.1f} s, p99 {home.home_at(0.99):.1f} s",
        (
            f"  {len(t.answered):,} answered, {t.refused:,} told to come later, {t.broken} broken; lost: {home.lost};"
            f" {t.pulled:,} records pulled"
        ),
        f"  {cpu}client {t.cpu_s / home.phones * 1000:.1f}; server at most {home.server_rss_mb:.0f} MB",
        f"  ten thousand would take {home.seconds * TEN_THOUSAND / home.phones / 60:.1f} minutes if it goes on like this (extrapolated)",
    ]


def step_lines(table: dict[str, tuple[float, float]]) -> list[str]:
    """The look inside, the dearest step first."""
    whole = table[""][0]
    lines = [f"  {'step':28} {'CPU us':>8} {'share':>6} {'wall us':>8}"]
    for name, (cpu, wall) in sorted(table.items(), key=lambda item: -item[1][0]):
        lines.append(f"  {name or 'in all':28} {cpu:8.0f} {100 * cpu / whole:5.1f}% {wall:8.0f}")
    return lines


def text(machine: dict[str, Any], results: Results, home: Homecoming, inside: dict[str, Any], workers: int) -> str:
    reached = aims(results, home)
    out = [
        (
            f"{machine['date']}, {machine['cores']} cores ({machine['cpu']}), {workers} server process(es);"
            f" 8 KiB write+fdatasync {machine['fsync_us']} us, a fixed task {machine['cpu_probe_ms']} ms (noise: compare between runs),"
            f" {machine['busy_cores']} cores in use by others at the start"
        ),
        "",
        *(f"{'reached ' if ok else 'NOT YET '} {aim:44} {got}" for aim, got, ok in reached),
        "",
        *phase_lines(results),
        "",
        *home_lines(home),
    ]
    for name, table in inside.items():
        what = "push of 25 mutations" if name == "push" else f"delta pull of {DELTA} records"
        out += ["", f"inside the app, one exchange, {what} (no uvicorn, one after the other):", *step_lines(table)]
    return "\n".join(out)
