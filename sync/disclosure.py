"""Disclosure of an unannounced visit: its findings become the inspected unit's problems, with history (domain.md 4.8, 4.9).

What was submitted moves, with its photos and its story, into the stream of the unit that was inspected, in whichever county; from
there on it is a problem like any other. Drafts stay with the visitor. The task itself stays where it is: it has been the sender's
business all along.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec
from msgspec.structs import replace

from contracts.ids import RecordId, UnitCode, problem_id
from contracts.kinds import KINDS
from contracts.outcomes import Reason
from sync.consequences import follow
from sync.decision import Change, Refuse
from sync.homes import moved
from sync.merge import Merge, written
from sync.places import is_secret
from sync.situation import STORIED, Situation, step_of
from sync.state import RecordState, Writer

SUBMITTED: Final = frozenset({"submitted", "amended"})


def disclose_visit(s: Situation, merge: Merge) -> tuple[Change, ...] | Refuse:
    """Every submitted inspection of the task goes to the unit of its target (`args.units`: inspection -> unit, where it has none)."""
    given = s.mutation.args.get("units")
    named: dict[str, Any] = given if isinstance(given, dict) else {}
    moves: list[tuple[RecordState, UnitCode]] = []
    unplaced: list[str] = []
    for inspection in (_known(s, RecordId(text)) for text in merge.values.get("inspections", [])):
        if inspection is None or not _is_disclosable(inspection) or inspection.values.get("state") not in SUBMITTED:
            continue
        unit = str(named.get(str(inspection.id)) or _unit_of_target(merge.values.get("targets", []), inspection.values.get("site")))
        if s.tally.view.places.county_of(unit) is None:
            unplaced.append(str(inspection.id))
        else:
            moves.append((inspection, unit))
    if unplaced:
        return Refuse(reason=Reason.INCOMPLETE, detail={"needs": ["units"], "inspections": unplaced})
    return tuple(change for inspection, unit in moves for change in _with_problems(s, inspection, unit))


def disclose_problem(s: Situation, merge: Merge) -> tuple[Change, ...] | Refuse:
    """One finding that no inspection holds, to `args.unit`. The command's own change is the move."""
    unit = str(s.mutation.args["unit"])
    county = s.tally.view.places.county_of(unit)
    if county is None:
        return Refuse(reason=Reason.UNKNOWN_UNIT, detail={"unit": unit})
    merge.set({"unit": unit, "secret": False, "disclosed_at": s.tally.view.now.isoformat()})
    return ()


def _known(s: Situation, record: RecordId) -> RecordState | None:
    return None if s.tally.is_missing(record) else s.tally.records.get(record)


def _is_disclosable(record: RecordState) -> bool:
    return is_secret(record.stream) and not record.deleted and record.moved_to is None


def _unit_of_target(targets: list[dict[str, Any]], site: object) -> UnitCode | None:
    """The inspected unit: of the target with this site, or of the only target there is."""
    fitting = [t["unit"] for t in targets if site is not None and t.get("site") == site] or [t["unit"] for t in targets]
    return fitting[0] if len(set(fitting)) == 1 else None


def _with_problems(s: Situation, inspection: RecordState, unit: UnitCode) -> list[Change]:
    """The inspection and the problems it opened."""
    items = inspection.values.get("answers", {})
    problems = [_known(s, problem_id(inspection.id, item)) for item in sorted(items)]
    found = [problem for problem in problems if problem is not None and _is_disclosable(problem)]
    return [change for record in (inspection, *found) for change in _disclosed(s, record, unit)]


def _disclosed(s: Situation, record: RecordState, unit: UnitCode) -> list[Change]:
    """The record in the unit's own stream, or on its way to the unit's county; its photos with it."""
    s.tally.need_family(record.id)
    values: dict[str, Any] = {"unit": unit, "secret": False, "disclosed_at": s.tally.view.now.isoformat()}
    if STORIED in KINDS[record.kind].body.__struct_fields__:
        state = str(record.values.get("state", ""))
        step = step_of(s, s.mutation.op, state, state)
        values[STORIED] = [*record.values.get(STORIED, []), msgspec.to_builtins(step)]
    writer = Writer(s.tally.view.incarnation, record.version[1] + 1, s.sender.device, s.mutation.n)
    body = msgspec.json.encode(record.values | values)
    after = replace(record, version=writer.at, fields=written(record, values, writer), body=body)
    after = moved(after, unit, s.tally)
    return [Change(after=after, op="disclose", patch={"set": values}), *follow(s.mutation, s.sender, s.tally, after)]
