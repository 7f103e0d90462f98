"""`python -m server audit`: what storage/audit.py found, for people."""

import asyncio
from collections.abc import Iterator

from rich.console import Console

from server.settings import Settings
from storage.audit import CountyAudit, audit
from storage.pool import open_pool

SHOWN_MAX = 50


def run_audit(settings: Settings) -> bool:
    """Audit every county and print what differs; True when nothing does."""
    reports = asyncio.run(_reports(settings))
    console = Console()
    for report in reports:
        for line in lines_of(report):
            console.print(line, markup=False, highlight=False, soft_wrap=True)
    sound = not any(report.differences for report in reports)
    console.print("审计通过，未发现差异 · audit passed, nothing differs" if sound else "审计发现差异 · the audit found differences")
    return sound


async def _reports(settings: Settings) -> list[CountyAudit]:
    async with await open_pool(settings.pg.full_dsn(), statement_seconds_max=3600) as pool:
        return [report async for report in audit(pool)]


def lines_of(report: CountyAudit) -> Iterator[str]:
    """One line of figures, then the differences."""
    if not report.streams and not report.differences and not report.devices:
        return
    yield (
        f"{report.county}: {report.streams} streams, {report.records} records, {report.entries} journaled changes, "
        f"{report.devices} devices, {report.held} held mutations: {len(report.differences)} differences"
    )
    for difference in report.differences[:SHOWN_MAX]:
        yield f"  {difference.what} {difference.where}: {difference.says}"
    if len(report.differences) > SHOWN_MAX:
        yield f"  and {len(report.differences) - SHOWN_MAX} more"
