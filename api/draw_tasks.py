"""What inspectors get when they depart: one task each, in the stream of their own unit."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from api.resources import Resources
from contracts.draw import (
    Depart,
    DrawResult,
)
from contracts.ids import County, RecordId, derived_mutation_id, projection_id
from contracts.kinds.task import Task
from contracts.mutation import Mutation
from storage.draws import DrawRecord, Opened
from storage.office_push import draft, system_push
from sync.places import Places


async def send_tasks(
    resources: Resources, places: Places, found: DrawRecord, opened: Opened, result: DrawResult, data: Depart, now: datetime
) -> None:
    """One push per county; the ids derive from draw and inspector, so that twice is once."""
    by_county: dict[County, list[Mutation]] = {}
    for inspector in opened.plan.inspectors:
        visits = [visit for visit in result.visits if inspector.id in visit.inspectors]
        county = places.county_of(inspector.unit)
        if not visits or county is None:
            continue
        task = Task(
            title=f"双随机抽查：{opened.plan.title}"[:200],
            unit=inspector.unit,
            sites=[RecordId(visit.site) for visit in visits],
            assignee=UUID(inspector.id),
            due_on=data.due_on,
            note="\n".join([*where_to(opened, visits, inspector.id), data.note])[:4000],
        )
        mutation = draft(
            kind="task",
            record=projection_id(found.id, inspector.id),
            op="create",
            now=now,
            mutation=derived_mutation_id("draw", found.id, inspector.id),
            body=msgspec.to_builtins(task) | {"visit_mode": "double_random"},
        )
        by_county.setdefault(county, []).append(mutation)
    reference = await resources.units.reference()
    for county, drafts in by_county.items():
        pushed = await system_push(resources.pool, reference, county, drafts, now)
        resources.live.moved((county, stream) for stream in pushed.streams)


def where_to(opened: Opened, visits: list[Any], inspector: str) -> list[str]:
    """What an inspector must know: the site's record may lie in a stream they do not have."""
    sites = {site.id: site for site in opened.plan.sites}
    names = {one.id: one.name for one in opened.plan.inspectors}
    return [
        f"{sites[visit.site].name}（{sites[visit.site].unit}）同组：{'、'.join(names[i] for i in visit.inspectors if i != inspector) or '无'}"
        for visit in visits
    ]
