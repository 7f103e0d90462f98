"""What inspectors get when they depart: one task each, in the stream of their own unit.

The tasks follow the command that made them due, in transactions of their own (an inspector's unit may be of another county). A
job that was asked for before the command completes them if the server dies between the two: it does nothing until it is time.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from datetime import date, datetime
from typing import Final
from uuid import UUID

import msgspec

from contracts.draw import DrawPlan, DrawResult, PoolInspector, PoolSite, Visit
from contracts.ids import County, PersonId, RecordId, StreamName, derived_mutation_id, projection_id
from contracts.kinds.task import Task
from contracts.mutation import Mutation
from contracts.outcomes import Outcome
from storage.draws import DrawRecord, Opened, Seal, drawn_of, fetch_draw, open_draw
from storage.jobs import JobRequest
from storage.office_push import draft, system_push
from storage.pool import Pool
from storage.reference import Reference

DEPART_JOB: Final = "draw.depart"
TASKS_AT_ONCE: Final = 100
DEPART_SECONDS: Final = 30  # after which whoever asked for the departure has completed it, or has died


class DrawRef(msgspec.Struct, frozen=True, kw_only=True):
    county: County
    draw: RecordId


class Sent(msgspec.Struct, frozen=True, kw_only=True):
    """`untold`: inspectors whose task was not taken; who sends them must tell them."""

    streams: frozenset[tuple[County, StreamName]] = frozenset()
    untold: tuple[PersonId, ...] = ()


def departure_of(county: County, draw: RecordId) -> JobRequest:
    ref = DrawRef(county=county, draw=draw)
    return JobRequest(job=DEPART_JOB, key=f"{county}/{draw}", payload=ref, delay_seconds=DEPART_SECONDS)


async def complete_departure(pool: Pool, reference: Reference, seal: Seal, ref: DrawRef, now: datetime) -> None:
    """The tasks of a draw that has departed, if any are missing."""
    found = await fetch_draw(pool, ref.county, ref.draw)
    if found is None or found.step("draw.depart") is None:
        return
    opened = await open_draw(pool, seal, ref.county, ref.draw)
    assert opened is not None
    result = await asyncio.to_thread(drawn_of, opened, found.body.nonce)
    await send_tasks(pool, reference, found, opened, result, now)


async def send_tasks(pool: Pool, reference: Reference, found: DrawRecord, opened: Opened, result: DrawResult, now: datetime) -> Sent:
    """A few pushes per county, so that others come in between; the ids derive from draw and inspector, so that twice is once.

    Deadline and note are the departure's.
    """
    streams: set[tuple[County, StreamName]] = set()
    untold: list[PersonId] = []
    for county, tasks in (await asyncio.to_thread(_tasks, reference, found, opened, result, now)).items():
        if county is None:  # the unit is no longer there
            untold += tasks
            continue
        people = list(tasks)
        for k in range(0, len(people), TASKS_AT_ONCE):
            batch = people[k : k + TASKS_AT_ONCE]
            pushed = await system_push(pool, reference, county, [tasks[who] for who in batch], now)
            streams |= {(county, stream) for stream in pushed.streams}
            untold += [who for who, one in zip(batch, pushed.outcomes, strict=True) if one.outcome is not Outcome.APPLIED]
    return Sent(streams=frozenset(streams), untold=tuple(untold))


def _tasks(
    reference: Reference, found: DrawRecord, opened: Opened, result: DrawResult, now: datetime
) -> dict[County | None, dict[PersonId, Mutation]]:
    """County -> inspector -> the creation of their task."""
    tasks: dict[County | None, dict[PersonId, Mutation]] = {}
    sent: dict[str, list[Visit]] = defaultdict(list)
    for visit in result.visits:
        for one in visit.inspectors:
            sent[one].append(visit)
    told = Told.of(opened.plan)
    for inspector in opened.plan.inspectors:
        if inspector.id in sent:
            county = reference.places.county_of(inspector.unit)
            task = _task(found, told, sent[inspector.id], inspector, now)
            tasks.setdefault(county, {})[UUID(inspector.id)] = task
    return tasks


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What inspectors are told of a plan, by id. Made once: a pool may have 100,000 sites, a list 2,000 inspectors."""

    title: str
    sites: dict[str, PoolSite]
    names: dict[str, str]

    @classmethod
    def of(cls, plan: DrawPlan) -> Told:
        return cls(title=plan.title, sites={site.id: site for site in plan.sites}, names={one.id: one.name for one in plan.inspectors})


def _task(found: DrawRecord, told: Told, visits: Sequence[Visit], inspector: PoolInspector, now: datetime) -> Mutation:
    step = found.step("draw.depart")
    assert step is not None
    due_on = step.args.get("due_on")
    task = Task(
        title=f"双随机抽查：{told.title}"[:200],
        unit=inspector.unit,
        sites=[RecordId(visit.site) for visit in visits],
        assignee=UUID(inspector.id),
        due_on=date.fromisoformat(due_on) if due_on else None,
        visit_mode="double_random",
        note="\n".join([*filter(None, [step.args.get("note")]), *where_to(told, visits, inspector.id)])[:4000],
    )
    return draft(
        kind="task",
        record=projection_id(found.id, inspector.id),
        op="create",
        now=now,
        mutation=derived_mutation_id("draw", found.id, inspector.id),
        body=msgspec.to_builtins(task),
    )


def where_to(told: Told, visits: Sequence[Visit], inspector: str) -> list[str]:
    """What an inspector must know: the site's record may lie in a stream they do not have."""
    return [
        f"{told.sites[visit.site].name}（{told.sites[visit.site].unit}）"
        f"同组：{'、'.join(told.names[i] for i in visit.inspectors if i != inspector) or '无'}"
        for visit in visits
    ]
