"""Who must act on what, in which jurisdiction, since when: departments, subjects and the route of a finding.

A subject row says who leads (only where the source writes 牵头) and who supports; a finding route says who
gets it first. Both are dated, because the same subject changes hands between years. Files are one per jurisdiction;
a jurisdiction whose source names no department has no subject rows, and its findings are assigned by hand.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date
from enum import Enum
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Final, TypeAlias

import msgspec

from contracts.checklist import Source, Text

RESPONSIBILITY: Final = Path(__file__).parent / "responsibility"

AREAS: Final = ("county", "township")  # every finding also goes to the county or zone and the township


class BodyType(str, Enum):
    """`government`: the county or township itself, whichever the finding lies in."""

    DEPARTMENT = "department"
    OFFICE = "office"
    COMMITTEE = "committee"
    GOVERNMENT = "government"


class Level(str, Enum):
    """The level of the body that the source names. Its counterpart in a county carries the same identifier."""

    CITY = "city"
    COUNTY = "county"
    TOWNSHIP = "township"


class Department(msgspec.Struct, frozen=True, kw_only=True):
    """A body that can receive work. `aliases`: other names in the sources of the same jurisdiction. `city_only`: no county has one."""

    id: str
    text: Text
    aliases: tuple[str, ...] = ()
    type: BodyType = BodyType.DEPARTMENT
    level: Level
    city_only: bool = False
    derived: bool = False


class Mode(str, Enum):
    """`lead`: the source names a lead. `joint`: each by its own duty. `single`: one body alone.

    `unassigned` is never stored: it is the answer where no rule exists.
    """

    LEAD = "lead"
    JOINT = "joint"
    SINGLE = "single"
    UNASSIGNED = "unassigned"


class SubjectRow(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the responsibility table, in force from `valid_from` to `valid_to`, both days included.

    `joint` is in the order of the source; without a lead its first body receives by default (derived) unless `default`
    names another. `open_ended`: the source ends the list with 等 or leaves it to "each by duty", so an unlisted body
    may join. `valid_from` is the issue date of the source; `valid_to` is the eve of the row that replaces it (derived).
    """

    subject: str
    text: Text
    mode: Mode
    lead: tuple[str, ...] = ()
    joint: tuple[str, ...] = ()
    default: str | None = None
    open_ended: bool = False
    valid_from: date
    valid_to: date | None = None
    sources: tuple[Source, ...]


class FindingRoute(msgspec.Struct, frozen=True, kw_only=True):
    """Who gets a finding kind first; the same words as `Routing` of a checklist item, but dated."""

    finding: str
    subject: str | None = None
    receivers: tuple[str, ...] = ()
    one_of: tuple[str, ...] = ()
    derived_receivers: tuple[str, ...] = ()
    valid_from: date | None = None
    valid_to: date | None = None


class Responsibility(msgspec.Struct, frozen=True, kw_only=True):
    """Everything about one jurisdiction."""

    jurisdiction: str
    departments: tuple[Department, ...]
    subjects: tuple[SubjectRow, ...]
    findings: tuple[FindingRoute, ...]


ResponsibilityTable: TypeAlias = Mapping[str, Responsibility]


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """The answer: who leads, who supports, who gets it first, and which areas always get it too.

    `receivers` get it by default; of `one_of` the dispatcher chooses one. Both are contained in `lead` or `joint`,
    unless they are areas. `derived`: what of all this no source states.
    """

    subject: str | None
    mode: Mode
    lead: tuple[str, ...] = ()
    joint: tuple[str, ...] = ()
    receivers: tuple[str, ...] = ()
    one_of: tuple[str, ...] = ()
    areas: tuple[str, ...] = AREAS
    open_ended: bool = False
    derived: tuple[str, ...] = ()
    sources: tuple[Source, ...] = ()


def route(table: ResponsibilityTable, jurisdiction: str, finding_or_subject: str, on: date) -> Route:
    """Total: what no rule covers on that day is `unassigned` and reaches the areas only.

    A name that is both a finding kind and a subject (`fireworks`) is read as the finding, which is the more exact.
    """
    responsibility = table.get(jurisdiction)
    if responsibility is None:
        return Route(subject=None, mode=Mode.UNASSIGNED)
    finding = _finding_route(responsibility, finding_or_subject, on)
    subject = finding.subject if finding else finding_or_subject
    row = _subject_row(responsibility, subject, on)
    if finding is None:
        return _route_of_subject(row) if row else Route(subject=None, mode=Mode.UNASSIGNED)
    return _route_of_finding(finding, row)


def _route_of_subject(row: SubjectRow) -> Route:
    first = (row.default,) if row.default else row.joint[:1]
    return Route(
        subject=row.subject,
        mode=row.mode,
        lead=row.lead,
        joint=row.joint,
        receivers=row.lead or first,
        open_ended=row.open_ended,
        derived=() if row.lead or row.mode is Mode.SINGLE else first,
        sources=row.sources,
    )


def _route_of_finding(finding: FindingRoute, row: SubjectRow | None) -> Route:
    if not (row or finding.receivers or finding.one_of):
        return Route(subject=finding.subject, mode=Mode.UNASSIGNED)
    lead, listed = (row.lead, row.joint) if row else ((), ())
    named = (*finding.receivers, *finding.one_of)
    unlisted = tuple(unit for unit in named if unit not in (*lead, *listed, *AREAS))
    return Route(
        subject=finding.subject,
        mode=row.mode if row else Mode.JOINT,
        lead=lead,
        joint=(*listed, *unlisted),
        receivers=finding.receivers,
        one_of=finding.one_of,
        open_ended=row.open_ended if row else False,
        derived=finding.derived_receivers,
        sources=row.sources if row else (),
    )


def _finding_route(responsibility: Responsibility, kind: str, on: date) -> FindingRoute | None:
    return next((f for f in responsibility.findings if f.finding == kind and _in_force(f, on)), None)


def _subject_row(responsibility: Responsibility, subject: str | None, on: date) -> SubjectRow | None:
    return next((r for r in responsibility.subjects if r.subject == subject and _in_force(r, on)), None)


def _in_force(rule: SubjectRow | FindingRoute, on: date) -> bool:
    return (rule.valid_from is None or rule.valid_from <= on) and (rule.valid_to is None or on <= rule.valid_to)


@cache
def load_responsibility() -> ResponsibilityTable:
    """The table as shipped. ValueError names the file and the fault."""
    loaded: dict[str, Responsibility] = {}
    for path in sorted(RESPONSIBILITY.glob("*.json")):
        try:
            responsibility = decode_responsibility(path.read_bytes())
        except (msgspec.DecodeError, ValueError) as error:
            raise ValueError(f"{path.name}: {error}") from error
        loaded[responsibility.jurisdiction] = responsibility
    return loaded


def decode_responsibility(data: bytes) -> Responsibility:
    """One jurisdiction, consistent in itself, or ValueError with every fault found."""
    responsibility = msgspec.json.decode(data, type=Responsibility)
    faults = list(faults_of(responsibility))
    if faults:
        raise ValueError("; ".join(faults))
    return responsibility


def faults_of(responsibility: Responsibility) -> Iterator[str]:
    """What the types alone cannot refuse: unknown bodies, leads without the mode, two rules for one day."""
    known = [department.id for department in responsibility.departments]
    yield from (f"department {one!r} appears twice" for one in sorted({d for d in known if known.count(d) > 1}))
    for row in responsibility.subjects:
        for body in (*row.lead, *row.joint, *((row.default,) if row.default else ())):
            if body not in known:
                yield f"subject {row.subject!r}: no department {body!r}"
        if (row.mode is Mode.LEAD) != bool(row.lead):
            yield f"subject {row.subject!r}: a lead and the mode lead go together"
    for finding in responsibility.findings:
        for body in (*finding.receivers, *finding.one_of):
            if body not in known:
                yield f"finding {finding.finding!r}: no department {body!r}"
    yield from _overlaps([(row.subject, row) for row in responsibility.subjects])
    yield from _overlaps([(finding.finding, finding) for finding in responsibility.findings])


def _overlaps(rules: list[tuple[str, SubjectRow]] | list[tuple[str, FindingRoute]]) -> Iterator[str]:
    ordered = sorted(rules, key=lambda named: (named[0], named[1].valid_from or date.min))
    for (name, rule), (next_name, following) in pairwise(ordered):
        if name == next_name and (rule.valid_to or date.max) >= (following.valid_from or date.min):
            yield f"{name!r} has two rules for {following.valid_from}"
