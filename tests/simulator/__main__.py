"""`make simulate SEED=1 PHONES=20 HOURS=8`, or `python -m tests.simulator --help`. Status 1 when a promise was broken."""

import argparse
import asyncio
import signal
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from pydantic import SecretStr
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from server.embedded.postgres import EmbeddedPostgres
from server.embedded.seaweed import EmbeddedS3
from server.migrate import migrate
from server.settings import S3Settings
from tests.simulator.installation import Installation
from tests.simulator.plants import PLANTS
from tests.simulator.scenarios import SCENARIOS
from tests.simulator.seed_log import CLEAN
from tests.simulator.simulation import Plan, Report, Simulation

TRACE_LINES = 60
console = Console(highlight=False)


def main() -> int:
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # stopped as by Ctrl-C: database and S3 are stopped, too
    options = arguments()
    seeds = range(options.seed, options.seed + options.runs)
    with tempfile.TemporaryDirectory(prefix="xunling-simulator-") as folder:
        cluster = EmbeddedPostgres(Path(folder) / "postgres")
        photos = EmbeddedS3(Path(folder) / "s3")
        try:
            cluster.start()
            migrate(cluster.dsn())
            if options.photos:
                photos.start()
            reports = [simulate(options, seed, cluster, photos, Path(folder)) for seed in seeds]
        finally:
            photos.stop()
            cluster.stop()
    failed = [report.plan.seed for report in reports if report.violations]
    if failed:
        console.print(f"[bold red]promises were broken; seeds that fail: {', '.join(map(str, failed))}[/]")
        return 1
    console.print(f"[bold green]all promises held in {len(reports)} run(s)[/]")
    return 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.simulator", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--phones", type=int, default=20)
    parser.add_argument("--hours", type=float, default=8.0)
    parser.add_argument("--runs", type=int, default=1, help="so many seeds from --seed on")
    parser.add_argument(
        "--scenario", choices=sorted(SCENARIOS), help="a short day with an emphasis, as in make test; its own phones and hours"
    )
    parser.add_argument("--gentle", action="store_true", help="nothing that stops the whole server")
    parser.add_argument("--photos", action=argparse.BooleanOptionalAction, default=True, help="with an S3 and photos")
    parser.add_argument("--results", type=Path, help="append a line for each run that ended: its result and seconds")
    parser.add_argument("--plant", choices=sorted(PLANTS), help="a planted bug: the run should fail")
    return parser.parse_args()


def simulate(options: argparse.Namespace, seed: int, cluster: EmbeddedPostgres, photos: EmbeddedS3, folder: Path) -> Report:
    plan = Plan(seed=seed, phones=options.phones, hours=options.hours, rough=not options.gentle, plant=options.plant)
    if options.scenario:
        plan = replace(SCENARIOS[options.scenario], seed=seed, plant=options.plant)
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not sys.stdout.isatty()) as bar:
        task = bar.add_task(f"seed {seed}", total=1.0)

        def show(report: Report, share: float) -> None:
            happened = sum(report.events.values())
            bar.update(task, completed=share, description=f"seed {seed}: {happened} events, {report.quiet_points} quiet points")

        bucket = s3_settings(photos, f"photos-{seed}") if options.photos else None
        installation = Installation(cluster, "xunling", f"sim_{seed}", folder / f"seed-{seed}", s3=bucket, plant=options.plant)
        report = asyncio.run(Simulation(plan, installation, show).run())
    tell(report, options.scenario)
    if options.results:
        with options.results.open("a") as results:
            results.write(f"{result_of(report)}\t{report.seconds:.0f}\n")
    return report


def result_of(report: Report) -> str:
    """`clean`, or the promises that were broken: as the log of seeds has it."""
    promises = sorted({violation.promise for violation in report.violations})
    return f"broken {' '.join(map(str, promises))}" if promises else CLEAN


def s3_settings(server: EmbeddedS3, bucket: str) -> S3Settings:
    keys = {"access_key": SecretStr(server.access_key), "secret_key": SecretStr(server.secret_key)}
    return S3Settings(endpoint=server.endpoint, bucket=bucket, **keys)


def tell(report: Report, scenario: str | None) -> None:
    """A readable account of one run."""
    plan = report.plan
    console.print(
        f"\n[bold]seed {plan.seed}[/]: {plan.phones} phones, {plan.hours:g} hours in {report.seconds:.0f} s; "
        f"{report.typed} things typed, {report.quiet_points} quiet points judged"
    )
    table = Table("events", "", "faults", "", "what became of what was typed", "", box=None, pad_edge=False)
    columns = [report.events.most_common(), report.faults.most_common(), report.fates.most_common()]
    for i in range(max(map(len, columns))):
        table.add_row(*(str(x) for column in columns for x in (column[i] if i < len(column) else ("", ""))))
    console.print(table)
    if not report.violations:
        return
    for violation in report.violations[:20]:
        console.print(f"[red]{violation}[/]", markup=True)
    console.print("\n[bold]its story[/]")
    for line in report.story:
        console.print(line, markup=False)
    console.print(f"\n[bold]the last {TRACE_LINES} events[/]")
    for line in report.trace[-TRACE_LINES:]:
        console.print(line, markup=False)
    rough = "" if plan.rough else " --gentle"
    day = f"--scenario {scenario}" if scenario else f"--phones {plan.phones} --hours {plan.hours:g}{rough}"
    console.print(f"\nagain: python -m tests.simulator --seed {plan.seed} {day}", markup=False)


if __name__ == "__main__":
    sys.exit(main())
