"""The desk: mutations that are held, and what a person decides of them (design.md 3.1).

retry     judge it again as it is (the server failed, a unit or checklist was missing, it waited for another)
release   a supervisor answers for it: duty, device and contract are not asked again. What neither the author's nor the
          releaser's roles may do at all stays held: nobody gets round the table of permissions by way of the desk
discard   it is not wanted; the journal keeps it

Each decision is a journal entry of the mutation it decides, and whatever waited for it is judged again in the order of `n`.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final, LiteralString

import msgspec
from msgspec.structs import replace

from contracts.desk import DeskAction, HeldItem
from contracts.ids import County, DeviceId, PersonId, UnitCode
from contracts.mutation import MUTATION_BYTES_MAX, RECORD_BYTES_MAX, Envelope
from contracts.outcomes import MutationOutcome, Outcome, Reason
from contracts.people import Duty
from storage.access import duties_from
from storage.pool import Connection, Executor, Pool
from storage.push import Also, Pushed, planned, to_ms, until_planned
from storage.push_state import Reach, fetch_view, lock_state, reach_of, write_plan
from storage.reference import Reference
from storage.rows import shown
from sync.clock import Interval
from sync.decision import Incoming, Lack, Sender, View
from sync.desk import plan_discard
from sync.intake import decode_held, envelope_of
from sync.planned import Plan

# The page first: what a mutation said is looked up for those alone that are shown.
SQL_FETCH_HELD: Final[LiteralString] = """
    WITH page AS MATERIALIZED (
        SELECT h.* FROM held h
        WHERE h.county = $1 AND h.settled_at IS NULL AND h.unit = ANY ($2::text[])
          AND ($3::text IS NULL OR h.outcome = $3) AND (h.opened_at, h.device, h.n) > ($4, $5, $6)
        ORDER BY h.opened_at, h.device, h.n LIMIT $7),
    sized AS (
        SELECT h.*, j.op, j.captured_from, j.captured_to, j.raw,
               sum(octet_length(j.raw)) OVER (ORDER BY h.opened_at, h.device, h.n) AS bytes
        FROM page h
        CROSS JOIN LATERAL (
            SELECT j.op, j.captured_from, j.captured_to, j.raw FROM journal j
            WHERE j.county = $1 AND j.device = h.device AND j.n = h.n AND j.entry = 0 OFFSET 0) j)
    SELECT h.county, h.device, h.n, h.outcome, h.reason, h.opened_at, h.mutation, h.record, h.kind, h.op, h.unit, h.person,
           p.name AS person_name, h.detail, h.waits_for, h.tries, h.captured_from, h.captured_to, h.raw
    FROM sized h
    LEFT JOIN person p ON p.id = h.person
    WHERE h.bytes - coalesce(octet_length(h.raw), 0) < $8
    ORDER BY h.opened_at, h.device, h.n
"""
HELD_PAGE_BYTES_MAX: Final = 2 * 1024 * 1024  # of raw mutations; the one that passes it is the last of its page
BEGINNING: Final = (datetime.fromisoformat("1970-01-01T00:00:00+00:00"), uuid.UUID(int=0), 0)


async def fetch_held(
    executor: Executor,
    county: County,
    units: Sequence[UnitCode],
    outcome: Outcome | None,
    after: tuple[datetime, DeviceId, int],
    limit: int,
) -> tuple[list[HeldItem], bool]:
    """(open items of these units' desks, oldest first, after a key; whether there may be more). A page ends by its rows or its bytes."""
    named = outcome.value if outcome else None
    rows = await executor.fetch(SQL_FETCH_HELD, county, list(units), named, *after, limit, HELD_PAGE_BYTES_MAX)
    is_full = len(rows) == limit or sum(len(row["raw"] or b"") for row in rows) >= HELD_PAGE_BYTES_MAX
    return [HeldItem(**shown(row, outcome=Outcome(row["outcome"]))) for row in rows], is_full


SQL_FETCH_HELD_ONE: Final[LiteralString] = """
    SELECT h.unit, h.person, h.reason, j.raw, j.captured_from, j.captured_to, h.settled_at,
           (SELECT max(e.entry) + 1 FROM journal e WHERE e.county = h.county AND e.device = h.device AND e.n = h.n) AS entry,
           (SELECT json_agg(json_build_array(y.role, y.unit, y.starts, y.ends) ORDER BY y.starts)
            FROM duty y WHERE y.person = h.person) AS duties
    FROM held h
    JOIN journal j ON j.county = h.county AND j.device = h.device AND j.n = h.n AND j.entry = 0
    WHERE h.county = $1 AND h.device = $2 AND h.n = $3
"""


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """One held mutation with what is needed to judge it again."""

    unit: UnitCode | None
    person: PersonId | None
    reason: Reason
    raw: bytes
    captured: Interval
    entry: int
    is_settled: bool
    duties: tuple[Duty, ...]


async def fetch_one(executor: Executor, county: County, device: DeviceId, n: int) -> Held | None:
    row = await executor.fetchrow(SQL_FETCH_HELD_ONE, county, device, n)
    if row is None:
        return None
    start, end = row["captured_from"], row["captured_to"]
    return Held(
        unit=row["unit"],
        person=row["person"],
        reason=Reason(row["reason"]),
        raw=row["raw"] or b"",
        captured=Interval(to_ms(start) if start else 0, to_ms(end) if end else 2**52),
        entry=row["entry"],
        is_settled=row["settled_at"] is not None,
        duties=duties_from(row["person"], row["duties"]) if row["person"] else (),
    )


SQL_SETTLE: Final[LiteralString] = """
    UPDATE held SET settled_at = $4, settled_by = $5, settled_how = $6
    WHERE county = $1 AND device = $2 AND n = $3 AND settled_at IS NULL
"""
SQL_FETCH_WAITING: Final[LiteralString] = """
    SELECT n FROM held
    WHERE county = $1 AND device = $2 AND settled_at IS NULL AND waits_for IS NOT NULL AND n > $3 ORDER BY n
"""


async def decide(
    pool: Pool,
    reference: Reference,
    county: County,
    device: DeviceId,
    n: int,
    action: DeskAction,
    by: PersonId,
    now: datetime,
    note: str = "",
    releaser: tuple[Duty, ...] = (),
    also: Also | None = None,
) -> list[MutationOutcome]:
    """Decide one held mutation, then everything that waited for it. The first outcome is its own, and is written with what is `also` to be.

    An empty list: there is no such open item. An outcome that is held again says why.
    """
    first = await _decide_one(pool, reference, county, device, n, action, by, now, note, releaser, also)
    if first is None:
        return []
    outcomes = [first]
    if not first.outcome.is_held:
        for row in await pool.fetch(SQL_FETCH_WAITING, county, device, n):
            waited = await _decide_one(pool, reference, county, device, row["n"], DeskAction.RETRY, by, now, "")
            if waited is not None:
                outcomes.append(waited)
    return outcomes


async def _decide_one(
    pool: Pool,
    reference: Reference,
    county: County,
    device: DeviceId,
    n: int,
    action: DeskAction,
    by: PersonId,
    now: datetime,
    note: str,
    releaser: tuple[Duty, ...] = (),
    also: Also | None = None,
) -> MutationOutcome | None:
    held = await fetch_one(pool, county, device, n)
    if held is None or held.is_settled:
        return None
    sender = Sender(device=device, person=held.person or by, duties=held.duties)
    detail = {"decided_by": str(by), "action": action.value} | ({"note": note} if note else {})
    guess = _incoming(held, n, action, releaser)

    async def attempt(conn: Connection, reach: Reach) -> Pushed | Lack:
        locked = await lock_state(conn, county, device, [guess], reach)
        again = await fetch_one(conn, county, device, n)
        if again is None or again.is_settled:
            return _nothing(county, locked.incarnation)
        incoming = _incoming(again, n, action, releaser)
        view = await fetch_view(conn, reference, county, now, locked, reach, [incoming])
        plan = await _plan(incoming, sender, _without_itself(view, n), action, detail)
        if isinstance(plan, Lack):
            return plan
        if not plan.outcomes[0].outcome.is_held:
            await conn.execute(SQL_SETTLE, county, device, n, now, by, action.value)
        await write_plan(conn, county, sender, plan, locked.device)
        if also is not None:
            await also(conn, plan.outcomes)
        return replace(
            _nothing(county, locked.incarnation),
            outcomes=plan.outcomes,
            streams=frozenset(head.stream for head in plan.heads),
        )

    pushed = await until_planned(pool, reach_of([guess], reference, county), attempt)
    return pushed.outcomes[0] if pushed.outcomes else None


def _incoming(held: Held, n: int, action: DeskAction, releaser: tuple[Duty, ...]) -> Incoming:
    """As it arrived: a mutation that did not decode then may decode now. Released it may be as large as a record, and is mended."""
    is_released = action is DeskAction.RELEASE
    is_too_large = held.reason is Reason.TOO_LARGE and len(held.raw) > (RECORD_BYTES_MAX if is_released else MUTATION_BYTES_MAX)
    decoded, left_out = (None, ()) if is_too_large else decode_held(n, held.raw, RECORD_BYTES_MAX, mend=is_released)
    return Incoming(
        n=n,
        raw=held.raw,
        captured=held.captured,
        mutation=decoded,
        envelope=Envelope() if decoded is not None else envelope_of(held.raw),
        is_too_large=is_too_large or (decoded is None and held.reason is Reason.TOO_LARGE),
        left_out=left_out,
        entry=held.entry,
        released=is_released,
        releaser=releaser,
    )


def _without_itself(view: View, n: int) -> View:
    """It does not wait for itself, nor is it a repetition."""
    return replace(view, known={}, held=tuple(h for h in view.held if h.n != n))


async def _plan(incoming: Incoming, sender: Sender, view: View, action: DeskAction, detail: dict[str, Any]) -> Plan | Lack:
    if action is DeskAction.DISCARD:
        return plan_discard(incoming, sender, view, detail)
    return await planned([incoming], sender, view, said=detail)


def _nothing(county: County, incarnation: int) -> Pushed:
    return Pushed(county=county, incarnation=incarnation, outcomes=[], n_high=0, n_safe=None, holes=[])


# The newest decision on it: what it is about comes with the consequences of the same entry, which are none of its outcome.
SQL_FETCH_DECIDED: Final[LiteralString] = """
    SELECT j.n, j.mutation, j.outcome, j.reason, j.detail, j.incarnation, j.version
    FROM held h JOIN journal j ON j.county = h.county AND j.device = h.device AND j.n = h.n AND j.what = 'decision'
    WHERE h.county = $1 AND h.device = $2 AND h.n = $3 AND h.settled_by = $4 AND h.settled_how = $5 ORDER BY j.entry DESC LIMIT 1
"""


async def fetch_decided(
    executor: Executor, county: County, device: DeviceId, n: int, action: DeskAction, by: PersonId
) -> list[MutationOutcome]:
    """What this person's same decision came to, if it was taken already; else nothing."""
    row = await executor.fetchrow(SQL_FETCH_DECIDED, county, device, n, by, action.value)
    if row is None:
        return []
    version = (row["incarnation"], row["version"]) if row["version"] is not None else None
    detail = msgspec.json.decode(row["detail"]) if row["detail"] else None
    outcome, reason = Outcome(row["outcome"]), Reason(row["reason"])
    return [MutationOutcome(n=row["n"], id=row["mutation"], outcome=outcome, reason=reason, version=version, detail=detail)]


RETRY_PAUSE: Final = timedelta(minutes=1)
# The k-th try comes when the mutation has waited 2^k pauses.
SQL_FETCH_DEFERRED: Final[LiteralString] = """
    SELECT county, device, n FROM held
    WHERE settled_at IS NULL AND outcome = 'deferred' AND tries < $1
      AND (reason = 'server_failed' OR waits_for IS NOT NULL AND NOT EXISTS (
           -- it waited for one that is decided: whoever decided was cut off before they came to this one
           SELECT 1 FROM held w WHERE w.county = held.county AND w.device = held.device AND w.n = held.waits_for
           AND w.settled_at IS NULL))
      AND opened_at + $2::interval * power(2, tries) <= $3
    ORDER BY opened_at, device, n LIMIT $4
"""


async def fetch_deferred(executor: Executor, tries_max: int, now: datetime, limit: int) -> list[tuple[County, DeviceId, int]]:
    """What the server itself should try again now, oldest first: later and later, then only a person does."""
    return [(r[0], r[1], r[2]) for r in await executor.fetch(SQL_FETCH_DEFERRED, tries_max, RETRY_PAUSE, now, limit)]


SQL_UPDATE_TRIES: Final[LiteralString] = """
    UPDATE held SET tries = tries + 1 WHERE county = $1 AND device = $2 AND n = $3 AND settled_at IS NULL
"""


async def update_tries(executor: Executor, county: County, device: DeviceId, n: int) -> None:
    """The server failed at it again, so that nothing of the try was written."""
    await executor.execute(SQL_UPDATE_TRIES, county, device, n)
