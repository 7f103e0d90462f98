"""Writes that the server numbers itself: by the console, by jobs, timers, imports and rules. The same path as a phone's.

The caller gives mutations without a number; their ids make a repetition harmless: a mutation that is known under its id
has the outcome that it had. Capture is now.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, LiteralString

import asyncpg
import msgspec
import structlog
from msgspec.structs import replace

from contracts.ids import County, DeviceId, MutationId, PersonId, RecordId, Version
from contracts.mutation import CONTRACT_MAX, Capture, Mutation
from contracts.outcomes import MutationOutcome, Outcome, Reason
from contracts.people import Duty, Role
from contracts.problems import Problem, ProblemCode
from storage.pool import Connection, Pool, infrastructure_problem
from storage.push import DESK_FULL_RETRY_S, Also, Pushed, first_without_place, to_ms, until_planned
from storage.push_state import Reach, fetch_view, lock_state, reach_of, write_plan
from storage.reference import Reference
from sync.clock import Interval
from sync.decision import Incoming, Lack, Sender
from sync.located import with_places_only
from sync.plan import plan_push

SYSTEM_PERSON: Final = uuid.UUID("00000000-0000-8000-8000-000000000001")
_SYSTEM_DEVICE: Final = uuid.UUID("00000000-0000-8000-8000-000000000002")
BEFORE_ALL: Final = datetime.fromisoformat("2000-01-01T00:00:00+00:00")
DESK_FULL: Final = "您待核定的内容过多，请先请上级处理。未写入任何内容"
NOBODY: Final = "承办人不存在，或在本县区没有职责，请另选承办人"

log = structlog.get_logger("xunling.office_push")


def system_sender(county: County) -> Sender:
    """The server itself: one device per county, which may do what the machines allow."""
    duty = Duty(person=SYSTEM_PERSON, role=Role.SYSTEM, unit=str(county), starts=BEFORE_ALL)
    device: DeviceId = uuid.uuid5(_SYSTEM_DEVICE, str(county))
    return Sender(device=device, person=SYSTEM_PERSON, duties=(duty,))


def draft(
    *,
    kind: str,
    record: RecordId,
    op: str,
    now: datetime,
    mutation: MutationId,
    base: Version | None = None,
    body: Mapping[str, Any] | None = None,
    fields: Mapping[str, tuple[Any, Any]] | None = None,
    args: Mapping[str, Any] | None = None,
) -> Mutation:
    """A mutation made here and now; its number is given when it is pushed."""
    return Mutation(
        id=mutation,
        n=1,
        kind=kind,
        record=record,
        op=op,
        at=Capture(wall_ms=to_ms(now), mono_ms=0, session="server"),
        contract=CONTRACT_MAX,
        app="server",
        base=base,
        body=msgspec.UNSET if body is None else msgspec.Raw(msgspec.json.encode(body)),
        fields=dict(fields or {}),
        args=dict(args or {}),
    )


class NotAll(Exception):
    """Of mutations that are wanted all or not at all, these are the outcomes; nothing was written."""

    def __init__(self, outcomes: Sequence[MutationOutcome]) -> None:
        super().__init__("not all were accepted")
        self.outcomes = outcomes


NOT_UNDERSTOOD: Final = frozenset(
    {
        Reason.MALFORMED,
        Reason.UNKNOWN_KIND,
        Reason.UNKNOWN_COMMAND,
        Reason.UNKNOWN_UNIT,
        Reason.UNKNOWN_CHECKLIST,
        Reason.KIND_DIFFERS,
        Reason.RECORD_MISSING,
        Reason.PARENT_MISSING,
        Reason.WRONG_COUNTY,
    }
)


MENDABLE: Final = frozenset({Reason.UNTITLED, Reason.UNPRINTABLE, Reason.UNIT_CLOSED})


def is_not_understood(outcome: MutationOutcome) -> bool:
    """What its author can mend at once: a phone's waits on a desk, or is refused."""
    return outcome.reason in MENDABLE or (outcome.outcome is Outcome.QUARANTINED and outcome.reason in NOT_UNDERSTOOD)


class NotUnderstood(Exception):
    """Some of these mutations have no meaning here, and their author is there to mend them: nothing was written."""

    def __init__(self, outcomes: Sequence[MutationOutcome]) -> None:
        super().__init__("not understood")
        self.outcomes = outcomes


async def office_push(
    pool: Pool,
    reference: Reference,
    county: County,
    sender: Sender,
    drafts: Sequence[Mutation],
    now: datetime,
    *,
    released: bool = False,
    captured: Interval | None = None,
    said: dict[str, Any] | None = None,
    all_or_none: bool = False,
    author_waits: bool = False,
    same_content: bool = False,
    also: Also | None = None,
    held_max: int | None = None,
) -> Pushed:
    """Number, plan and commit. Atomic: an unexpected failure raises and nothing is written.

    released   duty and contract were judged elsewhere
    captured   when it was captured, if not now
    said       goes into the detail of each outcome
    all_or_none  NotAll, and nothing written, unless every one is applied
    same_content  Problem, and nothing written, if an id that is known had other content
    also       what is written of it beside the records, in the same transaction; nothing of a repetition
    held_max   Problem, and nothing written, if more of this person would wait on the county's desks (decision 0025)
    author_waits  NotUnderstood, and nothing written, if one would be held or refused for what its author can mend at once
    """
    sender = replace(sender, waits=author_waits)
    guess = _numbered(drafts, 1, now)

    async def attempt(conn: Connection, reach: Reach) -> Pushed | Lack:
        locked = await lock_state(conn, county, sender.device, _unnumbered(guess), reach)
        batch = _numbered(drafts, locked.device.n_high + 1, now)
        batch = [replace(incoming, released=released, captured=captured or incoming.captured) for incoming in batch]
        view = await fetch_view(conn, reference, county, now, locked, reach, batch)
        plan = plan_push(batch, sender, view, said)
        if isinstance(plan, Lack):
            return plan
        if all_or_none and any(outcome.outcome is not Outcome.APPLIED for outcome in plan.outcomes):
            raise NotAll(plan.outcomes)
        if author_waits and any(map(is_not_understood, plan.outcomes)):
            raise NotUnderstood(plan.outcomes)
        if await first_without_place(conn, county, sender.person, plan.held, held_max) is not None:
            raise Problem(ProblemCode.TOO_MANY_REQUESTS, DESK_FULL, reason="desk_full", retry_after_s=DESK_FULL_RETRY_S)
        if same_content:
            await _check_content(conn, county, batch, plan.outcomes)
        if author_waits:
            await _check_assignees(conn, reference, county, batch, plan.outcomes, now)
        after = replace(locked.device, n_high=batch[-1].n, n_made=batch[-1].n)
        await write_plan(conn, county, sender, plan, after)
        if also is not None and not all("as" in (outcome.detail or {}) for outcome in plan.outcomes):
            await also(conn, plan.outcomes)
        return Pushed(
            county=county,
            incarnation=locked.incarnation,
            outcomes=plan.outcomes,
            n_high=after.n_high,
            n_safe=after.n_safe,
            holes=after.holes,
            streams=frozenset(head.stream for head in plan.heads),
        )

    try:
        return await until_planned(pool, reach_of(guess, reference, county), attempt)
    except asyncpg.UniqueViolationError:  # sqlstate 23505: what follows from a mutation has ids that derive from its own
        raise Problem(ProblemCode.CONFLICTING_STATE, "该操作编号已被其他设备使用，请刷新后重新提交", field="id") from None


SQL_FETCH_RAW: Final[LiteralString] = "SELECT raw FROM journal WHERE county = $1 AND device = $2 AND n = $3 AND entry = 0"


async def _check_content(conn: Connection, county: County, batch: Sequence[Incoming], outcomes: Sequence[MutationOutcome]) -> None:
    """A mutation that is known is sent again as it was, or it is another one under a used id. Problem: conflicting_state."""
    for incoming, outcome in zip(batch, outcomes, strict=True):
        known = (outcome.detail or {}).get("as") if outcome.reason is Reason.ALREADY_SO else None
        raw = await conn.fetchval(SQL_FETCH_RAW, county, uuid.UUID(known[0]), known[1]) if known else None
        if raw is not None and _content(bytes(raw)) != _content(incoming.raw):
            raise Problem(ProblemCode.CONFLICTING_STATE, "该操作编号已用于其他内容，请刷新后重新提交", field="id", id=str(outcome.id))


SQL_FETCH_AT_WORK: Final[LiteralString] = """
    SELECT DISTINCT y.person FROM duty y JOIN person p ON p.id = y.person JOIN unit u ON u.code = y.unit
    WHERE y.person = ANY ($1::uuid[]) AND p.disabled_at IS NULL AND (y.ends IS NULL OR y.ends > $2)
      AND (u.county = $3 OR u.code = ANY ($4::text[]))
"""


async def _check_assignees(
    conn: Connection, reference: Reference, county: County, batch: Sequence[Incoming], outcomes: Sequence[MutationOutcome], now: datetime
) -> None:
    """Whoever is given work has a duty in this county or above it. Problem: invalid_value, the same for nobody and for somebody elsewhere."""
    named = [
        (k, person)
        for k, (incoming, outcome) in enumerate(zip(batch, outcomes, strict=True))
        if outcome.reason is not Reason.ALREADY_SO and (person := _assignee(incoming)) is not None
    ]
    if not named:
        return
    above = reference.places.line(reference.places.whole(county))
    rows = await conn.fetch(SQL_FETCH_AT_WORK, [person for _, person in named], now, county, above)
    there = {row["person"] for row in rows}
    faults = [
        {"index": k, "id": str(outcomes[k].id), "reason": "unknown_person", "text": NOBODY, "detail": {"assignee": str(person)}}
        for k, person in named
        if person not in there
    ]
    if faults:
        said = "；".join(f"第{fault['index'] + 1}项：{NOBODY}" for fault in faults)
        raise Problem(ProblemCode.INVALID_VALUE, f"{said}。未写入任何内容", faults=faults)


def _assignee(incoming: Incoming) -> PersonId | None:
    """Whom a task is given to; None: nobody is named, or not understandably (which the plan says)."""
    mutation = incoming.mutation
    if mutation is None or mutation.kind != "task":
        return None
    body = {} if mutation.body is msgspec.UNSET else msgspec.json.decode(mutation.body)
    given = mutation.fields["assignee"][1] if "assignee" in mutation.fields else body.get("assignee")
    try:
        return uuid.UUID(given) if given else None
    except (ValueError, AttributeError):
        return None


def _content(raw: bytes) -> dict[str, Any]:
    """What was meant. What was on the screen before may have changed meanwhile."""
    said = msgspec.json.decode(raw)
    new = {name: pair[1] for name, pair in said.get("fields", {}).items()}
    return {name: said.get(name) for name in ("kind", "record", "op", "body", "args")} | {"new": new}


async def system_push(
    pool: Pool, reference: Reference, county: County, drafts: Sequence[Mutation], now: datetime, captured: datetime | None = None
) -> Pushed:
    """A write by a job, timer or rule. Its mutation ids derive from their cause (contracts.ids.derived_mutation_id).

    captured   when it happened, if not now
    """
    when = Interval(to_ms(captured), to_ms(captured)) if captured else None
    return await office_push(pool, reference, county, system_sender(county), drafts, now, captured=when)


async def system_push_each(
    pool: Pool, reference: Reference, county: County, drafts: Sequence[Mutation], now: datetime, captured: datetime | None = None
) -> int:
    """As `system_push`; if the server fails at the batch, each by itself, so that one never keeps the others back.

    Returns how many were written. What failed is logged and, because its id derives from its cause, wanted again next time.
    """
    try:
        await system_push(pool, reference, county, drafts, now, captured)
    except Exception as error:
        is_its_own = not isinstance(error, Problem) or error.code is ProblemCode.CONFLICTING_STATE  # an id that another has
        if not is_its_own or infrastructure_problem(error) is not None:
            raise
        if len(drafts) == 1:
            log.exception("system_write_failed", county=county, record=str(drafts[0].record), op=drafts[0].op)
            return 0
        return sum([await system_push_each(pool, reference, county, [one], now, captured) for one in drafts])
    return len(drafts)


def _numbered(drafts: Sequence[Mutation], first: int, now: datetime) -> list[Incoming]:
    moment = to_ms(now)
    numbered = [replace(mutation, n=first + k) for k, mutation in enumerate(drafts)]
    return [_arrived(mutation, msgspec.json.encode(mutation), Interval(moment, moment)) for mutation in numbered]


def _arrived(numbered: Mutation, raw: bytes, when: Interval) -> Incoming:
    """As a phone's would be taken of the same bytes: these the journal keeps, and an audit reads again."""
    mutation, left_out = with_places_only(numbered, raw)
    return Incoming(n=mutation.n, raw=raw, captured=when, mutation=mutation, left_out=left_out)


def _unnumbered(guess: Sequence[Incoming]) -> list[Incoming]:
    """For the lock: numbers that no journal has, so that nothing is taken for a repetition by number."""
    return [replace(incoming, n=2**53) for incoming in guess]
