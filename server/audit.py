"""`python -m server audit`: what storage/audit.py and storage/audit_seal.py found, for people."""

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from rich.console import Console

from api.signing import Signer
from server.backup_store import list_backups, read_manifest
from server.keys import load_keys_at_hand
from server.settings import Settings
from storage.audit import CountyAudit, audit
from storage.audit_seal import LogAudit, audit_seals
from storage.pool import open_pool
from sync.sealing import AuditSeal

SHOWN_MAX = 50


def run_audit(settings: Settings, backups: Sequence[Path] = ()) -> bool:
    """Audit every county and the audit log, and print what differs; True when nothing does.

    backups   whose heads of the audit log are compared, beside those in the folder of backups
    """
    heads = heads_of([*(list_backups(settings.backup.folder) if settings.backup.folder else ()), *backups])
    signer = load_keys_at_hand(settings.keys_folder)
    reports, log = asyncio.run(_reports(settings, heads, signer))
    console = Console()
    for line in (*(line for report in reports for line in lines_of(report)), *log_lines(log, len(heads), has_keys=signer is not None)):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    sound = not log.faults and not any(report.differences for report in reports)
    console.print("审计通过，未发现差异 · audit passed, nothing differs" if sound else "审计发现差异 · the audit found differences")
    return sound


async def _reports(settings: Settings, heads: dict[str, AuditSeal], signer: Signer | None) -> tuple[list[CountyAudit], LogAudit]:
    async with await open_pool(settings.pg.full_dsn(), statement_seconds_max=3600) as pool:
        reports = [report async for report in audit(pool)]
        return reports, await audit_seals(pool, heads, signer.is_ours if signer else None)


def heads_of(backups: Iterable[Path]) -> dict[str, AuditSeal]:
    """Backup's name -> the head of the audit log that went with it."""
    manifests = {path.name: read_manifest(path) for path in backups}
    return {name: manifest.audit_head for name, manifest in manifests.items() if manifest.audit_head is not None}


def log_lines(log: LogAudit, heads: int, *, has_keys: bool) -> Iterator[str]:
    """One line of figures, then what differs, the first batch first."""
    signatures = "signatures checked" if has_keys else "signatures not checked: the keys are not here"
    yield (
        f"audit log: {log.entries} entries in {log.seals} seals, {log.unsealed} not sealed yet, {heads} heads of backups, "
        f"{signatures}: {len(log.faults)} differences"
    )
    for where, what in log.faults[:SHOWN_MAX]:
        yield f"  {where}: {what}"
    if len(log.faults) > SHOWN_MAX:
        yield f"  and {len(log.faults) - SHOWN_MAX} more"


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
