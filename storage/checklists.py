"""Publishing checklists: every version becomes a record in each county of its jurisdiction, so that phones hold them offline."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Final, LiteralString

import msgspec

from contracts.checklist import Checklist, published_json
from contracts.ids import County, RecordId, derived_mutation_id
from contracts.kinds.checklist import PublishedChecklist
from storage.office_push import draft, system_push
from storage.pool import Executor, Pool
from storage.reference import Reference

SQL_FETCH_PRESENT: Final[LiteralString] = "SELECT id FROM record WHERE county = $1 AND id = ANY ($2::uuid[])"


async def fetch_present(executor: Executor, county: County, ids: Collection[RecordId]) -> set[RecordId]:
    return {row["id"] for row in await executor.fetch(SQL_FETCH_PRESENT, county, list(ids))}


def checklist_record(county: County, checklist: Checklist) -> RecordId:
    """The id of one published version in one county."""
    return derived_mutation_id("checklist", county, checklist.id, checklist.version)


async def publish_checklists(pool: Pool, reference: Reference, county: County, jurisdiction: str, now: datetime) -> int:
    """Write what is not there yet; returns how many. Through the one write path, so phones get them like anything else."""
    wanted = {
        checklist_record(county, checklist): checklist
        for checklist in reference.checklists.values()
        if checklist.jurisdiction == jurisdiction
    }
    present = await fetch_present(pool, county, wanted.keys())
    drafts = [
        draft(
            kind="checklist",
            record=record,
            op="create",
            now=now,
            mutation=derived_mutation_id("publish", record),
            body=msgspec.to_builtins(_published(county, checklist)),
        )
        for record, checklist in wanted.items()
        if record not in present
    ]
    if drafts:
        await system_push(pool, reference, county, drafts, now)
    return len(drafts)


def _published(county: County, checklist: Checklist) -> PublishedChecklist:
    return PublishedChecklist(
        unit=str(county),
        slug=checklist.slug,
        jurisdiction=checklist.jurisdiction,
        version=checklist.version,
        definition=msgspec.json.decode(published_json(checklist.id, checklist.version)),
    )
