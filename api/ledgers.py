"""Ledgers of the console: filters, three orders, key paging; everything by the duties in force."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Annotated, Any, Final
from uuid import UUID

import msgspec
from litestar import Router, get
from litestar.params import FromPath, FromQuery, QueryParameter

from api.auth import LIMITED
from api.dependencies import GivenCaller, GivenNow, GivenPlaces, GivenResources, end_of_day, start_of_day
from api.paging import position_of, position_text
from contracts.caller import Caller
from contracts.ids import County, StreamName, UnitCode
from contracts.ledger import ROWS_MAX, TOTAL_MAX, LedgerName, LedgerPage, LedgerRow, LedgerSort, Total
from contracts.people import Audience
from contracts.problems import Problem, ProblemCode
from contracts.rules import Colour
from storage.ledger_lists import Key, LedgerFilter, Listed, fetch_ledger
from storage.ledger_rows import LISTED, NEVER, tag
from storage.ledger_search import text_wanted
from sync.places import Places, stream_name, unit_of
from sync.scope import AUDIENCES, held_duties, streams_of

# A row is for a list: what only grows with a record's life is in its story.
NOT_LISTED: Final = frozenset({"steps", "comments", "answers", "shown", "measures", "grounds"})
Words = Annotated[str | None, QueryParameter(max_length=80)]
Text = Annotated[str | None, QueryParameter(max_length=100)]
Limit = Annotated[int, QueryParameter(ge=1, le=ROWS_MAX)]
Cursor = Annotated[str | None, QueryParameter(max_length=120)]
Count = Annotated[int, QueryParameter(ge=0, le=10_000)]
Year = Annotated[int | None, QueryParameter(ge=2000, le=9999)]


def visible_streams(caller: Caller, places: Places, now: datetime) -> dict[StreamName, County]:
    """What the caller's duties in force show: the streams of a phone, and for the office also the archives."""
    streams = dict(streams_of(caller.duties, caller.device, places, now))
    for duty in held_duties(caller.duties, now):
        if Audience.OFFICE in AUDIENCES[duty.role]:
            for code in places.below(duty.unit):
                streams[stream_name(code, Audience.ARCHIVE)] = places.units[code].county
    return streams


def streams_in_force(caller: Caller, places: Places, now: datetime) -> dict[StreamName, County]:
    """As `visible_streams`; Problem for whoever has no duty today."""
    if not held_duties(caller.duties, now):
        raise Problem(ProblemCode.NOT_ALLOWED)
    return visible_streams(caller, places, now)


@get("/ledgers/{ledger:str}", opt=LIMITED, summary="台账 · A ledger")
async def list_ledger(
    ledger: FromPath[LedgerName],
    caller: GivenCaller,
    resources: GivenResources,
    places: GivenPlaces,
    now: GivenNow,
    county: FromQuery[County | None] = None,
    unit: Words = None,
    states: Annotated[list[str] | None, QueryParameter(name="state", max_items=20)] = None,
    is_open: FromQuery[bool | None] = None,
    overdue: FromQuery[bool | None] = None,
    colour: FromQuery[list[Colour] | None] = None,
    subject: Words = None,
    source: Words = None,
    finding: Words = None,
    site: FromQuery[UUID | None] = None,
    department: Words = None,
    name: Words = None,
    text: Text = None,
    due_from: FromQuery[date | None] = None,
    due_to: FromQuery[date | None] = None,
    returned: Count = 0,
    rebounded: Count = 0,
    feedback_owed: FromQuery[bool] = False,
    subject_unknown: FromQuery[bool] = False,
    letter: FromQuery[UUID | None] = None,
    closed_year: Year = None,
    sort: FromQuery[LedgerSort] = LedgerSort.DUE,
    after: Cursor = None,
    limit: Limit = 50,
) -> LedgerPage:
    """Rows that all given filters hold for.

    unit         at or below it            department   leads or supports; for a whistle: is called
    state        any of these words        colour       of an open supervision, any of these
    overdue      open and past its deadline
    name         of a named ledger         text         words that are all in the title, text, site name or address
    due_from     and due_to: days, both included
    returned     at least so often         rebounded    at least so often
    feedback_owed  whistles and problems: whoever raised it, or the channel it came by, has not been told what became of it (信息反馈)
    subject_unknown  it names a code that is no known subject (GET /sync/v1/subjects)
    letter       copies of one letter           closed_year  problems that were closed out (销号) in that year, and still are
    """
    scope = streams_in_force(caller, places, now)
    kind = ledger.kind
    tags = tags_of(subject=subject, source=source, finding=finding, site=site, ledger=name, letter=letter, closed_year=closed_year)
    tags += tags_of(feedback_owed=feedback_owed or None, subject_unknown=subject_unknown or None)
    colours = list(dict.fromkeys(colour or []))
    wanted = LedgerFilter(
        kind=kind,
        streams=(),
        tags=tags,
        states=[tag("state", word) for word in states or []],
        parties=parties_of(kind, department, colours),
        is_open=is_open if is_open is not None or not states else only_open(kind, states),
        due_from=start_of_day(due_from) + timedelta(microseconds=1) if due_from else None,
        due_before=end_of_day(due_to) + timedelta(microseconds=1) if due_to else NEVER if due_from else None,
        overdue_at=now if overdue else None,
        not_overdue_at=now if overdue is False else None,
        returns_min=returned,
        rebounds_min=rebounded,
        colours=colours,
        text=text_wanted(kind, text) if text else None,
    )
    return await page_of(resources.pool, places, scope, wanted, sort, key_of(after), limit, now, county, unit)


def tags_of(**wanted: Any) -> list[str]:
    """Tags that must all be there: of the filters that are given."""
    return [tag(word, value) for word, value in wanted.items() if value is not None]


def parties_of(kind: str, department: str | None, colours: list[Colour]) -> list[str]:
    """Tags of which one must be there: the department's part, or the supervision's own colour."""
    if kind == "supervision":
        return [tag("colour", colour.value) for colour in colours]
    return [tag("lead", department), tag("supporting", department)] if department else []


def only_open(kind: str, states: list[str]) -> bool | None:
    """Whether these states are all open (True), all closed (False) or both: a shorter index serves the first."""
    listed = LISTED[kind]
    found = {word not in listed.closed for word in states}
    if len(found) != 1 or (found == {False} and listed.owed) or listed.signed is not None:
        return None
    return found.pop()


async def page_of(
    pool: Any,
    places: Places,
    scope: dict[StreamName, County],
    wanted: LedgerFilter,
    sort: LedgerSort,
    after: Key | None,
    limit: int,
    now: datetime,
    county: County | None,
    unit: UnitCode | None,
) -> LedgerPage:
    """One page over all counties of the scope, or one; each county is asked by itself and the answers are merged."""
    found: list[tuple[County, Listed]] = []
    total: int | None = None
    for one in sorted({c for c in scope.values() if county is None or c == county}):
        all_here = [stream for stream, c in scope.items() if c == one]
        streams = [s for s in all_here if unit is None or places.covers(unit, unit_of(s))]
        if not streams:
            continue
        narrowed = msgspec.structs.replace(wanted, streams=streams)
        rows, count = await fetch_ledger(pool, one, narrowed, sort, after, limit + 1, all_here)
        found += [(one, row) for row in rows]
        total = None if count is None else count + (total or 0)
    found.sort(key=lambda f: (f[1].key, f[1].record), reverse=sort is not LedgerSort.DUE)
    shown = found[:limit]
    following = text_of(shown[-1][1]) if len(found) > limit else None
    return LedgerPage(
        rows=[row_of(one, listed, wanted.kind, places, now) for one, listed in shown],
        next=following,
        total=None if after is not None else Total(count=min(total or 0, TOTAL_MAX), more=(total or 0) > TOTAL_MAX),
    )


def row_of(county: County, listed: Listed, kind: str, places: Places, now: datetime) -> LedgerRow:
    body: dict[str, Any] = msgspec.json.decode(listed.body)
    shown = LISTED[kind].shown
    if shown is not None and isinstance(body.get(shown), dict):
        body = body[shown] | {name: value for name, value in body.items() if name != shown}
    unit = unit_of(listed.stream)
    return LedgerRow(
        county=county,
        id=listed.record,
        kind=kind,
        stream=listed.stream,
        unit=unit,
        unit_name=places.units[unit].name if unit in places.units else "",
        v=(listed.incarnation, listed.version),
        title=listed.title,
        is_open=listed.is_open,
        overdue=listed.is_open and listed.due_at <= now,
        due_at=None if listed.due_at >= NEVER else listed.due_at,
        found_at=listed.found_at,
        changed_at=listed.changed_at,
        colours=[c for c in Colour if c.value in listed.colours],
        site_name=listed.site_name or body.get("site_name") or None,
        body={name: value for name, value in body.items() if name not in NOT_LISTED},
    )


def text_of(listed: Listed) -> str:
    """Where the next page goes on; `key_of` reads it."""
    return position_text(listed.key, listed.record)


def key_of(after: str | None) -> Key | None:
    """The key a page said to go on from. Problem: invalid_value."""
    if after is None:
        return None
    at, record = position_of(after, "after", UUID)
    return at, record


LEDGERS: Final = Router("/office/v1", route_handlers=[list_ledger], tags=["office"])
