"""What may fall due by itself: a record with the letters about it, what follows from it, and what it is judged by. Pure.

storage/timers.py reads and writes it; sync/judging.py judges it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, TypeAlias

import msgspec

from contracts.ids import RecordId, UnitCode, derived_mutation_id
from contracts.kind import Step
from contracts.kinds.problem import Problem
from contracts.kinds.summons import Summons
from contracts.kinds.supervision import Supervision
from sync.places import Places
from sync.rules import RuleBook


class Due(msgspec.Struct, frozen=True, kw_only=True):
    """One thing to do. `record`: of the letter or task that is made, or that the command is for; `rule`: version that says so."""

    record: RecordId
    kind: str
    op: str
    body: dict[str, Any] | None = None
    args: dict[str, Any] = {}
    fields: dict[str, tuple[Any, Any]] = {}
    moment: datetime
    rule: str
    is_captured: bool = False  # it happened at that moment, not when the timer came to it
    once: bool = False  # the rule says all of it, and the moment is only when it was found

    def mutation_id(self) -> RecordId:
        """From rule version, record and due moment."""
        return derived_mutation_id("timer", self.rule, self.record, self.op, "" if self.once else self.moment.isoformat())


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """A problem with its id and unit, as it stands now."""

    id: RecordId
    unit: UnitCode
    problem: Problem


class Summoned(msgspec.Struct, frozen=True, kw_only=True):
    """A summons with its id."""

    id: RecordId
    summons: Summons


class Letter(msgspec.Struct, frozen=True, kw_only=True):
    """A supervision letter that exists."""

    id: RecordId
    supervision: Supervision


About: TypeAlias = Subject | Summoned | None  # what a letter is about, if it has terms of its own


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """What letters press for is over. `is_done`: it was done; else it was withdrawn, is not true, or is not here any more."""

    at: datetime | None  # when the server took it; None: since whenever
    is_done: bool


GONE: Final = Ended(at=None, is_done=False)  # deleted, or moved to another county
# kind -> a state in which nothing is left to press for -> whether it was done
ENDS: Final[Mapping[str, Mapping[str, bool]]] = {
    "problem": {"closed_out": True, "look_back_passed": True, "not_true": False},
    "summons": {"confirmed": True, "cancelled": False},
    "whistle": {"closed": True, "withdrawn": False, "declined": False},
}


def ended(kind: str, state: str, steps: list[Step]) -> Ended | None:
    """None: it goes on."""
    ends = ENDS[kind]
    if state not in ends:
        return None
    at = next((step.at for step in reversed(steps) if step.to in ends and step.source not in ends), None)
    return Ended(at=at, is_done=ends[state])


class Family(msgspec.Struct, frozen=True, kw_only=True):
    """A record and all letters about it: what is judged together. A letter that is about no record, with those that followed it."""

    root: RecordId
    about: About = None
    ended: Ended | None = None
    letters: list[Letter] = []


def basis_of(book: RuleBook, places: Places) -> str:
    """What judgement goes by besides the records. Where it differs, moments that were worked out before say nothing."""
    units = sorted((unit.code, unit.county, unit.parent, unit.level) for unit in places.units.values())
    return hashlib.sha256(msgspec.json.encode((units, book.content()))).hexdigest()
