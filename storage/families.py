"""Reading what timers judge: records with the letters about them (sync/due.py)."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Collection, Iterable, Mapping
from typing import Any, Final, LiteralString, TypeVar

import msgspec
import structlog

from contracts.ids import County, RecordId
from contracts.kinds.problem import Problem
from contracts.kinds.summons import Summons
from contracts.kinds.supervision import Supervision
from contracts.kinds.whistle import Whistle
from contracts.stored import read_stored
from storage.pool import Executor
from sync.due import GONE, About, Ended, Family, Letter, Subject, Summoned, ended
from sync.places import unit_of

_T = TypeVar("_T")
_Body = TypeVar("_Body", bound=msgspec.Struct)

log = structlog.get_logger("xunling.timers")

# What moments are worked out from. Where one of these is not understood, the record is not judged: a default in its place would make
# somebody owe what he does not owe. Any other field may be strange.
JUDGED_BY: Final[Mapping[type[msgspec.Struct], frozenset[str]]] = {
    Problem: frozenset({"state", "steps", "leads", "handed_in", "due_on", "suspended_until", "look_back_on", "look_back_result"}),
    Summons: frozenset({"state", "steps", "clocks", "called_at", "sign_due_at", "report_in_due_at", "result_due_at"}),
    Supervision: frozenset({"state", "steps", "subject_record", "previous", "issued_at", "due_at", "grounds", "lifted_because"}),
    Whistle: frozenset({"state", "steps"}),
}

SQL_FETCH_ROOTS: Final[LiteralString] = """
    SELECT id, kind, stream, deleted, body FROM record
    WHERE county = $1 AND id = ANY ($2::uuid[]) AND kind IN ('problem', 'summons', 'whistle')
"""
SQL_FETCH_LETTERS: Final[LiteralString] = """
    SELECT e.about AS root, r.id, r.body FROM ledger_entry e JOIN record r ON r.county = e.county AND r.id = e.record
    WHERE e.county = $1 AND e.about = ANY ($2::uuid[]) AND e.kind = 'supervision' AND NOT r.deleted
    UNION ALL
    SELECT e.record AS root, r.id, r.body FROM ledger_entry e JOIN record r ON r.county = e.county AND r.id = e.record
    WHERE e.county = $1 AND e.record = ANY ($2::uuid[]) AND e.about IS NULL AND e.kind = 'supervision' AND NOT r.deleted
"""


async def fetch_families(executor: Executor, county: County, records: Collection[RecordId]) -> list[Family]:
    """The records with all letters about them. Left out, with a line in the log: those of which anything cannot be read."""
    rows = {row["id"]: row for row in await executor.fetch(SQL_FETCH_ROOTS, county, list(records))}
    letters: dict[RecordId, list[Any]] = defaultdict(list)
    for row in await executor.fetch(SQL_FETCH_LETTERS, county, list(records)):
        letters[row["root"]].append(row)
    found: list[Family] = []
    async for root in unhurried(records):
        try:
            found.append(_family(root, rows.get(root), letters[root]))
        except msgspec.DecodeError as error:
            log.error("body_not_readable", record=str(root), error=str(error))  # noqa: TRY400 - no traceback is needed
    return found


def _family(root: RecordId, row: Any, letters: Iterable[Any]) -> Family:
    about, end = (None, None) if row is None else _about(row)
    read = [Letter(id=one["id"], supervision=_body(one, Supervision)) for one in letters]
    return Family(root=root, about=about, ended=end, letters=read)


def _about(row: Any) -> tuple[About, Ended | None]:
    """(what it is, if it has terms of its own; whether it has ended)."""
    if row["deleted"]:
        return None, GONE
    match row["kind"]:
        case "problem":
            problem = _body(row, Problem)
            return Subject(id=row["id"], unit=unit_of(row["stream"]), problem=problem), ended("problem", problem.state, problem.steps)
        case "summons":
            summons = _body(row, Summons)
            return Summoned(id=row["id"], summons=summons), ended("summons", summons.state, summons.steps)
        case _:
            whistle = _body(row, Whistle)
            return None, ended("whistle", whistle.state, whistle.steps)


def _body(row: Any, shape: type[_Body]) -> _Body:
    return read_stored(row["body"], shape, JUDGED_BY[shape])


async def unhurried(things: Iterable[_T]) -> AsyncIterator[_T]:
    """One after the other; between some of them whatever else the worker has to do gets its turn."""
    for k, thing in enumerate(things):
        if k % 100 == 99:
            await asyncio.sleep(0)
        yield thing
